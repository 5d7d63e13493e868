/**
 * Reader-writer semaphore: sleepable, fair (first come, first served, neighbouring readers together; a running writer may pass a
 * sleeping one a few times).
 *
 * ```
 *   +0  state   0 free | owner's tag (writer) | QUEUED (somebody waits: no fast path)
 *   +1  ticket  next place in the queue
 *   +2  queue   spinlock over grants and the queue
 * ```
 * A reader's hold is a word in its own cpu slot, so readers share no line, and a dead reader's hold can be taken back. Reader:
 * store own hold, then load the state; writer: cas the state, then load the holds. Both sequentially consistent, so one sees
 * the other. The queue is the set of slots that name this semaphore, ordered by ticket: no list that a death could break.
 * A grant is one store (state for a writer, hold for a reader); the one granted leaves the queue itself.
 */
import { add, cas, load, now, pause, peek, poke, store } from '#atomics';
import { DEV } from '#dev';
import { lockAcquired, lockReleased } from '#lockdep';
import { oops } from '../base/assert.ts';
import { VmError, WouldBlock } from '../base/errors.ts';
import { RWSEM_PASSES, RWSEM_SPIN_LIMIT, SPIN_LIMIT } from '../base/tunables.ts';
import { COUNTER } from '../trace/counters.ts';
import { C_RW_HOLD, C_RW_MODE, C_RW_PASSED, C_RW_TICKET, C_RW_WAIT, CPUS_USED, cpuSlot } from './control.layout.ts';
import type { Cpu } from './cpu.ts';
import { CLASS_MMAP, CLASS_RWSEM, OWNER_MASK } from './lock-classes.ts';
import { PARK_MS, park, prepareToPark, wakeCpu } from './park.ts';
import { checkGaveUp, HINT_OF_DEATH, spinLock, spinUnlock } from './spinlock.ts';

const STATE = 0;
const TICKET = 1;
export const QUEUE = 2;
export const RWSEM_WORDS = 3;
const QUEUED = 0x100;
const NOBODY = -1;
const READ = 1;
const WRITE = 2;

/** Requires: no section (the wait would hold up every grace period), no spinlock. */
export function writeLock(cpu: Cpu, sem: number): void {
  checkGaveUp(cpu);
  if (cas(cpu.words, sem + STATE, 0, cpu.tag) !== 0) writeLockSlow(cpu, sem);
  waitForReaders(cpu, sem);
  if (DEV) lockAcquired(cpu, sem, CLASS_MMAP);
}

export function writeTryLock(cpu: Cpu, sem: number): boolean {
  checkGaveUp(cpu);
  if (cas(cpu.words, sem + STATE, 0, cpu.tag) !== 0) return false;
  if (someReader(cpu, sem) !== -1) {
    releaseWriter(cpu, sem);
    return false;
  }
  if (DEV) lockAcquired(cpu, sem, CLASS_MMAP);
  return true;
}

export function writeUnlock(cpu: Cpu, sem: number): void {
  if (cpu.gaveUp !== undefined) return; // recovery releases it, with the operation done
  if (DEV) lockReleased(cpu, sem);
  try {
    releaseWriter(cpu, sem);
  } catch (error) {
    unlockFailed(cpu, error);
  }
}

/** The operation under the lock is done. If the lock cannot be let go of, that alone is left to the recovery. */
function unlockFailed(cpu: Cpu, error: unknown): void {
  if (cpu.gaveUp === undefined) throw error;
}

export function readLock(cpu: Cpu, sem: number): void {
  checkGaveUp(cpu);
  const hold = cpu.base + C_RW_HOLD;
  if (peek(cpu.words, hold) !== 0) oops('locks', `cpu ${cpu.id} reads a second semaphore`);
  store(cpu.words, hold, sem); // pairs with waitForReaders' load
  if (load(cpu.words, sem + STATE) !== 0) {
    releaseReader(cpu.words, cpu, sem, cpu.id);
    enqueue(cpu, sem, READ);
  }
  if (DEV) lockAcquired(cpu, sem, CLASS_MMAP);
}

export function readTryLock(cpu: Cpu, sem: number): boolean {
  checkGaveUp(cpu);
  const hold = cpu.base + C_RW_HOLD;
  if (peek(cpu.words, hold) !== 0) oops('locks', `cpu ${cpu.id} reads a second semaphore`);
  store(cpu.words, hold, sem); // pairs with waitForReaders' load
  if (load(cpu.words, sem + STATE) !== 0) {
    releaseReader(cpu.words, cpu, sem, cpu.id);
    return false;
  }
  if (DEV) lockAcquired(cpu, sem, CLASS_MMAP);
  return true;
}

export function readUnlock(cpu: Cpu, sem: number): void {
  if (cpu.gaveUp !== undefined) return;
  if (DEV) lockReleased(cpu, sem);
  try {
    releaseReader(cpu.words, cpu, sem, cpu.id);
  } catch (error) {
    unlockFailed(cpu, error);
  }
}

export function writeHeld(cpu: Cpu, sem: number): boolean {
  return (load(cpu.words, sem + STATE) & OWNER_MASK) === cpu.tag;
}

export function readHeld(cpu: Cpu, sem: number): boolean {
  return load(cpu.words, cpu.base + C_RW_HOLD) === sem;
}

/** The cpu that holds it for writing, or -1. */
export function writeOwner(words: Int32Array, sem: number): number {
  return (load(words, sem + STATE) & OWNER_MASK) - 1;
}

/** Takes a dead cpu out: out of the queue, its read hold back, its write hold over to the caller (true if there was one). */
export function rwsemReap(cpu: Cpu, sem: number, dead: number): boolean {
  const slot = cpuSlot(dead);
  if (!concerns(cpu.words, sem, dead)) return false;
  // Under the queue's lock: a grant to the dead cpu is made before we look, or not at all.
  spinLock(cpu, sem + QUEUE, CLASS_RWSEM);
  if (load(cpu.words, slot + C_RW_WAIT) === sem) store(cpu.words, slot + C_RW_WAIT, 0);
  const held = load(cpu.words, slot + C_RW_HOLD) === sem;
  if (held) store(cpu.words, slot + C_RW_HOLD, 0);
  const taken = takeOver(cpu, sem, dead + 1);
  const first = taken ? NOBODY : grantIfFree(cpu, sem); // it may have let go of the lock and died before it handed it on
  spinUnlock(cpu, sem + QUEUE);
  wakeFirst(cpu.words, first);
  const owner = load(cpu.words, sem + STATE) & OWNER_MASK;
  if (held && owner !== 0) wakeCpu(cpu.words, owner - 1); // a writer that waits for readers to leave
  if (taken && DEV) lockAcquired(cpu, sem, CLASS_MMAP);
  return taken;
}

/** Only a waiter is ever granted anything, and only the owner of a free lock with a queue may have died on the way to a grant. */
function concerns(words: Int32Array, sem: number, dead: number): boolean {
  const slot = cpuSlot(dead);
  if (load(words, slot + C_RW_WAIT) === sem || load(words, slot + C_RW_HOLD) === sem) return true;
  const state = load(words, sem + STATE);
  return state === QUEUED || (state & OWNER_MASK) === dead + 1;
}

function takeOver(cpu: Cpu, sem: number, deadTag: number): boolean {
  for (let seen = load(cpu.words, sem + STATE); (seen & OWNER_MASK) === deadTag; seen = load(cpu.words, sem + STATE)) {
    if (cas(cpu.words, sem + STATE, seen, (seen & ~OWNER_MASK) | cpu.tag) === seen) return true;
  }
  return false;
}

function writeLockSlow(cpu: Cpu, sem: number): void {
  cpu.count(COUNTER['lock.rwsem.contended']);
  for (let i = 0; i < RWSEM_SPIN_LIMIT; i++) {
    if (tryTake(cpu, sem)) return;
    pause();
  }
  enqueue(cpu, sem, WRITE);
}

/** Takes a lock that no writer owns, past whoever waits. */
function tryTake(cpu: Cpu, sem: number): boolean {
  const seen = load(cpu.words, sem + STATE);
  return (seen & OWNER_MASK) === 0 && cas(cpu.words, sem + STATE, seen, seen | cpu.tag) === seen;
}

function spinTake(cpu: Cpu, sem: number): boolean {
  for (let i = 0; i < RWSEM_SPIN_LIMIT; i++) {
    if (granted(cpu, sem, WRITE) || tryTake(cpu, sem)) return true;
    pause();
  }
  return false;
}

function enqueue(cpu: Cpu, sem: number, mode: number): void {
  const { words, base } = cpu;
  if (!cpu.canBlock) throw new WouldBlock('lock', 'mmap_lock');
  const since = now();
  prepareToPark(cpu);
  spinLock(cpu, sem + QUEUE, CLASS_RWSEM);
  poke(words, base + C_RW_MODE, mode);
  poke(words, base + C_RW_TICKET, add(words, sem + TICKET, 1));
  poke(words, base + C_RW_PASSED, 0);
  store(words, base + C_RW_WAIT, sem);
  // From here on every release goes through the queue; a free one is granted now.
  for (let seen = load(words, sem + STATE); (seen & QUEUED) === 0; seen = load(words, sem + STATE)) {
    if (cas(words, sem + STATE, seen, seen | QUEUED) === seen) break;
  }
  const first = grantIfFree(cpu, sem);
  spinUnlock(cpu, sem + QUEUE);
  wakeFirst(words, first);
  while (!granted(cpu, sem, mode)) {
    if (mode === WRITE && spinTake(cpu, sem)) break;
    park(cpu, PARK_MS, 'mmap_lock');
    if (now() - since > cpu.stallLimit) {
      if (mode === WRITE && spinTake(cpu, sem)) break; // it may be free: we slept, and are the one to take it
      if (leaveQueue(cpu, sem, mode)) stalled(cpu, sem);
    }
    if (!granted(cpu, sem, mode)) prepareToPark(cpu);
  }
  store(words, base + C_RW_WAIT, 0);
  cpu.countWait(1, since);
}

function granted(cpu: Cpu, sem: number, mode: number): boolean {
  if (mode === WRITE) return (load(cpu.words, sem + STATE) & OWNER_MASK) === cpu.tag;
  return load(cpu.words, cpu.base + C_RW_HOLD) === sem;
}

/** Leaves the queue, unless the grant came meanwhile. */
function leaveQueue(cpu: Cpu, sem: number, mode: number): boolean {
  let first = NOBODY;
  spinLock(cpu, sem + QUEUE, CLASS_RWSEM);
  const gone = !granted(cpu, sem, mode);
  if (gone) {
    store(cpu.words, cpu.base + C_RW_WAIT, 0);
    first = grantIfFree(cpu, sem);
  }
  spinUnlock(cpu, sem + QUEUE);
  wakeFirst(cpu.words, first);
  return gone;
}

function stalled(cpu: Cpu, sem: number): never {
  const owner = writeOwner(cpu.words, sem);
  const reader = someReader(cpu, sem);
  const who = owner >= 0 ? `cpu ${owner} (writer)` : reader >= 0 ? `cpu ${reader} (reader)` : 'nobody';
  const what = `no mmap_lock for ${cpu.stallLimit} ms, and ${who} has it now`;
  throw new VmError('ETIMEDOUT', 'lock', `${what}; ${HINT_OF_DEATH}`);
}

/** The writer owns the state, so no new reader gets in; those inside leave in their own time (I/O, under `mmap-sem`). */
function waitForReaders(cpu: Cpu, sem: number): void {
  let reader = someReader(cpu, sem);
  if (reader === -1) return;
  const since = now();
  for (let spins = 0; spins < SPIN_LIMIT && reader !== -1; spins++) {
    pause();
    reader = someReader(cpu, sem);
  }
  while (reader !== -1) {
    if (!cpu.canBlock) {
      releaseWriter(cpu, sem);
      throw new WouldBlock('lock', 'readers of mmap_lock');
    }
    prepareToPark(cpu);
    reader = someReader(cpu, sem);
    if (reader === -1) break;
    park(cpu, PARK_MS, 'readers of mmap_lock');
    reader = someReader(cpu, sem);
    if (reader !== -1 && now() - since > cpu.stallLimit) {
      releaseWriter(cpu, sem);
      stalled(cpu, sem);
    }
  }
  cpu.countWait(1, since);
}

function someReader(cpu: Cpu, sem: number): number {
  const used = load(cpu.words, CPUS_USED);
  for (let id = 0; id < used; id++) {
    if (load(cpu.words, cpuSlot(id) + C_RW_HOLD) === sem) return id; // pairs with readLock's store
  }
  return -1;
}

function releaseWriter(cpu: Cpu, sem: number): void {
  if (cas(cpu.words, sem + STATE, cpu.tag, 0) === cpu.tag) return; // release
  if (!writeHeld(cpu, sem)) oops('locks', `cpu ${cpu.id} releases mmap_lock ${sem}, which it does not hold`);
  spinLock(cpu, sem + QUEUE, CLASS_RWSEM);
  const first = grantNext(cpu, sem);
  spinUnlock(cpu, sem + QUEUE);
  wakeFirst(cpu.words, first);
}

/** Outside the queue's lock: a wake-up is a system call. */
function wakeFirst(words: Int32Array, id: number): void {
  if (id !== NOBODY) wakeCpu(words, id);
}

/** `id` is the reader: the caller's own, or a dead cpu's. */
function releaseReader(words: Int32Array, cpu: Cpu, sem: number, id: number): void {
  store(words, cpuSlot(id) + C_RW_HOLD, 0);
  const seen = load(words, sem + STATE);
  if (seen === 0) return;
  const owner = seen & OWNER_MASK;
  if (owner !== 0) {
    wakeCpu(words, owner - 1);
    return;
  }
  spinLock(cpu, sem + QUEUE, CLASS_RWSEM);
  const first = grantIfFree(cpu, sem);
  spinUnlock(cpu, sem + QUEUE);
  wakeFirst(words, first);
}

/** Requires: queue lock. The cpu to wake, as `grantNext`. */
function grantIfFree(cpu: Cpu, sem: number): number {
  if (load(cpu.words, sem + STATE) !== QUEUED || someReader(cpu, sem) !== -1) return NOBODY;
  // Owned while the grant is made: a writer that takes it in passing meanwhile would not see readers that are let in.
  if (cas(cpu.words, sem + STATE, QUEUED, cpu.tag | QUEUED) !== QUEUED) return NOBODY;
  return grantNext(cpu, sem);
}

/**
 * Requires: queue lock, and the caller owns the state. Lets the first in the queue have it, and returns whom to
 * wake. A writer is only told that the lock is free: a running thread may take it first, since to hand it to a sleeper each
 * time would make every release wait for a wake-up. One that was passed often enough is handed the lock.
 */
function grantNext(cpu: Cpu, sem: number): number {
  const { words } = cpu;
  const first = firstWaiter(cpu, sem, 0);
  if (first === -1) {
    store(words, sem + STATE, 0);
    return NOBODY;
  }
  const slotOfFirst = cpuSlot(first);
  if (peek(words, slotOfFirst + C_RW_MODE) === WRITE) {
    const passed = peek(words, slotOfFirst + C_RW_PASSED) + 1;
    poke(words, slotOfFirst + C_RW_PASSED, passed);
    store(words, sem + STATE, passed > RWSEM_PASSES ? (first + 1) | QUEUED : QUEUED);
    return first;
  }
  const writer = firstWaiter(cpu, sem, WRITE);
  const used = load(words, CPUS_USED);
  for (let id = 0; id < used; id++) {
    const slot = cpuSlot(id);
    if (!waits(words, slot, sem) || peek(words, slot + C_RW_MODE) !== READ) continue;
    if (writer !== -1 && later(words, slot, cpuSlot(writer))) continue;
    store(words, slot + C_RW_HOLD, sem);
    wakeCpu(words, id);
  }
  store(words, sem + STATE, writer === -1 ? 0 : QUEUED);
  // Those let in may have left already: while the state was owned, leaving it woke the owner and granted nothing.
  return writer === -1 ? NOBODY : grantIfFree(cpu, sem);
}

/** The cpu with the lowest ticket, of `mode` or (0) of any, that has not been granted already. */
function firstWaiter(cpu: Cpu, sem: number, mode: number): number {
  const { words } = cpu;
  const used = load(words, CPUS_USED);
  let first = -1;
  for (let id = 0; id < used; id++) {
    const slot = cpuSlot(id);
    if (!waits(words, slot, sem)) continue;
    if (mode !== 0 && peek(words, slot + C_RW_MODE) !== mode) continue;
    if (first === -1 || later(words, cpuSlot(first), slot)) first = id;
  }
  return first;
}

function waits(words: Int32Array, slot: number, sem: number): boolean {
  return load(words, slot + C_RW_WAIT) === sem && load(words, slot + C_RW_HOLD) !== sem;
}

/** Whether slot `a` came after slot `b`; tickets wrap. */
function later(words: Int32Array, a: number, b: number): boolean {
  return ((peek(words, a + C_RW_TICKET) - peek(words, b + C_RW_TICKET)) | 0) > 0;
}
