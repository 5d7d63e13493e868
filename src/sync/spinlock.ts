/**
 * Spinlock: spin briefly, then wait. The word is 0 when free, else the owner's tag (cpu id + 1), with `WAITED` set when
 * somebody sleeps on it. The owner in the word is what lets a dead thread's lock be found and taken over.
 *
 * A thread that must not block only spins: holders never sleep under a spinlock, so it waits for a few hundred instructions.
 *
 * **Giving up.** A wait that lasts for the machine's stall limit ends in ETIMEDOUT. Whoever gives up may be in the middle of anything,
 * with other locks held, and no step could be undone without locks that it cannot have. So a call that gives up *dies in its
 * place*: until it has unwound, this cpu takes and releases no lock (`finally` blocks run, and do nothing). Then the cpu is
 * recovered by the code that reaps dead threads (reap.ts, by way of public-call.ts), which needs no more than what every step leaves
 * behind anyway.
 */
import { cas, exchange, load, notify, now, pause, peek, poke, wait } from '#atomics';
import { DEV } from '#dev';
import { lockAcquired, lockReleased, locksForgotten } from '#lockdep';
import { oops } from '../base/assert.ts';
import { Oops, VmError } from '../base/errors.ts';
import { SPIN_LIMIT } from '../base/tunables.ts';
import { COUNTER } from '../trace/counters.ts';
import { C_HELD, HELD_SLOTS } from './control.layout.ts';
import type { Cpu } from './cpu.ts';
import { LOCK_CLASSES, OWNER_MASK, WAITED } from './lock-classes.ts';

const WAIT_MS = 20;
/** `heldDepth` of a cpu whose call has given up. Far above HELD_SLOTS, so that the paths without contention need no further check. */
const GIVEN_UP = 1 << 20;

/** Takes the lock at word `at`. Gives up with ETIMEDOUT when its owner has not let go for the machine's stall limit. */
export function spinLock(cpu: Cpu, at: number, cls: number): void {
  recordHeld(cpu, at);
  // acquire; pairs with the exchange in spinUnlock
  if (cas(cpu.words, at, 0, cpu.tag) !== 0) lockSlow(cpu, at, cls);
  if (DEV) lockAcquired(cpu, at, cls);
}

export function spinTryLock(cpu: Cpu, at: number, cls: number): boolean {
  recordHeld(cpu, at);
  if (cas(cpu.words, at, 0, cpu.tag) !== 0) {
    cpu.heldDepth--;
    return false;
  }
  if (DEV) lockAcquired(cpu, at, cls);
  return true;
}

export function spinUnlock(cpu: Cpu, at: number): void {
  if (cpu.heldDepth > HELD_SLOTS) return; // the call has given up: recovery releases what it held
  if (DEV) lockReleased(cpu, at);
  const was = exchange(cpu.words, at, 0); // release; pairs with the cas in spinLock
  cpu.heldDepth--;
  if (was !== cpu.tag) unlockSlow(cpu, at, was);
}

/**
 * As `spinLock`, for whoever can do without the lock: false, with nothing taken, when its owner has not let go for `limit`
 * milliseconds.
 */
export function spinLockWithin(cpu: Cpu, at: number, cls: number, limit: number): boolean {
  recordHeld(cpu, at);
  if (cas(cpu.words, at, 0, cpu.tag) !== 0 && !waitForLock(cpu, at, cls, limit)) {
    cpu.heldDepth--;
    return false;
  }
  if (DEV) lockAcquired(cpu, at, cls);
  return true;
}

/**
 * The call in hand ends here, whatever it has in its hands: see the top of this file. Also for other waits in the middle of
 * something. Throws `error`.
 */
export function giveUp(cpu: Cpu, error: unknown): never {
  cpu.gaveUp ??= { error };
  cpu.heldDepth = GIVEN_UP;
  throw error;
}

/**
 * For whoever holds a lock or is in the middle of something when `error` passes. What is none of ours the engine throws, above all when
 * its stack is exhausted: anywhere, with everything half-done. The call has then given up. Returns `error`.
 */
export function cutShort(cpu: Cpu, error: unknown): unknown {
  if (!(error instanceof VmError) && !(error instanceof Oops)) {
    cpu.gaveUp ??= { error };
    cpu.heldDepth = GIVEN_UP;
  }
  return error;
}

/**
 * The call before this one is over, and its own `catch` had no stack left to say so: it has given up. Requires: no backing's function is
 * running.
 */
export function cutOff(cpu: Cpu): void {
  cpu.inCall = false;
  cpu.inFault = false;
  cpu.gaveUp ??= { error: new VmError('ETIMEDOUT', 'call', 'the engine has ended it') };
  cpu.heldDepth = GIVEN_UP;
}

/** Throws again what the call has given up with, if it has. */
export function checkGaveUp(cpu: Cpu): void {
  if (cpu.gaveUp !== undefined) throw cpu.gaveUp.error;
}

/**
 * Runs `release`, which lets go of what the cpu held when it gave up. It may take locks meanwhile: they are noted in the slot behind those
 * that are still held.
 */
export function releasingHeld(cpu: Cpu, release: () => void): void {
  if (DEV) locksForgotten(cpu);
  cpu.heldDepth = 0;
  for (let i = 0; i < HELD_SLOTS; i++) {
    const lock = peek(cpu.words, cpu.base + C_HELD + i);
    if (lock !== 0 && isHeldBy(cpu.words, lock, cpu.tag)) cpu.heldDepth = i + 1;
  }
  try {
    release();
  } finally {
    cpu.heldDepth = GIVEN_UP;
  }
}

/** The cpu may work again: what its call left has been finished or is being finished. */
export function forgetGivingUp(cpu: Cpu): void {
  cpu.gaveUp = undefined;
  cpu.heldDepth = 0;
  if (DEV) locksForgotten(cpu);
}

/** Whether this cpu holds the lock, for `Requires:` lines. */
export function spinHeld(cpu: Cpu, at: number): boolean {
  return (load(cpu.words, at) & OWNER_MASK) === cpu.tag;
}

/** Whether the cpu with tag `tag` holds the lock. If it is dead, nobody touches what the lock protects. */
export function isHeldBy(words: Int32Array, at: number, tag: number): boolean {
  return (load(words, at) & OWNER_MASK) === tag;
}

/** Releases the lock of a dead cpu, if it still holds it. */
export function spinReap(cpu: Cpu, at: number, deadTag: number): boolean {
  const seen = load(cpu.words, at);
  if ((seen & OWNER_MASK) !== deadTag) return false;
  exchange(cpu.words, at, 0);
  notify(cpu.words, at, Number.POSITIVE_INFINITY);
  return true;
}

/** The slot names every lock this cpu may hold. Written before the acquisition; the lock word has the last word. */
function recordHeld(cpu: Cpu, at: number): void {
  if (cpu.heldDepth >= HELD_SLOTS) {
    checkGaveUp(cpu);
    oops('locks', `cpu ${cpu.id} holds more than ${HELD_SLOTS} spinlocks`);
  }
  poke(cpu.words, cpu.base + C_HELD + cpu.heldDepth++, at);
}

function lockSlow(cpu: Cpu, at: number, cls: number): void {
  if (!waitForLock(cpu, at, cls, cpu.stallLimit)) stalled(cpu, at, cls);
}

/** False when the lock was not to be had within `limit` milliseconds. */
function waitForLock(cpu: Cpu, at: number, cls: number, limit: number): boolean {
  const { words, tag } = cpu;
  cpu.count(COUNTER['lock.spin.contended']);
  for (let i = 0; i < SPIN_LIMIT; i++) {
    if (load(words, at) === 0 && cas(words, at, 0, tag) === 0) return true;
    pause();
  }
  const since = now();
  cpu.count(COUNTER['lock.spin.waits']);
  for (;;) {
    const seen = load(words, at);
    if (seen === 0) {
      // Others may sleep on the word still: keep them on record.
      if (cas(words, at, 0, tag | WAITED) === 0) break;
    } else if ((seen & OWNER_MASK) === tag) {
      cpu.heldDepth--;
      oops('locks', `cpu ${cpu.id} takes ${LOCK_CLASSES[cls]} at ${at} twice`);
    } else if (!cpu.canBlock) {
      pause();
    } else if ((seen & WAITED) !== 0 || cas(words, at, seen, seen | WAITED) === seen) {
      wait(words, at, seen | WAITED, Math.min(WAIT_MS, limit));
    }
    if (now() - since < limit) continue;
    notify(words, at, 1); // the wake-up that we may have had is somebody else's now: the word says of nobody that he sleeps
    return false;
  }
  cpu.countWait(0, since);
  return true;
}

/** What to do about a wait that has no end. */
export const HINT_OF_DEATH =
  'if its thread was terminated, tell the machine: machine.watch(worker), or machine.reap(identity)';

function stalled(cpu: Cpu, at: number, cls: number): never {
  const owner = (load(cpu.words, at) & OWNER_MASK) - 1;
  const what = `cpu ${owner} has held ${LOCK_CLASSES[cls]} for ${cpu.stallLimit} ms; ${HINT_OF_DEATH}`;
  giveUp(cpu, new VmError('ETIMEDOUT', 'lock', what));
}

function unlockSlow(cpu: Cpu, at: number, was: number): void {
  if ((was & OWNER_MASK) !== cpu.tag)
    oops('locks', `cpu ${cpu.id} unlocks ${at}, held by cpu ${(was & OWNER_MASK) - 1}`);
  notify(cpu.words, at, 1);
}
