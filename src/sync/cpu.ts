/**
 * One attached thread, as the thread itself sees it: the shared words, its slot, and what only it knows (how deep it is in
 * sections and locks, whether it may block).
 */
import {
  add,
  cas,
  fillWords,
  load,
  now,
  peek,
  peekF64,
  peekRacy,
  peekRacyF64,
  pokeRacyF64,
  store,
  wait,
} from '#atomics';
import { oops } from '../base/assert.ts';
import { Oops, VmError } from '../base/errors.ts';
import { MAX_CPUS } from '../base/limits.ts';
import { histogramSlot } from '../trace/counters.ts';
import {
  C_COUNTERS,
  C_LIFE,
  C_RETIRE_LATE,
  C_RETIRE_LOCK,
  C_RETIRE_OPEN_COUNT,
  C_RETIRE_WAIT_COUNT,
  C_SERIAL,
  C_SLOT,
  C_STATE,
  C_THREAD,
  CPU_ATTACHED,
  CPU_ATTACHING,
  CPU_FREE,
  CPU_LEFT,
  CPU_SERIAL,
  CPU_WORDS,
  CPUS_USED,
  cpuSlot,
  FUTEX_ASYNC_ENTRIES,
  H_IO_MS,
  H_POISON,
  H_SHARED,
  H_STALL_MS,
  LIFE_NONE,
  RETIRE_KINDS,
} from './control.layout.ts';

const POLLED = 'a poll: a thread may notice the poison a few calls later';
const STATISTIC = 'a statistic: one writer, and a reader may see it late';

/** What the cpu knows of one of its `waitAsync`s (access/async-wait.ts). */
export interface AsyncWaiter {
  /** False before it does, and after its end. */
  readonly sleeps: boolean;
  /** Leaves its queue and gives the entry back. */
  end(): void;
  /** Ends it: the handle `holder`, through which it waits, is closed. */
  handleClosed(holder: object): void;
}

export class Cpu {
  readonly words: Int32Array;
  readonly floats: Float64Array;
  readonly id: number;
  /** First word of the slot. */
  readonly base: number;
  /** What this cpu writes into a lock word: id + 1. */
  readonly tag: number;
  /** First Float64 of the counters. */
  readonly counters: number;
  /** False on a browser's main thread, and on a machine that is not shared: nobody could wake us. */
  readonly canBlock: boolean;
  readonly serial: number;
  /** Milliseconds before a wait for another thread gives up. Less while a call that gave up is recovered. */
  stallLimit: number;
  /** Milliseconds before a wait for another thread's read gives up. */
  readonly ioLimit: number;
  /** Spinlocks held now, for the record in the slot. */
  heldDepth = 0;
  /** What the call in hand, or the last one, has given up with: nothing is done until the cpu is recovered (see spinlock.ts). */
  gaveUp: { readonly error: unknown } | undefined = undefined;
  /** Whether others may be finishing what that call has left: see reap.ts. */
  offered = false;
  /** Whether a public call, or a fault, is under way: if it is when the next one begins, the engine has ended it (see `cutOff`). */
  inCall = false;
  inFault = false;
  /** Backings' functions that are running in this thread just now. */
  callbacks = 0;
  /** The `waitAsync`s of this thread, by the number of their entry in the slot. */
  readonly asyncWaits: (AsyncWaiter | undefined)[] = new Array<undefined>(FUTEX_ASYNC_ENTRIES).fill(undefined);

  constructor(words: Int32Array, floats: Float64Array, id: number, serial: number, canBlock: boolean) {
    this.words = words;
    this.floats = floats;
    this.id = id;
    this.base = cpuSlot(id);
    this.tag = id + 1;
    this.counters = (this.base + C_COUNTERS) >> 1;
    this.canBlock = canBlock;
    this.serial = serial;
    this.stallLimit = peek(words, H_STALL_MS);
    this.ioLimit = peek(words, H_IO_MS);
  }

  // What others read of it is a statistic: exact for the cpu itself, a little late for others.
  count(counter: number): void {
    const { floats, counters } = this;
    pokeRacyF64(floats, counters + counter, peekF64(floats, counters + counter) + 1, STATISTIC);
  }

  countMany(counter: number, amount: number): void {
    const { floats, counters } = this;
    pokeRacyF64(floats, counters + counter, peekF64(floats, counters + counter) + amount, STATISTIC);
  }

  /** Adds a wait that began at `since` (see `now`) to histogram `which`. */
  countWait(which: number, since: number): void {
    this.count(histogramSlot(which, now() - since));
  }

  /** A broken internal rule poisons the machine: nobody works on with wrong memory. A callback's mistake (H1) does not. */
  noteOops(error: unknown): void {
    if (error instanceof Oops && error.rule !== 'H1') store(this.words, H_POISON, this.tag);
  }

  /** Whether the slot is still this thread's: it may have been reaped as a dead one. */
  get hasItsSlot(): boolean {
    return peekRacy(this.words, this.base + C_SERIAL, POLLED) === this.serial;
  }

  checkIdentity(): void {
    if (!this.hasItsSlot) throw new VmError('EBADF', 'call', 'this thread has been reaped as a dead one');
  }

  /** Whether some cpu has found a broken rule. */
  get poisoned(): boolean {
    return peekRacy(this.words, H_POISON, POLLED) !== 0;
  }

  /** Throws if some cpu has found a broken rule. */
  checkAlive(): void {
    const poison = peekRacy(this.words, H_POISON, POLLED);
    if (poison !== 0) oops('machine', `poisoned by cpu ${poison - 1} after a broken rule; close it`);
  }
}

export function readCounter(words: Int32Array, floats: Float64Array, cpu: number, index: number): number {
  if (cpu >= peek(words, CPUS_USED)) return 0;
  return peekRacyF64(floats, ((cpuSlot(cpu) + C_COUNTERS) >> 1) + index, STATISTIC);
}

/** Takes a free slot, one with nothing in its retire lists if there is one. `thread` is the host's number of the thread. */
export function attachCpu(words: Int32Array, floats: Float64Array, thread: number): Cpu {
  for (const wanted of [CPU_FREE, CPU_LEFT]) {
    for (let id = 0; id < MAX_CPUS; id++) {
      if (load(words, cpuSlot(id) + C_STATE) === wanted && takeSlot(words, id, wanted, thread)) {
        return new Cpu(words, floats, id, peek(words, cpuSlot(id) + C_SERIAL), mayBlock(words));
      }
    }
  }
  throw new VmError('EAGAIN', 'attach', `all ${MAX_CPUS} cpus of the machine are in use`);
}

/** Whoever dies in here leaves a slot that names its thread, and that a reaper finds. */
function takeSlot(words: Int32Array, id: number, seen: number, thread: number): boolean {
  const base = cpuSlot(id);
  for (let used = load(words, CPUS_USED); used <= id; used = load(words, CPUS_USED))
    cas(words, CPUS_USED, used, id + 1);
  const mine = attachingBy(thread);
  if (cas(words, base + C_STATE, seen, mine) !== seen) return false;
  clearSlot(words, base);
  store(words, base + C_SERIAL, add(words, CPU_SERIAL, 1) + 1);
  store(words, base + C_THREAD, thread);
  return cas(words, base + C_STATE, mine, CPU_ATTACHED) === mine; // else it was taken for dead
}

/** The state of a slot that thread `thread` is taking, or leaving. */
export function attachingBy(thread: number): number {
  return CPU_ATTACHING | (thread << 8);
}

/** Its own thread gives the slot back. Should it die in here, the state names the thread, as in attaching. */
export function leaveCpu({ words, base, id }: Cpu): void {
  store(words, base + C_STATE, attachingBy(load(words, base + C_THREAD)));
  detachCpu(words, id);
}

/**
 * Gives the slot back. What it has retired may still wait for a grace period: it stays in the slot's lists, which anybody may free, and
 * which the next owner goes on with. Requires: nothing held, no section.
 */
export function detachCpu(words: Int32Array, id: number): void {
  const base = cpuSlot(id);
  store(words, base + C_SLOT, 0);
  store(words, base + C_SERIAL, 0); // whoever names the thread that was here names nobody from now on
  store(words, base + C_LIFE, LIFE_NONE);
  store(words, base + C_THREAD, -1);
  store(words, base + C_STATE, hasRetired(words, base) ? CPU_LEFT : CPU_FREE);
}

function hasRetired(words: Int32Array, base: number): boolean {
  for (let kind = 0; kind < RETIRE_KINDS; kind++) if (load(words, base + C_RETIRE_LATE + kind) !== 0) return true;
  // In this order: see Rcu._adoptLate, _closeOpen.
  return load(words, base + C_RETIRE_OPEN_COUNT) + load(words, base + C_RETIRE_WAIT_COUNT) > 0;
}

/**
 * Counters outlive their cpu: sums never go down. So do the retire lists, whose objects bear the slot's tag, and the lock over them:
 * whoever looks for memory locks the lists of free slots too. Everything else starts at 0.
 */
function clearSlot(words: Int32Array, base: number): void {
  for (let word = 0; word < C_COUNTERS; word++) {
    // With Atomics: others scan the slots, free ones too.
    if (word !== C_STATE && (word < C_RETIRE_LOCK || word >= C_RETIRE_LATE + RETIRE_KINDS))
      store(words, base + word, 0);
  }
  fillWords(words, base + C_COUNTERS + 384, CPU_WORDS - C_COUNTERS - 384, 0);
}

/** A wait that ends at once tells whether the host lets this thread block. */
function mayBlock(words: Int32Array): boolean {
  if (peek(words, H_SHARED) === 0) return false;
  try {
    wait(words, H_SHARED, 0, 0);
    return true;
  } catch {
    return false;
  }
}
