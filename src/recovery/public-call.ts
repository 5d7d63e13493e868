/**
 * The boundary of every public call that locks, waits or changes something: what must hold before its first step, and what becomes
 * of the cpu when it throws.
 */

import { inNameOf, Oops, VmError } from '../base/errors.ts';
import type { Kernel } from '../space/kernel.ts';
import { cutOff, cutShort } from '../sync/spinlock.ts';
import { finishOthers, HELP_PATIENCE_MS, leaveUnfinished, recover, standDown } from './reap.ts';

/** Who says ENOMEM because memory is short, or EAGAIN because places are, and not because a range has a hole or a limit is reached. */
const SHORTAGES: ReadonlySet<string> = new Set(['fault', 'alloc', 'createSpace']);

/** Runs a public call. Its errors bear its name, `syscall`. */
export function publicCall<T>(k: Kernel, syscall: string, work: () => T): T {
  const { cpu } = k;
  settleLast(k);
  enterCall(k, syscall);
  for (let again = true; ; again = false) {
    cpu.inCall = true;
    try {
      const result = work();
      callDone(k);
      cpu.inCall = false; // stays true where the stack ends in here or in the catch: the next call sees to it
      return result;
    } catch (error) {
      // What has given up half-way is finished, not tried again: others may have built on it meanwhile.
      const mayTryAgain = callFailed(k, error) && again;
      cpu.inCall = false;
      if (!mayTryAgain || !helpedOthers(k, error)) throw inNameOf(error, syscall);
    }
  }
}

/** What the last call has left if the engine ended it with no stack left to say so: a section, and what it had in its hands. */
export function settleLast(k: Kernel): void {
  const { cpu } = k;
  k.rcu.endStale();
  if (cpu.callbacks === 0 && (cpu.inCall || cpu.inFault)) cutOff(cpu);
}

/**
 * Whether a call that has failed for want of a lock or of memory has found work that others have left unfinished, and has done it: the
 * lock or the memory may be there now. A thread whose call has given up may be idle since, and keeps both.
 */
export function helpedOthers(k: Kernel, failure: unknown): boolean {
  const { cpu } = k;
  if (!(failure instanceof VmError)) return false;
  const short = (failure.code === 'ENOMEM' || failure.code === 'EAGAIN') && SHORTAGES.has(failure.syscall);
  const wants = failure.code === 'ETIMEDOUT' || short;
  if (!wants || cpu.gaveUp !== undefined || cpu.callbacks > 0 || cpu.poisoned) return false;
  try {
    return k.rcu.outside(() => finishOthers(k, HELP_PATIENCE_MS));
  } catch (error) {
    return notFinished(k, error);
  }
}

/** A call has done what it was called for. It may have given up on what comes after that: letting go of mmap_lock, housekeeping. */
export function callDone(k: Kernel): void {
  if (k.cpu.gaveUp !== undefined) callFailed(k, k.cpu.gaveUp.error);
}

/**
 * Throws an Oops on a poisoned machine, EDEADLK within a backing's function, ETIMEDOUT while an earlier call of this thread has left
 * something that cannot be finished yet. Nothing has changed then.
 */
export function enterCall(k: Kernel, syscall: string): void {
  k.cpu.checkAlive();
  k.cpu.checkIdentity();
  checkNoCallback(k, syscall);
  if (k.cpu.inFault) cutOff(k.cpu);
  if (k.cpu.gaveUp !== undefined) finishLastCall(k, syscall);
}

/** What the backing's caller holds must not be waited for in its function. */
export function checkNoCallback(k: Kernel, syscall: string): void {
  if (k.cpu.callbacks > 0) throw new VmError('EDEADLK', syscall, 'called from within a function of a backing');
}

/** Notes what `error`, with which a call ends, means for the cpu and the machine. True if it has changed nothing and left nothing. */
export function callFailed(k: Kernel, error: unknown): boolean {
  cutShort(k.cpu, error);
  k.cpu.noteOops(error);
  if (k.cpu.gaveUp === undefined) return true;
  standDown(k);
  try {
    k.rcu.outside(() => recover(k, HELP_PATIENCE_MS));
  } catch (failure) {
    notFinished(k, failure); // it is done before the next call, or by whoever reaps
  }
  return false;
}

/** What ended an attempt to finish something: it is tried again later, unless a rule is broken. */
function notFinished(k: Kernel, failure: unknown): false {
  k.cpu.noteOops(failure);
  if (failure instanceof Oops) throw failure;
  return false;
}

/** The thread leaves the machine whatever `work`, the last it does there, comes to: what it cannot do is left to whoever reaps. */
export function lastCall(k: Kernel, work: () => void): void {
  if (!k.cpu.hasItsSlot) return; // it was reaped as a dead one
  settleLast(k);
  for (let again = true; ; again = false) {
    try {
      if (k.cpu.gaveUp !== undefined) finishLastCall(k, 'close');
      work();
      return;
    } catch (error) {
      callFailed(k, error);
      if (k.cpu.gaveUp === undefined && again && error instanceof VmError) continue; // recovered: what is left can be done now
      leaveUnfinished(k);
      if (error instanceof VmError) return;
      throw error;
    }
  }
}

function finishLastCall(k: Kernel, syscall: string): void {
  const { error } = k.cpu.gaveUp as { error: unknown };
  try {
    k.rcu.outside(() => recover(k, Math.min(HELP_PATIENCE_MS, k.cpu.stallLimit)));
  } catch (failure) {
    k.cpu.noteOops(failure);
    if (!(failure instanceof VmError)) throw failure;
    const why = error instanceof Error ? error.message : String(error);
    throw new VmError(
      failure.code,
      syscall,
      `an earlier call of this thread has given up and cannot be finished yet (${why})`,
    );
  }
}
