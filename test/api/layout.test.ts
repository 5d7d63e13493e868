/** mmap, munmap and mprotect as their manual pages say, with the layout drawn after each step. */
import { describe, expect, test } from 'vitest';
import {
  createMachine,
  KiB,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_FIXED_NOREPLACE,
  MAP_NORESERVE,
  MAP_PRIVATE,
  MAP_SHARED,
  MiB,
  PROT_EXEC,
  PROT_NONE,
  PROT_READ,
  PROT_WRITE,
  type Space,
} from '../../src/index.ts';
import {
  DESIGNS,
  expectError,
  expectFault,
  expectNothingLeft,
  layout,
  map,
  PAGE,
  PRIVATE,
  RW,
  withMachine,
} from '../support.ts';

/** A base that nothing else uses. */
const BASE = 2 ** 40;
const at = (page: number): number => BASE + page * PAGE;

function fixed(space: Space, page: number, pages: number, prot: number = RW, flags: number = PRIVATE): number {
  return space.mmap({ addr: at(page), length: pages * PAGE, prot, flags: flags | MAP_FIXED });
}
const draw = (space: Space): string[] => layout(space, BASE);

describe.each(DESIGNS)('layout under %s', (design) => {
  test('a hint is taken when it is free, rounded down to its page, and ignored when it is not', () => {
    withMachine({ design }, ({ space }) => {
      const options = { length: 2 * PAGE, prot: RW, flags: PRIVATE };
      expect(space.mmap({ ...options, addr: at(3) })).toBe(at(3));
      expect(space.mmap({ ...options, addr: at(8) + 123 })).toBe(at(8));
      expect(draw(space)).toEqual(['3-5 rw-p', '8-10 rw-p']);
      for (const addr of [at(2), at(4), at(3), PAGE, 2 ** 47, 2 ** 47 - PAGE]) {
        const got = space.mmap({ ...options, addr });
        expect(got, String(addr)).not.toBe(addr);
        space.munmap(got, 2 * PAGE);
      }
      expect(draw(space)).toEqual(['3-5 rw-p', '8-10 rw-p']);
    });
  });

  test('without a hint each mapping goes below the last one, and a hole that fits is used again', () => {
    withMachine({ design }, ({ space }) => {
      const options = { prot: PROT_READ, flags: PRIVATE };
      const first = space.mmap({ ...options, length: 4 * PAGE });
      const second = space.mmap({ ...options, length: 4 * PAGE, prot: RW });
      const third = space.mmap({ ...options, length: 4 * PAGE });
      expect([second, third]).toEqual([first - 4 * PAGE, first - 8 * PAGE]);
      space.munmap(second, 4 * PAGE);
      expect(space.mmap({ ...options, length: 5 * PAGE, prot: RW })).toBe(third - 5 * PAGE);
      expect(space.mmap({ ...options, length: 2 * PAGE, prot: RW })).toBe(first - 2 * PAGE);
      expect(space.mmap({ ...options, length: 2 * PAGE, prot: RW })).toBe(second);
    });
  });

  test('neighbours of one kind become one mapping, of different kinds they do not', () => {
    withMachine({ design }, ({ space }) => {
      fixed(space, 0, 2);
      fixed(space, 4, 2);
      fixed(space, 2, 2);
      expect(draw(space)).toEqual(['0-6 rw-p']);
      fixed(space, 6, 1, PROT_READ);
      fixed(space, 7, 1, RW, PRIVATE | MAP_NORESERVE);
      fixed(space, 8, 1, RW, MAP_SHARED | MAP_ANONYMOUS);
      fixed(space, 9, 1, RW, MAP_SHARED | MAP_ANONYMOUS);
      expect(draw(space)).toEqual(['0-6 rw-p', '6-7 r--p', '7-8 rw-p', '8-9 rw-s', '9-10 rw-s']);
      expect(space.counters()).toMatchObject({ mappings: 5, mappedBytes: 10 * PAGE, residentPages: 0 });
    });
  });

  test('MAP_FIXED replaces what is there, over several mappings and holes, and zeroes it', () => {
    withMachine({ design }, ({ space, machine }) => {
      fixed(space, 0, 4);
      fixed(space, 5, 2, PROT_READ);
      fixed(space, 8, 4);
      space.fill(at(0), 4 * PAGE, 1);
      space.fill(at(8), 4 * PAGE, 2);
      expect(fixed(space, 2, 8, RW, PRIVATE | MAP_NORESERVE)).toBe(at(2));
      expect(draw(space)).toEqual(['0-2 rw-p', '2-10 rw-p', '10-12 rw-p']);
      expect([0, 1, 2, 3, 9, 10, 11].map((page) => space.load8(at(page)))).toEqual([1, 1, 0, 0, 0, 2, 2]);
      machine.drain();
      expect(machine.census().frames.live).toBe(4);
    });
  });

  test('MAP_FIXED inside one mapping of its own kind leaves one mapping', () => {
    withMachine({ design }, ({ space }) => {
      fixed(space, 0, 6);
      space.fill(at(0), 6 * PAGE, 7);
      fixed(space, 2, 2);
      expect(draw(space)).toEqual(['0-6 rw-p']);
      expect([1, 2, 3, 4].map((page) => space.load8(at(page)))).toEqual([7, 0, 0, 7]);
    });
  });

  test('MAP_FIXED_NOREPLACE takes a free place, and is EEXIST for every kind of overlap', () => {
    withMachine({ design }, ({ space }) => {
      fixed(space, 4, 4);
      const request = (page: number, pages: number, more = 0) =>
        space.mmap({
          addr: at(page),
          length: pages * PAGE,
          prot: PROT_READ,
          flags: PRIVATE | MAP_FIXED_NOREPLACE | more,
        });
      for (const [page, pages] of [
        [4, 4],
        [3, 2],
        [7, 2],
        [5, 1],
        [0, 20],
      ] as const) {
        expectError('EEXIST', () => request(page, pages));
        expectError('EEXIST', () => request(page, pages, MAP_FIXED));
      }
      expect([request(2, 2), request(8, 2)]).toEqual([at(2), at(8)]);
      expect(draw(space)).toEqual(['2-4 r--p', '4-8 rw-p', '8-10 r--p']);
    });
  });

  test('munmap takes any part of a mapping and does not mind holes', () => {
    withMachine({ design }, ({ space, machine }) => {
      fixed(space, 0, 12);
      for (let page = 0; page < 12; page++) space.store8(at(page), page + 1);
      space.munmap(at(4), 2 * PAGE);
      expect(draw(space)).toEqual(['0-4 rw-p', '6-12 rw-p']);
      space.munmap(at(0), PAGE);
      space.munmap(at(11), PAGE);
      expect(draw(space)).toEqual(['1-4 rw-p', '6-11 rw-p']);
      space.munmap(at(3), 5 * PAGE);
      expect(draw(space)).toEqual(['1-3 rw-p', '8-11 rw-p']);
      for (const page of [0, 3, 4, 5, 6, 7, 11]) expectFault('SEGV_MAPERR', () => space.load8(at(page)));
      expect([1, 2, 8, 9, 10].map((page) => space.load8(at(page)))).toEqual([2, 3, 9, 10, 11]);
      const before = space.sequence();
      space.munmap(at(4), 2 * PAGE);
      space.munmap(at(100), 1000 * PAGE);
      expect(space.sequence()).toBe(before);
      machine.drain();
      expect(machine.census().frames.live).toBe(5);
      space.munmap(at(0), 4 * PAGE + 1);
      expect(draw(space)).toEqual(['8-11 rw-p']);
      space.munmap(0, 2 ** 47);
      expect(draw(space)).toEqual([]);
      machine.drain();
      expect(machine.census()).toMatchObject({ frames: { live: 0 }, vma: { live: 0 }, mappings: 0 });
    });
  });

  test('a length is rounded up to pages', () => {
    withMachine({ design }, ({ space }) => {
      space.mmap({ addr: at(0), length: PAGE + 1, prot: RW, flags: PRIVATE | MAP_FIXED });
      expect(draw(space)).toEqual(['0-2 rw-p']);
      space.store8(at(2) - 1, 1);
      space.mprotect(at(0), 1, PROT_READ);
      expect(draw(space)).toEqual(['0-1 r--p', '1-2 rw-p']);
      space.munmap(at(0), 1);
      expect(draw(space)).toEqual(['1-2 rw-p']);
    });
  });

  test('mprotect splits, merges again, and does nothing when nothing changes', () => {
    withMachine({ design }, ({ space }) => {
      fixed(space, 0, 6);
      space.fill(at(0), 6 * PAGE, 9);
      space.mprotect(at(2), 2 * PAGE, PROT_READ);
      expect(draw(space)).toEqual(['0-2 rw-p', '2-4 r--p', '4-6 rw-p']);
      expectFault('SEGV_ACCERR', () => space.store8(at(2), 1));
      expectFault('SEGV_ACCERR', () => space.fill(at(3), 1, 1));
      expect(space.load8(at(3))).toBe(9);
      const before = space.sequence();
      space.mprotect(at(2), 2 * PAGE, PROT_READ);
      expect(space.sequence()).toBe(before);
      space.mprotect(at(1), 2 * PAGE, PROT_READ);
      expect(draw(space)).toEqual(['0-1 rw-p', '1-4 r--p', '4-6 rw-p']);
      space.mprotect(at(0), 6 * PAGE, RW);
      expect(draw(space)).toEqual(['0-6 rw-p']);
      space.store8(at(2), 1);
      expect([1, 2, 3].map((page) => space.load8(at(page)))).toEqual([9, 1, 9]);
    });
  });

  test('mprotect over a hole is ENOMEM wherever the hole is, and the rest keeps its rights', () => {
    withMachine({ design }, ({ space }) => {
      fixed(space, 0, 2);
      fixed(space, 3, 2);
      for (const [page, pages] of [
        [0, 5],
        [2, 1],
        [1, 2],
        [2, 2],
        [4, 2],
        [10, 1],
      ] as const) {
        const { address } = expectError('ENOMEM', () => space.mprotect(at(page), pages * PAGE, PROT_NONE));
        expect(address).toBeGreaterThanOrEqual(at(page));
        expect(draw(space)).toEqual(['0-2 rw-p', '3-5 rw-p']);
      }
      space.store8(at(0), 1);
    });
  });

  test('PROT_NONE forbids everything and keeps the data', () => {
    withMachine({ design }, ({ space, machine }) => {
      fixed(space, 0, 3);
      space.store32(at(0), 42);
      expect(space.load32(at(1))).toBe(0); // the zero page
      space.mprotect(at(0), 3 * PAGE, PROT_NONE);
      for (const page of [0, 1, 2]) {
        expectFault('SEGV_ACCERR', () => space.load32(at(page)));
        expectFault('SEGV_ACCERR', () => space.store32(at(page), 1));
      }
      expect(machine.census().frames.live).toBe(1);
      space.mprotect(at(0), 3 * PAGE, PROT_READ);
      expect([0, 1, 2].map((page) => space.load32(at(page)))).toEqual([42, 0, 0]);
      space.mprotect(at(0), 3 * PAGE, PROT_NONE);
      space.mprotect(at(0), 3 * PAGE, RW);
      space.store32(at(1), 5);
      expect([0, 1, 2].map((page) => space.load32(at(page)))).toEqual([42, 5, 0]);
    });
  });

  test('any right lets read, only PROT_WRITE lets write, as on x86', () => {
    withMachine({ design }, ({ space }) => {
      fixed(space, 0, 1, PROT_WRITE);
      fixed(space, 1, 1, PROT_EXEC);
      space.store8(at(0), 4);
      expect([space.load8(at(0)), space.load8(at(1))]).toEqual([4, 0]);
      expectFault('SEGV_ACCERR', () => space.store8(at(1), 4));
      expect(draw(space)).toEqual(['0-1 -w-p', '1-2 --xp']);
    });
  });

  test('a limit of mapped bytes is ENOMEM beyond it, and a call that fails changes nothing', () => {
    withMachine({ design }, ({ machine }) => {
      const space = machine.createSpace({ limit: 8 * PAGE + 100 });
      fixed(space, 0, 8);
      space.fill(at(0), 8 * PAGE, 5);
      const before = [draw(space), machine.census()];
      expectError('ENOMEM', () => map(space, 1));
      expectError('ENOMEM', () => fixed(space, 8, 1));
      expectError('ENOMEM', () => fixed(space, 4, 5));
      expectError('ENOMEM', () => fixed(space, 4, 5, PROT_READ));
      machine.drain();
      expect(draw(space)).toEqual(before[0]);
      expect(machine.census()).toMatchObject({ frames: { live: 8, owned: 0 }, vma: { live: 1, owned: 0, retired: 0 } });
      expect(space.load8(at(6))).toBe(5);
      fixed(space, 4, 4, PROT_READ); // in place of as much as goes
      space.munmap(at(0), PAGE);
      fixed(space, 20, 1);
      expectError('ENOMEM', () => map(space, 1));
      space.close();
    });
  });

  test('the whole address space can be mapped, and then nothing more', () => {
    withMachine({ design }, ({ space, machine }) => {
      const lowest = 16 * PAGE;
      const all = { length: 2 ** 47 - lowest, prot: RW, flags: PRIVATE | MAP_NORESERVE };
      expect(space.mmap(all)).toBe(lowest);
      expectError('ENOMEM', () => map(space, 1));
      for (const address of [lowest, 2 ** 30, 2 ** 40 + 5, 2 ** 47 - 8]) {
        space.storeF64(address, address);
        expect(space.loadF64(address)).toBe(address);
      }
      expectFault('SEGV_MAPERR', () => space.load8(lowest - 1));
      expectFault('SEGV_MAPERR', () => space.loadF64(2 ** 47 - 4));
      space.mprotect(lowest, all.length, PROT_READ);
      expectFault('SEGV_ACCERR', () => space.store8(2 ** 30, 1));
      space.munmap(2 ** 41, PAGE);
      expect(map(space, 1)).toBe(2 ** 41);
      space.munmap(lowest, all.length);
      machine.drain();
      expect(machine.census().frames.live).toBe(0);
    });
  });

  test('maps() is in address order and says everything about each mapping', () => {
    withMachine({ design }, ({ space }) => {
      fixed(space, 5, 1, PROT_READ);
      fixed(space, 1, 2, RW, MAP_SHARED | MAP_ANONYMOUS);
      expect(space.maps()).toEqual([
        { start: at(1), end: at(3), prot: RW, shared: true, file: undefined, offset: 0 },
        { start: at(5), end: at(6), prot: PROT_READ, shared: false, file: undefined, offset: 0 },
      ]);
      expect(space.dump()).toContain('vma');
      space.validate();
    });
  });

  test('sequence changes with the layout and only with it', () => {
    withMachine({ design }, ({ space }) => {
      const steps: [string, boolean, () => unknown][] = [
        ['mmap', true, () => fixed(space, 0, 4)],
        ['a store', false, () => space.store8(at(0), 1)],
        ['mprotect', true, () => space.mprotect(at(0), PAGE, PROT_READ)],
        ['a failed mprotect', false, () => expectError('ENOMEM', () => space.mprotect(at(3), 2 * PAGE, RW))],
        ['munmap', true, () => space.munmap(at(3), PAGE)],
        ['munmap of nothing', false, () => space.munmap(at(3), PAGE)],
      ];
      for (const [what, changes, step] of steps) {
        const before = space.sequence();
        step();
        expect(space.sequence() !== before, what).toBe(changes);
      }
    });
  });

  test('spaces of one machine do not see each other', () => {
    withMachine({ design }, ({ space, newSpace }) => {
      const other = newSpace();
      for (const [which, s] of [space, other].entries()) {
        fixed(s, 0, 2);
        s.store8(at(0), which + 1);
      }
      expect([space.load8(at(0)), other.load8(at(0))]).toEqual([1, 2]);
      space.munmap(at(0), PAGE);
      expectFault('SEGV_MAPERR', () => space.load8(at(0)));
      expect(other.load8(at(0))).toBe(2);
    });
  });
});

test('a space has 65530 mappings, the next is ENOMEM, also as a split, and changes nothing', () => {
  const machine = createMachine({ memory: 64 * MiB });
  const space = machine.createSpace();
  const MAX = 65530;
  for (let i = 0; i < MAX - 1; i++) space.mmap({ addr: at(2 * i), length: PAGE, prot: RW, flags: PRIVATE | MAP_FIXED });
  const big = space.mmap({ addr: at(-10), length: 3 * PAGE, prot: RW, flags: PRIVATE | MAP_FIXED });
  expect(space.counters().mappings).toBe(MAX);
  const sequence = space.sequence();
  expectError('ENOMEM', () => space.mmap({ length: PAGE, prot: PROT_READ, flags: PRIVATE }));
  expectError('ENOMEM', () => space.munmap(big + PAGE, PAGE));
  expectError('ENOMEM', () => space.mprotect(big + PAGE, PAGE, PROT_READ));
  expectError('ENOMEM', () =>
    space.mmap({ addr: big + PAGE, length: PAGE, prot: PROT_READ, flags: PRIVATE | MAP_FIXED }),
  );
  expect(space.sequence()).toBe(sequence);
  space.munmap(at(0), PAGE);
  space.munmap(at(2), PAGE);
  space.mprotect(big + PAGE, PAGE, PROT_READ);
  space.validate();
  space.close();
  expectNothingLeft(machine);
  machine.close();
});

test('a machine of the smallest size works', () => {
  const machine = createMachine({ memory: 256 * KiB });
  const space = machine.createSpace();
  const start = map(space, 60);
  space.fill(start, 60 * PAGE, 3);
  expect(space.load8(start + 59 * PAGE)).toBe(3);
  space.close();
  expectNothingLeft(machine);
  machine.close();
});

test('the flags MAP_PRIVATE and MAP_SHARED have the numbers of Linux', () => {
  expect([MAP_SHARED, MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS, MAP_FIXED_NOREPLACE]).toEqual([
    1, 2, 0x10, 0x20, 0x100000,
  ]);
});
