/** Hostile programs by hand: the combinations that matter most, and those that no table makes. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type Accessor,
  type Backing,
  createMachine,
  MAP_PRIVATE,
  type Machine,
  type MappedFile,
  PROT_READ,
  registerBacking,
  type Space,
  VmError,
} from '../../src/node.ts';
import { expectError, expectFault, map, PAGE, pattern, temporaryFiles, withMachine } from '../support.ts';
import { THROWN } from './values.ts';
import { ordinary, secondInstance, World } from './world.ts';

const files = temporaryFiles();
const path = files.write('hostile', pattern(3 * PAGE));
let instance: Awaited<ReturnType<typeof secondInstance>>;

beforeAll(async () => {
  instance = await secondInstance();
});
afterAll(() => files.remove());

const any = <T>(value: unknown): T => value as T;

let made = 0;
/** A file whose backing does `more` besides what a good one does, mapped in the space. */
function hostileFile(machine: Machine, space: Space, more: Partial<Backing>): { file: MappedFile; at: number } {
  const kind = `hostile-case-${++made}`;
  registerBacking(kind, () => ({
    read: (_position, targets) => {
      for (const target of targets) target.fill(1);
      return targets.length * PAGE;
    },
    close: () => undefined,
    ...more,
  }));
  const file = machine.createFile(kind, {}, 4 * PAGE);
  return { file, at: space.mmap({ length: file.size, prot: PROT_READ, flags: MAP_PRIVATE, file }) };
}

describe('a backing whose close closes the machine', () => {
  test.each(['file', 'machine', 'space'] as const)('while the %s is closed: no cpu is given back twice', (what) => {
    const machine = createMachine({ memory: 64 * PAGE, stallTimeout: 300 });
    const other = instance.attachMachine(machine.handle);
    const space = machine.createSpace();
    let newcomer: { cpu: number } | undefined;
    const { file, at } = hostileFile(machine, space, {
      close(): void {
        try {
          machine.close();
        } finally {
          // Another thread comes, as soon as there is a place.
          newcomer ??= takePlace(other.handle);
        }
      },
    });
    space.load8(at);
    if (what === 'file') {
      space.munmap(at, file.size);
      file.close();
    } else {
      file.close();
      (what === 'space' ? space : machine).close();
    }
    machine.close();
    const cpus = other.cpus().map(({ cpu }) => cpu);
    expect(cpus).toContain(other.cpu);
    if (newcomer !== undefined) expect(cpus).toContain(newcomer.cpu);
    expect(cpus).toHaveLength(newcomer === undefined ? 1 : 2);
  });

  /** A further cpu of the machine, in an instance of its own. */
  function takePlace(handle: unknown): { cpu: number } {
    const Place = Object.getPrototypeOf(instance.attachMachine(any(handle))).constructor;
    return new Place(handle, 'a newcomer');
  }
});

describe('what the function of run throws', () => {
  test.each(THROWN.map((thrown) => [thrown.name, thrown] as const))('%s comes out as it is', (_name, thrown) => {
    const world = new World(instance, { path });
    const value = thrown.make(world);
    let caught: unknown = 'nothing';
    try {
      world.space.run(() => {
        throw value;
      });
    } catch (error) {
      caught = error;
    }
    expect(Object.is(caught, value)).toBe(true);
    expect(world.inspect()).toEqual([]);
    expect(world.finish()).toEqual([]);
  });
});

describe('what a backing throws', () => {
  test.each(THROWN.map((thrown) => [thrown.name, thrown] as const))(
    '%s is the cause of a BusError',
    (_name, thrown) => {
      const world = new World(instance, { path });
      const value = thrown.make(world);
      let reads = 0;
      const { file, at } = hostileFile(world.machine, world.space, {
        read(): number {
          reads++;
          throw value;
        },
      });
      world.keep(file);
      for (const call of [() => world.space.load8(at), () => world.space.run((memory) => memory.load32(at + PAGE))]) {
        const error = expectFault('BUS_ADRERR', call);
        expect(Object.is(error.cause, value)).toBe(true);
        expect(['load8', 'load32']).toContain(error.syscall);
      }
      expect(reads).toBe(2);
      expect(world.inspect()).toEqual([]);
      expect(world.reset()).toEqual([]);
      expect(world.finish()).toEqual([]);
    },
  );
});

describe('the accessor outside of run', () => {
  test.each(['load8', 'load32', 'loadI64', 'loadF64', 'atomicLoad32'] as const)('%s is EINVAL', (method) => {
    withMachine({}, ({ space }) => {
      const at = map(space, 1);
      space.store8(at, 1);
      const kept = space.run((memory) => memory);
      expectError('EINVAL', () => kept[method](at));
      expectError('EINVAL', () => kept.store32(at, 2));
      const other = space.run((memory) => {
        expect(memory.load8(at)).toBe(1);
        return memory;
      });
      expect(other).toBe(kept);
    });
  });

  test('of a closed space, and of another space inside run, is EINVAL or EBADF', () => {
    withMachine({}, ({ machine, space, newSpace }) => {
      const at = map(space, 1);
      const guest = machine.createSpace();
      const kept: Accessor = guest.run((memory) => memory);
      space.run(() => expectError('EINVAL', () => kept.load8(at)));
      guest.close();
      expectError('EINVAL', () => kept.load8(at));
      newSpace().run(() => expectError('EINVAL', () => kept.load8(at)));
    });
  });
});

describe('handles that were written to', () => {
  test('a space closes itself, not the one that its handle was made to name', () => {
    withMachine({}, ({ space, newSpace }) => {
      const victim = newSpace();
      const at = map(victim, 1);
      victim.store8(at, 7);
      try {
        any<{ space: number }>(space.handle).space = victim.handle.space;
        any<{ serial: number }>(space.handle).serial = victim.handle.serial;
      } catch {
        // A frozen handle is as good.
      }
      space.close();
      expect(victim.load8(at)).toBe(7);
      ordinary(victim);
    });
  });

  test("a machine's control and frames stay what they were", () => {
    withMachine({}, ({ machine, space }) => {
      const { control, frames } = machine.handle;
      try {
        any<{ control: unknown }>(machine.handle).control = new SharedArrayBuffer(64);
        any<{ frames: unknown }>(machine.handle).frames = undefined;
      } catch {
        // As above.
      }
      ordinary(space);
      machine.createSpace().close();
      try {
        any<{ control: unknown }>(machine.handle).control = control;
        any<{ frames: unknown }>(machine.handle).frames = frames;
      } catch {
        // As above.
      }
    });
  });
});

describe('a worker that lies to watch', () => {
  test.each([
    ['ends at once', (listener: () => void) => listener()],
    ['ends many times', (listener: () => void) => [1, 2, 3].forEach(listener)],
  ])('with the number of this thread, and %s: nobody is reaped who lives', (_name, once) => {
    const world = new World(instance, { path });
    const thread = world.machine.cpus().find(({ cpu }) => cpu === world.machine.cpu)?.thread as number;
    expectError('EINVAL', () => world.machine.watch({ threadId: thread, once: (_event, listener) => once(listener) }));
    expect(world.inspect()).toEqual([]);
    expect(world.reset()).toEqual([]);
    expect(world.finish()).toEqual([]);
  });

  test("whose once throws: the error is the caller's", () => {
    withMachine({}, ({ machine }) => {
      const mine = new Error('mine');
      const worker = {
        threadId: 4242,
        once(): never {
          throw mine;
        },
      };
      expect(() => machine.watch(worker)).toThrow(mine);
    });
  });
});

describe('memory that moves', () => {
  test('wasm that grows the memory under a read: the machine works on, or says so', () => {
    const memory = new WebAssembly.Memory({ initial: 4, maximum: 64, shared: true });
    withMachine({ memory }, ({ machine, space }) => {
      const { file, at } = hostileFile(machine, space, {
        read(_position, targets): number {
          memory.grow(1);
          for (const target of targets) target.fill(2);
          return targets.length * PAGE;
        },
      });
      expect(space.load8(at)).toBe(2);
      ordinary(space);
      file.close();
    });
  });
});

describe('targets that a backing keeps', () => {
  test('are of pages of its own file, as long as they are in the cache', () => {
    withMachine({}, ({ machine, space }) => {
      const own = map(space, 4);
      space.fill(own, 4 * PAGE, 9);
      const kept: Uint8Array[] = [];
      const { file, at } = hostileFile(machine, space, {
        read(_position, targets): number {
          kept.push(...targets);
          for (const target of targets) target.fill(1);
          return targets.length * PAGE;
        },
      });
      space.load8(at);
      for (const target of kept) target.fill(3);
      const got = new Uint8Array(4 * PAGE);
      space.read(own, got);
      expect(got.every((byte) => byte === 9)).toBe(true);
      expect([1, 3]).toContain(space.load8(at));
      file.close();
    });
  });
});

/** So often must a call succeed before it is sure to have enough stack. */
const ENOUGH = 5;
/** Calls between two depths that are tried. */
const STRIDE = 3;

/** Calls `call` with more and more of the stack left, from none. How it ended, each way once. */
function nearTheEndOfTheStack(call: () => void, looksGood: () => boolean): Set<string> {
  const dive = (left: number, bottom: () => void): void => {
    if (left > 0) dive(left - 1, bottom);
    else bottom();
  };
  const seen = new Set<string>();
  const tried = (left: number, bottom: () => void): boolean => {
    try {
      dive(left, bottom);
      return true;
    } catch (error) {
      seen.add(error instanceof VmError ? error.code : (error as Error).name);
      return false;
    }
  };
  let deepest = 1024;
  while (tried(deepest, () => undefined)) deepest += 256;
  while (!tried(deepest, () => undefined)) deepest -= 1;
  seen.clear();
  for (let left = deepest, good = 0; good < ENOUGH; left -= STRIDE) {
    const returned = tried(left, call);
    if (!looksGood()) break;
    if (!returned) continue;
    good++;
    seen.add('returned');
  }
  return seen;
}

/** A RangeError may lose a record that was just allocated; it may not leave a lock, a section or a broken layout. */
describe('with hardly any stack left', () => {
  test.each([
    ['mmap and munmap', (space: Space) => space.munmap(map(space, 1), PAGE)],
    ['a hole in a mapping', (space: Space, at: number) => space.munmap(at + PAGE, PAGE)],
    ['mprotect', (space: Space, at: number) => space.mprotect(at + PAGE, PAGE, PROT_READ)],
    ['a store', (space: Space, at: number) => space.store8(at + 2 * PAGE, 1)],
  ])('%s: what fails holds nothing', (_name, call) => {
    const world = new World(instance, { path });
    let at = map(world.space, 4);
    const seen = nearTheEndOfTheStack(
      () => call(world.space, at),
      () => {
        world.space.munmap(at, 4 * PAGE);
        at = map(world.space, 4);
        return world.inspect().length === 0;
      },
    );
    expect(world.inspect()).toEqual([]);
    expect([...seen].filter((how) => how !== 'RangeError')).toEqual(['returned']);
    ordinary(world.space);
    world.machine.close();
  });
});
