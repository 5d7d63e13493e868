/** What a mapping shows when others change the file: each statement of docs/files.md. */
import {
  appendFileSync,
  chmodSync,
  closeSync,
  linkSync,
  openSync,
  renameSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import {
  MAP_PRIVATE,
  MAP_SHARED,
  type Machine,
  type MappedFile,
  openFileSync,
  PROT_READ,
  type Space,
} from '../../src/node.ts';
import {
  closing,
  DESIGNS,
  descriptorsOf,
  expectError,
  expectFault,
  PAGE,
  pattern,
  RW,
  remakeWithSameInode,
  temporaryFiles,
  withMachine,
} from '../support.ts';

const files = temporaryFiles();
afterAll(() => files.remove());
const linux = process.platform === 'linux';

let made = 0;
const PAGES = 20;
const OLD = pattern(PAGES * PAGE, 1);
const NEW = pattern(PAGES * PAGE, 2);

const fresh = (bytes: Uint8Array = OLD): string => files.write(`host-${++made}`, bytes);

function mapFile(space: Space, file: MappedFile, flags: number = MAP_PRIVATE, prot: number = PROT_READ): number {
  return space.mmap({ length: file.size, prot, flags, file });
}

/** Which of the two contents page `page` shows. */
function shown(space: Space, at: number, page: number): 'old' | 'new' | 'neither' {
  const got = new Uint8Array(PAGE);
  expect(space.read(at + page * PAGE, got)).toBe(PAGE);
  const is = (bytes: Uint8Array): boolean => Buffer.compare(got, bytes.subarray(page * PAGE, (page + 1) * PAGE)) === 0;
  return is(OLD) ? 'old' : is(NEW) ? 'new' : 'neither';
}

/** This thread has not opened the file, and nobody else has it open. */
function forget(machine: Machine): void {
  machine.kernel.files.sweepLocal('all');
}

function causeOf(call: () => unknown): string | undefined {
  return (expectFault('BUS_ADRERR', call).cause as { code?: string }).code;
}

describe.each(DESIGNS)('under %s', (design) => {
  describe('a file that others write to', () => {
    test.each([
      ['private', MAP_PRIVATE],
      ['shared', MAP_SHARED],
    ])('shows old bytes where pages are in memory, new ones where they are read later (%s)', (_name, flags) => {
      withMachine({ design }, ({ machine, space }) => {
        const path = fresh();
        const at = mapFile(space, closing(machine, openFileSync(machine, path)), flags);
        expect(shown(space, at, 3)).toBe('old');
        writeFileSync(path, NEW, { flag: 'r+' });
        expect([shown(space, at, 3), shown(space, at, 12)]).toEqual(['old', 'new']);
      });
    });

    test('shows new bytes where pages gave way to others and were read again', () => {
      const long = (bytes: Uint8Array): Uint8Array => Buffer.concat(Array.from({ length: 10 }, () => bytes));
      withMachine({ design, memory: 64 * PAGE }, ({ machine, space }) => {
        const path = fresh(long(OLD));
        const file = closing(machine, openFileSync(machine, path));
        const at = mapFile(space, file);
        expect(shown(space, at, 3)).toBe('old');
        writeFileSync(path, long(NEW), { flag: 'r+' });
        space.read(at + 20 * PAGE, new Uint8Array(file.size - 20 * PAGE));
        expect(shown(space, at, 3)).toBe('new');
      });
    });

    test('is shown as it is now by who opens it anew', () => {
      withMachine({ design }, ({ machine, space }) => {
        const path = fresh();
        const first = mapFile(space, closing(machine, openFileSync(machine, path)));
        expect(shown(space, first, 3)).toBe('old');
        writeFileSync(path, NEW, { flag: 'r+' });
        const second = mapFile(space, closing(machine, openFileSync(machine, path)));
        expect([shown(space, second, 3), shown(space, first, 3)]).toEqual(['new', 'old']);
      });
    });

    test('keeps private copies as they are', () => {
      withMachine({ design }, ({ machine, space }) => {
        const path = fresh();
        const at = mapFile(space, closing(machine, openFileSync(machine, path)), MAP_PRIVATE, RW);
        space.store32(at + 3 * PAGE, 77);
        writeFileSync(path, NEW, { flag: 'r+' });
        expect(space.load32(at + 3 * PAGE)).toBe(77);
        expect(space.load8(at + 3 * PAGE + 100)).toBe(OLD[3 * PAGE + 100]);
      });
    });

    test('is the same file for a thread that opens it later: its change time does not count', () => {
      withMachine({ design }, ({ machine, space }) => {
        const path = fresh();
        const at = mapFile(space, closing(machine, openFileSync(machine, path)));
        forget(machine);
        writeFileSync(path, NEW, { flag: 'r+' });
        chmodSync(path, 0o600);
        linkSync(path, `${path}-link`);
        expect(shown(space, at, 5)).toBe('new');
      });
    });
  });

  describe('a file that others truncate', () => {
    test('stays readable where pages are in memory; a page that is read then and lacks bytes is EIO', () => {
      withMachine({ design }, ({ machine, space }) => {
        const path = fresh();
        const at = mapFile(space, closing(machine, openFileSync(machine, path)));
        expect([shown(space, at, 3), shown(space, at, 15)]).toEqual(['old', 'old']);
        truncateSync(path, 10 * PAGE + 50);
        expect([shown(space, at, 3), shown(space, at, 15), shown(space, at, 9)]).toEqual(['old', 'old', 'old']);
        expect(causeOf(() => space.load8(at + 10 * PAGE))).toBe('EIO');
        expect(causeOf(() => space.load8(at + 17 * PAGE))).toBe('EIO');
      });
    });

    test('is read again when it has grown back', () => {
      withMachine({ design }, ({ machine, space }) => {
        const path = fresh();
        const at = mapFile(space, closing(machine, openFileSync(machine, path)));
        truncateSync(path, 0);
        expect(causeOf(() => space.load8(at + 3 * PAGE))).toBe('EIO');
        writeFileSync(path, NEW);
        expect(shown(space, at, 3)).toBe('new');
      });
    });

    test('or let grow keeps its size: beyond it nothing is there, the rest of its last page is zero', () => {
      withMachine({ design }, ({ machine, space }) => {
        const path = fresh(OLD.subarray(0, PAGE + 100));
        const file = closing(machine, openFileSync(machine, path));
        appendFileSync(path, new Uint8Array(3 * PAGE).fill(0xee));
        const at = space.mmap({ length: 4 * PAGE, prot: PROT_READ, flags: MAP_PRIVATE, file });
        expect([space.load8(at + PAGE + 99), space.load8(at + PAGE + 100)]).toEqual([OLD[PAGE + 99], 0]);
        expectFault('BUS_ADRERR', () => space.load8(at + 2 * PAGE));
        const anew = closing(machine, openFileSync(machine, path));
        expect([file.size, anew.size]).toEqual([PAGE + 100, 4 * PAGE + 100]);
      });
    });
  });

  describe('a file that others unlink, rename or replace', () => {
    const ways: [string, (path: string) => void][] = [
      ['unlinked', (path) => unlinkSync(path)],
      ['renamed', (path) => renameSync(path, `${path}-renamed`)],
      [
        'replaced',
        (path) => {
          writeFileSync(`${path}-next`, NEW);
          renameSync(`${path}-next`, path);
        },
      ],
      [
        'deleted and made anew',
        (path) => {
          unlinkSync(path);
          writeFileSync(path, NEW);
        },
      ],
    ];
    test.each(ways)('%s, is read on by a thread that has it open', (_name, act) => {
      withMachine({ design }, ({ machine, space }) => {
        const path = fresh();
        const at = mapFile(space, closing(machine, openFileSync(machine, path)));
        act(path);
        expect([shown(space, at, 0), shown(space, at, 12)]).toEqual(['old', 'old']);
      });
    });

    test.runIf(linux).each(ways)(
      '%s, is read by a thread that has not, while anybody in the process has',
      (_name, act) => {
        withMachine({ design }, ({ machine, space }) => {
          const path = fresh();
          const at = mapFile(space, closing(machine, openFileSync(machine, path)));
          forget(machine);
          const fd = openSync(path, 'r'); // not the number that the options name
          try {
            act(path);
            expect([shown(space, at, 0), shown(space, at, 12)]).toEqual(['old', 'old']);
          } finally {
            closeSync(fd);
          }
        });
      },
    );

    test.each([
      ['unlinked', 0, 'ENOENT'],
      ['renamed', 1, 'ENOENT'],
      ['replaced', 2, 'ESTALE'],
    ])('%s, is lost when nobody has it open any more', (_name, way, code) => {
      withMachine({ design }, ({ machine, space }) => {
        const path = fresh();
        const at = mapFile(space, closing(machine, openFileSync(machine, path)));
        expect(shown(space, at, 3)).toBe('old');
        forget(machine);
        (ways[way] as [string, (path: string) => void])[1](path);
        expect(causeOf(() => space.load8(at))).toBe(code);
        expect(shown(space, at, 3)).toBe('old'); // in memory
      });
    });
  });

  test.skipIf(process.getuid?.() === 0)('a file that may no longer be read is EACCES for who has not opened it', () => {
    withMachine({ design }, ({ machine, space }) => {
      const path = fresh();
      const at = mapFile(space, closing(machine, openFileSync(machine, path)));
      chmodSync(path, 0);
      expect(shown(space, at, 3)).toBe('old');
      forget(machine);
      expect(causeOf(() => space.load8(at + 9 * PAGE))).toBe('EACCES');
    });
  });

  test('a file that was deleted and made anew is not the old one, though it has its inode', () => {
    withMachine({ design }, ({ machine, space }) => {
      const path = fresh();
      const at = mapFile(space, closing(machine, openFileSync(machine, path)));
      expect(shown(space, at, 3)).toBe('old');
      forget(machine);
      remakeWithSameInode(path, NEW); // where the inode always differs the test after this one shows it
      expect(causeOf(() => space.load8(at + 9 * PAGE))).toBe('ESTALE');
      expect(shown(space, at, 3)).toBe('old');
    });
  });

  test('one number of three that differs makes it another file', () => {
    withMachine({ design }, ({ machine }) => {
      const path = fresh();
      const { dev, ino, birthtimeNs, ctimeNs } = statSync(path, { bigint: true });
      const birth = birthtimeNs > 0n ? String(birthtimeNs) : `changed ${ctimeNs}`;
      const options = { path, device: String(dev), inode: String(ino), birth, descriptor: -1 };
      closing(machine, machine.createFile('node-file', options, PAGE)); // the control
      for (const other of [{ device: '1' }, { inode: '1' }, { birth: String(birthtimeNs + 1n) }]) {
        expectError('ESTALE', () => machine.createFile('node-file', { ...options, ...other }, PAGE));
      }
    });
  });

  test('a descriptor’s number that is another file’s by now is not believed', () => {
    withMachine({ design }, ({ machine, space }) => {
      const path = fresh();
      const file = closing(machine, openFileSync(machine, path));
      forget(machine); // its number is free now
      const others = Array.from({ length: 8 }, () => openSync(fresh(NEW), 'r'));
      try {
        const at = mapFile(space, file);
        expect(shown(space, at, 1)).toBe('old');
      } finally {
        for (const fd of others) closeSync(fd);
      }
    });
  });
});

describe.runIf(linux)('descriptors', () => {
  test('there is one a thread and open file, and none when the file is closed', () => {
    const path = fresh();
    withMachine({}, ({ machine, space }) => {
      const file = openFileSync(machine, path);
      expect(descriptorsOf(path)).toBe(1);
      const at = mapFile(space, file);
      expect(shown(space, at, 1)).toBe('old');
      forget(machine);
      expect(descriptorsOf(path)).toBe(0);
      expect(shown(space, at, 9)).toBe('old');
      expect(descriptorsOf(path)).toBe(1);
      file.close();
      expect(descriptorsOf(path)).toBe(1); // it is mapped
      space.munmap(at, PAGES * PAGE);
      machine.drain();
      expect(descriptorsOf(path)).toBe(0);
    });
  });

  test('a file that gets the record of another has that one’s descriptor closed', () => {
    const first = fresh();
    const second = fresh();
    withMachine({}, ({ machine, space }) => {
      const file = openFileSync(machine, first);
      const at = mapFile(space, file);
      file.close();
      space.munmap(at, PAGES * PAGE);
      machine.kernel.rcu.drain(); // the last reference goes, as it does when another thread frees it
      const next = closing(machine, openFileSync(machine, second));
      expect(next.id).toBe(file.id); // else it shows nothing
      expect([descriptorsOf(first), descriptorsOf(second)]).toEqual([0, 1]);
    });
    expect(descriptorsOf(second)).toBe(0);
  });

  test.each([
    ['a slow file', { delay: { milliseconds: 0 } }],
    ['a file', {}],
  ])('%s is closed with the space that maps it', (_name, options) => {
    const path = fresh();
    withMachine({}, ({ machine, newSpace }) => {
      const space = newSpace();
      const file = openFileSync(machine, path, options);
      const at = mapFile(space, file);
      expect(shown(space, at, 1)).toBe('old');
      file.close();
      space.close();
      machine.drain();
      expect(descriptorsOf(path)).toBe(0);
    });
  });

  test('failures leave none open', () => {
    const path = fresh();
    withMachine({}, ({ machine, space }) => {
      const alloc = machine.kernel.slabs.mapping.alloc;
      machine.kernel.slabs.mapping.alloc = () => {
        throw new Error('no room');
      };
      for (const options of [{}, { delay: { milliseconds: 1 } }]) {
        expect(() => openFileSync(machine, path, options)).toThrow('no room');
      }
      machine.kernel.slabs.mapping.alloc = alloc;
      expect(descriptorsOf(path)).toBe(0);
      const file = closing(machine, openFileSync(machine, path));
      forget(machine);
      renameSync(path, `${path}-away`);
      writeFileSync(path, NEW);
      const at = mapFile(space, file);
      for (let i = 0; i < 3; i++) expect(causeOf(() => space.load8(at))).toBe('ESTALE');
      expect(descriptorsOf(path)).toBe(0);
    });
  });
});
