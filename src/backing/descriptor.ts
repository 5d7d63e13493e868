/**
 * The descriptor of a file: its kind and options as JSON, from which any thread makes its own backing. What JSON would drop, change
 * or call is refused, so that every thread gets what the creator gave.
 */
import { VmError } from '../base/errors.ts';

export interface Descriptor {
  readonly kind: string;
  readonly options: unknown;
}

/** Throws EINVAL. May run the caller's code (getters): to be called outside of sections, before anything has changed. */
export function descriptorText(kind: string, options: unknown): string {
  const copier = new Copier();
  try {
    // Of the copy: the original could say something else each time that it is asked.
    return JSON.stringify({ kind, options: copier.copy(options, 'options') });
  } catch (error) {
    if (error === copier.refusal) throw error;
    const failure = new VmError('EINVAL', 'createFile', `the options cannot be read: ${messageOf(error)}`);
    failure.cause = error;
    throw failure;
  }
}

export function parseDescriptor(text: string): Descriptor {
  return JSON.parse(text) as Descriptor;
}

function messageOf(error: unknown): string {
  return error instanceof RangeError ? 'they are nested too deeply' : 'one of them throws';
}

class Copier {
  /** What `copy` has thrown of itself. */
  refusal: VmError | undefined;
  /** The objects around the one in hand. */
  readonly #around = new Set<object>();

  copy(value: unknown, path: string): unknown {
    if (value === undefined || value === null || typeof value === 'boolean' || typeof value === 'string') return value;
    if (typeof value === 'number') return Number.isFinite(value) ? value : this.#refuse(path, String(value));
    if (typeof value !== 'object') return this.#refuse(path, `a ${typeof value}`);
    if (this.#around.has(value)) return this.#refuse(path, 'an object that contains itself');
    this.#around.add(value);
    const copy = Array.isArray(value) ? this.#array(value, path) : this.#object(value, path);
    this.#around.delete(value);
    return copy;
  }

  #array(value: readonly unknown[], path: string): unknown[] {
    if (!Array.isArray(Object.getPrototypeOf(value))) this.#refuse(path, 'an instance of a class');
    const { length } = value;
    // One key an element, and `length`: neither holes nor anything beside the elements.
    if (Reflect.ownKeys(value).length !== length + 1) this.#refuse(path, 'an array with holes or names');
    const copy: unknown[] = [];
    for (let i = 0; i < length; i++) {
      const element = this.copy(value[i], `${path}[${i}]`);
      copy.push(element === undefined ? this.#refuse(`${path}[${i}]`, 'undefined') : element);
    }
    return copy;
  }

  #object(value: object, path: string): object {
    if (!isPlain(value)) this.#refuse(path, 'an instance of a class');
    const copy = Object.create(null) as Record<string, unknown>; // without a prototype there is no toJSON, and no __proto__
    for (const key of Reflect.ownKeys(value)) {
      if (typeof key === 'symbol') return this.#refuse(path, 'an object with a symbol for a name');
      const name = `${path}.${key}`;
      if (!Object.prototype.propertyIsEnumerable.call(value, key))
        this.#refuse(name, 'a property that is not enumerable');
      copy[key] = this.copy((value as Record<string, unknown>)[key], name);
    }
    return copy;
  }

  #refuse(path: string, what: string): never {
    this.refusal = new VmError('EINVAL', 'createFile', `${path} is ${what}: other threads would not get it by JSON`);
    throw this.refusal;
  }
}

/** A literal's prototype, of this realm or another, or none. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === null || prototype === Object.prototype) return true;
  return Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype as object, 'propertyIsEnumerable');
}
