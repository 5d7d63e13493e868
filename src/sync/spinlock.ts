/**
 * Spinlock: spin briefly, then wait. The word is 0 when free, else the owner's tag (cpu id + 1), with `WAITED` set when
 * somebody sleeps on it. The owner in the word is what lets a dead thread's lock be found and taken over.
 *
 * A thread that must not block only spins: holders never sleep under a spinlock, so it waits for a few hundred instructions.
 */
import { cas, exchange, load, notify, now, pause, poke, wait } from '#atomics';
import { DEV } from '#dev';
import { lockAcquired, lockReleased } from '#lockdep';
import { oops } from '../base/assert.ts';
import { VmError } from '../base/errors.ts';
import { SPIN_LIMIT } from '../base/tunables.ts';
import { COUNTER } from '../trace/counters.ts';
import { C_HELD, HELD_SLOTS } from './control.layout.ts';
import type { Cpu } from './cpu.ts';
import { LOCK_CLASSES, OWNER_MASK, WAITED } from './lock-classes.ts';

const WAIT_MS = 20;

/** Takes the lock at word `at`. Throws ETIMEDOUT when its owner has not let go for the machine's stall limit. */
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
  if (DEV) lockReleased(cpu, at);
  const was = exchange(cpu.words, at, 0); // release; pairs with the cas in spinLock
  cpu.heldDepth--;
  if (was !== cpu.tag) unlockSlow(cpu, at, was);
}

/** Whether this cpu holds the lock, for `Requires:` lines. */
export function spinHeld(cpu: Cpu, at: number): boolean {
  return (load(cpu.words, at) & OWNER_MASK) === cpu.tag;
}

/** Whether the cpu with tag `tag`, which is dead, still holds the lock: then nobody touches what it protects. */
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
  if (cpu.heldDepth >= HELD_SLOTS) oops('locks', `cpu ${cpu.id} holds more than ${HELD_SLOTS} spinlocks`);
  poke(cpu.words, cpu.base + C_HELD + cpu.heldDepth++, at);
}

function lockSlow(cpu: Cpu, at: number, cls: number): void {
  const { words, tag } = cpu;
  cpu.count(COUNTER['lock.spin.contended']);
  for (let i = 0; i < SPIN_LIMIT; i++) {
    if (load(words, at) === 0 && cas(words, at, 0, tag) === 0) return;
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
      wait(words, at, seen | WAITED, WAIT_MS);
    }
    if (now() - since > cpu.stallLimit) stalled(cpu, at, cls);
  }
  cpu.countWait(0, since);
}

function stalled(cpu: Cpu, at: number, cls: number): never {
  cpu.heldDepth--;
  const owner = (load(cpu.words, at) & OWNER_MASK) - 1;
  const hint = 'if its thread was terminated, tell the machine: machine.watch(worker) or machine.reap(cpu)';
  throw new VmError(
    'ETIMEDOUT',
    'lock',
    `cpu ${owner} has held ${LOCK_CLASSES[cls]} for ${cpu.stallLimit} ms; ${hint}`,
  );
}

function unlockSlow(cpu: Cpu, at: number, was: number): void {
  if ((was & OWNER_MASK) !== cpu.tag)
    oops('locks', `cpu ${cpu.id} unlocks ${at}, held by cpu ${(was & OWNER_MASK) - 1}`);
  notify(cpu.words, at, 1);
}
