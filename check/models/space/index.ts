/** Layout changes against faults: munmap, MAP_FIXED, mprotect, table teardown, the TLB and the grace period. */

import type { MmRef, Vpn } from '../../../src/base/brands.ts';
import { TLB_MASK } from '../../../src/base/tunables.ts';
import {
  type DesignName,
  type FileHandle,
  MAP_FIXED,
  MAP_FIXED_NOREPLACE,
  MAP_PRIVATE,
  type Machine,
  type MappedFile,
  PROT_READ,
  type Space,
  type SpaceHandle,
  VmError,
} from '../../../src/index.ts';
import { nudgeGeneration } from '../../../src/paging/generation.ts';
import { ptePfn } from '../../../src/paging/pte.ts';
import { LEAF_PAGES } from '../../../src/paging/table.layout.ts';
import { View } from '../../../src/paging/view.ts';
import { rootOf } from '../../../src/space/layout.ts';
import { data32, load, store } from '../../../src/sync/atomics.checked.ts';
import type { Model } from '../../model.ts';
import {
  ANON,
  audit,
  BASE,
  type Hands,
  hands,
  look,
  machineModel,
  makeFile,
  makeWorld,
  mapAnon,
  orSegv,
  P,
  put,
  RW,
  type World,
  wordOf,
} from '../world.ts';

const P0 = BASE;
const P1: number = BASE + P;
const P2: number = BASE + 2 * P;
/** Bytes that one leaf covers. */
const LEAF: number = LEAF_PAGES * P;

/** Three pages, of which the middle one has been written: tables and leaf are there. */
const threePages = (design: DesignName = 'rcu'): World =>
  makeWorld({ design }, ({ space }) => {
    mapAnon(space, P0, 3);
    space.store32(P1, 1);
    return {};
  });

const rootLookup = machineModel<World>({
  name: 'root-lookup',
  title: 'a lookup and a dump of the layout, while the mappings around are split, merged and replaced',
  invariant: 'I1: a lookup returns a VMA that was published at some instant of the call; a dump is one layout',
  preemptions: 4,
  setup: () => threePages(),
  threads: [
    {
      name: 'writer',
      prepare: hands,
      run: ({ space }: Hands) => {
        space.mprotect(P0, P, PROT_READ); // splits
        space.mprotect(P0, P, RW); // merges
        return 0;
      },
    },
    {
      name: 'reader',
      prepare: hands,
      run: ({ machine: { kernel: k }, space }: Hands) => {
        const mm = space.handle.space as never;
        const rights = k.rcu.walking(() => {
          const v = k.tree.find(rootOf(k, mm), (P2 / P) as Vpn);
          return v === 0 ? 'missed' : `${k.vmas.flags(v) & 3}`;
        });
        const maps = space.maps().map(({ start, end, prot }) => `${(start - P0) / P}-${(end - P0) / P}:${prot}`);
        return `${rights} ${maps.join(' ')}`;
      },
    },
  ],
  outcomes: ['[0,"3 0-3:3"]', '[0,"3 0-1:1 1-3:3"]'],
});

const munmapFault = machineModel<World>({
  name: 'munmap-fault',
  title: 'munmap of a page against a write fault on it',
  invariant: 'I5: no page is installed behind a VMA that was detached before the zap; nothing is lost',
  preemptions: 5,
  setup: () => threePages(),
  threads: [
    {
      name: 'unmap',
      prepare: hands,
      run: ({ space }: Hands) => {
        space.munmap(P0, P);
        return 0;
      },
    },
    { name: 'fault', prepare: hands, run: ({ space }: Hands) => put(space, P0, 7) },
  ],
  check({ shared }) {
    audit(shared);
  },
  outcomes: ['[0,"ok"]', '[0,"SEGV_MAPERR"]'],
});

const munmapTwoFaults = machineModel<World>({
  ...munmapFault,
  name: 'munmap-two-faults',
  title: 'munmap of a page against two write faults on it',
  preemptions: 2,
  threads: [
    ...munmapFault.threads,
    { name: 'other', prepare: hands, run: ({ space }: Hands) => put(space, P0 + 4, 8) },
  ],
  outcomes: ['[0,"ok","ok"]', '[0,"ok","SEGV_MAPERR"]', '[0,"SEGV_MAPERR","ok"]', '[0,"SEGV_MAPERR","SEGV_MAPERR"]'],
});

const munmapRemapFault = machineModel<World & { readonly file: FileHandle }>({
  name: 'munmap-remap-fault',
  title: 'munmap of untouched memory and mmap of a file at the same place, against a write fault on it',
  invariant: 'I5: a page faulted into the old mapping is never seen in the new one',
  preemptions: 3,
  setup: () =>
    makeWorld({}, ({ machine, space }) => {
      mapAnon(space, P0, 3);
      space.store32(P1, 1);
      return { file: makeFile(machine, 1, 4) };
    }),
  threads: [
    {
      name: 'mapper',
      prepare: (world) => {
        const all = hands(world);
        return { ...all, file: all.machine.attachFile(world.file) };
      },
      run: ({ space, file }: Hands & { file: MappedFile }) => {
        space.munmap(P0, P);
        space.mmap({ addr: P0, length: P, prot: RW, flags: MAP_PRIVATE | MAP_FIXED_NOREPLACE, file, offset: 0 });
        return look(space, P0 + 8) === wordOf(1, 0);
      },
    },
    { name: 'fault', prepare: hands, run: ({ space }: Hands) => put(space, P0, 5) },
  ],
  check({ shared }) {
    audit(shared);
  },
  outcomes: ['[true,"ok"]', '[true,"SEGV_MAPERR"]'],
});

const fixedFault = machineModel<World>({
  name: 'fixed-fault',
  title: 'MAP_FIXED over a written page against a read of it',
  invariant: 'I3: no SEGV for an address that is mapped throughout; after the call its new contents and no old page',
  preemptions: 4,
  setup: () => threePages(),
  threads: [
    {
      name: 'map',
      prepare: hands,
      run: ({ space }: Hands) => {
        space.mmap({ addr: P1, length: P, prot: RW, flags: ANON | MAP_FIXED });
        return look(space, P1);
      },
    },
    { name: 'fault', prepare: hands, run: ({ space }: Hands) => [look(space, P1), look(space, P1)] },
  ],
  check({ shared }) {
    audit(shared);
  },
  outcomes: ['[0,[1,1]]', '[0,[1,0]]', '[0,[0,0]]'],
});

const fixedThenMmap = machineModel<World>({
  name: 'fixed-then-mmap',
  title:
    'MAP_FIXED, and at once another mmap, which uses the first root again, against a fault that waits for the first',
  invariant:
    'H6: a fault that waits for the end of a replacement is woken by it, also if the root looks the same again',
  preemptions: 3,
  setup: () =>
    makeWorld({}, ({ space }) => {
      mapAnon(space, P1, 1);
      mapAnon(space, BASE + 6 * P, 1);
      space.store32(P1, 1);
      return {};
    }),
  threads: [
    {
      name: 'map',
      prepare: hands,
      run: ({ space }: Hands) => {
        space.munmap(BASE + 6 * P, P); // so that the root of before is free
        space.mmap({ addr: P1, length: P, prot: RW, flags: ANON | MAP_FIXED });
        mapAnon(space, BASE + 8 * P, 1);
        return 0;
      },
    },
    { name: 'fault', prepare: hands, run: ({ space }: Hands) => put(space, P1 + 4, 7) },
  ],
  check({ shared }) {
    audit(shared);
  },
  outcomes: ['[0,"ok"]'],
});

const fixedWrite = machineModel<World>({
  name: 'fixed-write',
  title: 'MAP_FIXED over a written page against a writer that uses the new mapping as soon as it is there',
  invariant:
    'what is written into the new mapping stays: the old pages are zapped before the new mapping is published (A5)',
  preemptions: 3,
  setup: () => threePages(),
  threads: [
    {
      name: 'map',
      prepare: hands,
      run: ({ space }: Hands) => {
        space.mmap({ addr: P1, length: P, prot: RW, flags: ANON | MAP_FIXED });
        return 0;
      },
    },
    {
      name: 'writer',
      prepare: hands,
      run: ({ space }: Hands) => {
        if (look(space, P1) !== 0) return 'old';
        put(space, P1 + 4, 7);
        return look(space, P1 + 4);
      },
    },
  ],
  check({ shared, results }) {
    audit(shared);
    if (results[1] === 7 && look(hands(shared).space, P1 + 4) !== 7)
      throw new Error('a write into the new mapping is lost');
  },
  outcomes: ['[0,"old"]', '[0,7]'],
});

/** Under a design (H3). */
export const fixedFileUnder = (design: DesignName, name: string): Model<World & { readonly file: FileHandle }> =>
  machineModel<World & { readonly file: FileHandle }>({
    name,
    title: 'MAP_FIXED of a file over untouched memory against the first write to it',
    invariant: 'I5: no page of the old mapping under the new one: where nobody wrote, the bytes are the file’s',
    preemptions: 3,
    setup: () =>
      makeWorld({ design }, ({ machine, space }) => {
        mapAnon(space, P0, 3);
        space.store32(P1, 1);
        return { file: makeFile(machine, 1, 4) };
      }),
    threads: [
      {
        name: 'map',
        prepare: (world) => {
          const all = hands(world);
          return { ...all, file: all.machine.attachFile(world.file) };
        },
        run: ({ space, file }: Hands & { file: MappedFile }) => {
          space.mmap({ addr: P0, length: P, prot: RW, flags: MAP_PRIVATE | MAP_FIXED, file, offset: 0 });
          return look(space, P0 + 8) === wordOf(1, 0);
        },
      },
      { name: 'fault', prepare: hands, run: ({ space }: Hands) => put(space, P0, 5) },
    ],
    check({ shared }) {
      audit(shared);
    },
    outcomes: ['[true,"ok"]'],
  });
const fixedFile = fixedFileUnder('rcu', 'fixed-file');

const mprotectWriter = machineModel<World>({
  name: 'mprotect-writer',
  title: 'mprotect to read-only against a writer with a cached translation',
  invariant: 'I14: no write lands after mprotect has returned',
  preemptions: 3,
  setup: () => threePages(),
  threads: [
    {
      name: 'protect',
      prepare: hands,
      run: ({ space }: Hands) => {
        space.mprotect(P1, P, PROT_READ);
        const first = space.load32(P1);
        return space.load32(P1) === first;
      },
    },
    {
      name: 'writer',
      prepare: hands,
      run: ({ space }: Hands) => {
        const inside = orSegv(() =>
          space.run((m) => {
            m.store32(P1, 5);
            m.store32(P1, 6);
            return 'ok';
          }),
        );
        return [inside, put(space, P1, 7)];
      },
    },
  ],
  check({ shared }) {
    audit(shared);
  },
  outcomes: ['[true,["ok","ok"]]', '[true,["ok","SEGV_ACCERR"]]', '[true,["SEGV_ACCERR","SEGV_ACCERR"]]'],
});

/** Under a design (H3). */
export const mprotectFaultUnder = (design: DesignName, name: string): Model<World> =>
  machineModel<World>({
    name,
    title: 'mprotect to read-only against the first write to a page',
    invariant: 'I5: a fault that holds the old VMA does not install a writable PTE in the new one',
    preemptions: 4,
    setup: () => threePages(design),
    threads: [
      {
        name: 'protect',
        prepare: hands,
        run: ({ space }: Hands) => {
          space.mprotect(P0, P, PROT_READ);
          return 0;
        },
      },
      { name: 'fault', prepare: hands, run: ({ space }: Hands) => put(space, P0, 5) },
    ],
    check({ shared }) {
      audit(shared);
    },
    outcomes: ['[0,"ok"]', '[0,"SEGV_ACCERR"]'],
  });
const mprotectFault = mprotectFaultUnder('rcu', 'mprotect-fault');

const mprotectTwice = machineModel<World>({
  name: 'mprotect-twice',
  title: 'read-only and back again, against a write fault that may hold either VMA',
  invariant: 'no PTE is writable while the mapping is read-only (I5)',
  preemptions: 3,
  setup: () => threePages(),
  threads: [
    {
      name: 'protect',
      prepare: hands,
      run: ({ space }: Hands) => {
        space.mprotect(P0, P, PROT_READ);
        const before = space.load32(P0);
        const same = space.load32(P0) === before;
        space.mprotect(P0, P, RW);
        return same;
      },
    },
    { name: 'fault', prepare: hands, run: ({ space }: Hands) => put(space, P0, 5) },
  ],
  check({ shared, results }) {
    audit(shared);
    const { space } = hands(shared);
    if (results[1] === 'ok' && look(space, P0) !== 5) throw new Error('a write that succeeded is lost');
  },
  outcomes: ['[true,"ok"]', '[true,"SEGV_ACCERR"]'],
});

const mprotectSplitFault = machineModel<World>({
  name: 'mprotect-split-fault',
  title: 'a write fault in the half of a mapping that mprotect splits off and leaves as it was',
  invariant: 'I3: the fault succeeds, whichever VMA it found',
  preemptions: 4,
  setup: () => threePages(),
  threads: [
    {
      name: 'protect',
      prepare: hands,
      run: ({ space }: Hands) => {
        space.mprotect(P0, P, PROT_READ);
        return 0;
      },
    },
    { name: 'fault', prepare: hands, run: ({ space }: Hands) => put(space, P2, 5) },
  ],
  check({ shared }) {
    audit(shared);
    if (look(hands(shared).space, P2) !== 5) throw new Error('the write is lost');
  },
  outcomes: ['[0,"ok"]'],
});

const twoFaultsAnon = machineModel<World>({
  name: 'two-faults-anon',
  title: 'two write faults on one untouched page',
  invariant: 'I9: one page, both writes in it; the loser of the race gives its frame back',
  preemptions: 4,
  setup: () => threePages(),
  threads: [
    { name: 'a', prepare: hands, run: ({ space }: Hands) => put(space, P0, 5) },
    { name: 'b', prepare: hands, run: ({ space }: Hands) => put(space, P0 + 4, 6) },
  ],
  check({ shared }) {
    audit(shared);
    const { space } = hands(shared);
    if (look(space, P0) !== 5 || look(space, P0 + 4) !== 6) throw new Error('a write is lost');
  },
  outcomes: ['["ok","ok"]'],
});

const zeroUpgrade = machineModel<World & { readonly flag: Int32Array }>({
  name: 'zero-upgrade',
  title: 'a write to a page of which another thread has cached the zero page',
  invariant:
    'who has been told of the write reads it: the PTE is cleared, the generation bumped, then the new PTE set (C1, C2)',
  preemptions: 2,
  setup: () => {
    const flag = new Int32Array(new SharedArrayBuffer(64));
    const world = makeWorld({}, ({ space }) => {
      mapAnon(space, P0, 3);
      space.load32(P0);
      return { flag };
    });
    return { ...world, flag };
  },
  threads: [
    {
      name: 'writer',
      prepare: (world) => ({ ...hands(world), flag: world.flag }),
      run: ({ space, flag }: Hands & { flag: Int32Array }) => {
        space.store32(P0, 1);
        store(flag, 0, 1);
        return 0;
      },
    },
    {
      name: 'other',
      prepare: hands,
      run: ({ space }: Hands) => put(space, P0 + 8, 3),
    },
    {
      name: 'reader',
      prepare: (world) => {
        const all = { ...hands(world), flag: world.flag };
        all.space.load32(P0);
        return all;
      },
      run: ({ space, flag }: Hands & { flag: Int32Array }) =>
        space.run((m) => {
          m.load32(P0);
          const told = load(flag, 0) === 1;
          const seen = m.load32(P0);
          return told ? seen : 1;
        }),
    },
  ],
  check({ shared }) {
    audit(shared);
  },
  outcomes: ['[0,"ok",1]'],
});

const leafMunmap = machineModel<World>({
  name: 'leaf-munmap',
  title: 'the first fault under a leaf table against munmap, which tears the leaf down',
  invariant: 'I8: no page in a leaf that the upper entry does not name; the leaf is freed once',
  preemptions: 4,
  setup: () =>
    makeWorld({}, ({ space }) => {
      mapAnon(space, LEAF * 200, 1);
      return {};
    }),
  threads: [
    {
      name: 'unmap',
      prepare: hands,
      run: ({ space }: Hands) => {
        space.munmap(LEAF * 200, P);
        return 0;
      },
    },
    { name: 'fault', prepare: hands, run: ({ space }: Hands) => put(space, LEAF * 200, 7) },
  ],
  check({ shared }) {
    audit(shared);
  },
  outcomes: ['[0,"ok"]', '[0,"SEGV_MAPERR"]'],
});

/** Anonymous pages that use up the memory but for `free` frames and what the page cache has. */
function fillMemory(space: Space, machine: Machine, free: number): void {
  const pages = machine.kernel.frames.total - 1 - free;
  mapAnon(space, LEAF * 300, pages);
  for (let i = 0; i < pages; i++) space.store32(LEAF * 300 + i * P, 1);
}

const teardownFault = machineModel<World>({
  name: 'teardown-fault',
  title:
    'reclaim takes the last page of a leaf table and tears the leaf down, against a write fault on another page under it',
  invariant: 'I8: no page is installed in a leaf that the upper entry no longer names; none is lost',
  preemptions: 3,
  setup: () =>
    makeWorld({}, ({ machine, space }) => {
      const file = machine.attachFile(makeFile(machine, 1, 2));
      const at = LEAF * 200;
      space.mmap({ addr: at, length: P, prot: PROT_READ, flags: MAP_PRIVATE | MAP_FIXED_NOREPLACE, file, offset: 0 });
      mapAnon(space, at + 8 * P, 1);
      mapAnon(space, P0, 2);
      space.store32(P0 + P, 1);
      fillMemory(space, machine, 4);
      space.load32(at);
      // What this thread keeps for itself goes back to the pool.
      machine.kernel.frames.flush();
      return {};
    }),
  threads: [
    {
      name: 'reclaim',
      prepare: hands,
      run: ({ machine: { kernel } }: Hands) => {
        const taken = [kernel.reclaim.obtainFrame(), kernel.reclaim.obtainFrame()];
        for (const pfn of taken) kernel.frames.free(pfn);
        return 0;
      },
    },
    {
      name: 'fault',
      prepare: hands,
      run: ({ space }: Hands) => {
        const at = LEAF * 200 + 8 * P;
        space.store32(at, 7);
        return space.load32(at);
      },
    },
  ],
  check({ shared }) {
    audit(shared);
    const at = LEAF * 200 + 8 * P;
    if (look(hands(shared).space, at) !== 7) throw new Error('the write is lost');
  },
  outcomes: ['[0,7]'],
});

const runMunmap = machineModel<World>({
  name: 'run-munmap',
  title:
    'a reader with a cached translation, in run() and after it, against munmap and reuse of the frame by another mapping',
  invariant: 'I6, I11: a frame is used again only after every section that could reach it has ended',
  preemptions: 4,
  setup: () => threePages(),
  threads: [
    {
      name: 'unmap',
      prepare: hands,
      run: ({ machine, space }: Hands) => {
        space.munmap(P1, P);
        // Every frame that is free by now is taken and written.
        const at = space.mmap({ length: 8 * P, prot: RW, flags: ANON });
        machine.kernel.rcu.pollRetired();
        for (let i = 0; i < 4; i++) space.store32(at + i * P, 99);
        return 0;
      },
    },
    {
      name: 'reader',
      prepare: (world) => {
        const all = hands(world);
        all.space.load32(P1);
        return all;
      },
      run: ({ space }: Hands) => {
        const inside = orSegv(() =>
          space.run((m) => {
            const first = m.load32(P1);
            const second = m.load32(P1);
            return [first, second];
          }),
        );
        return [inside, look(space, P1)];
      },
    },
  ],
  check({ shared }) {
    audit(shared);
  },
  outcomes: ['[0,[[1,1],1]]', '[0,[[1,1],"SEGV_MAPERR"]]', '[0,["SEGV_MAPERR","SEGV_MAPERR"]]'],
});

/** What one thread keeps of the space, and the words of the frames: what an access has on a hit. */
interface Cached {
  readonly machine: Machine;
  readonly view: View;
  readonly words: Int32Array;
}

const twoRetirers = machineModel<World>({
  name: 'run-two-retirers',
  title: 'a page that a long section has not translated yet is unmapped, while another thread moves the epoch on',
  invariant:
    'a section that passes a quiescent point learns of all that was unmapped before the epoch it enters (B1): it may not translate what its slot does not hold',
  preemptions: 3,
  longPreemptions: 4,
  setup: () =>
    makeWorld({}, ({ space }) => {
      mapAnon(space, P0, 3);
      space.store32(P0, 1);
      space.store32(P1, 1);
      return {};
    }),
  threads: [
    runMunmap.threads[0] as (typeof runMunmap.threads)[0],
    {
      name: 'other',
      prepare: hands,
      run: ({ machine }: Hands) => {
        machine.kernel.rcu.startGracePeriod();
        return 0;
      },
    },
    {
      name: 'reader',
      prepare: hands,
      run: ({ space }: Hands) => orSegv(() => space.run((m) => [m.load32(P0), m.load32(P1)])),
    },
  ],
  check({ shared }) {
    audit(shared);
  },
  outcomes: ['[0,0,[1,1]]', '[0,0,"SEGV_MAPERR"]'],
});

const nestedRuns = machineModel<World & { readonly inner: SpaceHandle }>({
  name: 'nested-runs',
  title: 'a section over two spaces: one loses a page, the other one changes',
  invariant:
    'a quiescent point for the sake of one space voids what was translated in the other one too (B8): the slot no longer holds its frames',
  preemptions: 2,
  longPreemptions: 3,
  setup: () => {
    let inner: SpaceHandle | undefined;
    const world = makeWorld({}, ({ machine, space }) => {
      mapAnon(space, P0, 3);
      space.store32(P1, 1);
      const other = machine.createSpace();
      mapAnon(other, P0, 1);
      other.store32(P0, 2);
      inner = other.handle;
      return {};
    });
    return { ...world, inner: inner as unknown as SpaceHandle };
  },
  threads: [
    runMunmap.threads[0] as (typeof runMunmap.threads)[0],
    {
      name: 'other',
      prepare: (world) => ({ ...hands(world), mm: world.inner.space as MmRef }),
      run: ({ machine: { kernel: k }, mm }: Hands & { mm: MmRef }) => {
        nudgeGeneration(k.cpu, mm);
        return 0;
      },
    },
    {
      name: 'reader',
      prepare: (world) => {
        const { machine, space } = hands(world);
        return { machine, space, inner: machine.attachSpace(world.inner) };
      },
      run: ({ space, inner }: Hands & { inner: Space }) =>
        orSegv(() =>
          inner.run((i) =>
            space.run((m) => {
              const first = m.load32(P1);
              return [first, i.load32(P0), m.load32(P1)];
            }),
          ),
        ),
    },
  ],
  check({ shared }) {
    audit(shared, shared.inner);
  },
  outcomes: ['[0,0,[1,2,1]]', '[0,0,"SEGV_MAPERR"]'],
});

const tightenInside = machineModel<World>({
  name: 'tighten-inside-run',
  title: 'two threads in sections, each of which takes a right away and waits for the other one’s section',
  invariant: 'who waits for a grace period leaves its own sections first (G2): two that wait for each other both go on',
  preemptions: 2,
  longPreemptions: 3,
  setup: () =>
    makeWorld({}, ({ space }) => {
      mapAnon(space, P0, 3);
      space.store32(P0, 1);
      space.store32(P2, 2);
      return {};
    }),
  threads: [P0, P2].map((page, i) => ({
    name: ['first', 'second'][i] as string,
    prepare: hands,
    run: ({ space }: Hands) =>
      space.run((m) => {
        const before = m.load32(page);
        space.mprotect(page, P, PROT_READ);
        return [before, m.load32(page), orSegv(() => m.store32(page, 3))];
      }),
  })),
  check({ shared }) {
    audit(shared);
  },
  outcomes: ['[[1,1,"SEGV_ACCERR"],[2,2,"SEGV_ACCERR"]]'],
});

const dekker = machineModel<World>({
  name: 'dekker',
  title:
    'two flags in virtual memory, each stored by one thread and loaded by the other, while one of them is copied on write',
  invariant:
    'atomic accesses to virtual addresses are sequentially consistent: both threads never miss the other’s flag (C7)',
  preemptions: 4,
  setup: () =>
    makeWorld({}, ({ space }) => {
      mapAnon(space, P0, 2);
      space.load32(P0); // the zero page
      space.store32(P1, 0);
      return {};
    }),
  threads: [
    {
      name: 'copier',
      prepare: hands,
      run: ({ space }: Hands) => {
        space.atomicStore32(P0, 1);
        return space.atomicLoad32(P1);
      },
    },
    {
      name: 'cached',
      prepare: hands,
      run: ({ space }: Hands) =>
        space.run((m) => {
          m.load32(P0); // translated to the zero page
          m.atomicStore32(P1, 1);
          return m.atomicLoad32(P0);
        }),
    },
  ],
  check({ shared }) {
    audit(shared);
  },
  outcomes: ['[0,1]', '[1,0]', '[1,1]'],
});

const SLOT = (P1 / P) & TLB_MASK;

const sectionEntry = machineModel<World>({
  name: 'section-entry',
  title: 'sections that use a cached translation, against munmap and reuse of the frame',
  invariant:
    'I6: a section whose TLB still holds a translation keeps its frame. The poll of a hit is left out: it is plain, an old value is a legal answer',
  preemptions: 3,
  setup: () => threePages(),
  threads: [
    runMunmap.threads[0] as (typeof runMunmap.threads)[0],
    {
      name: 'reader',
      prepare: (world): Cached => {
        const { machine, space } = hands(world);
        const { kernel: k } = machine;
        const mm = world.space.space as MmRef;
        const view = new View(k.cpu, mm);
        space.load32(P1);
        const vpn = (P1 / P) as Vpn;
        k.rcu.enter(view);
        const leaf = view.leafFor(k.tables, vpn);
        const pte = load(k.words, k.tables.entries(leaf) + (vpn % LEAF_PAGES));
        view.tlb.fill(vpn, ptePfn(pte), false);
        k.rcu.leave(view);
        return { machine, view, words: new Int32Array(k.frames.bytes.buffer as SharedArrayBuffer) };
      },
      run: ({ machine: { kernel: k }, view, words }: Cached) => {
        const section = () => {
          k.rcu.enter(view);
          const hit = view.tlb.readTags[SLOT] === P1;
          const seen = hit ? data32(words, view.tlb.frames[SLOT] as number) : 'miss';
          k.rcu.leave(view);
          return seen;
        };
        return [section(), section()];
      },
    },
  ],
  check({ shared }) {
    audit(shared);
  },
  outcomes: ['[0,[1,1]]', '[0,[1,"miss"]]', '[0,["miss","miss"]]'],
});

const privateFileWrite = machineModel<World>({
  name: 'private-file-write',
  title: 'a write to a private mapping of a file against a read of the same page',
  invariant:
    'the writer keeps its copy, the reader sees the file or the copy, never anything else; the file keeps its bytes',
  preemptions: 3,
  setup: () =>
    makeWorld({}, ({ machine, space }) => {
      const file = machine.attachFile(makeFile(machine, 1, 4));
      space.mmap({ addr: P0, length: 4 * P, prot: RW, flags: MAP_PRIVATE, file, offset: 0 });
      space.load32(P0);
      return {};
    }),
  threads: [
    {
      name: 'writer',
      prepare: hands,
      run: ({ space }: Hands) => {
        space.store32(P0, 5);
        return space.load32(P0);
      },
    },
    {
      name: 'reader',
      prepare: hands,
      run: ({ space }: Hands) => [
        look(space, P0) === wordOf(1, 0) ? 'file' : look(space, P0),
        look(space, P0 + 4) === wordOf(1, 0),
      ],
    },
  ],
  check({ shared }) {
    audit(shared);
  },
  outcomes: ['[5,["file",true]]', '[5,[5,true]]'],
});

const munmapMmap = machineModel<World>({
  name: 'munmap-mmap',
  title: 'munmap of a written page against a thread that maps the same place as soon as it is free, and writes',
  invariant: 'mmap_lock is held to the end of the zap: munmap takes nothing away from a mapping made after it',
  preemptions: 3,
  setup: () => threePages(),
  threads: [
    {
      name: 'unmap',
      prepare: hands,
      run: ({ space }: Hands) => {
        space.munmap(P0, 3 * P);
        return 0;
      },
    },
    {
      name: 'mapper',
      prepare: hands,
      run: ({ space }: Hands) => {
        try {
          space.mmap({ addr: P1, length: P, prot: RW, flags: ANON | MAP_FIXED_NOREPLACE });
        } catch (error) {
          if (error instanceof VmError) return error.code;
          throw error;
        }
        return [put(space, P1 + 4, 7), look(space, P1), look(space, P1 + 4)];
      },
    },
  ],
  check({ shared, results }) {
    audit(shared);
    if (results[1] !== 'EEXIST' && look(hands(shared).space, P1 + 4) !== 7)
      throw new Error('a write into the new mapping is lost');
  },
  outcomes: ['[0,"EEXIST"]', '[0,["ok",0,7]]'],
});

/** Two mappers choose addresses at the same time. */
const mmapMmap = machineModel<World>({
  name: 'mmap-mmap',
  title: 'two threads map wherever there is room, and use it',
  invariant: 'two mappings never overlap, and what is written stays',
  preemptions: 3,
  setup: () => threePages(),
  threads: ['a', 'b'].map((name, i) => ({
    name,
    prepare: hands,
    run: ({ space }: Hands) => {
      const at = space.mmap({ length: P, prot: RW, flags: ANON });
      space.store32(at, 10 + i);
      return space.load32(at);
    },
  })),
  check({ shared }) {
    audit(shared);
  },
  outcomes: ['[10,11]'],
});

export const spaceModels: readonly Model<never>[] = [
  rootLookup,
  munmapFault,
  munmapTwoFaults,
  munmapRemapFault,
  fixedFault,
  fixedThenMmap,
  fixedWrite,
  fixedFile,
  mprotectWriter,
  mprotectFault,
  mprotectTwice,
  mprotectSplitFault,
  twoFaultsAnon,
  zeroUpgrade,
  leafMunmap,
  teardownFault,
  runMunmap,
  twoRetirers,
  nestedRuns,
  tightenInside,
  dekker,
  sectionEntry,
  privateFileWrite,
  munmapMmap,
  mmapMmap,
] as unknown as readonly Model<never>[];
