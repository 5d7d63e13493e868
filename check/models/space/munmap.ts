/** munmap: against faults, writers of what comes after, and the teardown of tables. */
import { type FileHandle, MAP_FIXED_NOREPLACE, MAP_PRIVATE, type MappedFile, VmError } from '../../../src/index.ts';
import type { Model } from '../../model.ts';
import {
  ANON,
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
import { LEAF, P0, P1, threePages } from './pages.ts';

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

export const munmapModels: readonly Model<never>[] = [
  munmapFault,
  munmapTwoFaults,
  munmapRemapFault,
  leafMunmap,
  munmapMmap,
] as unknown as readonly Model<never>[];
