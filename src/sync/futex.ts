/**
 * Virtual wait and notify: queues keyed as futex(2) keys them, by what the address means - (space, vpn) for private memory,
 * (mapping, index) for shared - and the offset; never by the frame, which may be copied or reclaimed while somebody sleeps.
 *
 * A waiter is its cpu's slot: key and bucket in C_FUTEX. A bucket has a lock and no list: its waiters are the slots that name
 * it, so that a death breaks nothing. The value is compared under the bucket's lock, under which a notifier looks too.
 *
 * The entry is taken out with a compare-and-swap, by the notifier or by a waiter whose time is up: whoever succeeds decides whether it
 * was woken. A waiter leaves without the lock, which a dead thread may hold: it must not end in a second time limit, and leave an
 * entry behind that swallows a wake-up.
 */
import { cas, load, now, peekRacy, peekRacyF64, poke, pokeF64, store } from '#atomics';
import { VmError, WouldBlock } from '../base/errors.ts';
import { COUNTER } from '../trace/counters.ts';
import { C_FUTEX, CPUS_USED, cpuSlot, FUTEX_BUCKETS, FUTEX_LINES, LINE } from './control.layout.ts';
import type { Cpu } from './cpu.ts';
import { CLASS_FUTEX } from './lock-classes.ts';
import { PARK_MS, park, prepareToPark, wakeCpu } from './park.ts';
import { cutShort, spinLock, spinUnlock } from './spinlock.ts';

/* In the slot: the bucket's lock word while waiting (else 0), who (space or mapping), then the page and offset as one Float64. */
const Q_BUCKET = C_FUTEX;
const Q_OWNER = C_FUTEX + 1;
const Q_SERIAL = C_FUTEX + 2;
const Q_ADDRESS = C_FUTEX + 4;

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
  const { words, base } = cpu;
  const bucket = bucketOf(key);
  prepareToPark(cpu);
  spinLock(cpu, bucket, CLASS_FUTEX);
  try {
    if (!unchanged()) return false;
    poke(words, base + Q_OWNER, key.owner);
    poke(words, base + Q_SERIAL, key.serial);
    pokeF64(cpu.floats, (base + Q_ADDRESS) >> 1, key.address);
    store(words, base + Q_BUCKET, bucket);
    return true;
  } catch (error) {
    throw cutShort(cpu, error);
  } finally {
    spinUnlock(cpu, bucket);
  }
}

/** Sleeps until notified or for `timeout` milliseconds. Requires: outside sections. Throws the Oops of a poisoned machine. */
export function futexSleep(cpu: Cpu, timeout: number): 'ok' | 'timed-out' {
  const { words, base } = cpu;
  const until = now() + timeout;
  cpu.count(COUNTER['futex.waits']);
  for (;;) {
    if (load(words, base + Q_BUCKET) === 0) return 'ok';
    const left = until - now();
    if (left <= 0) return leaveQueue(cpu);
    checkPoison(cpu); // who should have notified may have been stopped by it
    park(cpu, Math.min(left, PARK_MS), 'a notify');
    if (load(words, base + Q_BUCKET) === 0) return 'ok';
    prepareToPark(cpu);
  }
}

function checkPoison(cpu: Cpu): void {
  try {
    cpu.checkAlive();
  } catch (error) {
    leaveQueue(cpu);
    throw error;
  }
}

/** Wakes up to `count` waiters of the key; the number woken. */
export function futexWake(cpu: Cpu, key: FutexKey, count: number): number {
  const { words, floats } = cpu;
  const bucket = bucketOf(key);
  let woken = 0;
  spinLock(cpu, bucket, CLASS_FUTEX);
  const used = load(words, CPUS_USED);
  for (let id = 0; id < used && woken < count; id++) {
    const slot = cpuSlot(id);
    if (load(words, slot + Q_BUCKET) !== bucket) continue;
    if (peekRacy(words, slot + Q_OWNER, OLD_KEY) !== key.owner) continue;
    if (peekRacy(words, slot + Q_SERIAL, OLD_KEY) !== key.serial) continue;
    if (peekRacyF64(floats, (slot + Q_ADDRESS) >> 1, OLD_KEY) !== key.address) continue;
    if (cas(words, slot + Q_BUCKET, bucket, 0) !== bucket) continue; // its time was up
    wakeCpu(words, id);
    woken++;
  }
  spinUnlock(cpu, bucket);
  cpu.countMany(COUNTER['futex.wakes'], woken);
  return woken;
}

/** A thread that must not block, or cannot be woken because the machine is not shared, may not wait. */
export function checkMayWait(cpu: Cpu, shared: boolean): void {
  if (!shared) throw new VmError('EDEADLK', 'wait', 'the machine is not shared: nobody could notify this thread');
  if (!cpu.canBlock) throw new WouldBlock('wait', 'a notify');
}

/** Takes a dead waiter out of its queue; until then it may swallow a wake-up. */
export function futexReap(words: Int32Array, dead: number): void {
  store(words, cpuSlot(dead) + Q_BUCKET, 0);
}

/** Whoever clears the entry decides; a notifier that was first has counted this thread. */
function leaveQueue(cpu: Cpu): 'ok' | 'timed-out' {
  const { words, base } = cpu;
  const bucket = load(words, base + Q_BUCKET);
  return bucket !== 0 && cas(words, base + Q_BUCKET, bucket, 0) === bucket ? 'timed-out' : 'ok';
}
