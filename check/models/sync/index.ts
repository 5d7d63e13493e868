/** Locks, reference counts, wait queues and RCU, each on the words of a real machine. */

import type { Kernel } from '../../../src/space/kernel.ts';
import { load, peek, poke, store } from '../../../src/sync/atomics.checked.ts';
import { CLASS_TREE } from '../../../src/sync/lock-classes.ts';
import { refGetUnlessZero, refPut } from '../../../src/sync/refcount.ts';
import { readLock, readUnlock, writeLock, writeUnlock } from '../../../src/sync/rwsem.ts';
import { spinLock, spinUnlock } from '../../../src/sync/spinlock.ts';
import { linearizable, type Operation } from '../../linearizability.ts';
import type { Model, ThreadContext } from '../../model.ts';
import { machineModel, makeWorld, type World } from '../world.ts';
import { futexModels } from './futex.ts';
import { lateModels } from './late.ts';
import { rwsemModels } from './rwsem.ts';
import {
  besideTheLists,
  change,
  describe,
  empty,
  FIRST,
  FREED,
  KIND,
  kernel,
  LOCK,
  OBJECT,
  OTHER,
  POINTER,
  REFS,
  SEM,
  same,
  waits,
} from './words.ts';

function increments(name: string, times: number) {
  return {
    name,
    prepare: kernel,
    run: ({ cpu, words }: Kernel) => {
      for (let i = 0; i < times; i++) {
        spinLock(cpu, LOCK, CLASS_TREE);
        poke(words, FIRST, peek(words, FIRST) + 1);
        spinUnlock(cpu, LOCK);
      }
      return 0;
    },
  };
}

const spinlock = machineModel<World>({
  name: 'spinlock',
  title: 'two threads increment a plain counter twice under a spinlock',
  invariant: 'one thread at a time is inside; a sleeper is woken',
  preemptions: 5,
  setup: empty,
  describe,
  waits,
  threads: [increments('a', 2), increments('b', 2)],
  check({ shared }) {
    const words = new Int32Array(shared.machine.control);
    if (words[FIRST] !== 4) throw new Error(`the counter is ${words[FIRST]}, not 4`);
    if (words[LOCK] !== 0) throw new Error('the lock is left held');
  },
});

const spinlockThree = machineModel<World>({
  ...spinlock,
  name: 'spinlock-three',
  title: 'three threads increment a plain counter under a spinlock',
  preemptions: 3,
  threads: [increments('a', 1), increments('b', 1), increments('c', 1)],
  check({ shared }) {
    const words = new Int32Array(shared.machine.control);
    if (words[FIRST] !== 3) throw new Error(`the counter is ${words[FIRST]}, not 3`);
  },
});

function writer(name: string, times = 1) {
  return {
    name,
    prepare: kernel,
    run: ({ cpu, words }: Kernel) => {
      for (let i = 0; i < times; i++) {
        writeLock(cpu, SEM);
        change(words);
        writeUnlock(cpu, SEM);
      }
      return 0;
    },
  };
}
function reader(name: string) {
  return {
    name,
    prepare: kernel,
    run: ({ cpu, words }: Kernel) => {
      readLock(cpu, SEM);
      const seen = same(words);
      readUnlock(cpu, SEM);
      return seen;
    },
  };
}
const rwsemAt =
  (count: number) =>
  ({ shared }: { readonly shared: World }): void => {
    const words = new Int32Array(shared.machine.control);
    if (words[FIRST] !== count) throw new Error(`the counter is ${words[FIRST]}, not ${count}`);
    if (words[SEM] !== 0) throw new Error(`the semaphore is left in state ${words[SEM]}`);
  };

const rwsem = machineModel<World>({
  name: 'rwsem',
  title: 'a writer and a reader, twice a writer, of a reader-writer semaphore',
  invariant: 'a reader never sees half of a write; nobody who waits is forgotten; at the end it is free',
  preemptions: 5,
  setup: empty,
  describe,
  waits,
  threads: [writer('writer', 2), reader('reader')],
  check: rwsemAt(2),
  outcomes: ['[0,true]'],
});

const rwsemThree = machineModel<World>({
  ...rwsem,
  name: 'rwsem-three',
  title: 'two writers and a reader of a reader-writer semaphore',
  preemptions: 3,
  longPreemptions: 4,
  threads: [writer('writer'), writer('other'), reader('reader')],
  check: rwsemAt(2),
  outcomes: ['[0,0,true]'],
});

const rwsemReaders = machineModel<World>({
  ...rwsem,
  name: 'rwsem-readers',
  title: 'two readers and a writer of a reader-writer semaphore',
  preemptions: 3,
  longPreemptions: 4,
  threads: [reader('reader'), reader('other'), writer('writer')],
  check: rwsemAt(1),
  outcomes: ['[true,true,0]'],
});

/** Gets and puts as operations of a history. */
function counted(name: string, acts: readonly ('get' | 'put')[]) {
  return {
    name,
    prepare: kernel,
    run: ({ words }: Kernel, context: ThreadContext) => {
      const history: Operation<unknown, unknown>[] = [];
      for (const act of acts) {
        const call = context.now();
        const result = act === 'get' ? refGetUnlessZero(words, REFS) : refPut(words, REFS);
        history.push({ thread: name, name: act, args: [], result, call, return: context.now() });
        if (act === 'get' && !result) break;
        if (act === 'put' && result) store(words, FREED, load(words, FREED) + 1);
        if (act === 'get' && load(words, FREED) !== 0) throw new Error('a reference was taken on a freed record');
      }
      return history;
    },
  };
}
const refcount = machineModel<World>({
  name: 'refcount',
  title: 'increment unless zero, then put, against the put of the last reference, with a second look-up',
  invariant: 'a count that has been 0 never rises; the record is freed once; the calls are linearizable',
  preemptions: 4,
  longPreemptions: 6,
  setup: () => {
    const world = empty();
    new Int32Array(world.machine.control)[REFS] = 1;
    return world;
  },
  describe,
  waits,
  threads: [counted('owner', ['put']), counted('user', ['get', 'put']), counted('other', ['get', 'put'])],
  check({ shared, results }) {
    const words = new Int32Array(shared.machine.control);
    if (words[FREED] !== 1) throw new Error(`freed ${words[FREED]} times`);
    const history = (results as Operation<unknown, unknown>[][]).flat();
    const why = linearizable(history, {
      initial: 1,
      apply: (count: number, { name }) => {
        if (name === 'get') return [count > 0 ? [count + 1, true] : [0, false]];
        return [[count - 1, count === 1]];
      },
      key: String,
    });
    if (why !== undefined) throw new Error(why);
  },
});

/** A kernel whose rcu frees objects of our own. */
function rcuKernel(world: World): Kernel {
  const k = kernel(world);
  k.rcu.registerReclaimer(KIND, {
    linkOf: (object) => object + 1,
    free: (object) => poke(k.words, object + 2, -1),
    markRetired: () => undefined,
  });
  return k;
}

const rcuRetire = machineModel<World>({
  name: 'rcu-retire',
  title: 'a published object is replaced and retired against a reader in its section',
  invariant: 'I6: what a section has reached is not freed before it ends',
  preemptions: 6,
  setup: () => {
    const world = empty();
    const words = new Int32Array(world.machine.control);
    words[POINTER] = OBJECT;
    words[OBJECT + 2] = 11;
    words[OTHER + 2] = 12;
    return world;
  },
  describe,
  waits,
  threads: [
    {
      name: 'writer',
      prepare: rcuKernel,
      run: (k: Kernel) => {
        store(k.words, POINTER, OTHER);
        k.rcu.retire(KIND, OBJECT);
        return k.rcu.freeRetired(k.cpu.id) + k.rcu.freeRetired(k.cpu.id);
      },
    },
    {
      name: 'reader',
      prepare: rcuKernel,
      run: (k: Kernel) => {
        const read = (): number =>
          k.rcu.walking(() => {
            const object = load(k.words, POINTER);
            k.rcu.walking(() => 0); // nested: its end ends nothing
            return peek(k.words, object + 2);
          });
        return [read(), read()];
      },
    },
  ],
  check({ results }) {
    for (const seen of results[1] as number[])
      if (seen !== 11 && seen !== 12) throw new Error(`the reader saw ${seen}`);
  },
});

const rcuSynchronize = machineModel<World>({
  ...rcuRetire,
  name: 'rcu-synchronize',
  title: 'synchronize before an object is changed in place, against a reader in its section',
  invariant: 'synchronize returns only when every section that was open has ended; its sleeper is woken',
  preemptions: 5,
  threads: [
    {
      name: 'writer',
      prepare: rcuKernel,
      run: (k: Kernel) => {
        store(k.words, POINTER, OTHER);
        k.rcu.synchronize();
        poke(k.words, OBJECT + 2, -1);
        return 0;
      },
    },
    rcuRetire.threads[1] as (typeof rcuRetire.threads)[1],
  ],
});

const rcuTwoRetirers = machineModel<World>({
  ...rcuRetire,
  name: 'rcu-two-retirers',
  title: 'two threads replace and retire what the other one has published, and free each other’s lists; a reader walks',
  preemptions: 2,
  longPreemptions: 3,
  threads: [
    rcuRetire.threads[0] as (typeof rcuRetire.threads)[0],
    {
      name: 'helper',
      prepare: rcuKernel,
      run: (k: Kernel) => {
        let freed = 0;
        for (let id = 0; id < 6; id++) freed += k.rcu.freeRetired(id);
        return freed;
      },
    },
    rcuRetire.threads[1] as (typeof rcuRetire.threads)[1],
  ],
  check({ results }) {
    const [first, second, seen] = results as [number, number, number[]];
    if (first + second > 1) throw new Error(`one object was freed ${first + second} times`);
    for (const value of seen) if (value !== 11 && value !== 12) throw new Error(`the reader saw ${value}`);
  },
});

/** A cpu that has retired an object while somebody else had the lock over its lists. */
function lateRetirer(world: World): Kernel {
  const k = rcuKernel(world);
  besideTheLists(k, kernel(world), () => k.rcu.retire(KIND, OBJECT));
  return k;
}

/** Every object of the two is freed once: by whom does not matter. */
const rcuLate = machineModel<World>({
  ...rcuRetire,
  name: 'rcu-late',
  title:
    'a thread that has retired one object without the lock over its lists retires another, while somebody takes both over',
  invariant:
    'I6: what is retired late is freed once, by whoever has the lock, also above what is just being taken over',
  preemptions: 3,
  longPreemptions: 4,
  timeouts: 'allow',
  setup: () => makeWorld({ stallTimeout: 1 }, () => ({})),
  threads: [
    {
      name: 'owner',
      prepare: lateRetirer,
      run: ({ rcu }: Kernel) => {
        rcu.retire(KIND, OTHER);
        return 0;
      },
    },
    {
      name: 'taker',
      prepare: rcuKernel,
      run: ({ rcu }: Kernel) => rcu.freeAllRetired() + rcu.freeAllRetired(),
    },
  ],
  check({ shared, results }) {
    const { rcu } = rcuKernel(shared);
    let freed = results[1] as number;
    for (let round = 0; round < 4 && freed <= 2; round++) freed += rcu.freeAllRetired();
    if (freed !== 2) throw new Error(`two objects were freed ${freed} times`);
    if (rcu.pendingRetired() !== 0) throw new Error('something is still pending');
  },
});

export const syncModels = [
  spinlock,
  spinlockThree,
  rwsem,
  rwsemThree,
  rwsemReaders,
  refcount,
  rcuRetire,
  rcuSynchronize,
  rcuTwoRetirers,
  rcuLate,
  ...rwsemModels,
  ...lateModels,
  ...futexModels,
] as unknown as readonly Model<unknown>[];
