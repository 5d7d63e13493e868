/** mprotect: against writers, faults, and other sections that wait. */
import { type DesignName, PROT_READ } from '../../../src/index.ts';
import type { Model } from '../../model.ts';
import {
  audit,
  type Hands,
  hands,
  look,
  machineModel,
  makeWorld,
  mapAnon,
  orSegv,
  P,
  put,
  RW,
  type World,
} from '../world.ts';
import { P0, P1, P2, threePages } from './pages.ts';

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

export const mprotectModels: readonly Model<never>[] = [
  mprotectWriter,
  mprotectFault,
  mprotectTwice,
  mprotectSplitFault,
  tightenInside,
] as unknown as readonly Model<never>[];
