/** Hostile values: what a caller may hand in instead of what is asked for. */
import { runInNewContext } from 'node:vm';
import { MessageChannel } from 'node:worker_threads';
import { Oops, VmError } from '../../src/node.ts';
import { PAGE } from '../support.ts';
import type { World } from './world.ts';

export interface Hostile {
  readonly name: string;
  /** Its code may run: to be tried with every re-entry. */
  readonly runs?: boolean;
  make(world: World): unknown;
}

const plain = (name: string, value: unknown): Hostile => ({ name, make: () => value });
const fresh = (name: string, make: (world: World) => unknown): Hostile => ({ name, make });
const running = (name: string, make: (world: World) => unknown): Hostile => ({ name, runs: true, make });

export const NUMBERS: readonly Hostile[] = [
  ...[Number.NaN, 0, 1, 2, 3, 4, 63, 64, 255, 4096, 4097, 65536, 0.5, 1e-320, -1, -4096, 2 ** 31, -(2 ** 31)],
  ...[2 ** 32, 2 ** 32 + 4096, 2 ** 47, 2 ** 47 - 4096, 2 ** 47 - 1, 2 ** 53 - 1, 2 ** 53, -(2 ** 53), 1e300],
  ...[Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
].map((value) => plain(String(value), value));

/** Addresses that mean something in the world. */
export const ADDRESSES: readonly Hostile[] = [
  fresh('the memory', (w) => w.at),
  fresh('an odd address', (w) => w.at + 1),
  fresh('across two pages', (w) => w.at + PAGE - 2),
  fresh('across into memory that is only read', (w) => w.at + 6 * PAGE - 2),
  fresh('across into nothing', (w) => w.at + 7 * PAGE - 2),
  fresh('the file', (w) => w.fileAt),
  fresh('the last bytes of the file', (w) => w.fileAt + w.file.size - 1),
  fresh('another space', (w) => w.guestAt),
];

const PRIMITIVES: readonly Hostile[] = [
  plain('undefined', undefined),
  plain('null', null),
  plain('true', true),
  plain('false', false),
  plain('-0', -0),
  plain('an empty string', ''),
  plain('a number in a string', '65536'),
  plain('a string with a NUL', 'a\0b'),
  plain('half a surrogate pair', '\ud800'),
  plain('__proto__', '__proto__'),
  plain('a bigint', 65536n),
  plain('a big bigint', 2n ** 100n),
  plain('a negative bigint', -1n),
  plain('a symbol', Symbol('hostile')),
  plain('Symbol.iterator', Symbol.iterator),
];

function tossing(w: World): () => never {
  return () => {
    w.enter();
    throw w.toss(new Error('hostile'));
  };
}

/** A Proxy whose every trap runs the caller's code and then `ends`: throws, or does what the target would. */
export function proxyOf(w: World, target: object, ends: 'throws' | 'obeys'): object {
  const handler: Record<string, unknown> = {};
  for (const trap of Object.getOwnPropertyNames(Reflect)) {
    const act = (Reflect as unknown as Record<string, (...rest: unknown[]) => unknown>)[trap] as (
      ...rest: unknown[]
    ) => unknown;
    handler[trap] = (...rest: unknown[]): unknown => {
      w.enter();
      if (ends === 'throws') throw w.toss(new Error(`hostile ${trap}`));
      return act(...rest);
    };
  }
  return new Proxy(target, handler);
}

function revoked(target: object): unknown {
  const { proxy, revoke } = Proxy.revocable(target, {});
  revoke();
  return proxy;
}

const OBJECTS: readonly Hostile[] = [
  fresh('an object', () => ({})),
  fresh('an array', () => []),
  fresh('an array of a number', () => [65536]),
  fresh('an object without prototype', () => Object.create(null)),
  plain('a frozen object', Object.freeze({})),
  fresh('a boxed number', () => Object(65536)),
  fresh('a Date', () => new Date(0)),
  fresh('a Map', () => new Map()),
  fresh('a RegExp', () => /x/),
  fresh('an iterator', () => [1, 2][Symbol.iterator]()),
  fresh('a promise', () => Promise.resolve(1)),
  fresh('an object of another realm', () => runInNewContext('({})')),
  fresh('an error of another realm', () => runInNewContext('new Error("x")')),
  fresh('a message port', () => {
    const { port1, port2 } = new MessageChannel();
    port2.close();
    return port1;
  }),
  running('an object whose conversions run code and throw', (w) => ({
    valueOf: tossing(w),
    toString: tossing(w),
    toJSON: tossing(w),
    [Symbol.toPrimitive]: tossing(w),
  })),
  running('an object whose conversions run code', (w) => {
    const value = (): number => {
      w.enter();
      return 65536;
    };
    return { valueOf: value, toString: () => String(value()), toJSON: value, [Symbol.toPrimitive]: value };
  }),
  running('a Proxy that throws', (w) => proxyOf(w, {}, 'throws')),
  running('a Proxy that obeys', (w) => proxyOf(w, {}, 'obeys')),
  running('a Proxy of a function', (w) => proxyOf(w, () => 1, 'obeys')),
  fresh('a revoked Proxy', () => revoked({})),
  fresh('a revoked Proxy of a function', () => revoked(() => 1)),
  running('an object whose every getter throws', (w) => getters(w, () => tossing(w)())),
  running('an object whose every getter throws null', (w) => getters(w, () => throwing(w, null))),
  running('a thenable', (w) => ({
    // biome-ignore lint/suspicious/noThenProperty: the point of it
    then(): void {
      w.enter();
    },
  })),
  running('an object whose then throws', (w) => Object.defineProperty({}, 'then', { get: tossing(w) })),
];

/** The names of all that the library reads of a caller's object. */
export const READ_NAMES: readonly string[] = [
  ...['length', 'prot', 'flags', 'addr', 'file', 'offset', 'limit', 'kind', 'version', 'control', 'frames', 'space'],
  ...['frameBytes', 'serial', 'machine', 'size', 'threadId', 'once', 'memory', 'buffer', 'shared', 'design', 'mode'],
  ...[
    'stallTimeout',
    'ioTimeout',
    'delay',
    'milliseconds',
    'every',
    'then',
    'toJSON',
    'read',
    'close',
    'handle',
    'cpu',
    'confirmed',
    'terminate',
    'readAsync',
  ],
];

function getters(w: World, get: () => unknown): object {
  const out = {};
  for (const name of READ_NAMES) {
    Object.defineProperty(out, name, {
      enumerable: true,
      get(): unknown {
        w.enter();
        return get();
      },
    });
  }
  return out;
}

function throwing(w: World, value: unknown): never {
  throw w.toss(value);
}

/** What people throw. */
export const THROWN: readonly Hostile[] = [
  fresh('an error', () => new Error('hostile')),
  plain('undefined', undefined),
  plain('null', null),
  plain('a string', 'hostile'),
  plain('a symbol', Symbol('hostile')),
  fresh('a frozen error', () => Object.freeze(new Error('hostile'))),
  fresh('an object without prototype', () => Object.create(null)),
  running('a Proxy', (w) => proxyOf(w, new Error('hostile'), 'throws')),
  fresh('a revoked Proxy', () => revoked(new Error('hostile'))),
  running('an error whose getters throw', (w) => {
    const error = new Error('hostile');
    for (const name of ['stack', 'name', 'message', 'code', 'syscall', 'cause', 'rule']) {
      Object.defineProperty(error, name, { get: tossing(w) });
    }
    return error;
  }),
  running('an error whose message cannot be text', (w) => {
    const error = new Error('hostile');
    const text = { toString: tossing(w), valueOf: tossing(w) };
    Object.defineProperty(error, 'message', { value: text });
    return Object.defineProperty(error, 'code', { value: text });
  }),
  fresh('an error with a symbol for a message', () =>
    Object.defineProperty(new Error('x'), 'message', { value: Symbol('no') }),
  ),
  fresh('an Oops', () => new Oops('hostile', 'not the machine')),
  fresh('an Oops of another rule', () => new Oops('H1', 'not the machine')),
  fresh('something with the name Oops', () => Object.assign(new Error('hostile'), { name: 'Oops', rule: 'x' })),
  ...(['ENOMEM', 'EWOULDBLOCK', 'EDEADLK', 'ETIMEDOUT', 'EAGAIN', 'EINVAL'] as const).map((code) =>
    fresh(`a VmError ${code}`, () => new VmError(code, 'hostile', 'not the machine')),
  ),
  fresh('a VmError without a code', () => Object.setPrototypeOf(new Error('hostile'), VmError.prototype)),
];

const FUNCTIONS: readonly Hostile[] = [
  ...THROWN.map((thrown) =>
    running(`a function that throws ${thrown.name}`, (w) => () => {
      w.enter();
      throw w.toss(thrown.make(w));
    }),
  ),
  running('a function that runs code', (w) => () => w.enter()),
  running('an async function', (w) => async () => w.enter()),
  running('an async function that rejects', (w) => async () => {
    w.enter();
    throw new Error('hostile');
  }),
  running(
    'a generator function',
    (w) =>
      function* (): Generator<number> {
        w.enter();
        yield 1;
      },
  ),
  fresh('a class', () => class {}),
  fresh('a bound function', () => (() => 1).bind(null)),
  fresh('a function of another realm', () => runInNewContext('() => 1')),
  fresh('a function that gives a promise of another realm', () => runInNewContext('() => Promise.resolve(1)')),
  running(
    'a function that gives an object whose then throws',
    (w) => () => Object.defineProperty({}, 'then', { get: tossing(w) }),
  ),
  running('a function that gives a thenable', (w) => () => ({
    // biome-ignore lint/suspicious/noThenProperty: the point of it
    then(): never {
      w.enter();
      throw w.toss(new Error('then'));
    },
  })),
  running('a function that gives a Proxy', (w) => () => proxyOf(w, {}, 'throws')),
  fresh('a function that gives a revoked Proxy', () => () => revoked({})),
];

/** Bytes that lie: every property that a copy could ask runs the caller's code. */
class LyingBytes extends Uint8Array {
  static world: World | undefined;
  static lie = 0;
  static get [Symbol.species](): Uint8ArrayConstructor {
    LyingBytes.world?.enter();
    return Uint8Array;
  }
  override get length(): number {
    LyingBytes.world?.enter();
    return LyingBytes.lie;
  }
  override get byteLength(): number {
    return this.length;
  }
  override get byteOffset(): number {
    LyingBytes.world?.enter();
    return 0;
  }
  override get buffer(): ArrayBuffer {
    LyingBytes.world?.enter();
    return new ArrayBuffer(1);
  }
  override subarray(): Uint8Array<ArrayBuffer> {
    LyingBytes.world?.enter();
    return new Uint8Array(3);
  }
  override set(): void {
    LyingBytes.world?.enter();
  }
  override fill(): this {
    LyingBytes.world?.enter();
    return this;
  }
  override slice(): Uint8Array<ArrayBuffer> {
    LyingBytes.world?.enter();
    return new Uint8Array(3);
  }
}

function lying(w: World, length: unknown): Uint8Array {
  LyingBytes.world = w;
  LyingBytes.lie = length as number;
  return new LyingBytes(300);
}

function detached(): Uint8Array {
  const bytes = new Uint8Array(300);
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
  return bytes;
}

type Resizable = ArrayBuffer & { resize(length: number): void };

function resizable(): Resizable {
  const Buffer = ArrayBuffer as unknown as new (length: number, options: { maxByteLength: number }) => Resizable;
  return new Buffer(300, { maxByteLength: 8192 });
}

const BYTES: readonly Hostile[] = [
  fresh('bytes', () => new Uint8Array(300)),
  fresh('no bytes', () => new Uint8Array(0)),
  fresh('bytes of two pages', () => new Uint8Array(8192)),
  fresh('a Buffer', () => Buffer.alloc(100)),
  fresh('shared bytes', () => new Uint8Array(new SharedArrayBuffer(300))),
  fresh('clamped bytes', () => new Uint8ClampedArray(300)),
  fresh('floats', () => new Float64Array(30)),
  fresh('a DataView', () => new DataView(new ArrayBuffer(300))),
  fresh('a buffer', () => new ArrayBuffer(300)),
  fresh('bytes of another realm', () => runInNewContext('new Uint8Array(300)')),
  fresh('detached bytes', detached),
  fresh('bytes over a buffer that has shrunk', () => {
    const buffer = resizable();
    const bytes = new Uint8Array(buffer, 200, 100);
    buffer.resize(100);
    return bytes;
  }),
  fresh('bytes over a buffer that may grow', () => new Uint8Array(resizable() as unknown as ArrayBuffer)),
  fresh('bytes without a prototype', () => Object.setPrototypeOf(new Uint8Array(300), null)),
  fresh('an object with the prototype of bytes', () => Object.create(Uint8Array.prototype)),
  fresh('bytes with a length of their own', () =>
    Object.defineProperty(new Uint8Array(300), 'length', { value: 100_000 }),
  ),
  running('bytes with a length that runs code', (w) =>
    Object.defineProperty(new Uint8Array(300), 'length', {
      get(): number {
        w.enter();
        return 8192;
      },
    }),
  ),
  running('bytes with a subarray that runs code', (w) =>
    Object.assign(new Uint8Array(9000), {
      subarray(): Uint8Array {
        w.enter();
        return new Uint8Array(9000);
      },
    }),
  ),
  ...[300, 0, 100_000, Number.NaN, -1, 2 ** 53, '300', undefined, 300n].map((length) =>
    running(`bytes that lie, ${String(length)} long`, (w) => lying(w, length)),
  ),
  running('a Proxy of bytes', (w) => proxyOf(w, new Uint8Array(300), 'obeys')),
];

/** Objects of the library in a place where they do not belong, or that are no more. */
const OURS: readonly Hostile[] = [
  fresh('the machine', (w) => w.machine),
  fresh('the space', (w) => w.space),
  fresh('another space', (w) => w.guest),
  fresh('the file', (w) => w.file),
  fresh('the accessor', (w) => w.accessor),
  fresh("the machine's handle", (w) => w.machine.handle),
  fresh("the space's handle", (w) => w.space.handle),
  fresh("the file's handle", (w) => w.file.handle),
  fresh('a closed space', (w) => {
    const space = w.machine.createSpace();
    space.close();
    return space;
  }),
  fresh("a closed space's handle", (w) => {
    const space = w.machine.createSpace();
    space.close();
    return space.handle;
  }),
  fresh('a closed file', (w) => {
    const file = w.machine.createFile('hostile-good', {}, 100);
    file.close();
    return file;
  }),
  fresh("a closed file's handle", (w) => {
    const file = w.machine.createFile('hostile-good', {}, 100);
    file.close();
    return file.handle;
  }),
  fresh('an object with the prototype of the space', (w) => Object.create(w.space)),
  fresh('an object with the prototype of the machine', (w) => Object.create(w.machine)),
  fresh('an object with the prototype of the file', (w) => Object.create(w.file)),
  running('a Proxy of the space', (w) => proxyOf(w, w.space, 'obeys')),
  running('a Proxy of the machine', (w) => proxyOf(w, w.machine, 'obeys')),
  running('a Proxy of the file', (w) => proxyOf(w, w.file, 'obeys')),
];

const HOSTS: readonly Hostile[] = [
  fresh('a URL', () => new URL('file:///nothing/there')),
  fresh('a URL of the web', () => new URL('https://example.org/')),
  ...[new Error('hostile'), null, undefined].map((thrown) =>
    running(`a URL that throws ${String(thrown)}`, (w) => {
      const url = new URL('file:///nothing/there');
      for (const name of ['href', 'protocol', 'pathname', 'hostname', 'host']) {
        Object.defineProperty(url, name, {
          get(): never {
            w.enter();
            throw w.toss(thrown);
          },
        });
      }
      return url;
    }),
  ),
  fresh('a Blob', () => new Blob(['some bytes'])),
  running('a Blob that lies', (w) =>
    Object.defineProperty(new Blob(['some bytes']), 'size', {
      get(): unknown {
        w.enter();
        return Number.NaN;
      },
    }),
  ),
  fresh('an object with the prototype of a Blob', () => Object.create(Blob.prototype)),
  fresh('a WebAssembly.Memory', () => new WebAssembly.Memory({ initial: 4, maximum: 8, shared: true })),
  fresh('a WebAssembly.Memory of its own', () => new WebAssembly.Memory({ initial: 4, maximum: 8 })),
];

export const VALUES: readonly Hostile[] = [
  ...PRIMITIVES,
  ...NUMBERS,
  ...ADDRESSES,
  ...OBJECTS,
  ...FUNCTIONS,
  ...BYTES,
  ...OURS,
  ...HOSTS,
];

/** Hostile variants of an object with these fields: each field wrong, missing, or telling another tale the second time. */
export function variantsOf(fields: readonly string[], good: (world: World) => Record<string, unknown>): Hostile[] {
  const out: Hostile[] = [];
  const others = [undefined, null, Number.NaN, -1, 0, 1, 64, 2 ** 31, 2 ** 53, '1', 1n, Symbol('later')];
  for (const field of fields) {
    for (const value of VALUES) {
      out.push({ ...value, name: `${field}: ${value.name}`, make: (w) => ({ ...good(w), [field]: value.make(w) }) });
    }
    for (const later of others) {
      for (const times of [1, 2, 3]) {
        const name = `${field} that turns into ${String(later)} after ${times}`;
        out.push(running(name, (w) => turning(w, good(w), field, later, times)));
      }
    }
    out.push(running(`${field}: a getter that throws`, (w) => turning(w, good(w), field, tossing(w), 0)));
    out.push(running(`${field}: a getter that runs code`, (w) => turning(w, good(w), field, undefined, 1e9)));
  }
  out.push(running('a Proxy of good ones', (w) => proxyOf(w, good(w), 'obeys')));
  out.push(running('a Proxy of good ones that throws', (w) => proxyOf(w, good(w), 'throws')));
  out.push(fresh('a revoked Proxy of good ones', (w) => revoked(good(w))));
  out.push(fresh('good ones, inherited', (w) => Object.create(good(w))));
  out.push(fresh('good ones, frozen', (w) => Object.freeze({ ...good(w) })));
  return out;
}

function turning(w: World, good: Record<string, unknown>, field: string, later: unknown, times: number): object {
  let asked = 0;
  const first = good[field];
  return Object.defineProperty({ ...good }, field, {
    enumerable: true,
    get(): unknown {
      w.enter();
      if (asked++ < times) return first;
      return typeof later === 'function' ? (later as () => unknown)() : later;
    },
  });
}
