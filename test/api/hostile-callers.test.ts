/** Objects of callers that run code when they are looked at: none of it may run between a check, a translation and its use. */
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import {
  attachMachine,
  attachSpace,
  createMachine,
  KiB,
  MAP_PRIVATE,
  type MappedFile,
  type MmapOptions,
  machineOf,
  PROT_READ,
  registerBacking,
  type Space,
} from '../../src/index.ts';
import { closing, expectError, map, PAGE, PRIVATE, RW, withMachine } from '../support.ts';

registerBacking('test-hostile', () => ({
  read: (_position, targets) => {
    beforeRead();
    return targets.reduce((sum, target) => sum + target.fill(7).length, 0);
  },
  close: () => undefined,
}));
let beforeRead: () => void = () => undefined;

// biome-ignore lint/suspicious/noExplicitAny: what callers hand in is the point
const any = (value: unknown): any => value;

/** What can be looked up on a Uint8Array, each running `act` first. */
const TRAPS = [
  'subarray',
  'slice',
  'set',
  'fill',
  'copyWithin',
  'length',
  'byteLength',
  'byteOffset',
  'buffer',
  'constructor',
  Symbol.iterator,
  Symbol.toStringTag,
] as const;

function hostileBytes(length: number, act: (trap: string) => void): Uint8Array {
  class Hostile extends Uint8Array {
    static get [Symbol.species](): Uint8ArrayConstructor {
      act('Symbol.species');
      return Uint8Array;
    }
  }
  const bytes = new Hostile(length);
  for (const trap of TRAPS) {
    const found = any(bytes)[trap];
    Object.defineProperty(bytes, trap, {
      get() {
        act(String(trap));
        return found;
      },
    });
  }
  return bytes;
}

describe('buffers', () => {
  test.each(['read', 'write'] as const)('%s runs no code of a subclass of Uint8Array', (call) => {
    withMachine({}, ({ space }) => {
      const at = map(space, 2);
      space.fill(at, 2 * PAGE, 1);
      const trapped: string[] = [];
      const bytes = hostileBytes(2 * PAGE, (trap) => {
        if (trapped.push(trap) > 1) return;
        space.munmap(at, 2 * PAGE);
        space.mmap({ length: PAGE, prot: RW, flags: PRIVATE, addr: at + 16 * PAGE });
      });
      expect(space[call](at, bytes)).toBe(2 * PAGE);
      expect(trapped).toEqual([]);
      const plain = new Uint8Array(2 * PAGE);
      space.read(at, plain);
      expect(plain).toEqual(new Uint8Array(2 * PAGE).fill(call === 'read' ? 1 : 0));
    });
  });

  test('a subclass whose subarray replaces the mapping cannot make a write land in another one', () => {
    withMachine({}, ({ space }) => {
      const at = map(space, 1);
      space.store8(at, 1);
      let victim = 0;
      class Replacing extends Uint8Array {
        override subarray(start?: number, end?: number): never {
          if (victim === 0) {
            space.munmap(at, PAGE);
            victim = map(space, 64);
            space.fill(victim, 64 * PAGE, 3);
          }
          return super.subarray(start, end) as never;
        }
      }
      space.write(at, new Replacing(PAGE).fill(9));
      victim = victim === 0 ? map(space, 64) : victim;
      space.fill(victim, 1, 3);
      expect(space.load8(at)).toBe(9);
    });
  });

  test('the Uint8Array of another realm, a Buffer and a part of a shared buffer are as good as any', () => {
    withMachine({}, ({ space }) => {
      const at = map(space, 2);
      const foreign = runInNewContext('new Uint8Array(5000).fill(3)') as Uint8Array;
      const shared = new Uint8Array(new SharedArrayBuffer(6000), 500, 5000).fill(4);
      const growable = any(SharedArrayBuffer);
      const tracking = new Uint8Array(new growable(5000, { maxByteLength: 6000 })).fill(5);
      for (const source of [foreign, Buffer.alloc(5000, 2), shared, tracking]) {
        expect(space.write(at + 3, source)).toBe(5000);
        const target = runInNewContext('new Uint8Array(5000)') as Uint8Array;
        expect(space.read(at + 3, target)).toBe(5000);
        expect(Buffer.from(target).equals(Buffer.from(source))).toBe(true);
      }
    });
  });

  test('what only looks like a Uint8Array is EINVAL', () => {
    withMachine({}, ({ space }) => {
      const at = map(space, 1);
      const fakes = [
        new Proxy(new Uint8Array(8), {}),
        Object.create(Uint8Array.prototype),
        { length: 8, buffer: new ArrayBuffer(8), byteOffset: 0, [Symbol.toStringTag]: 'Uint8Array' },
        new Uint8ClampedArray(8),
        new Int8Array(8),
      ];
      for (const fake of fakes) {
        expectError('EINVAL', () => space.read(at, any(fake)));
        expectError('EINVAL', () => space.write(at, any(fake)));
      }
    });
  });

  test('a detached buffer and a view beyond a buffer that has shrunk are EINVAL', () => {
    withMachine({}, ({ space }) => {
      const at = map(space, 1);
      const detached = new Uint8Array(8);
      structuredClone(detached.buffer, { transfer: [detached.buffer] });
      const resizable = new (any(ArrayBuffer))(64, { maxByteLength: 128 });
      const beyond = new Uint8Array(resizable, 32, 16);
      const tracking = new Uint8Array(resizable);
      resizable.resize(40);
      for (const bytes of [detached, beyond]) {
        expectError('EINVAL', () => space.read(at, bytes));
        expectError('EINVAL', () => space.write(at, bytes));
      }
      expect(space.read(at, tracking)).toBe(40); // the control: it follows its buffer
      expect(space.read(at, new Uint8Array(0))).toBe(0);
    });
  });

  test.each([
    ['detached', (buffer: ArrayBuffer) => structuredClone(buffer, { transfer: [buffer] })],
    ['shrunk', (buffer: ArrayBuffer) => any(buffer).resize(PAGE)],
  ])('a buffer that is %s while a page is read is EINVAL, with what was done', (_name, spoil) => {
    withMachine({}, ({ machine, space }) => {
      const at = map(space, 3);
      const file = closing(machine, machine.createFile('test-hostile', {}, PAGE));
      space.munmap(at + PAGE, PAGE);
      space.mmap({ length: PAGE, prot: RW, flags: 0x12, addr: at + PAGE, file });
      const buffer = new (any(ArrayBuffer))(3 * PAGE, { maxByteLength: 3 * PAGE }) as ArrayBuffer;
      beforeRead = () => {
        beforeRead = () => undefined;
        spoil(buffer);
      };
      const error = expectError('EINVAL', () => space.read(at, new Uint8Array(buffer)));
      expect(error).toMatchObject({ syscall: 'read', address: at + PAGE, done: PAGE });
      expect(space.load8(at + PAGE)).toBe(7);
    });
  });
});

describe('options and handles', () => {
  test('options of mmap that close the space are EBADF, and nothing is mapped', () => {
    withMachine({}, ({ machine, newSpace }) => {
      for (const key of ['length', 'prot', 'flags', 'addr', 'offset', 'file']) {
        const space = newSpace();
        const options: Record<string, unknown> = { length: PAGE, prot: RW, flags: PRIVATE };
        const value = options[key];
        Object.defineProperty(options, key, {
          get() {
            space.close();
            return value;
          },
        });
        expectError('EBADF', () => space.mmap(any(options)));
        expect(space.closed).toBe(true);
        expect(machine.census().mappings).toBe(0);
      }
    });
  });

  test('each option of mmap is read once', () => {
    withMachine({}, ({ space }) => {
      const reads: string[] = [];
      const options = new Proxy<MmapOptions>(
        { length: PAGE, prot: RW, flags: PRIVATE },
        {
          get(target, key) {
            reads.push(String(key));
            return any(target)[key];
          },
        },
      );
      space.mmap(options);
      expect(reads.sort()).toEqual(['addr', 'file', 'flags', 'length', 'offset', 'prot']);
    });
  });

  test('a file whose methods were replaced is the file that it is, and a likeness of one is EINVAL', () => {
    withMachine({}, ({ machine, space }) => {
      const file = closing(machine, machine.createFile('test-hostile', {}, PAGE));
      const options = { length: PAGE, prot: PROT_READ, flags: MAP_PRIVATE };
      let asked = 0;
      Object.defineProperty(file, 'mappingFor', {
        get() {
          asked++;
          return () => 12345;
        },
      });
      const at = space.mmap({ ...options, file });
      expect(space.load8(at)).toBe(7);
      expect(asked).toBe(0);
      const likeness = [new Proxy(file, {}), Object.create(file), Object.create(Object.getPrototypeOf(file))];
      for (const each of likeness) expectError('EINVAL', () => space.mmap({ ...options, file: each as MappedFile }));
    });
  });

  test('the limit of createSpace is read once, before the machine is looked at', () => {
    const machine = createMachine({ memory: 256 * KiB });
    const values = [PAGE, Number.NaN];
    const space = machine.createSpace({
      get limit() {
        return values.shift();
      },
    });
    expect(map(space, 1)).toBeGreaterThan(0);
    expectError('ENOMEM', () => map(space, 1));
    const closes = {
      get limit() {
        machine.close();
        return PAGE;
      },
    };
    expectError('EBADF', () => machine.createSpace(closes));
  });

  test('handles are read once, before anything is looked at', () => {
    const machine = createMachine({ memory: 256 * KiB });
    const space = machine.createSpace();
    const file = machine.createFile('test-hostile', {}, PAGE);
    const reads: string[] = [];
    const once = <T extends object>(handle: T, act: () => void = () => undefined): T =>
      new Proxy(handle, {
        get(target, key) {
          reads.push(String(key));
          act();
          return reads.filter((read) => read === key).length > 1 ? undefined : any(target)[key];
        },
      });
    const readOf = (call: () => unknown): string[] => {
      reads.length = 0;
      call();
      return [...reads].sort();
    };
    const memory = ['control', 'frameBytes', 'frames'];
    expect(readOf(() => machine.attachSpace(once(space.handle)))).toEqual(
      [...memory, 'kind', 'serial', 'space', 'version'].sort(),
    );
    expect(readOf(() => attachSpace(once(space.handle)))).toEqual(
      [...memory, 'kind', 'serial', 'space', 'version'].sort(),
    );
    expect(readOf(() => machine.attachFile(once(file.handle)))).toEqual(
      ['kind', 'version', 'machine', 'file', 'serial'].sort(),
    );
    expect(readOf(() => attachMachine(once(machine.handle)))).toEqual([...memory, 'kind', 'version'].sort());
    const spaceHandle = space.handle;
    const fileHandle = file.handle;
    const closing = (): void => {
      reads.length = 0;
      machine.close();
    };
    expectError('EBADF', () => machine.attachFile(once(fileHandle, closing)));
    expectError('EBADF', () => machine.attachSpace(once(spaceHandle, closing)));
  });

  test('a handle whose memory only looks like memory is EPROTO', () => {
    withMachine({}, ({ machine, space }) => {
      for (const fake of [Object.create(SharedArrayBuffer.prototype), Object.create(ArrayBuffer.prototype)]) {
        expectError('EPROTO', () => attachMachine({ ...machine.handle, control: fake }));
        expectError('EPROTO', () => attachMachine({ ...machine.handle, frames: fake }));
        expectError('EPROTO', () => attachSpace({ ...space.handle, control: fake }));
        expectError('EINVAL', () => createMachine({ memory: { buffer: fake } }));
      }
    });
  });

  test('frames that could shrink are EINVAL', () => {
    const buffer = new (any(ArrayBuffer))(256 * KiB, { maxByteLength: 512 * KiB });
    expectError('EINVAL', () => createMachine({ memory: { buffer }, shared: false }));
  });

  test('machineOf a likeness of a space is EINVAL', () => {
    withMachine({}, ({ space }) => {
      for (const each of [Object.create(space), Object.create(Object.getPrototypeOf(space)), new Proxy(space, {})]) {
        expectError('EINVAL', () => machineOf(each as Space));
      }
    });
  });
});

describe('results of run', () => {
  test('are looked at outside of the section, and their then is read once', () => {
    withMachine({ stallTimeout: 500 }, ({ machine, space }) => {
      let reads = 0;
      const withThen = (get: () => unknown): object => Object.defineProperty(() => 1, 'then', { get });
      const late = withThen(() => {
        machine.drain(); // EDEADLK in a section
        return reads++ === 0 ? () => undefined : 5;
      });
      expectError('EINVAL', () => space.run(() => late));
      expect(reads).toBe(1);
      const throwing = withThen(() => () => {
        throw new Error('from then');
      });
      expectError('EINVAL', () => space.run(() => throwing));
      const harmless = withThen(() => 5);
      expect(space.run(() => harmless) === harmless).toBe(true);
    });
  });
});
