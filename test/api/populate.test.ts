/** populate where a thread cannot read a page itself: asynchronous reads, what may go wrong with them, and that it always ends. */
import { afterEach, describe, expect, test, vi } from 'vitest';
import { openBlob } from '../../src/browser.ts';
import {
  type Backing,
  BusError,
  createMachine,
  KiB,
  MAP_PRIVATE,
  type Machine,
  type MappedFile,
  PROT_READ,
  registerBacking,
  type Space,
  VmError,
  WouldBlock,
} from '../../src/index.ts';
import { P_LOCK } from '../../src/memory/page.layout.ts';
import { CPUS_USED } from '../../src/sync/control.layout.ts';
import { closing, DESIGNS, expectRejection, map, PAGE, pattern, withMachine } from '../support.ts';

type ReadAsync = NonNullable<Backing['readAsync']>;
const readers = new Map<string, ReadAsync | undefined>();

registerBacking('test-async', (options) => {
  const { name } = options as { name: string };
  const backing: Backing = {
    read() {
      throw new WouldBlock('fault', 'an asynchronous read');
    },
    close: () => undefined,
  };
  const readAsync = readers.get(name);
  if (readAsync !== undefined) backing.readAsync = readAsync;
  return backing;
});
afterEach(() => readers.clear());

function make(machine: Machine, size: number, readAsync?: ReadAsync): MappedFile {
  const name = `f${readers.size}`;
  readers.set(name, readAsync);
  return closing(machine, machine.createFile('test-async', { name }, size));
}

function mapAll(space: Space, file: MappedFile): number {
  return space.mmap({ length: file.size, prot: PROT_READ, flags: MAP_PRIVATE, file });
}

/** A reader of `bytes` that takes its time, and what it was asked for. */
function slow(bytes: Uint8Array): { readAsync: ReadAsync; asked: [number, number][] } {
  const asked: [number, number][] = [];
  const readAsync: ReadAsync = async (position, length) => {
    asked.push([position, length]);
    await new Promise((done) => setTimeout(done, 1));
    return bytes.slice(position, position + length);
  };
  return { readAsync, asked };
}

/** toEqual takes its time. */
function expectSame(got: Uint8Array, expected: Uint8Array): void {
  expect(Buffer.compare(got, expected)).toBe(0);
}

function bytesAt(space: Space, address: number, length: number): Uint8Array {
  const got = new Uint8Array(length);
  expect(space.read(address, got)).toBe(length);
  return got;
}

const HOSTS = DESIGNS.flatMap((design) => [true, false].map((shared) => ({ design, shared })));

describe.each(HOSTS)('populate with asynchronous reads under %o', (host) => {
  test('brings in a file many times larger than memory, part by part and as a whole', async () => {
    await withMachine({ ...host, memory: 1024 * KiB }, async ({ machine, space }) => {
      const bytes = pattern(4 * 1024 * KiB + 100);
      const { readAsync, asked } = slow(bytes);
      const at = mapAll(space, make(machine, bytes.length, readAsync));
      const part = 16 * PAGE;
      for (let done = 0; done < bytes.length; done += part) {
        const size = Math.min(part, bytes.length - done);
        expect(await space.populate(at + done, size)).toBe(size);
        expectSame(bytesAt(space, at + done, size), bytes.subarray(done, done + size));
      }
      const pages = Math.ceil(bytes.length / PAGE);
      expect(asked.length).toBeLessThanOrEqual(pages / 4); // several pages at once
      expect(Math.max(...asked.map(([, length]) => length))).toBeLessThanOrEqual(32 * PAGE);
      expect(await space.populate(at, bytes.length)).toBe(bytes.length);
      expect(bytesAt(space, at + bytes.length - 100, 100)).toEqual(bytes.slice(-100));
      // What is behind the end of the file is zero, on its last page, and no page at all after it.
      const last = at + (pages - 1) * PAGE;
      expect(bytesAt(space, last + 200, PAGE - 200).every((byte) => byte === 0)).toBe(true);
    });
  });

  test('a Blob is read without FileReaderSync', async () => {
    await withMachine({ ...host, memory: 256 * KiB }, async ({ machine, space }) => {
      const bytes = pattern(700 * KiB);
      const file = closing(machine, await openBlob(machine, new Blob([bytes as Uint8Array<ArrayBuffer>])));
      const at = mapAll(space, file);
      expect(await space.populate(at + 500 * KiB, 40 * KiB)).toBe(40 * KiB);
      expectSame(bytesAt(space, at + 500 * KiB, 40 * KiB), bytes.subarray(500 * KiB, 540 * KiB));
      expect(await space.populate(at, file.size)).toBe(file.size);
    });
  });

  test('a rejection, a throw and a wrong answer are BusErrors with their cause, and nothing stays behind', async () => {
    await withMachine(host, async ({ machine, space }) => {
      const failure = new Error('the network is down');
      const bytes = (length: number) => pattern(length) as unknown;
      const bad: [(length: number) => unknown, unknown][] = [
        [() => Promise.reject(failure), failure],
        [
          () => {
            throw failure;
          },
          failure,
        ],
        [() => Promise.reject(undefined), undefined],
        [async (length) => bytes(length - 1), 'EIO'],
        [async (length) => bytes(length + 1), 'EIO'],
        [async () => new Uint8Array(0), 'EIO'],
        [async () => undefined, 'EIO'],
        [async (length) => new ArrayBuffer(length), 'EIO'],
        [async (length) => new Uint16Array(length), 'EIO'],
        [async (length) => new Proxy(pattern(length), {}), 'EIO'],
        [async (length) => Object.create(Uint8Array.prototype, { length: { value: length } }), 'EIO'],
      ];
      for (const [answer, cause] of bad) {
        const at = mapAll(space, make(machine, 3 * PAGE, ((_position, length) => answer(length)) as ReadAsync));
        const error = (await expectRejection('EFAULT', () => space.populate(at, 3 * PAGE))) as BusError;
        expect(error).toBeInstanceOf(BusError);
        expect([error.syscall, error.address]).toEqual(['populate', at]);
        if (cause === 'EIO') expect(error.cause).toMatchObject({ name: 'VmError', code: 'EIO' });
        else expect(error.cause).toBe(cause);
      }
      machine.drain();
      expect(machine.census().frames.live).toBeLessThanOrEqual(3);
    });
  });

  test('a failure after the first bytes gives the bytes done, as read does', async () => {
    await withMachine(host, async ({ machine, space }) => {
      const bytes = pattern(100 * PAGE);
      const at = mapAll(
        space,
        make(machine, bytes.length, async (position, length) => {
          if (position > 0) throw new Error('only the beginning');
          return bytes.slice(position, position + length);
        }),
      );
      const done = await space.populate(at, bytes.length);
      expect(done).toBeGreaterThanOrEqual(PAGE);
      expect(done % PAGE).toBe(0);
      expect(bytesAt(space, at, done)).toEqual(bytes.slice(0, done));
      await expectRejection('EFAULT', () => space.populate(at + done, PAGE));
      expect(await space.populate(at, 200 * PAGE)).toBe(done);
    });
  });

  test('the answer is copied: no getter, subclass or later change of the caller’s matters', async () => {
    await withMachine(host, async ({ machine, space }) => {
      class Odd extends Uint8Array {
        get size(): number {
          throw new Error('size');
        }
        override subarray(): never {
          throw new Error('subarray');
        }
        override slice(): never {
          throw new Error('slice');
        }
        static get [Symbol.species](): never {
          throw new Error('species');
        }
      }
      let given: Odd | undefined;
      const at = mapAll(
        space,
        make(machine, 2 * PAGE, async (position, length) => {
          const own = pattern(2 * PAGE);
          given = new Odd(own.buffer as ArrayBuffer, position, length);
          return given;
        }),
      );
      expect(await space.populate(at, 2 * PAGE)).toBe(2 * PAGE);
      new Uint8Array((given as Odd).buffer).fill(9);
      expect(bytesAt(space, at, 2 * PAGE)).toEqual(pattern(2 * PAGE));
    });
  });

  test('the backing is called with nothing held: from within run, and it may use the machine', async () => {
    await withMachine(host, async ({ machine, space }) => {
      const bytes = pattern(8 * PAGE);
      const depths: number[] = [];
      const other = map(space, 1);
      const at = mapAll(
        space,
        make(machine, bytes.length, async (position, length) => {
          depths.push(machine.kernel.rcu.depth + machine.kernel.rcu.suspendedDepth);
          space.munmap(map(space, 1), PAGE);
          space.store8(other, 1);
          return bytes.slice(position, position + length);
        }),
      );
      let promise: Promise<number> | undefined;
      space.run(() => {
        promise = space.populate(at, bytes.length);
      });
      expect(await promise).toBe(bytes.length);
      expect(new Set(depths)).toEqual(new Set([0]));
    });
  });

  test('two at once share a read', async () => {
    await withMachine(host, async ({ machine, space, newSpace }) => {
      const bytes = pattern(8 * PAGE);
      const { readAsync, asked } = slow(bytes);
      const file = make(machine, bytes.length, readAsync);
      const second = newSpace();
      const all = [space, second, space].map((each) => each.populate(mapAll(each, file), bytes.length));
      expect(await Promise.all(all)).toEqual([bytes.length, bytes.length, bytes.length]);
      expect(asked).toEqual([[0, bytes.length]]);
    });
  });

  test('a space, a machine or a mapping that goes while the read is under way is a typed rejection', async () => {
    const bytes = pattern(8 * PAGE);
    for (const [what, code] of [
      ['space', 'EBADF'],
      ['machine', 'EBADF'],
      ['file', undefined],
      ['mapping', 'EFAULT'],
      ['remap', undefined],
    ] as const) {
      const machine = createMachine({ memory: 256 * KiB, ...host });
      const space = machine.createSpace();
      const file = make(machine, bytes.length, async (position, length) => {
        if (what === 'space') space.close();
        if (what === 'machine') machine.close();
        if (what === 'file') file.close();
        if (what === 'mapping') space.munmap(at, bytes.length);
        if (what === 'remap') space.mmap({ addr: at, length: bytes.length, prot: PROT_READ, flags: 0x32 });
        return bytes.slice(position, position + length);
      });
      const at = mapAll(space, file);
      if (code !== undefined) await expectRejection(code, () => space.populate(at, bytes.length));
      else expect(await space.populate(at, bytes.length), what).toBe(bytes.length);
      if (what === 'file') expect(bytesAt(space, at, bytes.length)).toEqual(bytes);
      if (what === 'remap') expect(space.load8(at + 5)).toBe(0);
      space.close();
      file.close();
      if (!machine.closed) {
        machine.drain();
        expect(machine.census().frames).toMatchObject({ live: 0, owned: 0, retired: 0 });
      }
      machine.close();
    }
  });

  test('ends when nothing helps: a read that never answers, one that only says WouldBlock, one that asks itself', async () => {
    await withMachine({ ...host, ioTimeout: 60 }, async ({ machine, space }) => {
      let late: (bytes: Uint8Array) => void = () => undefined;
      const never = mapAll(
        space,
        make(machine, PAGE, () => new Promise((done) => (late = done))),
      );
      const error = await expectRejection('ETIMEDOUT', () => space.populate(never, PAGE));
      expect(error.syscall).toBe('populate');
      late(pattern(PAGE)); // too late: nobody waits for it
      const none = mapAll(space, make(machine, PAGE));
      await expectRejection('ETIMEDOUT', () => space.populate(none, PAGE));
      const itself: number = mapAll(
        space,
        make(machine, PAGE, async () => {
          await space.populate(itself, PAGE);
          return pattern(PAGE);
        }),
      );
      // Whichever of the two gives up first.
      const own = space.populate(itself, PAGE).then(
        () => 'done',
        (thrown: VmError) => thrown.code,
      );
      expect(['ETIMEDOUT', 'EFAULT']).toContain(await own);
      await expectRejection('EWOULDBLOCK', async () => space.load8(none));
    });
  });

  test('a page that is gone again each time ends it, after a number of reads', async () => {
    await withMachine(host, async ({ machine, space }) => {
      const bytes = pattern(PAGE);
      const { files, reclaim } = machine.kernel;
      let reads = 0;
      const at = mapAll(
        space,
        make(machine, PAGE, async () => {
          reads++;
          return bytes;
        }),
      );
      const provide = files.provide;
      files.provide = (mapping, index, given) => {
        provide.call(files, mapping, index, given);
        while (reclaim.run(64) > 0);
      };
      const error = await expectRejection('EAGAIN', () => space.populate(at, PAGE));
      expect(error).toBeInstanceOf(VmError);
      expect(reads).toBeGreaterThan(1);
      let spare = 3; // a few times is not for ever
      files.provide = (mapping, index, given) => {
        provide.call(files, mapping, index, given);
        if (spare-- > 0) while (reclaim.run(64) > 0);
      };
      expect(await space.populate(at, PAGE)).toBe(PAGE);
    });
  });
});

describe('on a thread that must not block', () => {
  /** One page of a file, in the cache, locked by a cpu that does not let go of it, and not mapped yet. */
  async function heldPage(ioTimeout: number) {
    const machine = createMachine({ memory: 256 * KiB, ioTimeout });
    const { kernel } = machine;
    (kernel.cpu as { canBlock: boolean }).canBlock = false;
    const space = machine.createSpace();
    const { readAsync, asked } = slow(pattern(PAGE));
    const file = make(machine, PAGE, readAsync);
    const first = mapAll(space, file);
    expect(await space.populate(first, PAGE)).toBe(PAGE);
    space.munmap(first, PAGE);
    const lock = kernel.cache.find(file.id as never, 0) + P_LOCK;
    kernel.words[CPUS_USED] = 8;
    kernel.words[lock] = 8;
    return { machine, space, at: mapAll(space, file), asked, unlock: () => (kernel.words[lock] = 0) };
  }

  test('a page that another thread holds is waited for', async () => {
    const { machine, space, at, asked, unlock } = await heldPage(20_000);
    expect(() => space.load8(at)).toThrow(WouldBlock);
    setTimeout(unlock, 5);
    expect(await space.populate(at, PAGE)).toBe(PAGE);
    expect(asked).toHaveLength(1);
    machine.close();
  });

  test('but not for ever', async () => {
    const { machine, space, at, asked, unlock } = await heldPage(50);
    const error = await expectRejection('ETIMEDOUT', () => space.populate(at, PAGE));
    expect([error.syscall, error.address]).toEqual(['populate', at]);
    expect(error.message).toContain('another thread is reading');
    expect(asked).toHaveLength(1);
    unlock();
    machine.close();
  });
});

test('its time limit is that of one wait: a file that answers each time in less is read to its end', async () => {
  const ioTimeout = 10_000;
  let ahead = 0;
  const { now } = performance;
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => now.call(performance) + ahead);
  try {
    await withMachine({ memory: 256 * KiB, shared: false, ioTimeout }, async ({ machine, space }) => {
      let reads = 0;
      const file = make(machine, 160 * PAGE, async (_position, length) => {
        reads++;
        ahead += 0.6 * ioTimeout;
        return new Uint8Array(length);
      });
      expect(await space.populate(mapAll(space, file), file.size)).toBe(file.size);
      expect(reads).toBeGreaterThan(2);
    });
  } finally {
    clock.mockRestore();
  }
});
