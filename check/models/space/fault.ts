/** Faults against faults, and against reclaim. */
import { MAP_FIXED_NOREPLACE, MAP_PRIVATE, type Machine, PROT_READ, type Space } from '../../../src/index.ts';
import { load, store } from '../../../src/sync/atomics.checked.ts';
import type { Model } from '../../model.ts';
import {
  audit,
  type Hands,
  hands,
  look,
  machineModel,
  makeFile,
  makeWorld,
  mapAnon,
  P,
  put,
  RW,
  type World,
  wordOf,
} from '../world.ts';
import { LEAF, P0, threePages } from './pages.ts';

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

export const faultModels: readonly Model<never>[] = [
  twoFaultsAnon,
  zeroUpgrade,
  teardownFault,
  privateFileWrite,
] as unknown as readonly Model<never>[];
