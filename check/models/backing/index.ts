/** The page cache: one read a page, page locks over I/O, errors, reclaim. */
import {
  BusError,
  type DesignName,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_FIXED_NOREPLACE,
  MAP_PRIVATE,
  MAP_SHARED,
  type Machine,
  type MappedFile,
  PROT_READ,
  registerBacking,
  type Space,
} from '../../../src/index.ts';
import { add, fillData, load, notify, store, wait } from '../../../src/sync/atomics.checked.ts';
import type { Model } from '../../model.ts';
import {
  audit,
  BASE,
  byteOf,
  describeWorld,
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

/** The backing's own shared words. */
export interface FileWorld extends World {
  readonly io: Int32Array;
}
/** How often the file was read; a read is also a place where the schedule may change. */
export const READS = 0;
/** Not 0 when the silent one may answer. */
const ANSWER = 1;
const ELSEWHERE: number = BASE + 0x1000_0000;

let io: Int32Array | undefined;

/** Reads like the models' file, counts it, and fails the first `failures` times. */
registerBacking('counted', (options) => {
  const { file, failures = 0 } = options as { readonly file: number; readonly failures?: number };
  return {
    read(position, targets) {
      if (io === undefined) throw new Error('no model has said where to count');
      if (add(io, READS, 1) < failures) throw new Error('the disk is on fire');
      targets.forEach((target, i) => {
        fillData(target, 0, target.length, byteOf(file, position / P + i));
      });
      return targets.length * P;
    },
    close() {},
  };
});

/** Says nothing until somebody lets it; what it reads then is the models' file. */
registerBacking('silent', (options) => {
  const { file } = options as { readonly file: number };
  return {
    read(position, targets) {
      if (io === undefined) throw new Error('no model has said where to wait');
      while (load(io, ANSWER) === 0) wait(io, ANSWER, 0, Number.POSITIVE_INFINITY);
      targets.forEach((target, i) => {
        fillData(target, 0, target.length, byteOf(file, position / P + i));
      });
      return targets.length * P;
    },
    close() {},
  };
});

export function fileWorld(arrange: (hands: Hands) => void, design: DesignName = 'rcu'): FileWorld {
  const words = new Int32Array(new SharedArrayBuffer(64));
  io = words;
  const world = makeWorld({ design }, (all) => {
    arrange(all);
    return {};
  });
  words.fill(0);
  return { ...world, io: words };
}

export const counting = (world: FileWorld): Hands => {
  io = world.io;
  return hands(world);
};

export const describe = (world: FileWorld, buffer: number, byte: number): string | undefined =>
  buffer === 2 ? (byte === ANSWER * 4 ? 'leave to answer' : 'reads of the file') : describeWorld(world, buffer, byte);

export function mapFile(
  space: Space,
  file: MappedFile,
  at: number,
  pages: number,
  flags: number,
  prot: number = PROT_READ,
): void {
  space.mmap({ addr: at, length: pages * P, prot, flags: flags | MAP_FIXED_NOREPLACE, file, offset: 0 });
}

export const isFile = (space: Space, at: number, file: number, index: number): boolean | string => {
  const seen = look(space, at);
  return typeof seen === 'string' ? seen : seen === wordOf(file, index);
};

const oneRead = ({ shared }: { readonly shared: FileWorld }): void => {
  audit(shared);
  if (shared.io[READS] !== 1) throw new Error(`the page was read ${shared.io[READS]} times`);
};

const twoFaultsFile = machineModel<FileWorld>({
  name: 'two-faults-file',
  title: 'two faults on one page of a file, through a shared and a private mapping',
  invariant: 'I9: one read however many fault; both see the file',
  preemptions: 3,
  setup: () =>
    fileWorld(({ machine, space }) => {
      const file = machine.createFile('counted', { file: 1 }, P);
      mapFile(space, file, BASE, 1, MAP_SHARED);
      mapFile(space, file, BASE + 8 * P, 1, MAP_PRIVATE);
    }),
  describe,
  threads: [
    { name: 'shared', prepare: counting, run: ({ space }: Hands) => isFile(space, BASE, 1, 0) },
    { name: 'private', prepare: counting, run: ({ space }: Hands) => isFile(space, BASE + 8 * P + 4, 1, 0) },
  ],
  check: oneRead,
  outcomes: ['[true,true]'],
});

const copyAndRead = machineModel<FileWorld>({
  ...twoFaultsFile,
  name: 'copy-and-read',
  title: 'the first write to a page of a private mapping against a read through a shared one',
  invariant: 'I9: one read; the write stays in its copy',
  preemptions: 3,
  setup: () =>
    fileWorld(({ machine, space }) => {
      const file = machine.createFile('counted', { file: 1 }, P);
      mapFile(space, file, BASE, 1, MAP_SHARED);
      mapFile(space, file, BASE + 8 * P, 1, MAP_PRIVATE, RW);
    }),
  threads: [
    { name: 'reader', prepare: counting, run: ({ space }: Hands) => isFile(space, BASE, 1, 0) },
    {
      name: 'writer',
      prepare: counting,
      run: ({ space }: Hands) => {
        put(space, BASE + 8 * P, 5);
        return [look(space, BASE + 8 * P), isFile(space, BASE + 8 * P + 4, 1, 0)];
      },
    },
  ],
  outcomes: ['[true,[5,true]]'],
});

const readMunmap = machineModel<FileWorld>({
  name: 'read-munmap',
  title: 'munmap while a fault of the range is in I/O',
  invariant: 'I4, I7, H6: munmap does not wait for the I/O; afterwards nothing is installed',
  preemptions: 4,
  setup: () =>
    fileWorld(({ machine, space }) => {
      mapFile(space, machine.createFile('counted', { file: 1 }, P), BASE, 1, MAP_PRIVATE);
    }),
  describe,
  threads: [
    { name: 'fault', prepare: counting, run: ({ space }: Hands) => isFile(space, BASE, 1, 0) },
    {
      name: 'unmap',
      prepare: counting,
      run: ({ space }: Hands) => {
        space.munmap(BASE, P);
        return look(space, BASE);
      },
    },
  ],
  check({ shared }) {
    audit(shared);
  },
  outcomes: ['[true,"SEGV_MAPERR"]', '["SEGV_MAPERR","SEGV_MAPERR"]'],
});

const readTwoMunmap = machineModel<FileWorld>({
  ...readMunmap,
  name: 'read-two-faults-munmap',
  title: 'munmap while one fault of the range is in I/O and another one waits for the page',
  preemptions: 1,
  longPreemptions: 2,
  threads: [
    ...readMunmap.threads,
    { name: 'other', prepare: counting, run: ({ space }: Hands) => isFile(space, BASE + 4, 1, 0) },
  ],
  outcomes: ['true', '"SEGV_MAPERR"'].flatMap((a) => ['true', '"SEGV_MAPERR"'].map((b) => `[${a},"SEGV_MAPERR",${b}]`)),
});

/** Under a design (H6). */
export const readMunmapRemapUnder = (design: DesignName, name: string): Model<FileWorld> =>
  machineModel<FileWorld>({
    name,
    title: 'munmap, and mmap of another file at the same place, while a fault is in I/O',
    invariant: 'I4, I21: never a page of the old file in the new mapping',
    preemptions: 2,
    setup: () =>
      fileWorld(({ machine, space }) => {
        mapFile(space, machine.createFile('counted', { file: 1 }, P), BASE, 1, MAP_PRIVATE);
        mapFile(space, machine.createFile('counted', { file: 2 }, P), ELSEWHERE, 1, MAP_PRIVATE);
      }, design),
    describe,
    threads: [
      {
        name: 'fault',
        prepare: counting,
        run: ({ space }: Hands) => {
          const seen = look(space, BASE);
          return seen === wordOf(1, 0) ? 'old' : seen === wordOf(2, 0) ? 'new' : seen;
        },
      },
      {
        name: 'mapper',
        prepare: (world) => {
          const all = counting(world);
          const file = all.machine.attachFile(makeFile(all.machine, 2, 1));
          return { ...all, file };
        },
        run: ({ space, file }: Hands & { file: MappedFile }) => {
          space.munmap(BASE, P);
          mapFile(space, file, BASE, 1, MAP_PRIVATE);
          return isFile(space, BASE, 2, 0);
        },
      },
    ],
    check({ shared }) {
      audit(shared);
      const seen = look(hands(shared).space, BASE);
      if (seen !== wordOf(2, 0)) throw new Error(`the new mapping reads ${seen}`);
    },
    outcomes: ['["old",true]', '["new",true]', '["SEGV_MAPERR",true]'],
  });
const readMunmapRemap = readMunmapRemapUnder('rcu', 'read-munmap-remap');

/** Under a design (H6). */
export const silentUnder = (design: DesignName, name: string): Model<FileWorld> =>
  machineModel<FileWorld>({
    name,
    title: 'munmap, MAP_FIXED and mmap elsewhere while two faults sleep in reads that are not answered',
    invariant: 'H6, H11: the calls return although the reads do not; an answer that comes later installs nothing',
    preemptions: 1,
    setup: () =>
      fileWorld(({ machine, space }) => {
        mapFile(space, machine.createFile('silent', { file: 1 }, P), BASE, 1, MAP_PRIVATE);
        mapFile(space, machine.createFile('silent', { file: 3 }, P), ELSEWHERE, 1, MAP_PRIVATE);
      }, design),
    describe,
    threads: [
      { name: 'unmapped', prepare: counting, run: ({ space }: Hands) => look(space, BASE) },
      { name: 'replaced', prepare: counting, run: ({ space }: Hands) => look(space, ELSEWHERE) },
      {
        name: 'mapper',
        prepare: (world) => ({ ...counting(world), io: world.io }),
        run: ({ space, io: words }: Hands & { io: Int32Array }) => {
          space.munmap(BASE, P);
          space.mmap({ addr: ELSEWHERE, length: P, prot: RW, flags: MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED });
          mapAnon(space, BASE + 8 * P, 1);
          const seen = [put(space, BASE + 8 * P, 5), put(space, ELSEWHERE, 6)];
          store(words, ANSWER, 1);
          notify(words, ANSWER, Number.POSITIVE_INFINITY);
          return seen;
        },
      },
    ],
    check({ shared }) {
      audit(shared);
      const { space } = hands(shared);
      const seen = [look(space, BASE), look(space, ELSEWHERE), look(space, BASE + 8 * P)];
      if (seen.join() !== 'SEGV_MAPERR,6,5') throw new Error(`afterwards there are ${seen.join(', ')}`);
    },
    // The second may have found the new mapping before it was written.
    outcomes: ['["SEGV_MAPERR",6,["ok","ok"]]', '["SEGV_MAPERR",0,["ok","ok"]]'],
  });
const readSilent = silentUnder('rcu', 'read-silent');

const orBus = (space: Space, at: number): boolean | string => {
  try {
    return isFile(space, at, 1, 0);
  } catch (error) {
    if (error instanceof BusError) return 'bus';
    throw error;
  }
};

const readError = machineModel<FileWorld>({
  name: 'read-error',
  title: 'a read that fails, while another fault waits for the page',
  invariant: 'the error is that access’s alone; the next one reads again',
  preemptions: 3,
  setup: () =>
    fileWorld(({ machine, space }) => {
      mapFile(space, machine.createFile('counted', { file: 1, failures: 1 }, P), BASE, 1, MAP_SHARED);
    }),
  describe,
  threads: [
    { name: 'a', prepare: counting, run: ({ space }: Hands) => orBus(space, BASE) },
    { name: 'b', prepare: counting, run: ({ space }: Hands) => orBus(space, BASE + 4) },
  ],
  check({ shared }) {
    audit(shared);
    if (shared.io[READS] !== 2) throw new Error(`the page was read ${shared.io[READS]} times`);
  },
  outcomes: ['["bus",true]', '[true,"bus"]'],
});

/** Frames that are left for files: two may be locked by readers, one can be reclaimed. */
const TIGHT = 3;

/** A machine whose frames are all in use but for `free`; then `pages` pages of a file are read into some of those. */
function tight(free: number, pages: number): FileWorld {
  return fileWorld(({ machine, space }) => {
    mapFile(space, machine.createFile('counted', { file: 1 }, 4 * P), BASE, 4, MAP_PRIVATE);
    fill(machine, space, free);
    for (let i = 0; i < pages; i++) space.load32(BASE + i * P);
    machine.kernel.frames.flush();
  });
}

function fill(machine: Machine, space: Space, free: number): void {
  const pages = machine.kernel.frames.total - 1 - free;
  mapAnon(space, ELSEWHERE, pages + 4);
  for (let i = 0; i < pages; i++) space.store32(ELSEWHERE + i * P, 1);
}

/** The first page behind those that fill the memory. */
const firstFree = (machine: Machine): number => ELSEWHERE + (machine.kernel.frames.total - 1 - TIGHT) * P;

const reclaimFault = machineModel<FileWorld>({
  name: 'reclaim-fault',
  title: 'reclaim of the pages of a file for other use against reads of one of them',
  timeouts: 'allow',
  invariant: 'I6, I21, C4: the reader sees the file, whatever the frame is used for next',
  preemptions: 2,
  setup: () => tight(TIGHT, 2),
  describe,
  threads: [
    {
      name: 'reader',
      prepare: counting,
      run: ({ space }: Hands) => [isFile(space, BASE, 1, 0), isFile(space, BASE + 4, 1, 0)],
    },
    {
      name: 'taker',
      prepare: counting,
      run: ({ machine: { kernel } }: Hands) => {
        // One frame may be in the reader's hands.
        const taken = Array.from({ length: TIGHT - 1 }, () => kernel.reclaim.obtainFrame());
        for (const pfn of taken) kernel.frames.zero(pfn);
        for (const pfn of taken) kernel.frames.free(pfn);
        return 9;
      },
    },
  ],
  check({ shared }) {
    audit(shared);
  },
  outcomes: ['[[true,true],9]'],
});

const reclaimReuse = machineModel<FileWorld>({
  ...reclaimFault,
  name: 'reclaim-reuse',
  title: 'two readers of different pages of a file, with frames for less than that',
  invariant:
    'I21: a page found by a look-up is looked at again under its lock: its frame may be another page’s by now (P1, P2)',
  preemptions: 1,
  longPreemptions: 2,
  setup: () => tight(TIGHT, 2),
  threads: [
    {
      name: 'a',
      prepare: counting,
      run: ({ space }: Hands) => [isFile(space, BASE + 2 * P, 1, 2), isFile(space, BASE, 1, 0)],
    },
    {
      name: 'b',
      prepare: counting,
      run: ({ space }: Hands) => [isFile(space, BASE, 1, 0), isFile(space, BASE + 3 * P, 1, 3)],
    },
  ],
  outcomes: ['[[true,true],[true,true]]'],
});

const reclaimMunmap = machineModel<FileWorld>({
  name: 'reclaim-munmap',
  title: 'reclaim of a mapped page against munmap of it',
  timeouts: 'allow',
  invariant: 'one of them takes the PTE away, it is counted once; the frame goes once',
  preemptions: 2,
  setup: () => tight(TIGHT, 2),
  describe,
  threads: [
    {
      name: 'writer',
      prepare: counting,
      run: ({ machine, space }: Hands) => {
        // As many pages as there are frames: those of the file must go.
        const at = firstFree(machine);
        for (let i = 0; i < TIGHT; i++) space.store32(at + i * P, 9);
        return space.load32(at);
      },
    },
    {
      name: 'unmap',
      prepare: counting,
      run: ({ space }: Hands) => {
        space.munmap(BASE, 4 * P);
        return 0;
      },
    },
  ],
  check({ shared }) {
    audit(shared);
  },
  outcomes: ['[9,0]'],
});

const readAhead = machineModel<FileWorld>({
  name: 'read-ahead',
  title: 'two threads read a file in order, with read-ahead',
  invariant: 'each page is read once; nobody sees a page that is not up to date',
  preemptions: 2,
  longPreemptions: 3,
  setup: () =>
    fileWorld(({ machine, space }) => {
      mapFile(space, machine.createFile('counted', { file: 1 }, 3 * P), BASE, 3, MAP_SHARED);
    }),
  describe,
  threads: ['a', 'b'].map((name) => ({
    name,
    prepare: counting,
    run: ({ space }: Hands) => [0, 1, 2].map((i) => isFile(space, BASE + i * P, 1, i)),
  })),
  check({ shared }) {
    audit(shared);
  },
  outcomes: ['[[true,true,true],[true,true,true]]'],
});

export const backingModels = [
  twoFaultsFile,
  copyAndRead,
  readMunmap,
  readTwoMunmap,
  readMunmapRemap,
  readSilent,
  readError,
  reclaimFault,
  reclaimReuse,
  reclaimMunmap,
  readAhead,
] as unknown as readonly Model<unknown>[];
