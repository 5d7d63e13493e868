/** wait and notify: who is woken, who is counted, and what a waiter compares with when its page is replaced or its neighbour dies. */
import { futexEnter } from '../../../src/access/virtual-futex.ts';
import { MAP_FIXED_NOREPLACE, MAP_PRIVATE, MAP_SHARED, PROT_READ, type Space } from '../../../src/index.ts';
import { MM_SERIAL } from '../../../src/paging/mm.layout.ts';
import { load, wait } from '../../../src/sync/atomics.checked.ts';
import { C_FUTEX, CPUS_USED, cpuSlot } from '../../../src/sync/control.layout.ts';
import { asyncEntry, bucketOf, leaveQueue } from '../../../src/sync/futex.ts';
import type { Model, ThreadContext } from '../../model.ts';
import { type Bereaved, bereaved, type Mortal, mortal, mortalWorld } from '../death/mortal.ts';
import {
  ANON,
  BASE,
  type Hands,
  hands,
  machineModel,
  makeFile,
  makeWorld,
  mapAnon,
  orSegv,
  P,
  RW,
  type World,
  wordOf,
} from '../world.ts';

/** A page of zeroes of its own at BASE. */
const written = ({ space }: Hands): object => {
  mapAnon(space, BASE, 1);
  space.store32(BASE, 0);
  return {};
};
const waiter = (name: string, expected = 0, limit = Number.POSITIVE_INFINITY, at = BASE) => ({
  name,
  prepare: hands,
  run: ({ space }: Hands) => orSegv(() => space.wait(at, expected, limit)),
});
const thread = (name: string, run: (space: Space) => unknown) => ({
  name,
  prepare: hands,
  run: ({ space }: Hands) => run(space),
});
const ALL = Number.POSITIVE_INFINITY;
/** Stores another value, then notifies: so many, then so many. */
const waker = (...counts: readonly number[]) =>
  thread('waker', (space) => {
    space.atomicStore32(BASE, 1);
    return counts.map((count) => space.notify(BASE, count));
  });
/** What follows from what `wait` said: a notify has counted those who were woken, and nobody else. */
const allCounted = ({ results }: { readonly results: readonly unknown[] }): void => {
  const woken = results.filter((result) => result === 'ok').length;
  const counted = (results.at(-1) as number[]).reduce((sum, n) => sum + n, 0);
  if (woken !== counted) throw new Error(`${woken} threads were woken, ${counted} counted`);
};

const futex = machineModel<World>({
  name: 'futex',
  title: 'wait on a word of a space against a store and a notify',
  invariant: 'a wake-up between the comparison and the sleep is not lost',
  preemptions: 4,
  setup: () => makeWorld({}, written),
  threads: [
    waiter('waiter'),
    thread('waker', (space) => {
      space.cas32(BASE, 0, 1);
      return space.notify(BASE);
    }),
  ],
  outcomes: ['["ok",1]', '["not-equal",0]'],
});

const twoWaiters = machineModel<World>({
  name: 'futex-two-waiters',
  title: 'two waiters on one word; a store, a notify of one, then a notify of all',
  invariant: 'as many are woken as are asked for and counted; nobody is left',
  preemptions: 2,
  setup: () => makeWorld({}, written),
  threads: [waiter('a'), waiter('b'), waker(1, ALL)],
  outcomes: [
    '["ok","ok",[1,1]]',
    '["ok","not-equal",[1,0]]',
    '["not-equal","ok",[1,0]]',
    '["not-equal","not-equal",[0,0]]',
  ],
});

const all = machineModel<World>({
  ...twoWaiters,
  name: 'futex-all',
  title: 'two waiters on one word; a store and a notify of all',
  threads: [waiter('a'), waiter('b'), waker(ALL)],
  outcomes: ['["ok","ok",[2]]', '["ok","not-equal",[1]]', '["not-equal","ok",[1]]', '["not-equal","not-equal",[0]]'],
});

/** A word of the page at BASE whose queue is in the bucket of BASE's. */
function collider(space: Space, words: Int32Array): number {
  const owner = space.handle.space;
  const serial = words[owner + MM_SERIAL] as number;
  const bucket = bucketOf({ owner, serial, address: BASE });
  for (let address = BASE + 4; address < BASE + P; address += 4)
    if (bucketOf({ owner, serial, address }) === bucket) return address;
  throw new Error('no two words of a page have one bucket');
}
interface TwoWords extends World {
  readonly other: number;
}
const withOther = (world: TwoWords) => ({ ...hands(world), other: world.other });

const twoWords = machineModel<TwoWords>({
  name: 'futex-two-words',
  title: 'waiters on two words in one bucket; each word is changed and notified',
  invariant: 'a notify wakes waiters of its own word only, and passes over the others',
  preemptions: 2,
  setup: () => makeWorld({}, (all) => ({ ...written(all), other: collider(all.space, all.machine.kernel.words) })),
  threads: [
    waiter('first'),
    {
      name: 'other',
      prepare: withOther,
      run: ({ space, other }: ReturnType<typeof withOther>) => space.wait(other, 0),
    },
    {
      name: 'waker',
      prepare: withOther,
      run: ({ space, other }: ReturnType<typeof withOther>) =>
        [other, BASE].map((at) => {
          space.atomicStore32(at, 1);
          return space.notify(at, 1);
        }),
    },
  ],
  outcomes: [
    '["ok","ok",[1,1]]',
    '["ok","not-equal",[0,1]]',
    '["not-equal","ok",[1,0]]',
    '["not-equal","not-equal",[0,0]]',
  ],
});

const time = machineModel<World>({
  name: 'futex-time',
  title: 'a wait with a time limit against a notify, twice over',
  invariant: 'who is told that its time was up was not counted as woken, and has left the queue',
  preemptions: 3,
  timeouts: 'allow',
  setup: () => makeWorld({}, written),
  threads: [waiter('waiter', 0, 5), thread('waker', (space) => [space.notify(BASE), space.notify(BASE)])],
  outcomes: ['["ok",[1,0]]', '["ok",[0,1]]', '["timed-out",[0,0]]'],
});

const timeTwo = machineModel<World>({
  name: 'futex-time-two',
  title: 'a waiter with a time limit and one without; two notifies of one',
  invariant: 'a wait whose time is up swallows no wake-up that another one needs',
  preemptions: 2,
  timeouts: 'allow',
  setup: () => makeWorld({}, written),
  threads: [waiter('hasty', 0, 5), waiter('patient'), waker(1, 1)],
  check: allCounted,
});

/** The page that is waited on is replaced by a store. */
const replaced = (name: string, title: string, expected: number, arrange: (all: Hands) => object): Model<World> =>
  machineModel<World>({
    name,
    title,
    invariant: 'a waiter compares with the page that is there when it enters the queue: no wake-up is lost',
    preemptions: 3,
    setup: () => makeWorld({}, arrange),
    threads: [
      waiter('waiter', expected),
      thread('waker', (space) => {
        space.store32(BASE, 1);
        return space.notify(BASE);
      }),
    ],
    outcomes: ['["ok",1]', '["not-equal",0]'],
  });

const mapFile = (space: Space, { machine }: Hands, flags: number, prot: number, page = 0): void => {
  const file = machine.attachFile(makeFile(machine, 1, 2));
  space.mmap({ addr: BASE + page * P, length: P, prot, flags: flags | MAP_FIXED_NOREPLACE, file, offset: 0 });
};

const zeroPage = replaced(
  'futex-zero-page',
  'a wait on the zero page against the first store to it',
  0,
  ({ space }) => {
    mapAnon(space, BASE, 1);
    space.load32(BASE);
    return {};
  },
);

const neighbour = machineModel<World>({
  ...zeroPage,
  name: 'futex-neighbour',
  title: 'a wait on the zero page against the first store to another word of the page, and a notify',
  invariant: 'a waiter whose page was replaced looks at the new one: an equal value is not called another',
  preemptions: 2,
  timeouts: 'allow',
  threads: [
    waiter('waiter', 0, 5),
    thread('waker', (space) => {
      space.store32(BASE + 4, 1);
      return space.notify(BASE);
    }),
  ],
  outcomes: ['["ok",1]', '["timed-out",0]'],
});

const privateCopy = replaced(
  'futex-private-copy',
  'a wait on a private page of a file against the store that copies it',
  wordOf(1, 0),
  (all) => {
    mapFile(all.space, all, MAP_PRIVATE, RW);
    all.space.load32(BASE);
    return {};
  },
);

const munmap = machineModel<World>({
  name: 'futex-munmap',
  title: 'a wait against munmap of its page, mmap at the same place, and a notify there',
  invariant: 'a waiter is in the queue before the old page is gone, or sees the hole or the new page',
  preemptions: 2,
  longPreemptions: 3,
  setup: () =>
    makeWorld({}, ({ space }) => {
      mapAnon(space, BASE, 1);
      space.store32(BASE, 7);
      return {};
    }),
  threads: [
    waiter('waiter', 7),
    thread('mapper', (space) => {
      space.munmap(BASE, P);
      space.mmap({ addr: BASE, length: P, prot: RW, flags: ANON | MAP_FIXED_NOREPLACE });
      return space.notify(BASE);
    }),
  ],
  outcomes: ['["ok",1]', '["not-equal",0]', '["SEGV_MAPERR",0]'],
});

/** Two spaces that map page 0 of one file: shared at BASE, privately behind it. */
interface TwoSpaces extends World {
  readonly second: World['space'];
}
const inSecond = (world: TwoSpaces): Hands => hands({ machine: world.machine, space: world.second });

/** Whether somebody is in a queue. Not an access of the program's. */
const queued = ({ machine }: Hands): boolean => {
  const { words } = machine.kernel;
  const cpus = Array.from({ length: words[CPUS_USED] as number }, (_, id) => words[cpuSlot(id) + C_FUTEX]);
  return cpus.some((bucket) => bucket !== 0);
};

const file = machineModel<TwoSpaces>({
  name: 'futex-file',
  title: 'a wait on a shared page of a file; another space notifies the private page, then the shared one',
  invariant: 'the queue of shared memory is the file’s, that of private memory the space’s',
  preemptions: 2,
  timeouts: 'allow',
  setup: () =>
    makeWorld({}, (all) => {
      const second = all.machine.createSpace();
      const mapped = all.machine.attachFile(makeFile(all.machine, 1, 1));
      for (const space of [all.space, second])
        for (const [page, flags] of [MAP_SHARED, MAP_PRIVATE].entries())
          space.mmap({
            addr: BASE + page * P,
            length: P,
            prot: PROT_READ,
            flags: flags | MAP_FIXED_NOREPLACE,
            file: mapped,
            offset: 0,
          });
      return { second: second.handle };
    }),
  threads: [
    waiter('waiter', wordOf(1, 0), 5),
    {
      name: 'waker',
      prepare: inSecond,
      run: (all: Hands) => {
        const privately = all.space.notify(BASE + P);
        const before = queued(all);
        const shared = all.space.notify(BASE);
        if (before && shared === 0 && queued(all)) throw new Error('a waiter in the queue was passed over');
        return [privately, shared];
      },
    },
  ],
  outcomes: ['["ok",[0,1]]', '["timed-out",[0,0]]'],
});

const privateFile = machineModel<TwoSpaces>({
  ...file,
  name: 'futex-private-file',
  title: 'a wait on a private page of a file; another space notifies its own private and shared pages of it',
  invariant: 'nobody else’s notify reaches private memory',
  threads: [
    waiter('waiter', wordOf(1, 0), 5, BASE + P),
    {
      name: 'waker',
      prepare: inSecond,
      run: ({ space }: Hands) => [space.notify(BASE + P), space.notify(BASE)],
    },
  ],
  outcomes: ['["timed-out",[0,0]]'],
});

const deathWorld = (): Mortal => mortalWorld({}, written);
const notifyOne = (space: Space): number => {
  space.atomicStore32(BASE, 1);
  return space.notify(BASE, 1);
};
const reaper = {
  name: 'reaper',
  prepare: bereaved,
  run: ({ machine, space, world }: Bereaved, context: ThreadContext) => {
    if (context.join('victim') && !machine.reapNow(world.victim[0] as number))
      throw new Error('there was nobody to reap');
    return [notifyOne(space)];
  },
};

// The victim's limit is 0: it enters the queue and leaves it, and does not sleep, where nobody dies.
const death = machineModel<Mortal>({
  name: 'futex-death',
  title: 'one of two waiters dies anywhere in its wait; it is reaped, then one is notified',
  invariant: 'I27: the dead swallow no wake-up once they are reaped',
  preemptions: 0,
  longPreemptions: 1,
  timeouts: 'allow',
  setup: deathWorld,
  threads: [
    { name: 'victim', mortal: true, prepare: mortal, run: ({ space }: Hands) => space.wait(BASE, 0, 0) },
    waiter('living'),
    reaper,
  ],
  check: allCounted,
});

const deathOfNotifier = machineModel<Mortal>({
  name: 'futex-death-notifier',
  title: 'a thread dies anywhere in a store and a notify; it is reaped, and the reaper does the same',
  invariant: 'I27: a waiter that a dead thread has taken out of the queue goes on by itself',
  preemptions: 0,
  longPreemptions: 1,
  timeouts: 'allow',
  setup: deathWorld,
  threads: [
    { name: 'victim', mortal: true, prepare: mortal, run: ({ space }: Hands) => notifyOne(space) },
    waiter('living'),
    reaper,
  ],
  check({ results: [first, living, second], died }) {
    const counted = (first ?? 0) + second[0];
    if (died[0] ? counted > 1 : counted !== (living === 'ok' ? 1 : 0))
      throw new Error(`${living}, and ${counted} counted`);
  },
});

/**
 * `waitAsync` as far as it is in shared memory, in one synchronous call: a wait on the entry's word stands in for the host's
 * Atomics.waitAsync, which compares and queues in one step as it does.
 */
const waitAsHost = ({ machine, space }: Hands, limit: number): string => {
  const { cpu } = machine.kernel;
  const open = space as unknown as { _futexParts(): Parameters<typeof futexEnter>[0] };
  if (!futexEnter(open._futexParts(), 0, BASE, 0)) return 'not-equal';
  const at = asyncEntry(cpu.id, 0);
  const bucket = load(cpu.words, at);
  if (bucket === 0) return 'ok';
  if (limit > 0 && wait(cpu.words, at, bucket, limit) !== 'timed-out') return 'ok';
  return leaveQueue(cpu, at);
};
const asyncWaiter = (limit = Number.POSITIVE_INFINITY) => ({
  name: 'waiter',
  prepare: hands,
  run: (all: Hands) => waitAsHost(all, limit),
});

const futexAsync = machineModel<World>({
  ...futex,
  name: 'futex-async',
  title: 'waitAsync on a word of a space against a store and a notify',
  invariant: 'a wake-up between the comparison and the host’s wait is not lost',
  threads: [asyncWaiter(), futex.threads[1] as (typeof futex.threads)[number]],
});

const asyncTime = machineModel<World>({
  ...time,
  name: 'futex-async-time',
  title: 'a waitAsync with a time limit against a notify, twice over',
  threads: [asyncWaiter(5), time.threads[1] as (typeof time.threads)[number]],
});

const asyncTwo = machineModel<World>({
  ...twoWaiters,
  name: 'futex-async-two',
  title: 'a wait and a waitAsync on one word; a store, a notify of one, then a notify of all',
  threads: [asyncWaiter(), waiter('sleeper'), waker(1, ALL)],
});

const asyncDeath = machineModel<Mortal>({
  ...death,
  name: 'futex-async-death',
  title: 'a thread dies anywhere in a waitAsync; it is reaped, then one of those who wait is notified',
  threads: [
    { name: 'victim', mortal: true, prepare: mortal, run: (all: Hands) => waitAsHost(all, 0) },
    waiter('living'),
    reaper,
  ],
});

export const futexModels = [
  futex,
  twoWaiters,
  all,
  twoWords,
  time,
  timeTwo,
  zeroPage,
  neighbour,
  privateCopy,
  munmap,
  file,
  privateFile,
  death,
  deathOfNotifier,
  futexAsync,
  asyncTime,
  asyncTwo,
  asyncDeath,
] as unknown as readonly Model<unknown>[];
