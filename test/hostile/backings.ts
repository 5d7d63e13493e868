/** Hostile backings: what a factory, a read and a close may do instead of what they should. */
import { type Backing, registerBacking } from '../../src/node.ts';
import { PAGE } from '../support.ts';
import { type Hostile, proxyOf, THROWN } from './values.ts';
import type { World } from './world.ts';

export const HOSTILE_KIND = 'hostile-backing';
/** All that a hostile backing ever writes. */
export const MARK = 0x5c;

type Read = (world: World, position: number, targets: Uint8Array[]) => unknown;
export interface Behaviour {
  readonly factory?: (world: World) => unknown;
  readonly read?: Read;
  readonly close?: (world: World) => unknown;
}
export interface Named {
  readonly name: string;
  readonly behaviour: Behaviour;
  /** Answers wrongly: an access that needs the page must fail. */
  readonly fails?: boolean;
}

const files = new Map<number, { readonly world: World; readonly behaviour: Behaviour }>();
let made = 0;

/** A number to put into a file's options. */
export function enlist(world: World, behaviour: Behaviour): number {
  files.set(++made, { world, behaviour });
  return made;
}

/** In the instance that makes the files, where nobody reads them, and in the one that does. */
export function registerHostile(instance?: { readonly registerBacking: typeof registerBacking }): void {
  instance?.registerBacking(HOSTILE_KIND, () => ({ read: () => 0, close: () => undefined }));
  registerBacking(HOSTILE_KIND, (options) => {
    const entry = files.get((options as { id: number }).id);
    if (entry === undefined) throw new Error('no such file');
    const { world, behaviour } = entry;
    const backing: Backing = {
      read: (position, targets) => (behaviour.read ?? honest)(world, position, targets as Uint8Array[]) as number,
      close: () => behaviour.close?.(world) as undefined,
    };
    if (behaviour.factory === undefined) return backing;
    const answer = behaviour.factory(world);
    return (answer === GOOD ? backing : answer) as Backing;
  });
}

/** For a factory that does other things than answer wrongly. */
const GOOD: unique symbol = Symbol('good');

const honest: Read = (_world, _position, targets) => {
  for (const target of targets) target.fill(MARK);
  return targets.length * PAGE;
};

/** Does `act` and reads. */
function after(act: (world: World) => void): Read {
  return (w, at, targets) => {
    act(w);
    return honest(w, at, targets);
  };
}

/** Does `act` and gives a good backing. */
function afterwards(act: (world: World) => void): (world: World) => unknown {
  return (w) => {
    act(w);
    return GOOD;
  };
}

/** Reads, and gives `count`. */
function saying(count: unknown): Read {
  return (w, at, targets) => {
    honest(w, at, targets);
    return count;
  };
}

function throws(what: Hostile): (world: World) => never {
  return (w) => {
    w.enter();
    throw w.toss(what.make(w));
  };
}

const COUNTS: [string, unknown][] = [
  ...[Number.NaN, -1, 0, 0.5, PAGE - 11, Number.NEGATIVE_INFINITY].map((n): [string, unknown] => [String(n), n]),
  ['a bigint', 12288n],
  ['a string', '12288'],
  ['true', true],
  ['null', null],
  ['nothing', undefined],
  ['a symbol', Symbol('hostile')],
  ['an object', {}],
];
/** More than there is: an answer that a careless reader takes for a whole page. */
const LONG: [string, unknown][] = [
  ['one too many', 3 * PAGE + 1],
  ['1e9', 1e9],
  ['Infinity', Number.POSITIVE_INFINITY],
  ['2^53', 2 ** 53],
];

function converting(world: World): object {
  const value = (): number => {
    world.enter();
    return 12288;
  };
  return { valueOf: value, [Symbol.toPrimitive]: value };
}

export const READS: readonly Named[] = [
  { name: 'a read that runs code', behaviour: { read: after((w) => w.enter()) } },
  ...THROWN.map((what) => ({
    name: `a read that throws ${what.name}`,
    fails: true,
    behaviour: { read: throws(what) },
  })),
  ...[...COUNTS, ...LONG].map(([name, count]) => ({
    name: `a read that writes nothing and gives ${name}`,
    fails: true,
    behaviour: { read: () => count },
  })),
  ...COUNTS.map(([name, count]) => ({
    name: `a read that writes all and gives ${name}`,
    fails: true,
    behaviour: { read: saying(count) },
  })),
  {
    name: 'a read that gives an object with a conversion',
    fails: true,
    behaviour: { read: (w) => converting(w) },
  },
  { name: 'an async read', fails: true, behaviour: { read: async (w, at, targets) => honest(w, at, targets) } },
  {
    name: 'a read that gives a Proxy',
    fails: true,
    behaviour: { read: (w) => proxyOf(w, {}, 'throws') },
  },
  {
    name: 'a read that writes nothing and gives all',
    behaviour: { read: (_w, _at, targets) => targets.length * PAGE },
  },
  {
    name: 'a read that writes a part and gives all',
    behaviour: {
      read: (_w, _at, targets) => {
        targets[0]?.fill(MARK, 0, 100);
        return targets.length * PAGE;
      },
    },
  },
  {
    name: 'a read that empties its list of targets',
    behaviour: {
      read: (w, at, targets) => {
        const done = honest(w, at, targets);
        targets.length = 0;
        return done;
      },
    },
  },
  {
    name: 'a read that replaces its targets',
    behaviour: {
      read: (w, at, targets) => {
        const done = honest(w, at, targets);
        targets[0] = proxyOf(w, new Uint8Array(1), 'throws') as Uint8Array;
        return done;
      },
    },
  },
  {
    name: 'a read that tries to take the buffer away',
    behaviour: {
      read: (w, at, targets) => {
        const done = honest(w, at, targets);
        const buffer = targets[0]?.buffer as ArrayBuffer;
        try {
          structuredClone(buffer, { transfer: [buffer] });
        } catch {
          // Shared memory cannot be transferred.
        }
        return done;
      },
    },
  },
  {
    name: 'a read that takes its time',
    behaviour: {
      read: (w, at, targets) => {
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2);
        return honest(w, at, targets);
      },
    },
  },
  {
    name: 'a read that registers its kind again',
    behaviour: { read: after(() => registerHostile()) },
  },
  {
    name: 'a read that touches what it reads',
    fails: true,
    behaviour: { read: (w) => w.space.load8(w.hostileAt) },
  },
];

export const FACTORIES: readonly Named[] = [
  { name: 'a factory that runs code', behaviour: { factory: afterwards((w) => w.enter()) } },
  {
    name: 'a factory that registers its kind again',
    behaviour: { factory: afterwards(() => registerHostile()) },
  },
  ...THROWN.map((what) => ({
    name: `a factory that throws ${what.name}`,
    fails: true,
    behaviour: { factory: throws(what) },
  })),
  ...[undefined, null, 5, 'a backing', {}, { read: 5, close: 5 }, { read: null }, Promise.resolve({})].map(
    (answer, i) => ({
      name: `a factory that gives no backing (${i})`,
      fails: true,
      behaviour: { factory: () => answer },
    }),
  ),
  {
    name: 'a factory that gives a Proxy that throws',
    fails: true,
    behaviour: { factory: (w) => proxyOf(w, {}, 'throws') },
  },
  {
    name: 'a factory that gives something with getters that throw',
    fails: true,
    behaviour: {
      factory: (w) =>
        Object.defineProperties(
          {},
          {
            read: { get: throws(THROWN[0] as Hostile).bind(null, w) },
            close: { get: throws(THROWN[0] as Hostile).bind(null, w) },
          },
        ),
    },
  },
  {
    name: 'a factory whose read is there only once',
    behaviour: {
      factory(w) {
        let asked = 0;
        return {
          get read(): unknown {
            return asked++ === 0 ? (at: number, targets: Uint8Array[]) => honest(w, at, targets) : undefined;
          },
          close: () => undefined,
        };
      },
    },
  },
  {
    name: 'a factory that gives something without close',
    behaviour: { factory: (w) => ({ read: (at: number, targets: Uint8Array[]) => honest(w, at, targets) }) },
  },
];

export const CLOSES: readonly Named[] = [
  { name: 'a close that runs code', behaviour: { close: (w) => w.enter() } },
  {
    name: 'a close that registers its kind again',
    behaviour: { close: () => registerHostile() },
  },
  ...THROWN.map((what) => ({ name: `a close that throws ${what.name}`, behaviour: { close: throws(what) } })),
  {
    name: 'a close that gives a thenable that throws',
    behaviour: { close: (w) => proxyOf(w, {}, 'throws') },
  },
];

/** An access to the hostile file, or an end of it: the public call's name, and the call. */
export interface Access {
  readonly name: string;
  readonly method: string;
  /** Needs the file's bytes, all of them. */
  readonly reads: boolean;
  readonly async?: boolean;
  /** What its backing does may make it fail. */
  readonly mayFail?: boolean;
  run(world: World): unknown;
}

const reads = (name: string, run: (w: World, at: number) => unknown): Access => ({
  name,
  method: name,
  reads: true,
  run: (w) => run(w, w.hostileAt),
});
const ends = (name: string, method: string, run: (w: World) => unknown): Access => ({
  name,
  method,
  reads: false,
  run,
});

export const ACCESSES: readonly Access[] = [
  reads('load8', (w, at) => w.space.load8(at)),
  reads('loadI64', (w, at) => w.space.loadI64(at + PAGE - 4)),
  reads('store32', (w, at) => w.space.store32(at + 2 * PAGE, MARK * 0x01010101)),
  reads('load32', (w, at) => w.space.run((memory) => memory.load32(at + PAGE))),
  reads('cas32', (w, at) => w.space.cas32(at, 1, 1)),
  reads('wait', (w, at) => w.space.wait(at, 1, 0)),
  reads('notify', (w, at) => w.space.notify(at, 1)),
  reads('read', (w, at) => w.space.read(at, new Uint8Array(100))),
  reads('read', (w, at) => w.space.read(at, new Uint8Array(w.hostileSize))),
  reads('write', (w, at) => w.space.write(at, new Uint8Array(100).fill(MARK))),
  reads('fill', (w, at) => w.space.fill(at + PAGE, 100, MARK)),
  reads('copy', (w, at) => w.space.copy(at, at + 2 * PAGE, 50)),
  { ...reads('populate', (w, at) => w.space.populate(at, 3)), async: true },
  ends('munmap', 'munmap', (w) => w.space.munmap(w.hostileAt, w.hostileSize)),
  ends('file.close', 'close', (w) => w.hostileFile.close()),
  ends('space.close', 'close', (w) => w.space.close()),
  ends('machine.close', 'close', (w) => w.machine.close()),
  ends('createFile', 'createFile', (w) => w.machine.createFile('hostile-good', {}, PAGE).close()),
];

/** Another file with the same backing. */
export const CREATE: Access = {
  ...ends('createFile', 'createFile', (w) => {
    const file = w.machine.createFile(HOSTILE_KIND, { id: w.hostileId }, PAGE);
    w.keep(file);
    return file;
  }),
  mayFail: true,
};
