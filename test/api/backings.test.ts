/** Files of a kind of one's own: I/O errors, short reads, and what a backing must not do. */
import { describe, expect, test } from 'vitest';
import {
  type Backing,
  BusError,
  MAP_PRIVATE,
  type Machine,
  type MappedFile,
  Oops,
  PROT_READ,
  registerBacking,
  type Space,
  VmError,
} from '../../src/index.ts';
import { MM_MMAP_LOCK } from '../../src/paging/mm.layout.ts';
import { closing, DESIGNS, expectFault, map, PAGE, pattern, RW, withMachine } from '../support.ts';

type Read = Backing['read'];
const behaviours = new Map<string, { read: Read; close?: () => void }>();
const log: string[] = [];

registerBacking('test-file', (options) => {
  const { name } = options as { name: string };
  log.push(`open ${name}`);
  const behaviour = behaviours.get(name);
  if (behaviour === undefined) throw new Error(`no file ${name}`);
  return {
    read: (position, targets) => behaviour.read(position, targets),
    close: () => {
      log.push(`close ${name}`);
      behaviour.close?.();
    },
  };
});

/** Fills the targets with bytes that tell their place; the number of bytes. */
function fill(position: number, targets: readonly Uint8Array[]): number {
  let at = position;
  for (const target of targets) {
    for (let i = 0; i < target.length; i += 4) new DataView(target.buffer, target.byteOffset).setInt32(i, at + i, true);
    at += target.length;
  }
  return at - position;
}

let made = 0;
function make(machine: Machine, read: Read, pages = 8, close?: () => void): MappedFile {
  const name = `f${++made}`;
  behaviours.set(name, close === undefined ? { read } : { read, close });
  return closing(machine, machine.createFile('test-file', { name }, pages * PAGE));
}

function mapAll(space: Space, file: MappedFile, prot: number = PROT_READ): number {
  return space.mmap({ length: file.size, prot, flags: MAP_PRIVATE, file });
}

describe.each(DESIGNS)('backings under %s', (design) => {
  test('an I/O error is a BusError with its cause for that access, and the next try reads again', () => {
    withMachine({ design }, ({ machine, space }) => {
      const failure = new Error('the disk is on fire');
      let fails = 2;
      let reads = 0;
      const file = make(machine, (position, targets) => {
        reads++;
        if (fails-- > 0) throw failure;
        return fill(position, targets);
      });
      const at = mapAll(space, file, RW);
      for (const call of [() => space.load32(at + PAGE), () => space.store32(at + PAGE, 1)]) {
        const error = expectFault('BUS_ADRERR', call);
        expect(error).toBeInstanceOf(BusError);
        expect(error.cause).toBe(failure);
        expect(error.message).toContain('the disk is on fire');
        expect(error.address).toBe(at + PAGE);
      }
      machine.drain();
      expect(machine.census().frames).toMatchObject({ live: 0, owned: 0, retired: 0 });
      expect(space.load32(at + PAGE)).toBe(PAGE);
      space.store32(at + PAGE, 1);
      expect(reads).toBe(3);
      expect(machine.counters()).toMatchObject({ 'io.errors': 2, 'fault.bus': 2 });
    });
  });

  test('an error in the middle of a copy ends it there', () => {
    withMachine({ design }, ({ machine, space }) => {
      const file = make(machine, (position, targets) => {
        if (position + targets.length * PAGE > 3 * PAGE) throw new Error('bad sector');
        return fill(position, targets);
      });
      const at = mapAll(space, file);
      const done = space.read(at, new Uint8Array(8 * PAGE));
      expect(done).toBeGreaterThanOrEqual(PAGE);
      expect(done).toBeLessThanOrEqual(3 * PAGE);
      expectFault('BUS_ADRERR', () => space.read(at + 4 * PAGE, new Uint8Array(1)));
    });
  });

  test.each([
    ['less than the file has', () => 100],
    ['nothing', () => 0],
    ['no number', () => undefined],
    ['NaN', () => Number.NaN],
    ['a negative number', () => -1],
    ['a promise', async () => PAGE],
  ])('a read that gives %s is a BusError, and no byte of it is seen', (_name, result) => {
    withMachine({ design }, ({ machine, space }) => {
      const file = make(machine, result as unknown as Read);
      const at = mapAll(space, file);
      const error = expectFault('BUS_ADRERR', () => space.load8(at));
      expect(error.cause).toMatchObject({ code: 'EIO' });
      expectFault('BUS_ADRERR', () => space.load8(at));
      machine.drain();
      expect(machine.census().frames.live).toBe(0);
    });
  });

  test('what lies behind the end of the file in the last page is zero, whatever the backing wrote there', () => {
    withMachine({ design }, ({ machine, space }) => {
      behaviours.set('tail', {
        read: (_position, targets) => {
          for (const target of targets) target.fill(0xee);
          return PAGE;
        },
      });
      const file = closing(machine, machine.createFile('test-file', { name: 'tail' }, 10));
      const at = mapAll(space, file);
      const got = new Uint8Array(PAGE);
      space.read(at, got);
      expect([...got.subarray(8, 14)]).toEqual([0xee, 0xee, 0, 0, 0, 0]);
      expect(got.subarray(10).every((byte) => byte === 0)).toBe(true);
    });
  });

  test.each([
    ['null', null, /: a thrown null, load8 /],
    ['an object', {}, /: a thrown object, load8 /],
    ['a VmError', new VmError('EACCES', 'read', 'wrong'), /: EACCES: wrong, read, load8 /],
  ])('a thrown %s is named in the message', (_name, thrown, message) => {
    withMachine({ design }, ({ machine, space }) => {
      const file = make(machine, () => {
        throw thrown;
      });
      expect(expectFault('BUS_ADRERR', () => space.load8(mapAll(space, file))).message).toMatch(message);
    });
  });

  test.each([
    ['a VmError of any code', new VmError('EINVAL', 'read', 'wrong'), 'EINVAL'],
    ['a VmError EACCES', new VmError('EACCES', 'read', 'wrong'), 'EACCES'],
    ['a BusError', new BusError('read', 0, 'wrong'), 'EFAULT'],
  ])('%s from a backing is the cause of a BusError', (_name, thrown, code) => {
    withMachine({ design }, ({ machine, space }) => {
      const file = make(machine, () => {
        throw thrown;
      });
      const at = mapAll(space, file);
      const error = expectFault('BUS_ADRERR', () => space.load8(at));
      expect(error.cause).toMatchObject({ code });
    });
  });

  test.each([
    ['undefined', undefined],
    ['a string', 'no'],
    ['null', null],
    ['an object without prototype', Object.create(null)],
    ['a symbol', Symbol('no')],
  ])('a backing that throws %s gives a BusError too', (_name, thrown) => {
    withMachine({ design }, ({ machine, space }) => {
      const file = make(machine, () => {
        throw thrown;
      });
      const at = mapAll(space, file);
      expectFault('BUS_ADRERR', () => space.load8(at));
    });
  });

  test('a backing is made by createFile, once, and closed once, after the last use of the file', () => {
    log.length = 0;
    withMachine({ design }, ({ machine, space }) => {
      const file = make(machine, fill);
      const name = `f${made}`;
      expect(log).toEqual([`open ${name}`]);
      const at = mapAll(space, file);
      expect(space.load32(at + 2 * PAGE)).toBe(2 * PAGE);
      expect(space.load32(at + 6 * PAGE)).toBe(6 * PAGE);
      file.close();
      machine.drain();
      expect(log).toEqual([`open ${name}`]);
      space.munmap(at, file.size);
      machine.drain();
      expect(log).toEqual([`open ${name}`, `close ${name}`]);
    });
    expect(log).toHaveLength(2);
  });

  test('a backing whose close throws takes nothing else with it', () => {
    let closed = 0;
    withMachine({ design }, ({ machine, space }) => {
      for (let i = 0; i < 3; i++) {
        const file = make(machine, fill, 1, () => {
          closed++;
          throw new Error('close failed');
        });
        space.load8(mapAll(space, file));
      }
    });
    expect(closed).toBe(3);
  });

  test('options come back as they were, also long ones', () => {
    withMachine({ design }, ({ machine, space }) => {
      const name = 'ü€😀"\\\n\0'.repeat(500);
      behaviours.set(name, { read: fill });
      const file = closing(machine, machine.createFile('test-file', { name, more: [1, null, { x: true }] }, PAGE));
      expect(space.load32(mapAll(space, file) + 4)).toBe(4);
      behaviours.delete(name);
    });
  });

  test('the targets are pages of 4096 bytes in a row', () => {
    withMachine({ design }, ({ machine, space }) => {
      const seen: [number, number[]][] = [];
      const file = make(machine, (position, targets) => {
        seen.push([position, targets.map((target) => target.length)]);
        return fill(position, targets);
      });
      const at = mapAll(space, file);
      for (let page = 0; page < 8; page++) space.load8(at + page * PAGE);
      expect(seen.flatMap(([, lengths]) => lengths)).toEqual(new Array(8).fill(PAGE));
      expect(seen.map(([position]) => position)).toEqual(
        seen.map((_, i) => seen.slice(0, i).reduce((sum, [, lengths]) => sum + lengths.length * PAGE, 0)),
      );
    });
  });

  describe('a backing must not touch the memory that it serves', () => {
    test.each([
      ['load', (space: Space, at: number) => space.load8(at)],
      ['store', (space: Space, at: number) => space.store8(at, 1)],
      ['run', (space: Space) => space.run(() => 1)],
      ['maps', (space: Space) => space.maps()],
      ['mmap', (space: Space) => map(space, 1)],
      ['munmap', (space: Space, at: number) => space.munmap(at, PAGE)],
      ['mprotect', (space: Space, at: number) => space.mprotect(at, PAGE, PROT_READ)],
      ['wait', (space: Space, at: number) => space.wait(at, 1, 0)],
    ])('%s in a read is an Oops that names the rule, and the machine works on', (_name, call) => {
      withMachine({ design }, ({ machine, space }) => {
        const own = map(space, 1);
        let thrown: unknown;
        const file = make(machine, (position, targets) => {
          try {
            call(space, own);
          } catch (error) {
            thrown = error;
          }
          return fill(position, targets);
        });
        const at = mapAll(space, file);
        expect(space.load32(at + 4)).toBe(4);
        expect(thrown).toBeInstanceOf(Oops);
        expect((thrown as Oops).rule).toBe('H1');
        space.store8(own, 1);
        expect(space.load32(at + PAGE)).toBe(PAGE);
      });
    });

    test('closing in a read is EDEADLK, and so is the machine', () => {
      withMachine({ design }, ({ machine, space }) => {
        const codes: string[] = [];
        const file = make(machine, (position, targets) => {
          for (const call of [() => space.close(), () => machine.close()]) {
            try {
              call();
            } catch (error) {
              codes.push((error as VmError).code);
            }
          }
          return fill(position, targets);
        });
        expect(space.load32(mapAll(space, file) + 4)).toBe(4);
        expect(codes).toEqual(['EDEADLK', 'EDEADLK']);
      });
    });

    test('the accessor in a read is EINVAL', () => {
      withMachine({ design }, ({ machine, space }) => {
        const own = map(space, 1);
        const seen: unknown[] = [];
        space.run((m) => {
          m.store8(own, 1);
          const file = make(machine, (position, targets) => {
            try {
              m.load8(own);
            } catch (error) {
              seen.push((error as VmError).code);
            }
            return fill(position, targets);
          });
          // Mapping inside run: the section is left and entered again.
          const at = mapAll(space, file);
          expect(m.load32(at + 4)).toBe(4);
          expect(m.load8(own)).toBe(1);
        });
        expect(seen).toEqual(['EINVAL']);
      });
    });
  });

  test('a page of a file that is read into the middle of a run is there for the rest of it', () => {
    withMachine({ design, memory: 64 * PAGE }, ({ machine, space }) => {
      const file = make(machine, fill, 200);
      const at = mapAll(space, file);
      const own = map(space, 4);
      space.run((m) => {
        m.store32(own, 7);
        for (let page = 0; page < 200; page++) {
          expect(m.load32(at + page * PAGE + 4)).toBe(page * PAGE + 4);
          expect(m.load32(own)).toBe(7);
          if (page > 0) expect(m.load32(at + page * PAGE - 2) >>> 16).toBe((page * PAGE) & 0xffff);
        }
      });
      expect(machine.lockdep().filter(({ rule }) => rule !== 'I25')).toEqual([]);
    });
  });

  test('I/O under mmap_lock is what mmap-sem does, and only it', () => {
    withMachine({ design }, ({ machine, space }) => {
      let held = false;
      const file = make(machine, (position, targets) => {
        const { words } = machine.kernel;
        const sem = space.handle.space + MM_MMAP_LOCK;
        held = Array.from({ length: 64 }, (_, id) => words[4096 + id * 1024 + 48]).includes(sem);
        return fill(position, targets);
      });
      space.load8(mapAll(space, file));
      expect(held).toBe(design === 'mmap-sem');
      expect(machine.lockdep().length > 0).toBe(design === 'mmap-sem');
    });
  });

  test('a fault that does not get mmap_lock back after its read ends in ETIMEDOUT, and the space works on', () => {
    withMachine({ design, stallTimeout: 50 }, ({ machine, space }) => {
      const { words } = machine.kernel;
      const sem = space.handle.space + MM_MMAP_LOCK;
      const stranger = 60;
      const file = make(machine, (position, targets) => {
        if (design === 'retry') words[sem] = stranger;
        return fill(position, targets);
      });
      const at = mapAll(space, file);
      if (design === 'retry') {
        let thrown: unknown;
        try {
          space.load32(at + 4);
        } catch (error) {
          thrown = error;
        }
        expect(thrown).toMatchObject({ code: 'ETIMEDOUT' });
        words[sem] = 0;
      }
      expect(space.load32(at + 4)).toBe(4);
    });
  });
});

test('registering a kind again replaces it for files that are opened later', () => {
  withMachine({}, ({ machine, space }) => {
    const seed = (value: number) => () => ({
      read: (_position: number, targets: readonly Uint8Array[]) => {
        for (const target of targets) target.set(pattern(PAGE, value));
        return targets.length * PAGE;
      },
      close: () => undefined,
    });
    registerBacking('test-twice', seed(1));
    const first = closing(machine, machine.createFile('test-twice', {}, PAGE));
    const one = mapAll(space, first);
    expect(space.load8(one)).toBe(pattern(1, 1)[0]);
    registerBacking('test-twice', seed(2));
    const second = closing(machine, machine.createFile('test-twice', {}, PAGE));
    expect(space.load32(mapAll(space, second))).toBe(new DataView(pattern(4, 2).buffer).getInt32(0, true));
  });
});
