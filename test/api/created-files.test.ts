/** `createFile`: what it refuses, with nothing changed, and what arrives at the factories. */
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { type Backing, type Machine, PAGE_SIZE, registerBacking, VmError } from '../../src/index.ts';
import { closing, DESIGNS, expectError, inUse, map, withMachine } from '../support.ts';

const seen: unknown[] = [];
const good: Backing = { read: () => 0, close: () => undefined };
registerBacking('created-good', (options, size) => {
  seen.push(options, size);
  return good;
});

/** The call fails with `code` and leaves the machine as it was. */
function refused(machine: Machine, code: string, create: () => unknown): VmError {
  const before = inUse(machine);
  const error = expectError(code, create);
  expect(inUse(machine)).toEqual(before);
  expect(error.syscall).toBe('createFile');
  return error;
}

class Point {
  x = 1;
}

const cycle: { self?: unknown } = {};
cycle.self = { deeper: [cycle] };
const sparse = [1, 2, 3];
delete sparse[1];
let deep: unknown[] = [];
for (let i = 0; i < 100_000; i++) deep = [deep];

describe('options that JSON does not give back as they were are EINVAL', () => {
  test.each<[string, () => unknown]>([
    ['a function', () => () => 1],
    ['a symbol', () => Symbol('s')],
    ['a bigint', () => 5n],
    ['NaN', () => Number.NaN],
    ['Infinity', () => Number.POSITIVE_INFINITY],
    ['-Infinity', () => Number.NEGATIVE_INFINITY],
    ['a Map', () => new Map([[1, 2]])],
    ['a Set', () => new Set([1])],
    ['a Date', () => new Date(0)],
    ['a RegExp', () => /x/],
    ['an Error', () => new Error('x')],
    ['an instance of a class', () => new Point()],
    ['an object whose prototype has values', () => Object.create({ inherited: 1 })],
    ['a subclass of Array', () => new (class extends Array<number> {})(1, 2)],
    ['a Uint8Array', () => new Uint8Array(4)],
    ['an ArrayBuffer', () => new ArrayBuffer(4)],
    ['a SharedArrayBuffer', () => new SharedArrayBuffer(4)],
    ['a boxed string', () => Object('text')],
    ['a promise', async () => 1],
    ['a cycle', () => cycle],
    ['an array with a hole', () => sparse],
    ['an array with undefined', () => [undefined]],
    ['an array with a name', () => Object.assign([1], { name: 1 })],
    ['an object with toJSON', () => ({ a: 1, toJSON: () => ({ a: 2 }) })],
    ['a symbol for a name', () => ({ [Symbol('s')]: 1 })],
    ['a property that is not enumerable', () => Object.defineProperty({}, 'hidden', { value: 1 })],
    ['arrays a hundred thousand deep', () => deep],
    [
      'a getter that throws',
      () => ({
        get broken() {
          throw new Error('no');
        },
      }),
    ],
    [
      'a Proxy that throws',
      () =>
        new Proxy(
          {},
          {
            ownKeys: () => {
              throw new VmError('EIO', 'proxy', 'no');
            },
          },
        ),
    ],
    ['a revoked Proxy', () => revoked()],
  ])('%s', (_name, make) => {
    withMachine({}, ({ machine }) => {
      seen.length = 0;
      for (const options of [make(), { inside: make() }, { deep: [{ er: make() }] }]) {
        refused(machine, 'EINVAL', () => machine.createFile('created-good', options, PAGE_SIZE));
      }
      expect(seen).toEqual([]);
    });
  });

  test('the message names the option', () => {
    withMachine({}, ({ machine }) => {
      const options = { list: [{ ok: 1 }, { when: new Date(0) }] };
      const error = refused(machine, 'EINVAL', () => machine.createFile('created-good', options, PAGE_SIZE));
      expect(error.message).toContain('options.list[1].when is an instance of a class');
    });
  });

  test.each<[string, unknown, unknown]>([
    ['undefined', undefined, undefined],
    ['null', null, null],
    ['a string', 'lone \ud800 and \0', 'lone \ud800 and \0'],
    ['numbers', [0, -1.5, 2 ** 53, 5e-324], [0, -1.5, 2 ** 53, 5e-324]],
    ['properties that are undefined, which vanish', { a: undefined, b: 1 }, { b: 1 }],
    [
      'one object in two places',
      [cycle.self === undefined, ...Array(2).fill({ x: [] })],
      [false, { x: [] }, { x: [] }],
    ],
    ['an object without a prototype', Object.assign(Object.create(null), { a: 1 }), { a: 1 }],
    ['objects of another realm', runInNewContext('({ a: [1, { b: 2 }] })'), { a: [1, { b: 2 }] }],
    ['a property named __proto__', JSON.parse('{"__proto__": {"a": 1}}'), JSON.parse('{"__proto__": {"a": 1}}')],
    ['a getter', { a: 1, ...Object.create(null) }, { a: 1 }],
  ])('but %s comes through', (_name, options, expected) => {
    withMachine({}, ({ machine }) => {
      seen.length = 0;
      closing(machine, machine.createFile('created-good', options, 3 * PAGE_SIZE));
      expect(seen).toEqual([expected, 3 * PAGE_SIZE]);
    });
  });

  test('what a getter says once is what every thread gets', () => {
    withMachine({}, ({ machine }) => {
      seen.length = 0;
      let times = 0;
      const options = {
        get n() {
          return ++times;
        },
      };
      closing(machine, machine.createFile('created-good', options, PAGE_SIZE));
      expect(seen[0]).toEqual({ n: 1 });
      expect(times).toBe(1);
    });
  });
});

describe.each(DESIGNS)('factories under %s', (design) => {
  test('a kind that this thread does not know is ENODEV', () => {
    withMachine({ design }, ({ machine }) => {
      const error = refused(machine, 'ENODEV', () => machine.createFile('created-unknown', {}, PAGE_SIZE));
      expect(error.message).toContain("'created-unknown'");
    });
  });

  test.each<[string, () => unknown, string]>([
    ['gives nothing', () => undefined, 'EINVAL'],
    ['gives null', () => null, 'EINVAL'],
    ['gives a number', () => 1, 'EINVAL'],
    ['gives a promise', async () => good, 'EINVAL'],
    ['gives an object without read', () => ({ close: () => undefined }), 'EINVAL'],
    ['gives an object without close', () => ({ read: () => 0 }), 'EINVAL'],
    ['gives an object whose read is no function', () => ({ read: 5, close: () => undefined }), 'EINVAL'],
  ])('one that %s fails the call, and nothing has changed', (_name, factory, code) => {
    withMachine({ design }, ({ machine }) => {
      registerBacking('created-broken', factory as () => Backing);
      refused(machine, code, () => machine.createFile('created-broken', {}, PAGE_SIZE));
      registerBacking('created-broken', () => good); // the control
      closing(machine, machine.createFile('created-broken', {}, PAGE_SIZE));
    });
  });

  test('one that is async is told so, and its rejection is nobody’s', async () => {
    await withMachine({ design }, async ({ machine }) => {
      registerBacking('created-broken', (async () => {
        throw new Error('lost');
      }) as unknown as () => Backing);
      const error = refused(machine, 'EINVAL', () => machine.createFile('created-broken', {}, PAGE_SIZE));
      expect(error.message).toContain('gave a promise: factories are synchronous');
      await new Promise((resolve) => setTimeout(resolve, 1));
    });
  });

  test.each<[string, unknown, string]>([
    ['an Error', new Error('the disk is on fire'), 'EIO'],
    ['undefined', undefined, 'EIO'],
    ['null', null, 'EIO'],
    ['a string', 'no', 'EIO'],
    ['a VmError', new VmError('EACCES', 'createFile', 'not yours'), 'EACCES'],
  ])('one that throws %s fails the call with it', (_name, thrown, code) => {
    withMachine({ design }, ({ machine }) => {
      registerBacking('created-broken', () => {
        throw thrown;
      });
      const error = refused(machine, code, () => machine.createFile('created-broken', {}, PAGE_SIZE));
      expect(error === thrown || error.cause === thrown).toBe(true);
      expect(error.message).toContain(thrown instanceof Error ? thrown.message : String(thrown));
    });
  });

  test('what was made is closed again when there is no room for the file', () => {
    withMachine({ design }, ({ machine }) => {
      let closed = 0;
      registerBacking('created-counted', () => ({ read: () => 0, close: () => void closed++ }));
      const slab = machine.kernel.slabs.mapping;
      const alloc = slab.alloc;
      slab.alloc = () => {
        throw new VmError('ENOMEM', 'alloc', 'no room');
      };
      const before = inUse(machine);
      try {
        expectError('ENOMEM', () => machine.createFile('created-counted', {}, PAGE_SIZE));
      } finally {
        slab.alloc = alloc;
      }
      expect(inUse(machine)).toEqual(before);
      expect(closed).toBe(1);
    });
  });

  test('neither getters nor factories run in a section', () => {
    withMachine({ design }, ({ machine, space }) => {
      const own = map(space, 1);
      const inside: boolean[] = [];
      registerBacking('created-watched', () => {
        inside.push(machine.kernel.rcu.inSection);
        return good;
      });
      space.run((m) => {
        m.store8(own, 1);
        const options = {
          get n() {
            inside.push(machine.kernel.rcu.inSection);
            return 1;
          },
        };
        closing(machine, machine.createFile('created-watched', options, PAGE_SIZE));
        expect(m.load8(own)).toBe(1);
      });
      expect(inside).toEqual([false, false]);
    });
  });
});

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}
