/**
 * Several cpus on one thread: a call of one of them is stopped before one of its accesses to shared memory, the others make whole
 * calls of their own, then it goes on. What a schedule needs to wait for cannot happen meanwhile: such a wait ends in ETIMEDOUT.
 */
import { createMachine, type Machine, SegmentationFault, type Space, VmError } from '../../src/index.ts';
import { type AccessKind, observePort } from '../../src/sync/atomics.checked.ts';
import { anotherCpu, Killed, P } from '../stress/kill/world.ts';

const FRAMES = 256;
/** Short: a wait that must happen takes as long. */
const STALL_MS = 200;

/** A machine, and the same space in the hands of `count` cpus. The first one's is the machine's. */
export function makeCast(count: number, frames: number = FRAMES): { machine: Machine; spaces: Space[] } {
  const machine = createMachine({ memory: frames * P, stallTimeout: STALL_MS, ioTimeout: STALL_MS });
  const space = machine.createSpace();
  const others = Array.from({ length: count - 1 }, () => anotherCpu(machine).attachSpace(space.handle));
  return { machine, spaces: [space, ...others] };
}

export interface Step {
  /** The access that waits for the others. */
  before(kind: AccessKind, array: ArrayBufferView | undefined, index: number): boolean;
  /** What they do. An error of theirs is theirs: it must not get out. */
  meanwhile(): void;
}

/** Runs a call that stops at each of the steps. Throws if it does not come to all of them, in order. */
export function interleave(call: () => unknown, ...steps: readonly Step[]): void {
  let reached = 0;
  let inside = false;
  observePort({
    access(kind, array, index) {
      const step = steps[reached];
      if (inside || step === undefined || !step.before(kind, array, index)) return;
      reached++;
      inside = true;
      step.meanwhile();
      inside = false;
    },
  });
  try {
    call();
  } finally {
    observePort(undefined);
  }
  if (reached < steps.length) throw new Error(`no such schedule: ${reached} of ${steps.length} steps were reached`);
}

/** Runs a call of a cpu that dies as soon as `when` holds: no access of it takes place any more. */
export function killOnce(when: () => boolean, call: () => unknown): void {
  let dead = false;
  observePort({
    access() {
      dead ||= when();
      if (dead) throw new Killed();
    },
  });
  try {
    call();
  } catch (error) {
    if (!dead) throw error;
  } finally {
    observePort(undefined);
  }
  if (!dead) throw new Error('the call came to its end');
}

/** 'done', or what kind of error a call of the library ends in. A broken rule (Oops) gets out. */
export function outcome(call: () => unknown): string {
  try {
    call();
    return 'done';
  } catch (error) {
    if (error instanceof SegmentationFault) return error.reason;
    if (error instanceof VmError) return error.code;
    throw error;
  }
}

/** 'done', or what the call waited for until it gave up. */
export function waitedFor(call: () => unknown): string {
  try {
    call();
    return 'done';
  } catch (error) {
    if (error instanceof VmError && error.code === 'ETIMEDOUT') return error.message;
    throw error;
  }
}
