/** What rewritten code calls: announces accesses to shared memory to this thread's observer, and performs them. */
import type { AccessKind, PortObserver } from '../../src/sync/atomics.checked.ts';

type View = ArrayBufferView & { readonly length?: number };
type Ints = Int32Array;

let observer: PortObserver | undefined;

/** The view, if the value is one of shared memory. */
function shared(value: unknown): View | undefined {
  return typeof value === 'object' && ArrayBuffer.isView(value) && value.buffer instanceof SharedArrayBuffer
    ? (value as View)
    : undefined;
}

/** The index that a property key is, or -1. */
function indexOf(view: View, key: unknown): number {
  const index = typeof key === 'number' ? key : typeof key === 'string' && /^\d+$/.test(key) ? Number(key) : -1;
  return Number.isInteger(index) && index >= 0 && index < (view.length ?? 0) ? index : -1;
}

function tell(kind: AccessKind, view: View, index: number, value: unknown = 0, expected: unknown = 0): void {
  observer?.access(kind, view, index, Number(value), Number(expected));
}

type Keyed = Record<PropertyKey, unknown>;

function get(object: unknown, key: unknown): unknown {
  const view = observer === undefined ? undefined : shared(object);
  if (view !== undefined) {
    const index = indexOf(view, key);
    if (index !== -1) tell('peek', view, index);
  }
  return (object as Keyed)[key as PropertyKey];
}

function set(object: unknown, key: unknown, value: unknown): unknown {
  const view = observer === undefined ? undefined : shared(object);
  if (view !== undefined) {
    const index = indexOf(view, key);
    if (index !== -1) tell('poke', view, index, value);
  }
  (object as Keyed)[key as PropertyKey] = value;
  return value;
}

/** Elements [from, to) of a view, one announcement each. */
function range(kind: AccessKind, view: View, from: number, to: number): void {
  for (let i = from; i < to; i++) tell(kind, view, i);
}

const relative = (index: unknown, length: number, otherwise: number): number => {
  if (index === undefined) return otherwise;
  const n = Math.trunc(Number(index)) || 0;
  return n < 0 ? Math.max(0, length + n) : Math.min(n, length);
};

const WRITES_ALL = new Set(['reverse', 'sort']);

/** A method of a view of shared memory: announces the elements that it touches, in order. */
function announceMethod(view: View, name: string, args: readonly unknown[]): void {
  const length = view.length ?? 0;
  const { BYTES_PER_ELEMENT: width } = view as unknown as { BYTES_PER_ELEMENT: number };
  if (view instanceof DataView) {
    const bytes = Number(/\d+/.exec(name)?.[0] ?? 8) / 8;
    const at = Number(args[0] ?? 0);
    const inside = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
    for (let i = at; i < at + bytes && i < inside.length; i++)
      tell(name.startsWith('get') ? 'peek' : 'poke', inside, i);
    return;
  }
  if (name === 'at') {
    const n = Math.trunc(Number(args[0])) || 0;
    const index = n < 0 ? length + n : n;
    if (index >= 0 && index < length) tell('peek', view, index);
  } else if (name === 'set') {
    const offset = Number(args[1] ?? 0);
    const source = args[0] as ArrayLike<unknown>;
    const from = shared(source);
    for (let i = 0; i < source.length && offset + i < length; i++) {
      if (from !== undefined) tell('peek', from, i);
      tell('poke', view, offset + i, source[i]);
    }
  } else if (name === 'fill') {
    const to = relative(args[2], length, length);
    for (let i = relative(args[1], length, 0); i < to; i++) tell('poke', view, i, args[0]);
  } else if (name === 'copyWithin') {
    const target = relative(args[0], length, 0);
    const from = relative(args[1], length, 0);
    const count = Math.min(relative(args[2], length, length) - from, length - target);
    range('peek', view, from, from + count);
    range('poke', view, target, target + count);
  } else if (name === 'slice') {
    range('peek', view, relative(args[0], length, 0), relative(args[1], length, length));
  } else {
    range('peek', view, 0, length);
    if (WRITES_ALL.has(name)) range('poke', view, 0, length);
  }
  void width;
}

function call(object: unknown, name: string, args: unknown[]): unknown {
  if (observer !== undefined) {
    const view = shared(object);
    if (view !== undefined) announceMethod(view, name, args);
    else if (name === 'set' && ArrayBuffer.isView(object)) {
      // Out of shared memory into memory of one's own.
      const source = shared(args[0]);
      if (source !== undefined) range('peek', source, 0, source.length ?? 0);
    }
  }
  const method = (object as Record<string, unknown>)[name];
  if (typeof method !== 'function') throw new TypeError(`${name} is not a function`);
  return Reflect.apply(method, object, args);
}

const host = Atomics;

/** `and`, `or` and the like store a value that depends on the old one: an exchange, for the checker. */
function modify(operation: (view: Ints, index: number, value: number) => number, kind: AccessKind) {
  return (view: Ints, index: number, value: number): number => {
    if (shared(view) !== undefined) tell(kind, view, index, value);
    return operation(view, index, value);
  };
}

const atomics = {
  load(view: Ints, index: number): number {
    if (shared(view) !== undefined) tell('load', view, index);
    return host.load(view, index);
  },
  store: modify(host.store as never, 'store'),
  exchange: modify(host.exchange as never, 'exchange'),
  add: modify(host.add as never, 'add'),
  sub: modify(host.sub as never, 'exchange'),
  and: modify(host.and as never, 'exchange'),
  or: modify(host.or as never, 'exchange'),
  xor: modify(host.xor as never, 'exchange'),
  compareExchange(view: Ints, index: number, expected: number, value: number): number {
    if (shared(view) !== undefined) tell('cas', view, index, value, expected);
    return host.compareExchange(view, index, expected, value);
  },
  wait(view: Ints, index: number, expected: number, timeout: number = Number.POSITIVE_INFINITY): string {
    const limit = Number.isNaN(timeout) ? Number.POSITIVE_INFINITY : Math.max(0, timeout);
    if (shared(view) === undefined || observer === undefined) return host.wait(view, index, expected, timeout);
    tell('wait', view, index, limit, expected);
    return observer.wait?.(view, index, expected, limit) ?? host.wait(view, index, expected, timeout);
  },
  notify(view: Ints, index: number, count: number = Number.POSITIVE_INFINITY): number {
    if (shared(view) === undefined || observer === undefined) return host.notify(view, index, count);
    tell('notify', view, index, count);
    return observer.notify?.(view, index, count) ?? host.notify(view, index, count);
  },
  waitAsync(): never {
    throw new Error('Atomics.waitAsync is not modelled: a checked thread is one synchronous call');
  },
  pause(): void {
    observer?.access('pause', undefined, 0, 0, 0);
  },
  isLockFree: (size: number): boolean => host.isLockFree(size),
  [Symbol.toStringTag]: 'Atomics',
};

export const access = {
  get,
  set,
  call,
  update(object: unknown, key: unknown, delta: number, prefix: boolean): unknown {
    const old = get(object, key);
    const before = typeof old === 'bigint' ? old : Number(old);
    const after = typeof before === 'bigint' ? before + BigInt(delta) : before + delta;
    set(object, key, after);
    return prefix ? after : before;
  },
  compound(object: unknown, key: unknown, operate: (old: unknown) => unknown): unknown {
    return set(object, key, operate(get(object, key)));
  },
  logical(object: unknown, key: unknown, operator: '||' | '&&' | '??', value: () => unknown): unknown {
    const old = get(object, key);
    const keep = operator === '||' ? Boolean(old) : operator === '&&' ? !old : old !== null && old !== undefined;
    return keep ? old : set(object, key, value());
  },
  Atomics: atomics,
};

/** Puts the runtime in place for rewritten code of this thread, and its port where the checker looks for ports. */
export function installRuntime(): void {
  const scope = globalThis as { [key: symbol]: unknown };
  scope[Symbol.for('vmspace.access')] = access;
  const ports = Symbol.for('vmspace.checked-ports');
  const install = (next: PortObserver | undefined): void => {
    observer = next;
  };
  scope[ports] = [...((scope[ports] as unknown[]) ?? []), install];
}
