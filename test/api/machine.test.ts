/** Kinds of machines, running out of memory, and the counters. */
import { describe, expect, test } from 'vitest';
import {
  createMachine,
  GiB,
  KiB,
  MAP_FIXED,
  MAP_PRIVATE,
  MiB,
  PROT_READ,
  registerBacking,
  type Space,
} from '../../src/index.ts';
import { C_SLOT, CPUS_USED, cpuSlot, H_POISON } from '../../src/sync/control.layout.ts';
import {
  closing,
  DESIGNS,
  expectError,
  expectFault,
  expectNothingLeft,
  inUse,
  layout,
  map,
  PAGE,
  PRIVATE,
  pattern,
  RW,
  withMachine,
  withoutSharedMemory,
} from '../support.ts';

registerBacking('test-pattern', (options, size) => {
  const bytes = pattern(size, (options as { seed: number }).seed);
  return {
    read(position, targets) {
      let done = 0;
      for (const target of targets) {
        const part = bytes.subarray(position + done, position + done + target.length);
        target.set(part);
        done += part.length;
      }
      return done;
    },
    close: () => undefined,
  };
});

function exercise(space: Space): void {
  const at = map(space, 8);
  space.write(at + 100, pattern(5 * PAGE));
  const got = new Uint8Array(5 * PAGE);
  space.read(at + 100, got);
  expect(got).toEqual(pattern(5 * PAGE));
  space.mprotect(at, PAGE, PROT_READ);
  expectFault('SEGV_ACCERR', () => space.store8(at, 1));
  space.munmap(at, 8 * PAGE);
  expectFault('SEGV_MAPERR', () => space.load8(at));
}

describe.each(DESIGNS)('machines under %s', (design) => {
  test('shared: false needs no SharedArrayBuffer at all', () => {
    withoutSharedMemory(() => {
      withMachine({ design, shared: false, memory: 1 * MiB }, ({ machine, space }) => {
        expect(machine.shared).toBe(false);
        expect(machine.handle.control).toBeInstanceOf(ArrayBuffer);
        expect(machine.handle.frames).toBeInstanceOf(ArrayBuffer);
        exercise(space);
        const file = closing(machine, machine.createFile('test-pattern', { seed: 3 }, 3 * PAGE));
        const at = space.mmap({ length: 3 * PAGE, prot: PROT_READ, flags: MAP_PRIVATE, file });
        const got = new Uint8Array(3 * PAGE);
        space.read(at, got);
        expect(got).toEqual(pattern(3 * PAGE, 3));
        space.add32(map(space, 1), 1);
      });
    });
  });

  test('a shared machine without SharedArrayBuffer is ENOTSUP', () => {
    withoutSharedMemory(() => {
      const error = expectError('ENOTSUP', () => createMachine({ memory: MiB, design }));
      expect(error.message).toContain('Cross-Origin-Opener-Policy');
    });
  });

  test('over a shared WebAssembly.Memory the frames are its bytes, and what was in it is not seen', () => {
    const memory = new WebAssembly.Memory({ initial: 16, maximum: 16, shared: true });
    new Uint8Array(memory.buffer).fill(0xdd);
    withMachine({ design, memory }, ({ machine, space }) => {
      expect(machine.memory).toBe(16 * 64 * KiB);
      expect(machine.handle.frames).toBe(memory.buffer);
      const at = map(space, 4);
      expect([space.load32(at), space.load32(at + PAGE)]).toEqual([0, 0]);
      space.store32(at + 4, 0x01020304);
      expect([space.load32(at), space.load32(at + 4), space.load32(at + 2 * PAGE)]).toEqual([0, 0x01020304, 0]);
      expect(Buffer.from(memory.buffer).includes(Buffer.from([4, 3, 2, 1]))).toBe(true);
      exercise(space);
    });
  });

  test('over a WebAssembly.Memory that is not shared works with shared: false', () => {
    const memory = new WebAssembly.Memory({ initial: 4, maximum: 4 });
    new Uint8Array(memory.buffer).fill(0xdd);
    withMachine({ design, memory, shared: false }, ({ space }) => exercise(space));
  });

  test('4 GiB can be had, its pages lazily', () => {
    const machine = createMachine({ memory: 4 * GiB, design });
    expect(machine.memory).toBe(4 * GiB);
    const space = machine.createSpace();
    exercise(space);
    space.close();
    expectNothingLeft(machine);
    machine.close();
  });

  test('out of frames is ENOMEM at the store, nothing is half done, and munmap gives the memory back', () => {
    withMachine({ design, memory: 64 * PAGE }, ({ machine, space }) => {
      const at = map(space, 200);
      let stored = 0;
      const error = expectError('ENOMEM', () => {
        for (; stored < 200; stored++) space.store32(at + stored * PAGE, stored + 1);
      });
      expect(error.message).toContain('no frame of 64');
      expect(stored).toBe(63);
      for (let page = 0; page < stored; page++) expect(space.load32(at + page * PAGE)).toBe(page + 1);
      expect(space.load32(at + 70 * PAGE)).toBe(0); // the zero page needs no frame
      expectError('ENOMEM', () => space.store32(at + 70 * PAGE, 1));
      expectError('ENOMEM', () => space.fill(at + 60 * PAGE, 5 * PAGE, 1));
      expect(space.load32(at + 70 * PAGE)).toBe(0);
      machine.drain();
      expect(machine.census().frames).toMatchObject({ live: 63, owned: 0, retired: 0 });
      space.munmap(at, 10 * PAGE);
      for (let page = 100; page < 110; page++) space.store32(at + page * PAGE, 5);
      expectError('ENOMEM', () => space.store32(at + 110 * PAGE, 1));
      space.munmap(at, 200 * PAGE);
      space.fill(map(space, 63), 63 * PAGE, 1);
    });
  });

  test('out of frames inside run comes through, and memory that this thread itself has retired is used again', () => {
    withMachine({ design, memory: 64 * PAGE }, ({ space }) => {
      const at = map(space, 64);
      space.run((m) => {
        for (let round = 0; round < 5; round++) {
          for (let page = 0; page < 60; page++) m.store32(at + page * PAGE, round);
          space.mmap({ addr: at, length: 64 * PAGE, prot: RW, flags: PRIVATE | MAP_FIXED });
        }
        expectError('ENOMEM', () => {
          for (let page = 0; page < 64; page++) m.store32(at + page * PAGE, 9);
        });
        expect(m.load32(at)).toBe(9);
      });
    });
  });

  test('a grace period that another cpu’s section holds up ends in ETIMEDOUT, which names the cpu', () => {
    withMachine({ design, stallTimeout: 100 }, ({ machine, space }) => {
      const at = map(space, 2);
      space.store8(at, 1);
      const { words } = machine.kernel;
      const slot = cpuSlot(7) + C_SLOT;
      words[CPUS_USED] = 8;
      words[slot] = 1; // in a section since the first epoch
      const error = expectError('ETIMEDOUT', () => space.mprotect(at, PAGE, PROT_READ));
      expect(error.message).toContain('cpu 7');
      expectFault('SEGV_ACCERR', () => space.store8(at, 2)); // in force all the same
      words[slot] = 0;
      space.mprotect(at, PAGE, RW);
      space.store8(at, 2);
      expect(machine.counters()['grace.stalls']).toBe(1);
    });
  });

  test('on a thread that must not block the wait is short: WouldBlock, and what was to be done can be done later', () => {
    withMachine({ design, memory: 64 * PAGE, stallTimeout: 60_000 }, ({ machine, space }) => {
      const { words, cpu } = machine.kernel;
      (cpu as { canBlock: boolean }).canBlock = false;
      const at = map(space, 63);
      space.fill(at, 63 * PAGE, 1);
      const slot = cpuSlot(7) + C_SLOT;
      words[CPUS_USED] = 8;
      words[slot] = 1; // in a section since the first epoch
      const error = expectError('EWOULDBLOCK', () => space.mprotect(at, PAGE, PROT_READ));
      expect(error.message).toContain('cpu 7');
      expectFault('SEGV_ACCERR', () => space.store8(at, 2)); // in force all the same
      expectError('EWOULDBLOCK', () => machine.drain());
      space.munmap(at + 32 * PAGE, 31 * PAGE);
      const more = map(space, 31);
      expectError('EWOULDBLOCK', () => space.store8(more, 2)); // all memory is free or waits for that section
      expect(space.load8(more)).toBe(0);
      expect(space.load8(at + 31 * PAGE)).toBe(1);
      words[slot] = 0;
      space.mprotect(at, PAGE, RW);
      space.store8(at, 2);
      expect(space.fill(more, 31 * PAGE, 3)).toBe(31 * PAGE);
      expect(space.load8(more)).toBe(3);
    });
  });

  test('a size that is refused is named as it was given', () => {
    for (const memory of [1000, 0, 256 * KiB - 1, 5 * GiB]) {
      expect(expectError('EINVAL', () => createMachine({ memory, design })).message).toContain(`got ${memory},`);
    }
    expect(expectError('EINVAL', () => createMachine({ memory: '1000' as never })).message).toContain("got '1000',");
  });

  test('an Oops poisons the machine: every later call names it', () => {
    const machine = createMachine({ memory: MiB, design });
    const space = machine.createSpace();
    const at = map(space, 1);
    machine.kernel.words[H_POISON] = 1;
    for (const call of [
      () => space.load8(at),
      () => map(space, 1),
      () => machine.createSpace(),
      () => machine.drain(),
    ]) {
      expect(call).toThrow(/poisoned by cpu 0/);
    }
    machine.kernel.words[H_POISON] = 0;
    machine.close();
  });

  test('counters only rise, are summed over cpus, and outlive their cpu', () => {
    withMachine({ design }, ({ machine, space, newSpace }) => {
      const work = () => {
        const at = map(space, 3);
        space.fill(at, 2 * PAGE, 1);
        space.load8(at + 2 * PAGE);
        expectFault('SEGV_MAPERR', () => space.load8(16 * PAGE * 2 ** 20));
        space.mprotect(at, PAGE, PROT_READ);
        space.munmap(at, 3 * PAGE);
        machine.drain();
      };
      let before = machine.counters();
      for (let i = 0; i < 3; i++) {
        work();
        newSpace().close();
        const after = machine.counters();
        for (const [name, value] of Object.entries(before)) {
          if (typeof value !== 'number') continue;
          expect((after as unknown as Record<string, number>)[name], name).toBeGreaterThanOrEqual(value);
        }
        expect(after['call.mmap']).toBe(before['call.mmap'] + 1);
        expect(after['fault.anon.write']).toBe(before['fault.anon.write'] + 2);
        expect(after['fault.segv']).toBe(before['fault.segv'] + 1);
        before = after;
      }
      expect(machine.cpuCounters(machine.cpu)['call.mmap']).toBe(before['call.mmap']);
      expect(machine.cpuCounters(63)['call.mmap']).toBe(0);
      for (const buckets of Object.values(before.histograms)) expect(buckets).toHaveLength(20);
    });
  });

  test('census counts what is in use', () => {
    withMachine({ design }, ({ machine, space }) => {
      expect(inUse(machine)).toMatchObject({ spaces: 1, mappings: 0, frames: 0, vma: 0, file: 0 });
      const at = map(space, 600);
      space.store8(at, 1);
      space.store8(at + 599 * PAGE, 1);
      const file = closing(machine, machine.createFile('test-pattern', { seed: 1 }, PAGE));
      expect(inUse(machine)).toMatchObject({ spaces: 1, mappings: 1, frames: 2, vma: 1, file: 1, text: 1 });
      file.close();
      expect(inUse(machine)).toMatchObject({ file: 0, text: 0 });
      expect(layout(space, at)).toEqual(['0-600 rw-p']);
      expect(machine.lockdep()).toEqual([]);
      expect(machine.cpus()).toEqual([{ cpu: machine.cpu, thread: expect.any(Number) }]);
    });
  });
});
