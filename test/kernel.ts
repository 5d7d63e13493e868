/**
 * What unit tests of the rooms stand on: one machine's kernel without its public face, and further cpus of it in the same thread. A
 * second cpu never sleeps on the first one's lock (nobody would let it go): a test tries, or lets the stall limit end it.
 */
import { vi } from 'vitest';
import type { MmRef, Vpn } from '../src/base/brands.ts';
import { designByName } from '../src/design/designs.ts';
import type { FaultProtocol } from '../src/fault/protocol.ts';
import { makeControl, makeKernel } from '../src/machine/boot.ts';
import type { Kernel } from '../src/space/kernel.ts';
import { createMm, leaveMm } from '../src/space/mm.ts';
import { attachCpu, type Cpu, detachCpu } from '../src/sync/cpu.ts';
import type { SectionClient } from '../src/sync/rcu.ts';
import { collectMachines } from './support.ts';

export interface BareMachine {
  readonly kernel: Kernel;
  readonly cpu: Cpu;
  readonly words: Int32Array;
  readonly bytes: Uint8Array;
  /** Another cpu's kernel over the same memory. */
  another(): Kernel;
}

export function bareMachine(frames = 128, stallMs = 60): BareMachine {
  collectMachines();
  const buffer = makeControl(frames, true, designByName('rcu') as FaultProtocol, {
    stallTimeout: stallMs,
    ioTimeout: stallMs,
  });
  const words = new Int32Array(buffer);
  const floats = new Float64Array(buffer, 0, words.length >> 1);
  const bytes = new Uint8Array(new SharedArrayBuffer(frames * 4096));
  const another = (): Kernel => makeKernel(attachCpu(words, floats, 0), bytes);
  const kernel = another();
  return { kernel, cpu: kernel.cpu, words, bytes, another };
}

/** A space of the kernel, with its end. */
export function bareSpace(kernel: Kernel): { mm: MmRef; close(): void } {
  const mm = createMm(kernel, 0);
  return {
    mm,
    close(): void {
      leaveMm(kernel, mm, kernel.cpu.id);
      kernel.rcu.drain();
    },
  };
}

export function leave(kernel: Kernel): void {
  detachCpu(kernel.words, kernel.cpu.id);
}

/** A section of nobody's space, to hold grace periods up. */
export function reader(mm = 0): SectionClient & { revalidated: number } {
  return {
    sectionDepth: 0,
    sectionMm: mm,
    revalidated: 0,
    revalidate(): void {
      this.revalidated++;
    },
    deactivate: () => undefined,
  };
}

export const vpn = (page: number): Vpn => page as Vpn;

const ACCESSES = ['load', 'store', 'compareExchange', 'exchange', 'add'] as const;
type AccessKind = (typeof ACCESSES)[number];

/**
 * Runs the call. `meet` is called before each of its Atomics accesses, and may do what another thread does then, which it does not meet.
 * If `meet` throws, the thread has died: no access takes place any more. Returns whether the call came to its end.
 */
export function meeting(call: () => unknown, meet: (kind: AccessKind, index: number) => void): boolean {
  let isInside = false;
  let death: unknown;
  const before = (kind: AccessKind, index: number): void => {
    if (isInside) return;
    if (death !== undefined) throw death;
    isInside = true;
    try {
      meet(kind, index);
    } catch (error) {
      death = error;
      throw error;
    } finally {
      isInside = false;
    }
  };
  const spies = ACCESSES.map((kind) => {
    const access = Atomics[kind] as (words: Int32Array, index: number, ...values: number[]) => number;
    const met = (words: Int32Array, index: number, ...values: number[]): number => {
      before(kind, index);
      return access(words, index, ...values);
    };
    return vi.spyOn(Atomics, kind).mockImplementation(met as never);
  });
  try {
    call();
    return true;
  } catch (error) {
    if (death === undefined || error !== death) throw error;
    return false;
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}
