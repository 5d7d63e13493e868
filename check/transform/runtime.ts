/**
 * What rewritten code calls, and what this thread's Atomics and typed arrays become: each access to watched shared memory is announced
 * to the thread's observer, and performed.
 */
import type { AccessKind, PortObserver } from '../../src/sync/atomics.checked.ts';

type View = ArrayBufferView & { readonly length: number; [index: number]: unknown };
type Method = (this: unknown, ...args: never[]) => unknown;
type Keyed = Record<PropertyKey, unknown>;

let observer: PortObserver | undefined;

/** The host's, before they were replaced. */
const host = Atomics;
const { apply } = Reflect;

/** The view, if the value is one of memory that the observer watches. */
function watched(value: unknown): View | undefined {
  if (observer === undefined || typeof value !== 'object' || !ArrayBuffer.isView(value)) return undefined;
  const { buffer } = value;
  if (!(buffer instanceof SharedArrayBuffer) || observer.watches?.(buffer) === false) return undefined;
  return value as View;
}

/** A property key: what an object says it is, asked once. */
function keyOf(key: unknown): unknown {
  if ((typeof key !== 'object' && typeof key !== 'function') || key === null) return key;
  return Reflect.ownKeys({ [key as unknown as string]: 0 })[0];
}

/** The index of an element that a property key is, or -1. */
function indexOf(view: View, key: unknown): number {
  const index =
    typeof key === 'number' ? key : typeof key === 'string' && /^(0|[1-9]\d*)$/.test(key) ? Number(key) : -1;
  return Number.isInteger(index) && index >= 0 && index < view.length ? index : -1;
}

function tell(kind: AccessKind, view: View, index: number, value: unknown = 0, expected: unknown = 0): void {
  observer?.access(
    kind,
    view,
    index,
    typeof value === 'bigint' ? Number(value) : (value as number),
    expected as number,
  );
}

/* Elements. */

function get(object: unknown, property: unknown): unknown {
  const view = watched(object);
  if (view === undefined) return (object as Keyed)[property as PropertyKey];
  const key = keyOf(property);
  const index = indexOf(view, key);
  return index === -1 ? (view as unknown as Keyed)[key as PropertyKey] : element(view, index);
}

/** Element `index`, which is there, of a watched view. */
function element(view: View, index: number): unknown {
  tell('peek', view, index);
  return observer?.racyValue?.() ?? view[index];
}

/** The same for a write, of a value that is already what the element becomes. */
function setElement(view: View, index: number, value: unknown): void {
  tell('poke', view, index, value);
  view[index] = value;
}

/** What an element becomes when a value is stored: coerced once. Throws what storing it would throw. */
function coerced(view: View, value: unknown): unknown {
  if (view instanceof BigInt64Array || view instanceof BigUint64Array) return BigInt.asIntN(64, value as bigint);
  return typeof value === 'number' ? value : +(value as number);
}

type Assign = (object: unknown, key: unknown, value: unknown) => void;
const assign: Assign = (object, key, value) => {
  (object as Keyed)[key as PropertyKey] = value;
};
/** In sloppy code, what cannot be assigned is passed over. */
const assignSloppy = new Function('object', 'key', 'value', 'object[key] = value') as Assign;

function set(object: unknown, property: unknown, value: unknown, store: Assign): void {
  const view = watched(object);
  const key = view === undefined ? property : keyOf(property);
  const index = view === undefined ? -1 : indexOf(view, key);
  if (view === undefined || index === -1) {
    store(object, key, value);
    return;
  }
  setElement(view, index, coerced(view, value));
}

/** The target of an assignment: an element whose object and key have been evaluated. */
class Ref {
  private readonly _object: unknown;
  private readonly _key: unknown;
  private readonly _store: Assign;

  constructor(object: unknown, key: unknown, store: Assign) {
    this._object = object;
    this._key = key;
    this._store = store;
  }

  get value(): unknown {
    return get(this._object, this._key);
  }

  set value(value: unknown) {
    set(this._object, this._key, value, this._store);
  }
}

/* Methods. */

/** The value of a write that is only known when it has happened. */
const UNKNOWN: number = Number.NaN;

const TypedArray = Object.getPrototypeOf(Int32Array) as { readonly prototype: object };

const relative = (index: unknown, length: number, otherwise: number): number => {
  if (index === undefined) return otherwise;
  const n = Math.trunc(Number(index)) || 0;
  return n < 0 ? Math.max(0, length + n) : Math.min(n, length);
};

/** The host's constructors, by what their views are called. */
const constructors: Readonly<Record<string, new (length: number) => View>> = Object.fromEntries(
  Object.getOwnPropertyNames(globalThis)
    .filter((name) => /^(Big)?(Int|Uint|Float)\d+(Clamped)?Array$/.test(name))
    .map((name) => [name, (globalThis as unknown as Keyed)[name] as new (length: number) => View]),
);
const constructorOf = (view: View): (new (length: number) => View) =>
  constructors[(view as unknown as Keyed)[Symbol.toStringTag] as string] as new (
    length: number,
  ) => View;

/** A view of one's own with elements [from, to), read one after the other. */
function copyOf(view: View, from = 0, to: number = view.length): View {
  const copy = new (constructorOf(view))(Math.max(0, to - from));
  for (let i = from; i < to; i++) copy[i - from] = element(view, i);
  return copy;
}

/** What `map` and `filter` make. */
function speciesOf(view: View): new (length: number) => View {
  const made = (view as unknown as Keyed).constructor as unknown as Keyed | undefined;
  const species = made === undefined ? undefined : made[Symbol.species];
  return (species ?? constructorOf(view)) as new (
    length: number,
  ) => View;
}

/** A method of a watched view: element by element, in the host's order. `method` is the host's. */
type Replacement = (view: View, args: readonly unknown[], method: Method) => unknown;
type Callback = (...args: unknown[]) => unknown;

/** On a copy: nothing of the view changes. */
const onCopy: Replacement = (view, args, method) => apply(method, copyOf(view), args as never[]);
/** On a copy that is then written back. */
const inPlace: Replacement = (view, args, method) => {
  const copy = copyOf(view);
  apply(method, copy, args as never[]);
  for (let i = 0; i < view.length; i++) setElement(view, i, copy[i]);
  return view;
};
const searches =
  (step: 1 | -1, found: (i: number) => unknown, not: unknown): Replacement =>
  (view, args) => {
    const [wanted, from] = args;
    const { length } = view;
    let i = step === 1 || args.length > 1 ? relative(from, length, 0) : length - 1;
    if (step === -1) i = args.length > 1 && Number(from) < -length ? -1 : Math.min(i, length - 1);
    for (; i >= 0 && i < length; i += step) {
      const value = element(view, i);
      if (value === wanted || (not === false && Object.is(value, wanted))) return found(i);
    }
    return not;
  };
/** Calls back for each element in turn until `stop` returns something other than undefined. */
const each =
  (step: 1 | -1, stop: (result: unknown, value: unknown, i: number) => unknown, end: unknown): Replacement =>
  (view, args, method) => {
    const [callback, self] = args;
    if (typeof callback !== 'function') return apply(method, view, args as never[]);
    const { length } = view;
    for (let i = step === 1 ? 0 : length - 1; i >= 0 && i < length; i += step) {
      const value = element(view, i);
      const stopped = stop(apply(callback as Callback, self, [value, i, view]), value, i);
      if (stopped !== undefined) return stopped;
    }
    return end;
  };
const folds =
  (step: 1 | -1): Replacement =>
  (view, args, method) => {
    const { length } = view;
    if (typeof args[0] !== 'function' || (length === 0 && args.length < 2)) return apply(method, view, args as never[]);
    let i = step === 1 ? 0 : length - 1;
    let value = args[1];
    if (args.length < 2) {
      value = element(view, i);
      i += step;
    }
    for (; i >= 0 && i < length; i += step) value = (args[0] as Callback)(value, element(view, i), i, view);
    return value;
  };

const METHODS: Readonly<Record<string, Replacement>> = {
  at(view, [at]) {
    const n = Math.trunc(Number(at)) || 0;
    const index = n < 0 ? view.length + n : n;
    return index >= 0 && index < view.length ? element(view, index) : undefined;
  },
  set(view, [source, offset], method) {
    const from = Math.trunc(Number(offset ?? 0)) || 0;
    const given = (source ?? []) as ArrayLike<unknown>;
    const count = given.length;
    if (from < 0 || !(from + count <= view.length)) return apply(method, view, [source, offset] as never[]);
    const shared = watched(given);
    const values = shared !== undefined && shared.buffer === view.buffer ? copyOf(shared) : given;
    for (let i = 0; i < count; i++) setElement(view, from + i, coerced(view, get(values, i)));
    return undefined;
  },
  fill(view, [value, from, to]) {
    const filled = coerced(view, value);
    const end = relative(to, view.length, view.length);
    for (let i = relative(from, view.length, 0); i < end; i++) setElement(view, i, filled);
    return view;
  },
  copyWithin(view, [to, from, end]) {
    const { length } = view;
    const target = relative(to, length, 0);
    const start = relative(from, length, 0);
    const count = Math.max(0, Math.min(relative(end, length, length) - start, length - target));
    const copy = copyOf(view, start, start + count);
    for (let i = 0; i < count; i++) setElement(view, target + i, copy[i]);
    return view;
  },
  slice(view, args, method) {
    const [from, to] = args;
    const result = apply(method, view, args as never[]) as View;
    const start = relative(from, view.length, 0);
    const count = relative(to, view.length, view.length) - start;
    for (let i = 0; i < count; i++) result[i] = element(view, start + i);
    return result;
  },
  map(view, args, method) {
    const [callback, self] = args;
    if (typeof callback !== 'function') return apply(method, view, args as never[]);
    const result = new (speciesOf(view))(view.length);
    for (let i = 0; i < view.length; i++) result[i] = apply(callback as Callback, self, [element(view, i), i, view]);
    return result;
  },
  filter(view, args, method) {
    const [callback, self] = args;
    if (typeof callback !== 'function') return apply(method, view, args as never[]);
    const kept: unknown[] = [];
    for (let i = 0; i < view.length; i++) {
      const value = element(view, i);
      if (apply(callback as Callback, self, [value, i, view])) kept.push(value);
    }
    const result = new (speciesOf(view))(kept.length);
    for (let i = 0; i < kept.length; i++) result[i] = kept[i];
    return result;
  },
  indexOf: searches(1, (i) => i, -1),
  includes: searches(1, () => true, false),
  lastIndexOf: searches(-1, (i) => i, -1),
  join: onCopy,
  toLocaleString: onCopy,
  with: onCopy,
  toReversed: onCopy,
  toSorted: onCopy,
  reverse: inPlace,
  sort: inPlace,
  forEach: each(1, () => undefined, undefined),
  find: each(1, (hit, value) => (hit ? value : undefined), undefined),
  findIndex: each(1, (hit, _, i) => (hit ? i : undefined), -1),
  findLast: each(-1, (hit, value) => (hit ? value : undefined), undefined),
  findLastIndex: each(-1, (hit, _, i) => (hit ? i : undefined), -1),
  some: each(1, (hit) => (hit ? true : undefined), false),
  every: each(1, (hit) => (hit ? undefined : false), true),
  reduce: folds(1),
  reduceRight: folds(-1),
};

/** Replaces a method of watched views. */
function replaceMethod(name: string, replacement: Replacement): void {
  const descriptor = Object.getOwnPropertyDescriptor(TypedArray.prototype, name);
  const method = descriptor?.value as Method | undefined;
  if (method === undefined) return; // younger than the host
  const holder = {
    [name](this: unknown, ...args: unknown[]): unknown {
      const view = watched(this);
      if (view !== undefined) return replacement(view, args, method);
      const source = name === 'set' ? watched(args[0]) : undefined; // out of shared memory into one's own
      return apply(method, this, source === undefined ? (args as never[]) : ([copyOf(source), args[1]] as never[]));
    },
  };
  const value = holder[name] as Method;
  Object.defineProperty(value, 'length', { value: method.length, configurable: true });
  Object.defineProperty(TypedArray.prototype, name, { ...descriptor, value });
}

/** Replaces a method by one that first calls `before` with its object and arguments. */
function replace(
  prototype: object,
  name: PropertyKey,
  before: (object: unknown, args: readonly unknown[]) => unknown[] | undefined,
): void {
  const descriptor = Object.getOwnPropertyDescriptor(prototype, name);
  const method = descriptor?.value as Method | undefined;
  if (method === undefined) return; // younger than the host
  const holder = {
    [name](this: unknown, ...args: unknown[]): unknown {
      return apply(method, this, (observer === undefined ? undefined : before(this, args)) ?? args);
    },
  };
  const value = holder[name as string] as Method;
  Object.defineProperty(value, 'length', { value: method.length, configurable: true });
  Object.defineProperty(prototype, name, { ...descriptor, value });
}

/** Reads all elements, one after the other. */
function* iterate(view: View, pick: (index: number) => unknown): Generator<unknown> {
  for (let i = 0; i < view.length; i++) yield pick(i);
}

function replaceIterator(name: 'values' | 'entries', pick: (view: View, index: number) => unknown): void {
  const prototype = TypedArray.prototype as Keyed;
  const method = prototype[name] as Method;
  const holder = {
    [name](this: unknown): unknown {
      const view = watched(this);
      return view === undefined ? apply(method, this, []) : iterate(view, (index) => pick(view, index));
    },
  };
  const descriptor = { value: holder[name], writable: true, configurable: true, enumerable: false };
  Object.defineProperty(prototype, name, descriptor);
  if (name === 'values') Object.defineProperty(prototype, Symbol.iterator, descriptor);
}

const words = new WeakMap<
  ArrayBufferLike,
  { readonly 1: Uint8Array; readonly 2: Uint16Array; readonly 4: Int32Array }
>();

/** Announces the bytes [from, from + count) of a buffer, in elements as wide as they are aligned. */
function bytes(kind: AccessKind, buffer: ArrayBufferLike, from: number, count: number): void {
  let views = words.get(buffer);
  if (views === undefined) {
    const size = buffer.byteLength;
    views = {
      1: new Uint8Array(buffer),
      2: new Uint16Array(buffer, 0, size >> 1),
      4: new Int32Array(buffer, 0, size >> 2),
    };
    words.set(buffer, views);
  }
  const width = (from | count) & 1 ? 1 : (from | count) & 2 ? 2 : 4;
  const view = views[width] as unknown as View;
  for (let at = from; at < from + count; at += width)
    if (at / width < view.length) tell(kind, view, at / width, kind === 'poke' ? UNKNOWN : 0);
}

function replaceMethods(): void {
  for (const [name, replacement] of Object.entries(METHODS)) replaceMethod(name, replacement);
  replaceIterator('values', (view, index) => get(view, index));
  replaceIterator('entries', (view, index) => [index, get(view, index)]);
  for (const name of Object.getOwnPropertyNames(DataView.prototype)) {
    const match = /^(get|set)[A-Z]\w*?(\d+)$/.exec(name);
    if (match === null) continue;
    const size = Number(match[2]) / 8;
    replace(DataView.prototype, name, (object, [offset]) => {
      const view = watched(object);
      const at = Math.trunc(Number(offset ?? 0)) || 0;
      if (view !== undefined && at >= 0 && at + size <= view.byteLength)
        bytes(match[1] === 'get' ? 'peek' : 'poke', view.buffer, view.byteOffset + at, size);
      return undefined;
    });
  }
  replace(SharedArrayBuffer.prototype, 'slice', (object, [from, to]) => {
    if (!(object instanceof SharedArrayBuffer) || observer?.watches?.(object) === false) return undefined;
    const start = relative(from, object.byteLength, 0);
    bytes('peek', object, start, Math.max(0, relative(to, object.byteLength, object.byteLength) - start));
    return undefined;
  });
  for (const name of ['get', 'set'] as const) {
    replace(Reflect, name, (_, [object, key, value]) => {
      const view = watched(object);
      const index = view === undefined ? -1 : indexOf(view, key);
      if (view !== undefined && index !== -1)
        tell(name === 'get' ? 'peek' : 'poke', view, index, typeof value === 'number' ? value : UNKNOWN);
      return undefined;
    });
  }
}

/* Atomics. */

type Integers = Int32Array;

/** The index of an element that an operation of Atomics takes, or -1 where the host's throws. */
function atomicIndex(view: View, index: unknown): number {
  if (view instanceof DataView || /^(Float|Uint8C)/.test((view as unknown as Keyed)[Symbol.toStringTag] as string))
    return -1;
  const at = typeof index === 'number' ? Math.trunc(index) || 0 : Math.trunc(Number(index)) || 0;
  return at >= 0 && at < view.length ? at : -1;
}

/** As an element of the view is: an expected value is compared so. */
function asElement(view: View, value: unknown): unknown {
  const element = new (view.constructor as new (length: number) => View)(1);
  element[0] = value;
  return element[0];
}

function modifying(name: 'store' | 'exchange' | 'add' | 'sub' | 'and' | 'or' | 'xor', kind: AccessKind) {
  const operation = host[name] as (view: unknown, index: number, value: unknown) => unknown;
  return (object: Integers, index: number, value: number): number => {
    const view = watched(object);
    const at = view === undefined ? -1 : atomicIndex(view, index);
    if (view === undefined || at === -1) return operation(object, index, value) as number;
    const element = coerced(view, value);
    tell(kind, view, at, element);
    return operation(view, at, element) as number;
  };
}

const atomics = {
  load(object: Integers, index: number): number {
    const view = watched(object);
    const at = view === undefined ? -1 : atomicIndex(view, index);
    if (view !== undefined && at !== -1) tell('load', view, at);
    return host.load(object, at === -1 ? index : at);
  },
  store: modifying('store', 'store'),
  exchange: modifying('exchange', 'exchange'),
  add: modifying('add', 'add'),
  sub: modifying('sub', 'sub'),
  and: modifying('and', 'and'),
  or: modifying('or', 'or'),
  xor: modifying('xor', 'xor'),
  compareExchange(object: Integers, index: number, expected: number, value: number): number {
    const view = watched(object);
    const at = view === undefined ? -1 : atomicIndex(view, index);
    if (view === undefined || at === -1) return host.compareExchange(object, index, expected, value);
    const found = asElement(view, expected);
    const element = coerced(view, value);
    tell('cas', view, at, element, found);
    return host.compareExchange(view as unknown as Integers, at, found as number, element as number);
  },
  wait(object: Integers, index: number, expected: number, timeout: number = Number.POSITIVE_INFINITY): string {
    const view = watched(object);
    const waits = view instanceof Int32Array || view instanceof BigInt64Array;
    const at = waits ? atomicIndex(view, index) : -1;
    if (view === undefined || at === -1) return host.wait(object, index, expected, timeout);
    const limit = Number.isNaN(+timeout) ? Number.POSITIVE_INFINITY : Math.max(0, +timeout);
    const found = asElement(view, expected) as number;
    tell('wait', view, at, limit, found);
    return observer?.wait?.(object, at, found, limit) ?? host.wait(object, at, found, timeout);
  },
  notify(object: Integers, index: number, count: number = Number.POSITIVE_INFINITY): number {
    const view = watched(object);
    const at = view === undefined ? -1 : atomicIndex(view, index);
    if (view === undefined || at === -1) return host.notify(object, index, count);
    const most = Math.max(0, Math.trunc(+count) || 0);
    tell('notify', view, at, most);
    return observer?.notify?.(object, at, most) ?? host.notify(object, at, most);
  },
  waitAsync(object: Integers, index: number, expected: number, timeout?: number): unknown {
    if (watched(object) !== undefined)
      throw new Error('Atomics.waitAsync is not modelled: a checked thread is one synchronous call');
    type Waits = { waitAsync(object: Integers, index: number, expected: number, timeout?: number): unknown };
    return (host as unknown as Waits).waitAsync(object, index, expected, timeout);
  },
  pause(): void {
    observer?.access('pause', undefined, 0, 0, 0);
  },
  isLockFree: (size: number): boolean => host.isLockFree(size),
};
Object.defineProperty(atomics, Symbol.toStringTag, { value: 'Atomics', configurable: true });

export const access = {
  get,
  ref: (object: unknown, key: unknown): Ref => new Ref(object, key, assign),
  refSloppy: (object: unknown, key: unknown): Ref => new Ref(object, key, assignSloppy),
  /** What a constructor is given: a view that it copies is read element by element. */
  read(source: unknown, callee: unknown): unknown {
    const view = watched(source);
    if (view === undefined || view instanceof DataView || typeof callee !== 'function') return source;
    return callee.prototype instanceof (TypedArray as unknown as new () => object) ? copyOf(view) : source;
  },
  apply: (method: Method, object: unknown, args: never[]): unknown => apply(method, object, args),
};

let installed = false;

/**
 * Puts the runtime in place for rewritten code of this thread, with its Atomics and its methods of typed arrays, and its port where the
 * checker looks for ports. What was loaded before and keeps the host's own is not announced.
 */
export function installRuntime(): void {
  if (installed) return;
  installed = true;
  const scope = globalThis as { [key: PropertyKey]: unknown };
  scope[Symbol.for('vmspace.access')] = access;
  const ports = Symbol.for('vmspace.checked-ports');
  const install = (next: PortObserver | undefined): void => {
    observer = next;
  };
  scope[ports] = [...((scope[ports] as unknown[]) ?? []), install];
  // For a port that announces its accesses itself.
  scope[Symbol.for('vmspace.host')] = {
    atomics: host,
    silently(act: () => void): void {
      const kept = observer;
      observer = undefined;
      try {
        act();
      } finally {
        observer = kept;
      }
    },
  };
  Object.defineProperty(scope, 'Atomics', { value: atomics, writable: true, configurable: true, enumerable: false });
  replaceMethods();
}
