/**
 * A machine with two cpus on one thread: a survivor and a victim. What both call is the library itself, so whatever the victim
 * has done when it "dies" is what a terminated Worker would have left.
 */

import {
  BusError,
  createMachine,
  type DesignName,
  MAP_ANONYMOUS,
  MAP_FIXED_NOREPLACE,
  MAP_PRIVATE,
  type Machine,
  type MappedFile,
  PAGE_SIZE,
  PROT_READ,
  PROT_WRITE,
  registerBacking,
  SegmentationFault,
  type Space,
} from '../../../src/index.ts';
import { Machine as MachineClass } from '../../../src/machine/machine.ts';
import { type AccessKind, observePort, type PortObserver } from '../../../src/sync/atomics.checked.ts';
import { CONTROL_END, H_ID_HIGH, H_ID_LOW, LOCKDEP } from '../../../src/sync/control.layout.ts';

export const P: number = PAGE_SIZE;
export const RW: number = PROT_READ | PROT_WRITE;
export const ANON: number = MAP_PRIVATE | MAP_ANONYMOUS;
/** Where scenarios put what they need at known places. */
export const BASE = 0x4000_0000;
export const FILE_PAGES = 16;
const STALL_MS = 500;

/** Ends a victim's call: thrown by the port instead of the fatal access and of every one after it. */
export class Killed extends Error {}

/** The survivor would sleep, and there is nobody to wake it: a hang. */
export class Hang extends Error {}

type Phase = 'free' | 'victim' | 'dead' | 'survivor' | 'preempted';

/** Decides at every access to shared memory whether the thread lives on. */
export class Port implements PortObserver {
  phase: Phase = 'free';
  /** Accesses of the current call so far. */
  count = 0;
  /** The access before which the thread dies. */
  fatal: number = Number.POSITIVE_INFINITY;
  /** Where the last victim died. */
  place = '';
  /** Whether a call is under way inside another's. */
  nested = false;
  /** Whether a call inside another's would have waited for it: such a schedule does not exist. */
  impossible = false;
  #intruder: (() => void) | undefined;
  #fuel = 0;

  install(): void {
    observePort(this);
  }

  access(_kind: AccessKind, array: ArrayBufferView | undefined, index: number): void {
    if (this.phase === 'free') return;
    if (this.phase === 'dead') throw new Killed();
    if (this.phase === 'survivor') {
      if (--this.#fuel < 0) this.#hang('the survivor does not come to an end');
      return;
    }
    if (index >= LOCKDEP && index < CONTROL_END && array instanceof Int32Array) return; // notes of the development build
    if (this.count === this.fatal && this.phase === 'preempted') this.#intrude();
    else if (this.count === this.fatal) {
      this.phase = 'dead';
      const killed = new Killed();
      this.place = placeOf(killed);
      throw killed;
    }
    this.count++;
  }

  wait(_words: Int32Array, _index: number, _expected: number, timeout: number): 'timed-out' {
    if (timeout === 0) return 'timed-out';
    if (this.phase === 'survivor' || this.nested) this.#hang('the survivor would wait for a thread that is gone');
    return 'timed-out';
  }

  /** Runs a victim's call up to access `fatal`. True if it came to its end. */
  kill(fatal: number, act: () => void): boolean {
    this.phase = 'victim';
    this.count = 0;
    this.fatal = fatal;
    try {
      act();
      return true;
    } catch (error) {
      if ((this.phase as Phase) !== 'dead') throw error;
      return false;
    } finally {
      this.phase = 'free';
    }
  }

  /** Runs a call and, before its access `at`, another one inside it. Throws Hang if that would wait for the first. */
  preempt(at: number, act: () => void, intruder: () => void): void {
    this.phase = 'preempted';
    this.count = 0;
    this.fatal = at;
    this.nested = false;
    this.impossible = false;
    this.#intruder = intruder;
    try {
      act();
    } finally {
      this.phase = 'free';
      this.nested = false;
    }
  }

  /** For an intruder: a third thread makes a call and dies of it. */
  dieInside(fatal: number, act: () => void): void {
    this.kill(fatal, act);
    this.phase = 'survivor';
  }

  /** Nobody touches anything any more: the world is given up. */
  #hang(why: string): never {
    this.impossible = this.nested;
    this.phase = 'dead';
    throw new Hang(why);
  }

  #intrude(): void {
    const { count, fatal } = this;
    this.place = placeOf(new Killed());
    this.nested = true;
    this.phase = 'survivor';
    this.#fuel = 200_000;
    this.#intruder?.();
    this.nested = false;
    this.phase = 'preempted';
    this.count = count + 1;
    this.fatal = fatal;
  }

  /** Runs what must end without waiting for anybody. */
  survive<T>(act: () => T): T {
    this.phase = 'survivor';
    this.#fuel = 5_000_000;
    try {
      return act();
    } finally {
      this.phase = 'free';
    }
  }
}

/** The innermost calls of the library, innermost first. */
export function placeOf(error: Error): string {
  const calls = [...(error.stack ?? '').matchAll(/^ +at (?:new )?([\w.]+)/gm)].map((match) => match[1]);
  return calls.slice(1, 8).join(' < ');
}

registerBacking('pattern', () => ({
  read(position, targets) {
    targets.forEach((target, i) => {
      const word = new Uint8Array(4);
      new DataView(word.buffer).setInt32(0, patternOf(position / P + i), true);
      for (let at = 0; at < target.length; at += 4) target.set(word, at);
    });
    return targets.length * P;
  },
  close() {},
}));

/** Every word of page `index` of the test's file. */
export function patternOf(index: number): number {
  return 0x5a000000 | index;
}

/** What the survivor has written into the page at `address`. */
export function stampOf(address: number): number {
  return 0x11000000 | ((address / P) & 0xffffff);
}

export interface World {
  readonly survivor: Machine;
  readonly space: Space;
  readonly file: MappedFile;
  /** The victim's hands on the same. */
  readonly victim: Machine;
  readonly theirs: Space;
  readonly theirFile: MappedFile;
}

export function makeWorld(frames: number, design: DesignName = 'rcu'): World {
  const first = createMachine({ memory: frames * P, design, stallTimeout: STALL_MS, ioTimeout: STALL_MS });
  const survivor = anotherCpu(first);
  first.close(); // the library remembers it as this thread's, so that a world that is given up would never be collected
  const space = survivor.createSpace();
  const file = survivor.createFile('pattern', {}, FILE_PAGES * P);
  const victim = anotherCpu(survivor);
  return {
    survivor,
    space,
    file,
    victim,
    theirs: victim.attachSpace(space.handle),
    theirFile: victim.attachFile(file.handle),
  };
}

/** One more cpu on this thread. `attachMachine` would give the one that is there. */
export function anotherCpu(machine: Machine): Machine {
  const { words } = machine.kernel;
  return new MachineClass(machine.handle, `${words[H_ID_LOW]}:${words[H_ID_HIGH]}`);
}

/** Maps `pages` pages of anonymous memory at `address` and stamps each. */
export function stamped(space: Space, address: number, pages: number): void {
  space.mmap({ addr: address, length: pages * P, prot: RW, flags: ANON | MAP_FIXED_NOREPLACE });
  for (let at = address; at < address + pages * P; at += P) space.store32(at, stampOf(at));
}

/** Pages of the layout, one line per run of pages that say the same, wherever VMAs begin and end. */
export function layoutOf(space: Space): string {
  const lines: string[] = [];
  let last: { end: number; key: string; line: number } | undefined;
  for (const { start, end, prot, shared, file, offset } of space.maps()) {
    const origin = file === undefined ? '' : ` file at ${(offset - start) / P}`;
    const key = `prot ${prot}${shared ? ' shared' : ''}${origin}`;
    const begins = last?.end === start && last.key === key ? (lines.pop() as string).split('-')[0] : start.toString(16);
    lines.push(`${begins}-${end.toString(16)} ${key}`);
    last = { end, key, line: lines.length };
  }
  return lines.join('\n');
}

/** The word at `address`, or why there is none. */
export function peekAt(space: Space, address: number): number | string {
  try {
    return space.load32(address);
  } catch (error) {
    if (error instanceof SegmentationFault || error instanceof BusError) return error.reason;
    throw error;
  }
}
