/** What a victim may be doing when it dies. `name` is what a replay names. */

import type { Vpn } from '../../../src/base/brands.ts';
import { absentPages, providePages } from '../../../src/fault/absent.ts';
import type { Faulter } from '../../../src/fault/faulter.ts';
import { MAP_FIXED, MAP_FIXED_NOREPLACE, MAP_PRIVATE, PROT_NONE, PROT_READ, type Space } from '../../../src/index.ts';
import { publicCall } from '../../../src/recovery/public-call.ts';
import { ANON, BASE, P, patternOf, RW, stamped, stampOf, type World } from './world.ts';

export interface Scenario {
  readonly name: string;
  readonly frames?: number;
  /** Pages from BASE on that the call is about; all others must stay as they are. */
  readonly pages: number;
  /** Done by the survivor. */
  setup(world: World): void;
  /** Done by the victim before, so that its magazines and backings are warm. */
  warm?(world: World): void;
  /** The victim's last call. */
  act(world: World): void;
  /** Whether a page of the range may read `value` although the layout is the old one, or the new one. */
  legal?(address: number, value: number, layout: 'old' | 'new'): boolean;
  /** MAP_FIXED: the range may also be left empty. */
  readonly mayLeaveHole?: boolean;
  /** Whether the call is one of layout: else its range is as it was. */
  readonly changesLayout?: boolean;
  /** Pages of a large range that are looked at; without it, all. */
  readonly touched?: readonly number[];
  /** The call is several, so there are more layouts than old and new. */
  readonly manyLayouts?: boolean;
}

const at = (page: number): number => BASE + page * P;
const stampedOnly = (address: number, value: number): boolean => value === stampOf(address);

function mapFile(space: Space, world: World, page: number, pages: number, offset: number): void {
  const file = space === world.space ? world.file : world.theirFile;
  const addr = at(page);
  space.mmap({ addr, length: pages * P, prot: RW, flags: MAP_PRIVATE | MAP_FIXED, file, offset: offset * P });
}

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'mmap into a hole',
    changesLayout: true,
    pages: 4,
    setup: ({ space }) => stamped(space, at(8), 2),
    act: ({ theirs }) => void theirs.mmap({ addr: at(0), length: 4 * P, prot: RW, flags: ANON | MAP_FIXED_NOREPLACE }),
    legal: (_, value) => value === 0,
  },
  {
    name: 'mmap that joins two neighbours',
    changesLayout: true,
    pages: 2,
    setup: ({ space }) => {
      stamped(space, at(-2), 2);
      stamped(space, at(2), 2);
    },
    act: ({ theirs }) => void theirs.mmap({ addr: at(0), length: 2 * P, prot: RW, flags: ANON | MAP_FIXED_NOREPLACE }),
    legal: (_, value) => value === 0,
  },
  {
    name: 'mmap of a file',
    changesLayout: true,
    pages: 4,
    setup: ({ space }) => stamped(space, at(8), 2),
    act: (world) => mapFile(world.theirs, world, 0, 4, 2),
    legal: (address, value) => value === patternOf((address - BASE) / P + 2),
  },
  {
    name: 'MAP_FIXED over the middle of a mapping',
    changesLayout: true,
    pages: 3,
    mayLeaveHole: true,
    setup: ({ space }) => stamped(space, at(-2), 7),
    act: ({ theirs }) => void theirs.mmap({ addr: at(0), length: 3 * P, prot: PROT_READ, flags: ANON | MAP_FIXED }),
    legal: (address, value, layout) => value === (layout === 'old' ? stampOf(address) : 0),
  },
  {
    name: 'MAP_FIXED of the same kind over the middle of a mapping',
    changesLayout: true,
    pages: 3,
    mayLeaveHole: true,
    setup: ({ space }) => stamped(space, at(-2), 7),
    act: ({ theirs }) => void theirs.mmap({ addr: at(0), length: 3 * P, prot: RW, flags: ANON | MAP_FIXED }),
    legal: (address, value) => value === stampOf(address) || value === 0,
  },
  {
    name: 'MAP_FIXED of a file over several mappings',
    changesLayout: true,
    pages: 6,
    mayLeaveHole: true,
    setup: (world) => {
      stamped(world.space, at(-1), 3);
      mapFile(world.space, world, 3, 2, 5);
      world.space.load32(at(3));
      world.space.store32(at(4), 7);
      stamped(world.space, at(5), 3);
    },
    act: (world) => mapFile(world.theirs, world, 0, 6, 8),
    legal: (address, value, layout) => {
      const page = (address - BASE) / P;
      if (layout === 'new') return value === patternOf(page + 8);
      return page === 3 ? value === patternOf(5) : page === 4 ? value === 7 : value === stampOf(address);
    },
  },
  {
    name: 'munmap of a whole mapping',
    changesLayout: true,
    pages: 4,
    setup: ({ space }) => {
      stamped(space, at(0), 4);
      stamped(space, at(6), 1);
    },
    act: ({ theirs }) => theirs.munmap(at(0), 4 * P),
    legal: stampedOnly,
  },
  {
    name: 'munmap out of the middle',
    changesLayout: true,
    pages: 2,
    setup: ({ space }) => stamped(space, at(-2), 6),
    act: ({ theirs }) => theirs.munmap(at(0), 2 * P),
    legal: stampedOnly,
  },
  {
    name: 'munmap of several mappings and holes, with file pages',
    changesLayout: true,
    pages: 9,
    setup: (world) => {
      stamped(world.space, at(-1), 3);
      mapFile(world.space, world, 3, 4, 0);
      for (const page of [3, 4, 6]) world.space.load32(at(page));
      world.space.store32(at(5), patternOf(2));
      stamped(world.space, at(8), 3);
    },
    act: ({ theirs }) => theirs.munmap(at(0), 9 * P),
    legal: (address, value) => {
      const page = (address - BASE) / P;
      return value === (page >= 3 && page < 7 ? patternOf(page - 3) : stampOf(address));
    },
  },
  {
    name: 'munmap that tears page tables down',
    changesLayout: true,
    pages: 1200,
    touched: [0, 1, 511, 512, 1000, 1199],
    setup: ({ space }) => {
      space.mmap({ addr: at(0), length: 1200 * P, prot: RW, flags: ANON | MAP_FIXED_NOREPLACE });
      for (const page of [0, 511, 512, 1199]) space.store32(at(page), stampOf(at(page)));
      stamped(space, at(4000), 1);
    },
    act: ({ theirs }) => theirs.munmap(at(0), 1200 * P),
    legal: (address, value) => {
      const touched = [0, 511, 512, 1199].includes((address - BASE) / P);
      return value === (touched ? stampOf(address) : 0);
    },
  },
  {
    name: 'mprotect out of the middle',
    changesLayout: true,
    pages: 2,
    setup: ({ space }) => stamped(space, at(-2), 6),
    act: ({ theirs }) => theirs.mprotect(at(0), 2 * P, PROT_READ),
    legal: stampedOnly,
  },
  {
    name: 'mprotect that joins three mappings',
    changesLayout: true,
    pages: 2,
    setup: ({ space }) => {
      stamped(space, at(-2), 6);
      space.mprotect(at(0), 2 * P, PROT_READ);
    },
    act: ({ theirs }) => theirs.mprotect(at(0), 2 * P, RW),
    legal: stampedOnly,
  },
  {
    name: 'mprotect to PROT_NONE over several mappings',
    changesLayout: true,
    pages: 6,
    setup: (world) => {
      stamped(world.space, at(-1), 3);
      mapFile(world.space, world, 2, 2, 0);
      world.space.load32(at(2));
      world.space.store32(at(3), patternOf(1));
      stamped(world.space, at(4), 3);
    },
    act: ({ theirs }) => theirs.mprotect(at(0), 6 * P, PROT_NONE),
    legal: (address, value) => {
      const page = (address - BASE) / P;
      return value === (page === 2 || page === 3 ? patternOf(page - 2) : stampOf(address));
    },
  },
  {
    name: 'a write fault on anonymous memory',
    pages: 2,
    setup: ({ space }) => {
      space.mmap({ addr: at(0), length: 2 * P, prot: RW, flags: ANON | MAP_FIXED_NOREPLACE });
      stamped(space, at(2), 1);
    },
    act: ({ theirs }) => theirs.store32(at(0), 77),
    legal: (address, value) => value === 0 || (address === BASE && value === 77),
  },
  {
    name: 'the first write fault of a page table',
    pages: 2,
    setup: ({ space }) => void space.mmap({ addr: at(0), length: 2 * P, prot: RW, flags: ANON | MAP_FIXED_NOREPLACE }),
    act: ({ theirs }) => theirs.store32(at(0), 77),
    legal: (address, value) => value === 0 || (address === BASE && value === 77),
  },
  {
    name: 'a read fault on anonymous memory, then a write',
    pages: 1,
    setup: ({ space }) => stamped(space, at(1), 1),
    warm: ({ theirs }) => void theirs.mmap({ addr: at(0), length: P, prot: RW, flags: ANON | MAP_FIXED_NOREPLACE }),
    act: ({ theirs }) => theirs.store32(at(0), theirs.load32(at(0)) + 77),
    legal: (_, value) => value === 0 || value === 77,
  },
  {
    name: 'a read fault on a file',
    pages: 4,
    setup: (world) => mapFile(world.space, world, 0, 4, 3),
    act: ({ theirs }) => void theirs.load32(at(1)),
    legal: (address, value) => value === patternOf((address - BASE) / P + 3),
  },
  {
    name: 'read faults on a file with read-ahead',
    pages: 4,
    setup: (world) => mapFile(world.space, world, 0, 4, 3),
    warm: ({ theirs }) => void theirs.load32(at(0)),
    act: ({ theirs }) => void (theirs.load32(at(1)) + theirs.load32(at(2))),
    legal: (address, value) => value === patternOf((address - BASE) / P + 3),
  },
  {
    name: 'bringing pages of a file that were read beforehand, and faults on them',
    pages: 4,
    setup: (world) => mapFile(world.space, world, 0, 4, 1),
    act: ({ theirs, victim }) => {
      const faulter = (theirs as unknown as { _open: { faulter: Faulter } })._open.faulter;
      const vpn = (at(0) / P) as Vpn;
      const pages = absentPages(faulter, vpn, 4);
      const bytes = new Int32Array((4 * P) / 4).map((_, i) => patternOf(1 + Math.floor((i * 4) / P)));
      if (pages !== undefined) {
        const read = new Uint8Array(bytes.buffer, 0, pages.count * P);
        publicCall(victim.kernel, 'populate', () => providePages(faulter, vpn, pages, read));
      }
      for (let i = 0; i < 4; i++) theirs.load32(at(i));
    },
    legal: (address, value) => value === patternOf((address - BASE) / P + 1),
  },
  {
    name: 'a private copy of a file page that is mapped',
    pages: 4,
    setup: (world) => {
      mapFile(world.space, world, 0, 4, 3);
      world.space.load32(at(1));
    },
    act: ({ theirs }) => theirs.store32(at(1), 77),
    legal: (address, value) => value === patternOf((address - BASE) / P + 3) || (address === at(1) && value === 77),
  },
  {
    name: 'a private copy of a file page that must be read',
    pages: 4,
    setup: (world) => mapFile(world.space, world, 0, 4, 3),
    act: ({ theirs }) => theirs.store32(at(1), 77),
    legal: (address, value) => value === patternOf((address - BASE) / P + 3) || (address === at(1) && value === 77),
  },
  {
    name: 'a write after mprotect gave the right back',
    pages: 1,
    setup: ({ space }) => {
      stamped(space, at(0), 2);
      space.mprotect(at(0), P, PROT_READ);
      space.mprotect(at(0), P, RW);
    },
    act: ({ theirs }) => theirs.store32(at(0), 77),
    legal: (address, value) => value === stampOf(address) || value === 77,
  },
  {
    name: 'a file page mapped so often that the reverse map needs nodes',
    changesLayout: true,
    pages: 16,
    setup: (world) => {
      for (let page = 0; page < 16; page++) mapFile(world.space, world, page, 1, 3);
      for (let page = 0; page < 14; page++) world.space.load32(at(page));
    },
    act: ({ theirs }) => {
      theirs.load32(at(14));
      theirs.munmap(at(0), 15 * P);
    },
    legal: (_, value) => value === patternOf(3),
  },
  {
    name: 'reclaim under pressure, by reading a file',
    frames: 64,
    pages: 16,
    setup: (world) => {
      const { space } = world;
      mapFile(space, world, 0, 16, 0);
      for (let page = 0; page < 8; page++) space.load32(at(page));
      fillMemory(space, 50);
    },
    act: ({ theirs }) => {
      for (let page = 8; page < 16; page++) theirs.load32(at(page));
    },
    legal: (address, value) => value === patternOf((address - BASE) / P),
  },
  {
    name: 'reclaim under pressure, by writing',
    frames: 64,
    pages: 16,
    setup: (world) => {
      const { space } = world;
      mapFile(space, world, 0, 16, 0);
      for (let page = 0; page < 10; page++) space.load32(at(page));
      fillMemory(space, 48);
    },
    act: ({ theirs }) => {
      for (let page = 10; page < 16; page++) theirs.store32(at(page), patternOf(page));
    },
    legal: (address, value) => value === patternOf((address - BASE) / P),
  },
  {
    name: 'a write fault that steals what another thread keeps',
    frames: 64,
    pages: 5,
    setup: ({ space, survivor }) => {
      space.mmap({ addr: at(0), length: 5 * P, prot: RW, flags: ANON | MAP_FIXED_NOREPLACE });
      fillMemory(space, 58);
      const { frames } = survivor.kernel;
      for (const pfn of [frames.alloc(), frames.alloc()]) frames.free(pfn);
    },
    act: ({ theirs }) => {
      for (let page = 0; page < 5; page++) theirs.store32(at(page), stampOf(at(page)));
    },
    legal: (address, value) => value === 0 || value === stampOf(address),
  },
  {
    name: 'freeing what was retired',
    changesLayout: true,
    pages: 8,
    setup: ({ space }) => stamped(space, at(0), 8),
    act: ({ theirs, victim }) => {
      theirs.munmap(at(0), 8 * P);
      victim.drain();
    },
    legal: stampedOnly,
  },
  {
    name: 'closing the space while another thread has it open',
    pages: 0,
    setup: ({ space }) => stamped(space, at(0), 4),
    act: ({ theirs }) => theirs.close(),
  },
  {
    name: 'making a space, using it and closing it, as its only user',
    pages: 0,
    setup: ({ space }) => stamped(space, at(0), 4),
    act: ({ victim, theirFile }) => {
      const own = victim.createSpace();
      const anonymous = own.mmap({ length: 3 * P, prot: RW, flags: ANON });
      own.store32(anonymous, 1);
      own.store32(anonymous + 2 * P, 1);
      const mapped = own.mmap({ length: 3 * P, prot: RW, flags: MAP_PRIVATE, file: theirFile });
      own.load32(mapped);
      own.store32(mapped + P, 1);
      own.close();
    },
  },
  {
    name: 'making a file, reading it and closing it, as its only user',
    changesLayout: true,
    pages: 4,
    manyLayouts: true,
    setup: ({ space }) => stamped(space, at(8), 1),
    act: ({ victim, theirs }) => {
      const file = victim.createFile('pattern', { text: 'x'.repeat(100) }, 4 * P);
      theirs.mmap({ addr: at(0), length: 4 * P, prot: RW, flags: MAP_PRIVATE | MAP_FIXED, file });
      theirs.load32(at(1));
      theirs.store32(at(2), 1);
      theirs.munmap(at(0), 4 * P);
      file.close();
    },
    legal: (address, value) => value === patternOf((address - BASE) / P) || (address === at(2) && value === 1),
  },
  {
    name: 'opening and closing a file that another thread has open',
    pages: 0,
    setup: ({ space }) => stamped(space, at(0), 1),
    act: ({ victim, theirFile, file }) => {
      theirFile.close();
      victim.attachFile(file.handle).close();
    },
  },
  {
    name: 'wait and notify',
    pages: 0,
    setup: ({ space }) => stamped(space, at(0), 1),
    act: ({ theirs }) => {
      theirs.wait(at(0), stampOf(at(0)), 0);
      theirs.notify(at(0));
    },
  },
  {
    name: 'leaving the machine',
    changesLayout: true,
    pages: 4,
    setup: ({ space }) => stamped(space, at(0), 5),
    act: ({ victim, theirs }) => {
      theirs.munmap(at(0), 4 * P);
      victim.close();
    },
    legal: stampedOnly,
  },
];

/** Leaves as many frames free as the file's pages are to fight for. */
function fillMemory(space: Space, pages: number): void {
  stamped(space, at(100), pages);
}
