/**
 * Virtual wait and notify: queues keyed as futex(2) keys them, by what the address means - (space, vpn) for private memory,
 * (mapping, index) for shared - and the offset; never by the frame, which may be copied or reclaimed while somebody sleeps.
 *
 * A waiter is an entry in its cpu's slot: key and bucket. C_FUTEX is that of a thread that sleeps, on its parking word. Those of
 * `waitAsync` are in C_FUTEX_ASYNC; whoever waits there does so on the entry's first word itself, with Atomics.waitAsync or by looking now
 * and then. A bucket has a lock and no list: its waiters are the entries that name it, so that a death breaks nothing. The value is
 * compared under the bucket's lock, under which a notifier looks too.
 *
 * The entry is taken out with a compare-and-swap, by the notifier or by a waiter whose time is up: whoever succeeds decides whether it
 * was woken. A waiter leaves without the lock, which a dead thread may hold: it must not end in a second time limit, and leave an
 * entry behind that swallows a wake-up.
 */
import { cas, load, notify, now, peekRacy, peekRacyF64, poke, pokeF64, store } from '#atomics';
import { VmError, WouldBlock } from '../base/errors.ts';
import { COUNTER } from '../trace/counters.ts';
import {
  C_FUTEX,
  C_FUTEX_ASYNC,
  C_FUTEX_ASYNC_USED,
  CPUS_USED,
  cpuSlot,
  FUTEX_ASYNC_ENTRIES,
  FUTEX_BUCKETS,
  FUTEX_ENTRY_WORDS,
  FUTEX_LINES,
  LINE,
} from './control.layout.ts';
import type { Cpu } from './cpu.ts';
import { CLASS_FUTEX } from './lock-classes.ts';
import { PARK_MS, park, prepareToPark, wakeCpu } from './park.ts';
import { cutShort, spinLock, spinUnlock } from './spinlock.ts';

/* An entry: the bucket's lock word while waiting (else 0), who (space or mapping), then the page and offset as one Float64. */
const Q_BUCKET = 0;
const Q_OWNER = 1;
const Q_SERIAL = 2;
const Q_ADDRESS = 4;

const OLD_KEY =
  'the waiter may have left and be entering another bucket: then the compare-and-swap of the bucket fails, whatever was read here';

export interface FutexKey {
  /** Record of the space or the mapping. */
  readonly owner: number;
  /** Its serial: records are used again. */
  readonly serial: number;
  /** Byte address in the space, or byte offset in the file. */
  readonly address: number;
}

/** The bucket of a key: a lock word. */
export function bucketOf(key: FutexKey): number {
  const hash = Math.imul((key.address % 0x7fffffff) ^ key.owner, 0x9e3779b1);
  return FUTEX_LINES + ((hash >>> 20) & (FUTEX_BUCKETS - 1)) * LINE;
}

/**
 * Enters the queue if `unchanged()` says, under the bucket's lock, that the word still has the expected value. Then `sleep`
 * follows, outside every section. False: the value was another.
 */
export function futexEnqueue(cpu: Cpu, key: FutexKey, unchanged: () => boolean): boolean {
  prepareToPark(cpu);
  return enter(cpu, cpu.base + C_FUTEX, key, unchanged);
}

/**
 * The same with entry `index` of those of `waitAsync`, which is in no queue. Whoever takes it out of the queue notifies its word. There
 * is nothing to prepare: a wait on that word compares it with the bucket, so a wake-up before it is not lost.
 */
export function futexEnqueueAsync(cpu: Cpu, index: number, key: FutexKey, unchanged: () => boolean): boolean {
  const used = cpu.base + C_FUTEX_ASYNC_USED;
  if (load(cpu.words, used) <= index) store(cpu.words, used, index + 1); // before it is in a queue: where notifiers look
  return enter(cpu, asyncEntry(cpu.id, index), key, unchanged);
}

/** First word of the entry: the bucket while it is in a queue, else 0. */
export function asyncEntry(id: number, index: number): number {
  return cpuSlot(id) + C_FUTEX_ASYNC + index * FUTEX_ENTRY_WORDS;
}

function enter(cpu: Cpu, at: number, key: FutexKey, unchanged: () => boolean): boolean {
  const { words } = cpu;
  const bucket = bucketOf(key);
  spinLock(cpu, bucket, CLASS_FUTEX);
  try {
    if (!unchanged()) return false;
    poke(words, at + Q_OWNER, key.owner);
    poke(words, at + Q_SERIAL, key.serial);
    pokeF64(cpu.floats, (at + Q_ADDRESS) >> 1, key.address);
    store(words, at + Q_BUCKET, bucket);
    return true;
  } catch (error) {
    throw cutShort(cpu, error);
  } finally {
    spinUnlock(cpu, bucket);
  }
}

/** Sleeps until notified or for `timeout` milliseconds. Requires: outside sections. Throws the Oops of a poisoned machine. */
export function futexSleep(cpu: Cpu, timeout: number): 'ok' | 'timed-out' {
  const { words } = cpu;
  const at = cpu.base + C_FUTEX;
  const until = now() + timeout;
  cpu.count(COUNTER['futex.waits']);
  for (;;) {
    if (load(words, at + Q_BUCKET) === 0) return 'ok';
    const left = until - now();
    if (left <= 0) return leaveQueue(cpu, at);
    checkPoison(cpu); // who should have notified may have been stopped by it
    park(cpu, Math.min(left, PARK_MS), 'a notify');
    if (load(words, at + Q_BUCKET) === 0) return 'ok';
    prepareToPark(cpu);
  }
}

function checkPoison(cpu: Cpu): void {
  try {
    cpu.checkAlive();
  } catch (error) {
    leaveQueue(cpu, cpu.base + C_FUTEX);
    throw error;
  }
}

/** Wakes up to `count` waiters of the key; the number woken. */
export function futexWake(cpu: Cpu, key: FutexKey, count: number): number {
  const { words } = cpu;
  const bucket = bucketOf(key);
  let woken = 0;
  spinLock(cpu, bucket, CLASS_FUTEX);
  const used = load(words, CPUS_USED);
  for (let id = 0; id < used && woken < count; id++) {
    if (takeOut(cpu, cpuSlot(id) + C_FUTEX, bucket, key)) {
      wakeCpu(words, id);
      woken++;
    }
    const entries = load(words, cpuSlot(id) + C_FUTEX_ASYNC_USED);
    for (let index = 0; index < entries && woken < count; index++) {
      const at = asyncEntry(id, index);
      if (!takeOut(cpu, at, bucket, key)) continue;
      notify(words, at, Number.POSITIVE_INFINITY);
      woken++;
    }
  }
  spinUnlock(cpu, bucket);
  cpu.countMany(COUNTER['futex.wakes'], woken);
  return woken;
}

/** Takes the entry out of the queue of the key, if it is in it. Requires: the bucket's lock. */
function takeOut({ words, floats }: Cpu, at: number, bucket: number, key: FutexKey): boolean {
  if (load(words, at + Q_BUCKET) !== bucket) return false;
  if (peekRacy(words, at + Q_OWNER, OLD_KEY) !== key.owner) return false;
  if (peekRacy(words, at + Q_SERIAL, OLD_KEY) !== key.serial) return false;
  if (peekRacyF64(floats, (at + Q_ADDRESS) >> 1, OLD_KEY) !== key.address) return false;
  return cas(words, at + Q_BUCKET, bucket, 0) === bucket; // else its time was up
}

/** A thread that must not block, or cannot be woken because the machine is not shared, may not wait. */
export function checkMayWait(cpu: Cpu, shared: boolean): void {
  if (!shared) throw new VmError('EDEADLK', 'wait', 'the machine is not shared: nobody could notify this thread');
  if (!cpu.canBlock) throw new WouldBlock('wait', 'a notify');
}

/** Takes a waiter that is dead, or whose call has given up, out of its queue; until then it may swallow a wake-up. */
export function futexReap(words: Int32Array, id: number): void {
  store(words, cpuSlot(id) + C_FUTEX + Q_BUCKET, 0);
}

/** The same for the `waitAsync`s of a dead thread. Those of a thread whose call has given up go on. */
export function futexReapAsync(words: Int32Array, dead: number): void {
  for (let index = 0; index < FUTEX_ASYNC_ENTRIES; index++) store(words, asyncEntry(dead, index) + Q_BUCKET, 0);
}

/** Whoever clears the entry decides; a notifier that was first has counted this thread. */
export function leaveQueue({ words }: Cpu, at: number): 'ok' | 'timed-out' {
  const bucket = load(words, at + Q_BUCKET);
  return bucket !== 0 && cas(words, at + Q_BUCKET, bucket, 0) === bucket ? 'timed-out' : 'ok';
}
