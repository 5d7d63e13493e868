/** Files of the host through mappings: the bytes, the end of the file, reclaim, and what goes wrong on disk. */
import { execFileSync } from 'node:child_process';
import { renameSync, symlinkSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import {
  BusError,
  KiB,
  MAP_FIXED,
  MAP_PRIVATE,
  MAP_SHARED,
  type Machine,
  type MappedFile,
  openFile,
  openFileSync,
  PROT_NONE,
  PROT_READ,
  registerBacking,
  type Space,
} from '../../src/node.ts';
import {
  closing,
  DESIGNS,
  expectError,
  expectFault,
  layout,
  map,
  PAGE,
  pattern,
  RW,
  seeded,
  sleeps,
  temporaryFiles,
  withinLoads,
  withMachine,
} from '../support.ts';

const files = temporaryFiles();
afterAll(() => files.remove());

let made = 0;
/** A file of its own for each test. */
function file(bytes: Uint8Array): string {
  return files.write(`file-${++made}`, bytes);
}

interface MapOptions {
  readonly flags?: number;
  readonly prot?: number;
  readonly pages?: number;
  readonly page?: number;
}
function mapFile(space: Space, mapped: MappedFile, options: MapOptions = {}): number {
  const { flags = MAP_PRIVATE, prot = PROT_READ, page = 0 } = options;
  const pages = options.pages ?? Math.ceil(mapped.size / PAGE) - page;
  return space.mmap({ length: pages * PAGE, prot, flags, file: mapped, offset: page * PAGE });
}

function bytesAt(space: Space, at: number, length: number): Uint8Array {
  const got = new Uint8Array(length);
  expect(space.read(at, got)).toBe(length);
  return got;
}

function same(got: Uint8Array, expected: Uint8Array, what = 'bytes'): void {
  if (Buffer.compare(got, expected) === 0) return;
  const first = got.findIndex((byte, i) => byte !== expected[i]);
  expect.fail(`${what} differ first at ${first}: ${got[first]} instead of ${expected[first]}`);
}

/** The file as a thread has it that has not opened it itself: it opens it when it first reads. Nobody else has it open. */
function unopened(machine: Machine, path: string): MappedFile {
  const opened = closing(machine, openFileSync(machine, path));
  machine.kernel.files.sweepLocal('all');
  return opened;
}

const CONTENT = pattern(20 * PAGE + 1000, 7);

describe.each(DESIGNS)('files under %s', (design) => {
  test.each([
    ['private', MAP_PRIVATE],
    ['shared', MAP_SHARED],
  ])('a %s mapping reads as the file, at every offset', (_name, flags) => {
    withMachine({ design }, ({ machine, space }) => {
      const mapped = closing(machine, openFileSync(machine, file(CONTENT)));
      expect(mapped.size).toBe(CONTENT.length);
      const whole = mapFile(space, mapped, { flags });
      same(bytesAt(space, whole, CONTENT.length), CONTENT);
      const part = mapFile(space, mapped, { flags, page: 5, pages: 3 });
      same(bytesAt(space, part, 3 * PAGE), CONTENT.subarray(5 * PAGE, 8 * PAGE));
      expect(machine.counters()['io.pages']).toBe(21);
      const view = new DataView(CONTENT.buffer);
      space.run((m) => {
        for (const offset of [0, 3, PAGE - 3, 4 * PAGE - 7, CONTENT.length - 8]) {
          expect(m.loadI64(whole + offset)).toBe(view.getBigInt64(offset, true));
        }
      });
      expect(layout(space, part)[0]).toBe(`0-3 r--${flags === MAP_SHARED ? 's' : 'p'} file@5`);
    });
  });

  test('openFile gives a promise of the same', async () => {
    await withMachine({ design }, async ({ machine, space }) => {
      const mapped = closing(machine, await openFile(machine, file(CONTENT), { mode: 'r' }));
      same(bytesAt(space, mapFile(space, mapped), PAGE), CONTENT.subarray(0, PAGE));
    });
  });

  test('a private write makes a copy: the file, and its other mappings, stay as they are', () => {
    withMachine({ design }, ({ machine, space, newSpace }) => {
      const path = file(CONTENT);
      const mapped = closing(machine, openFileSync(machine, path));
      const other = newSpace();
      const mine = mapFile(space, mapped, { prot: RW });
      const again = mapFile(space, mapped, { prot: RW });
      const theirs = mapFile(other, mapped, { flags: MAP_SHARED });
      space.load8(mine); // page 0 is read first, page 1 written at once
      space.store8(mine, 1);
      space.store32(mine + PAGE + 4, 2);
      space.write(mine + 2 * PAGE - 3, new Uint8Array(6).fill(3));
      const expected = CONTENT.slice(0, 3 * PAGE);
      expected[0] = 1;
      new DataView(expected.buffer).setInt32(PAGE + 4, 2, true);
      expected.fill(3, 2 * PAGE - 3, 2 * PAGE + 3);
      same(bytesAt(space, mine, 3 * PAGE), expected, 'the copy');
      same(bytesAt(space, again, 3 * PAGE), CONTENT.subarray(0, 3 * PAGE), 'the other private mapping');
      same(bytesAt(other, theirs, 3 * PAGE), CONTENT.subarray(0, 3 * PAGE), 'the shared mapping');
      const reopened = openFileSync(machine, path);
      same(bytesAt(space, mapFile(space, reopened), 3 * PAGE), CONTENT.subarray(0, 3 * PAGE), 'the file');
      reopened.close();
      expect(machine.counters()['fault.file.copy']).toBe(3);
      machine.drain();
    });
  });

  test('the tail of the last page is zero, beyond it is a BusError, also for private writes', () => {
    withMachine({ design }, ({ machine, space }) => {
      const mapped = closing(machine, openFileSync(machine, file(CONTENT.subarray(0, PAGE + 100))));
      const at = mapFile(space, mapped, { pages: 5, prot: RW });
      same(bytesAt(space, at + PAGE, 100), CONTENT.subarray(PAGE, PAGE + 100));
      same(bytesAt(space, at + PAGE + 100, PAGE - 100), new Uint8Array(PAGE - 100), 'the tail');
      for (const address of [at + 2 * PAGE, at + 5 * PAGE - 1]) {
        expect(expectFault('BUS_ADRERR', () => space.load8(address))).toBeInstanceOf(BusError);
        expectFault('BUS_ADRERR', () => space.store8(address, 1));
      }
      expectFault('BUS_ADRERR', () => space.load32(at + 2 * PAGE - 2));
      expect(space.read(at, new Uint8Array(5 * PAGE))).toBe(2 * PAGE);
      space.store8(at + PAGE + 200, 9);
      expect(space.load8(at + PAGE + 200)).toBe(9);
      expectFault('SEGV_MAPERR', () => space.load8(at - 1));
      expect(machine.counters()['fault.bus']).toBeGreaterThan(4);
    });
  });

  test('an empty file, and a mapping that begins beyond the end, may be mapped and give BusErrors', () => {
    withMachine({ design }, ({ machine, space }) => {
      const empty = closing(machine, openFileSync(machine, file(new Uint8Array(0))));
      const at = mapFile(space, empty, { pages: 1 });
      expectFault('BUS_ADRERR', () => space.load8(at));
      const small = closing(machine, openFileSync(machine, file(CONTENT.subarray(0, 10))));
      const beyond = mapFile(space, small, { page: 3, pages: 2 });
      expectFault('BUS_ADRERR', () => space.load8(beyond));
      const exact = closing(machine, openFileSync(machine, file(CONTENT.subarray(0, PAGE))));
      const one = mapFile(space, exact, { pages: 2 });
      same(bytesAt(space, one, PAGE), CONTENT.subarray(0, PAGE));
      expectFault('BUS_ADRERR', () => space.load8(one + PAGE));
    });
  });

  test('mprotect takes the right to read and gives it back, and a private mapping the right to write', () => {
    withMachine({ design }, ({ machine, space }) => {
      const mapped = closing(machine, openFileSync(machine, file(CONTENT)));
      const at = mapFile(space, mapped);
      space.load8(at);
      expectFault('SEGV_ACCERR', () => space.store8(at, 1));
      space.mprotect(at, 2 * PAGE, PROT_NONE);
      expectFault('SEGV_ACCERR', () => space.load8(at));
      expectFault('SEGV_ACCERR', () => space.load8(at + PAGE));
      space.mprotect(at, 2 * PAGE, RW);
      space.store8(at, 1);
      space.store8(at + PAGE, 2);
      expect([space.load8(at), space.load8(at + PAGE)]).toEqual([1, 2]);
      same(bytesAt(space, at + 1, PAGE - 1), CONTENT.subarray(1, PAGE));
      const shared = mapFile(space, mapped, { flags: MAP_SHARED });
      expectError('EACCES', () => space.mprotect(shared, PAGE, RW));
      space.mprotect(shared, PAGE, PROT_NONE);
      space.mprotect(shared, PAGE, PROT_READ);
      same(bytesAt(space, shared, PAGE), CONTENT.subarray(0, PAGE));
    });
  });

  test('parts of a file next to each other in file and space are one mapping, others are not', () => {
    withMachine({ design }, ({ machine, space }) => {
      const mapped = closing(machine, openFileSync(machine, file(CONTENT)));
      const base = 2 ** 40;
      const put = (page: number, offset: number): void => {
        const options = { length: PAGE, prot: PROT_READ, flags: MAP_PRIVATE | MAP_FIXED, file: mapped };
        space.mmap({ ...options, addr: base + page * PAGE, offset: offset * PAGE });
      };
      put(0, 3);
      put(1, 4);
      put(2, 6);
      expect(layout(space, base)).toEqual(['0-2 r--p file@3', '2-3 r--p file@6']);
      put(2, 5);
      expect(layout(space, base)).toEqual(['0-3 r--p file@3']);
      same(bytesAt(space, base, 3 * PAGE), CONTENT.subarray(3 * PAGE, 6 * PAGE));
      space.munmap(base + PAGE, PAGE);
      expect(layout(space, base)).toEqual(['0-1 r--p file@3', '2-3 r--p file@5']);
      same(bytesAt(space, base + 2 * PAGE, PAGE), CONTENT.subarray(5 * PAGE, 6 * PAGE));
    });
  });

  test('a file larger than memory can be scanned twice and hopped about in, and the bytes are right', () => {
    withMachine({ design, memory: 256 * KiB }, ({ machine, space }) => {
      const big = pattern(300 * PAGE, 11);
      const words = new DataView(big.buffer);
      const mapped = closing(machine, openFileSync(machine, file(big)));
      const at = mapFile(space, mapped);
      for (let round = 0; round < 2; round++) {
        for (let page = 0; page < 300; page += 10) {
          same(
            bytesAt(space, at + page * PAGE, 10 * PAGE),
            big.subarray(page * PAGE, (page + 10) * PAGE),
            `page ${page}`,
          );
        }
      }
      const random = seeded(5);
      space.run((m) => {
        for (let i = 0; i < 2000; i++) {
          const offset = Math.floor(random() * (big.length - 4));
          expect(m.loadU32(at + offset)).toBe(words.getUint32(offset, true));
        }
      });
      expect(machine.counters()['reclaim.pages']).toBeGreaterThan(300);
      expect(machine.census().frames.live).toBeLessThan(64);
    });
  });

  test('anonymous memory is never reclaimed for a file, and both fit or it is ENOMEM', () => {
    withMachine({ design, memory: 64 * PAGE }, ({ machine, space }) => {
      const big = pattern(100 * PAGE, 3);
      const mapped = closing(machine, openFileSync(machine, file(big)));
      const at = mapFile(space, mapped, { prot: RW });
      const own = map(space, 64);
      for (let page = 0; page < 40; page++) space.store32(own + page * PAGE, page + 1);
      for (let page = 0; page < 100; page++) expect(space.load8(at + page * PAGE)).toBe(big[page * PAGE]);
      for (let page = 0; page < 40; page++) expect(space.load32(own + page * PAGE)).toBe(page + 1);
      // Private copies are anonymous memory too.
      expectError('ENOMEM', () => {
        for (let page = 0; page < 100; page++) space.store8(at + page * PAGE + 1, 9);
      });
      for (let page = 0; page < 40; page++) expect(space.load32(own + page * PAGE)).toBe(page + 1);
      space.munmap(own, 64 * PAGE);
      expect(space.load8(at + 99 * PAGE)).toBe(big[99 * PAGE]);
    });
  });

  test('pages that a PROT_NONE mapping names can be reclaimed', () => {
    withMachine({ design, memory: 64 * PAGE }, ({ machine, space }) => {
      const big = pattern(200 * PAGE, 4);
      const mapped = closing(machine, openFileSync(machine, file(big)));
      const at = mapFile(space, mapped);
      for (let page = 0; page < 40; page++) space.load8(at + page * PAGE);
      space.mprotect(at, 40 * PAGE, PROT_NONE);
      for (let page = 40; page < 200; page++) expect(space.load8(at + page * PAGE)).toBe(big[page * PAGE]);
      space.mprotect(at, 40 * PAGE, PROT_READ);
      for (let page = 0; page < 40; page++) expect(space.load8(at + page * PAGE)).toBe(big[page * PAGE]);
    });
  });

  test('one read per page, whoever and however many map it', () => {
    withMachine({ design }, ({ machine, space, newSpace }) => {
      const mapped = closing(machine, openFileSync(machine, file(CONTENT)));
      for (let i = 0; i < 5; i++) {
        const s = i % 2 === 0 ? space : newSpace();
        bytesAt(s, mapFile(s, mapped), CONTENT.length);
      }
      expect(machine.counters()).toMatchObject({ 'io.pages': 21, 'fault.file.read': 5 * 21 });
      expect(machine.census().frames.live).toBe(21);
      expect(machine.census().rmap.live).toBeGreaterThan(0);
    });
  });

  test('read-ahead grows with sequential use, and random use reads one page at a time', () => {
    withMachine({ design }, ({ machine, space }) => {
      const big = pattern(256 * PAGE, 5);
      const sequential = closing(machine, openFileSync(machine, file(big)));
      const at = mapFile(space, sequential);
      for (let page = 0; page < 256; page++) space.load8(at + page * PAGE);
      const first = machine.counters();
      expect(first['io.pages']).toBe(256);
      expect(first['io.reads']).toBeLessThan(20);
      expect(first['readahead.pages']).toBe(256 - first['io.reads']);
      const random = closing(machine, openFileSync(machine, file(big)));
      const there = mapFile(space, random);
      for (let i = 0; i < 50; i++) space.load8(there + ((i * 101) % 256) * PAGE);
      const second = machine.counters();
      expect(second['io.reads'] - first['io.reads']).toBe(50);
      expect(second['io.pages'] - first['io.pages']).toBe(50);
    });
  });

  test('a file that is closed while it is mapped stays readable, and goes with its last mapping, once', () => {
    withMachine({ design }, ({ machine, space }) => {
      const path = file(CONTENT);
      const mapped = openFileSync(machine, path);
      const at = mapFile(space, mapped);
      space.load8(at);
      mapped.close();
      mapped.close();
      unlinkSync(path);
      same(bytesAt(space, at, CONTENT.length), CONTENT);
      expect(machine.census().file.live).toBe(1);
      space.munmap(at, PAGE);
      space.munmap(at + 5 * PAGE, PAGE);
      machine.drain();
      expect(machine.census().file.live).toBe(1);
      same(bytesAt(space, at + 6 * PAGE, PAGE), CONTENT.subarray(6 * PAGE, 7 * PAGE));
      space.munmap(at, 21 * PAGE);
      machine.drain();
      expect(machine.census()).toMatchObject({
        file: { live: 0 },
        text: { live: 0 },
        frames: { live: 0 },
        rmap: { live: 0 },
      });
    });
  });

  test('a file that is open but no longer mapped keeps its pages', () => {
    withMachine({ design }, ({ machine, space }) => {
      const mapped = closing(machine, openFileSync(machine, file(CONTENT)));
      const at = mapFile(space, mapped);
      bytesAt(space, at, CONTENT.length);
      space.munmap(at, 21 * PAGE);
      machine.drain();
      expect(machine.census()).toMatchObject({ file: { live: 1 }, frames: { live: 21 } });
      bytesAt(space, mapFile(space, mapped), CONTENT.length);
      expect(machine.counters()['io.pages']).toBe(21);
      mapped.close();
      space.munmap(0, 2 ** 47);
      machine.drain();
      expect(machine.census()).toMatchObject({ file: { live: 0 }, frames: { live: 0 } });
    });
  });

  test('a sparse file of a terabyte is mapped, read at its end, and closed without a look at each of its pages', () => {
    withMachine({ design }, ({ machine, space }) => {
      const path = file(CONTENT.subarray(0, 100));
      truncateSync(path, 2 ** 40);
      const mapped = openFileSync(machine, path);
      const at = mapFile(space, mapped);
      expect([space.load8(at + 5), space.load8(at + 2 ** 40 - 1), space.load8(at + 2 ** 39)]).toEqual([
        CONTENT[5],
        0,
        0,
      ]);
      withinLoads(100_000, () => {
        mapped.close();
        space.munmap(at, 2 ** 40);
        machine.drain();
      });
      expect(machine.census()).toMatchObject({ file: { live: 0 }, frames: { live: 0 } });
    });
  });

  test('pages whose numbers were chosen to share one chain of the cache are all found', () => {
    withMachine({ design }, ({ machine, space }) => {
      registerBacking('numbered', () => ({
        read: (position, targets) => {
          targets.forEach((target, i) => {
            new DataView(target.buffer, target.byteOffset).setFloat64(0, position / PAGE + i, true);
          });
          return targets.length * PAGE;
        },
        close: () => undefined,
      }));
      const mapped = closing(machine, machine.createFile('numbered', {}, 2 ** 43));
      const at = mapFile(space, mapped);
      const { cache } = machine.kernel;
      const bucketOf = (index: number): number => cache.bucketOf(mapped.id as never, index);
      const bucket = bucketOf(0);
      const numbers: number[] = [];
      for (let index = 0; numbers.length < 150; index += 7) if (bucketOf(index) === bucket) numbers.push(index);
      for (let round = 0; round < 2; round++) {
        for (const number of numbers) expect(space.loadF64(at + number * PAGE)).toBe(number);
      }
      expect(machine.counters()['io.pages']).toBe(numbers.length);
    });
  });

  describe('on disk', () => {
    test.each([
      ['a directory', 'EISDIR', () => files.path('.')],
      ['a missing file', 'ENOENT', () => files.path('missing')],
      ['a file in a missing directory', 'ENOENT', () => files.path('missing/file')],
      ['a file in a file', 'ENOENT', () => `${file(CONTENT)}/x`],
      ['a dangling link', 'ENOENT', () => link(files.path('nowhere'))],
      ['a link to itself', 'EINVAL', () => link('loop')],
      ['a name that is too long', 'EINVAL', () => files.path('x'.repeat(300))],
      ['a device', 'ENODEV', () => '/dev/null'],
      ['a FIFO', 'ENODEV', () => fifo()],
    ])('opening %s is %s, at once', (_name, code, path) => {
      withMachine({ design }, ({ machine }) => {
        const name = path();
        const error = expectError(code, () => openFileSync(machine, name));
        expect(error.message.split(code)).toHaveLength(2);
        if (!name.endsWith('.')) expect(error.message.split(name)).toHaveLength(2);
      });
    });

    test('a link to a file is the file', () => {
      withMachine({ design }, ({ machine, space }) => {
        const mapped = closing(machine, openFileSync(machine, link(file(CONTENT))));
        same(bytesAt(space, mapFile(space, mapped), CONTENT.length), CONTENT);
      });
    });

    test('a file that was truncated behind our back gives a BusError, never another file’s bytes', () => {
      withMachine({ design }, ({ machine, space }) => {
        const path = file(CONTENT);
        const mapped = closing(machine, openFileSync(machine, path));
        const at = mapFile(space, mapped);
        space.load8(at);
        truncateSync(path, 10 * PAGE + 50);
        const error = expectFault('BUS_ADRERR', () => space.load8(at + 15 * PAGE));
        expect((error.cause as { code?: string }).code).toBe('EIO');
        expectFault('BUS_ADRERR', () => space.load8(at + 10 * PAGE));
        expect(space.load8(at + 9 * PAGE)).toBe(CONTENT[9 * PAGE]);
        expect(space.load8(at)).toBe(CONTENT[0]);
        expect(machine.counters()['io.errors']).toBeGreaterThan(0);
        writeFileSync(path, CONTENT);
        same(bytesAt(space, at, CONTENT.length), CONTENT, 'the file that came back');
      });
    });

    test('a file that was replaced under its path is ESTALE when nobody has it open any more', () => {
      withMachine({ design }, ({ machine, space }) => {
        const path = file(CONTENT);
        const late = unopened(machine, path);
        const there = mapFile(space, late, { prot: RW });
        const next = `${path}-next`;
        writeFileSync(next, pattern(CONTENT.length, 99));
        renameSync(next, path);
        for (const call of [
          () => space.load8(there),
          () => space.load8(there + 5 * PAGE),
          () => space.store8(there, 1),
        ]) {
          const error = expectFault('BUS_ADRERR', call);
          expect(error.cause).toMatchObject({ code: 'ESTALE' });
        }
        unlinkSync(path);
        expect(expectFault('BUS_ADRERR', () => space.load8(there)).cause).toMatchObject({ code: 'ENOENT' });
      });
    });

    test('the control: a file that was not replaced is read by who has not opened it', () => {
      withMachine({ design }, ({ machine, space }) => {
        const late = unopened(machine, file(CONTENT));
        same(bytesAt(space, mapFile(space, late), CONTENT.length), CONTENT);
      });
    });

    test('a slow file takes its time, once a page', () => {
      withMachine({ design }, ({ machine, space }) => {
        const slow = closing(
          machine,
          openFileSync(machine, file(CONTENT.subarray(0, PAGE)), { delay: { milliseconds: 40, every: 1 } }),
        );
        const at = mapFile(space, slow);
        expect(sleeps(() => expect(space.load8(at)).toBe(CONTENT[0]))).toEqual([40]);
        expect(sleeps(() => expect(space.load8(mapFile(space, slow))).toBe(CONTENT[0]))).toEqual([]);
      });
    });
  });
});

function link(target: string): string {
  const path = target === 'loop' ? files.path(`loop-${++made}`) : files.path(`link-${++made}`);
  symlinkSync(target === 'loop' ? path : target, path);
  return path;
}

function fifo(): string {
  const path = files.path(`fifo-${++made}`);
  execFileSync('mkfifo', [path]);
  return path;
}
