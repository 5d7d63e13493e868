/**
 * What was asked for or feared in the long discussion of page faults without mmap_lock, as scenarios: each is found under the design
 * that has the problem, and exhausted under the default.
 */
import type { Vpn } from '../../../src/base/brands.ts';
import { addDesign } from '../../../src/design/designs.ts';
import { type DesignName, MAP_FIXED_NOREPLACE, MAP_PRIVATE, PROT_READ } from '../../../src/index.ts';
import { MM_MMAP_LOCK } from '../../../src/paging/mm.layout.ts';
import { rootOf } from '../../../src/space/layout.ts';
import { writeLock, writeUnlock } from '../../../src/sync/rwsem.ts';
import { defineModel, type Model, type ThreadContext } from '../../model.ts';
import { describeRbTree, describeRbValue, RbTree } from '../../wrong/rbtree.ts';
import { vmaRefProtocol } from '../../wrong/vma-ref.ts';
import { readMunmapRemapUnder, silentUnder } from '../backing/index.ts';
import { fixedFileUnder } from '../space/mmap.ts';
import { mprotectFaultUnder } from '../space/mprotect.ts';
import {
  ANON,
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

addDesign(vmaRefProtocol);

/* H2: a look-up without a lock, in a tree that rotates and in one that does not. */

const rbtree = defineModel<{ readonly words: Int32Array }>({
  name: 'h2-rbtree',
  title: 'H2: a lockless look-up of a range that is there throughout, while another one is inserted; red-black tree',
  invariant: 'I1: what is mapped throughout the call is found',
  preemptions: 2,
  setup: () => {
    const tree = new RbTree(new Int32Array(new SharedArrayBuffer(512)));
    tree.insert(10, 15);
    tree.insert(20, 25);
    return { words: tree.words };
  },
  describe: (_shared, _buffer, byte) => describeRbTree(byte),
  value: (_shared, _buffer, byte, value) => describeRbValue(byte, value),
  threads: [
    {
      name: 'writer',
      run: ({ words }: { readonly words: Int32Array }) => {
        new RbTree(words).insert(30, 35);
        return 0;
      },
    },
    { name: 'reader', run: ({ words }: { readonly words: Int32Array }) => new RbTree(words).lookup(22) },
  ],
  outcomes: ['[0,20]'],
});

const btree = machineModel<World>({
  name: 'h2-btree',
  title: 'H2: the same in the B-tree, with inserts that split its nodes',
  invariant: 'I1: what is mapped throughout the call is found',
  preemptions: 3,
  setup: () =>
    makeWorld({}, ({ space }) => {
      // A full leaf: mappings that do not merge.
      for (let i = 0; i < 4; i++)
        space.mmap({ addr: BASE + 2 * i * P, length: P, prot: RW, flags: ANON | MAP_FIXED_NOREPLACE });
      return {};
    }),
  threads: [
    {
      name: 'writer',
      prepare: hands,
      run: ({ space }: Hands) => {
        for (const i of [4, 5])
          space.mmap({ addr: BASE + 2 * i * P, length: P, prot: RW, flags: ANON | MAP_FIXED_NOREPLACE });
        return 0;
      },
    },
    {
      name: 'reader',
      prepare: hands,
      run: ({ machine: { kernel: k }, space }: Hands) => {
        const mm = space.handle.space as never;
        const find = (): boolean => k.rcu.walking(() => k.tree.find(rootOf(k, mm), ((BASE + 6 * P) / P) as Vpn) !== 0);
        return [find(), find()];
      },
    },
  ],
  outcomes: ['[0,[true,true]]'],
});

/* H3: a fault in what mprotect is just changing. */

const h3 = (design: DesignName, name: string): Model<World> => ({
  ...mprotectFaultUnder(design, name),
  title: `H3: the first write to a page in the part that mprotect splits off and makes read-only, under ${design}`,
});

/* H11: faults while mmap_lock is held for writing all the time. */

const h11 = (design: DesignName, name: string): Model<World> =>
  machineModel<World>({
    name,
    title: `H11: one thread holds mmap_lock for writing throughout; another one faults, with and without I/O, under ${design}`,
    invariant: 'no fault ever takes mmap_lock',
    preemptions: 3,
    setup: () =>
      makeWorld({ design }, ({ machine, space }) => {
        mapAnon(space, BASE, 2);
        const file = machine.attachFile(makeFile(machine, 1, 2));
        space.mmap({
          addr: BASE + 8 * P,
          length: 2 * P,
          prot: RW,
          flags: MAP_PRIVATE | MAP_FIXED_NOREPLACE,
          file,
          offset: 0,
        });
        return {};
      }),
    threads: [
      {
        name: 'holder',
        prepare: hands,
        run: ({ machine: { kernel: k }, space }: Hands, context: ThreadContext) => {
          const lock = space.handle.space + MM_MMAP_LOCK;
          writeLock(k.cpu, lock);
          context.join('fault');
          writeUnlock(k.cpu, lock);
          return 0;
        },
      },
      {
        name: 'fault',
        prepare: hands,
        run: ({ space }: Hands) => [
          look(space, BASE), // the zero page
          put(space, BASE, 1), // a page of its own
          look(space, BASE + 8 * P) === wordOf(1, 0), // I/O, and the restart after it
          put(space, BASE + 8 * P, 2), // a private copy
        ],
      },
    ],
    outcomes: ['[0,[0,"ok",true,"ok"]]'],
  });

/* H12: I/O and allocation under mmap_lock. */

const h12 = (design: DesignName, name: string): Model<World> =>
  machineModel<World>({
    name,
    title: `H12: a fault on a file, under ${design}, with lockdep's sentinel on`,
    invariant: 'I25: no I/O and no wait for memory under mmap_lock',
    preemptions: 2,
    setup: () =>
      makeWorld({ design }, ({ machine, space }) => {
        const file = machine.attachFile(makeFile(machine, 1, 2));
        space.mmap({
          addr: BASE,
          length: 2 * P,
          prot: PROT_READ,
          flags: MAP_PRIVATE | MAP_FIXED_NOREPLACE,
          file,
          offset: 0,
        });
        return {};
      }),
    threads: ['a', 'b'].map((name) => ({
      name,
      prepare: hands,
      run: ({ machine, space }: Hands) => {
        const seen = look(space, BASE) === wordOf(1, 0);
        const [report] = machine.lockdep();
        if (report !== undefined) throw new Error(`${report.rule}: ${report.detail}`);
        return seen;
      },
    })),
    outcomes: ['[true,true]'],
  });

/** One thing that may happen: the design under which it goes wrong, and the one under which it does not, each with its model. */
export interface Scenario {
  readonly what: string;
  readonly found: { readonly design: string; readonly model: string };
  readonly holds: { readonly design: string; readonly model: string };
}

/** A row of the table: what was feared, the part that answers it, and what can be run; the first is the row's own. */
export interface Hazard {
  readonly id: string;
  readonly title: string;
  readonly answer: string;
  readonly scenarios: readonly Scenario[];
  /** What is still missing, or all of it where there is no scenario yet. */
  readonly open?: string;
}

export const rows: readonly Hazard[] = [
  {
    id: 'H1',
    title: 'A fault in our own code, or in a callback of ours, while its thread holds the lock that faults need',
    answer: 'an Oops with both stacks at once',
    scenarios: [],
    open: 'the design `mmap-sem-blocking`, under which it hangs (the Oops of the default is in test/api)',
  },
  {
    id: 'H2',
    title: 'A look-up without a lock in a tree that rotates misses what is there',
    answer: 'an RCU B-tree: a change is one store of the root',
    scenarios: [
      {
        what: 'a look-up while another range is inserted',
        found: { design: 'rbtree', model: 'h2-rbtree' },
        holds: { design: 'btree', model: 'h2-btree' },
      },
    ],
  },
  {
    id: 'H3',
    title:
      'A fault against the split, merge or replacement of its mapping: a spurious SEGV, or a page with the old rights',
    answer: 'immutable VMAs, `detached`, a second look under the leaf lock',
    scenarios: [
      {
        what: 'a fault in the half that mprotect splits off',
        found: { design: 'vma-ref', model: 'h3-vma-ref' },
        holds: { design: 'rcu', model: 'h3-rcu' },
      },
      {
        what: 'MAP_FIXED of a file against the first write',
        found: { design: 'vma-ref', model: 'h3-fixed-vma-ref' },
        holds: { design: 'rcu', model: 'h3-fixed-rcu' },
      },
    ],
    open: 'mremap does not exist yet',
  },
  {
    id: 'H4',
    title: 'Stack growth without mmap_lock: overlap with a neighbour, a zapped page',
    answer: 'growth under the tree lock',
    scenarios: [],
    open: 'stacks do not grow yet',
  },
  {
    id: 'H5',
    title: 'File systems called under mmap_lock, and freeze: lock order',
    answer: 'callbacks hold no lock of the memory manager',
    scenarios: [],
    open: 'no freeze yet',
  },
  {
    id: 'H6',
    title: 'A mapping vanishes or is replaced while its fault sleeps in I/O: the old page appears in the new mapping',
    answer: 'a reference for lifetime only, and everything looked at again after the sleep',
    scenarios: [
      {
        what: 'munmap, and mmap of another file at the same place',
        found: { design: 'vma-ref', model: 'h6-vma-ref' },
        holds: { design: 'rcu', model: 'h6-rcu' },
      },
      {
        what: 'a file that does not answer: munmap, MAP_FIXED and mmap meanwhile',
        found: { design: 'mmap-sem', model: 'h6-silent-mmap-sem' },
        holds: { design: 'rcu', model: 'h6-silent-rcu' },
      },
    ],
    open: 'the design `srcu`',
  },
  {
    id: 'H7',
    title: 'Retry only in the fault handler: pins, populate and copies cannot',
    answer: 'the restart is inside the fault protocol',
    scenarios: [],
    open: 'no pins and no populate yet',
  },
  {
    id: 'H8',
    title: 'Reference counts cannot decide whether a write fault copies',
    answer: 'an exclusive flag; pins keep it',
    scenarios: [],
    open: 'no fork and no pins yet',
  },
  {
    id: 'H9',
    title: 'A write through a stale translation after the page was cleaned and its reverse map removed',
    answer: 'dirty at the zap; reverse map pending until the flush',
    scenarios: [],
    open: 'no shared file writes yet',
  },
  {
    id: 'H10',
    title: 'A pinned page dirtied after its file was truncated or frozen',
    answer: 'unpin dirties under the page lock',
    scenarios: [],
    open: 'no pins yet',
  },
  {
    id: 'H11',
    title: 'Faults walk a B-tree under RCU and never take mmap_lock, not even after I/O',
    answer: 'the default design',
    scenarios: [
      {
        what: 'faults with and without I/O while mmap_lock is held for writing',
        found: { design: 'mmap-sem', model: 'h11-mmap-sem' },
        holds: { design: 'rcu', model: 'h11-rcu' },
      },
    ],
  },
  {
    id: 'H12',
    title: 'I/O and waits for memory under mmap_lock',
    answer: 'none, and a sentinel that says so',
    scenarios: [
      {
        what: 'a fault on a file',
        found: { design: 'mmap-sem', model: 'h12-mmap-sem' },
        holds: { design: 'rcu', model: 'h12-rcu' },
      },
    ],
    open: 'the design `sem-no-io`, and the tree lock as a semaphore',
  },
  {
    id: 'H13',
    title: 'read and write of a file take its locks before mmap_lock, faults after it',
    answer: 'copies fault with no file lock held; the invalidate lock',
    scenarios: [],
    open: 'no file.read and file.write yet',
  },
  {
    id: 'H14',
    title: 'Users of pins that relied on mmap_lock around them',
    answer: 'a pin is valid per page; the layout has a sequence',
    scenarios: [],
    open: 'no pins yet',
  },
  {
    id: 'H15',
    title: 'What a file system may rely on when a page is written through a mapping',
    answer: 'page_mkwrite before the first write',
    scenarios: [],
    open: 'no shared file writes yet',
  },
];

const wrong = (name: string): DesignName => name as DesignName;

export const models = [
  rbtree,
  btree,
  h3(wrong('vma-ref'), 'h3-vma-ref'),
  h3('rcu', 'h3-rcu'),
  fixedFileUnder(wrong('vma-ref'), 'h3-fixed-vma-ref'),
  fixedFileUnder('rcu', 'h3-fixed-rcu'),
  readMunmapRemapUnder(wrong('vma-ref'), 'h6-vma-ref'),
  readMunmapRemapUnder('rcu', 'h6-rcu'),
  silentUnder('mmap-sem', 'h6-silent-mmap-sem'),
  silentUnder('rcu', 'h6-silent-rcu'),
  h11('mmap-sem', 'h11-mmap-sem'),
  h11('rcu', 'h11-rcu'),
  h12('mmap-sem', 'h12-mmap-sem'),
  h12('rcu', 'h12-rcu'),
] as unknown as readonly Model<unknown>[];
