/** mmap: MAP_FIXED over what is mapped, under faults; two that choose addresses. */
import { type DesignName, type FileHandle, MAP_FIXED, MAP_PRIVATE, type MappedFile } from '../../../src/index.ts';
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
  P,
  put,
  RW,
  type World,
  wordOf,
} from '../world.ts';
import { P0, P1, threePages } from './pages.ts';

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

export const mmapModels: readonly Model<never>[] = [
  fixedFault,
  fixedThenMmap,
  fixedWrite,
  fixedFile,
  mmapMmap,
] as unknown as readonly Model<never>[];
