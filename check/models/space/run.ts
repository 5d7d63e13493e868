/** Sections (`run`): what they have translated, against what is taken away and used again. */
import type { MmRef, Vpn } from '../../../src/base/brands.ts';
import { TLB_MASK } from '../../../src/base/tunables.ts';
import type { Machine, Space, SpaceHandle } from '../../../src/index.ts';
import { nudgeGeneration } from '../../../src/paging/generation.ts';
import { ptePfn } from '../../../src/paging/pte.ts';
import { LEAF_PAGES } from '../../../src/paging/table.layout.ts';
import { View } from '../../../src/paging/view.ts';
import { data32, load } from '../../../src/sync/atomics.checked.ts';
import type { Model } from '../../model.ts';
import {
  ANON,
  audit,
  type Hands,
  hands,
  look,
  machineModel,
  makeWorld,
  mapAnon,
  orSegv,
  P,
  RW,
  type World,
} from '../world.ts';
import { P0, P1, threePages } from './pages.ts';

/** What one thread keeps of the space, and the words of the frames: what an access has on a hit. */
interface Cached {
  readonly machine: Machine;
  readonly view: View;
  readonly words: Int32Array;
}

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

export const runModels: readonly Model<never>[] = [
  runMunmap,
  twoRetirers,
  nestedRuns,
  dekker,
  sectionEntry,
] as unknown as readonly Model<never>[];
