/**
 * The narrow interface behind which the fault protocols are swapped: what a fault holds while it works, and what becomes of
 * that when it must sleep. The rest of the fault is the same code for all.
 */
import type { MmRef, VmaRef } from '../base/brands.ts';
import type { Kernel } from '../space/kernel.ts';

export interface FaultProtocol {
  readonly name: string;
  /** In the machine's header, so that every thread uses the same one. */
  readonly id: number;
  /** False: what was looked up before a sleep is used after it without a second look. No sound protocol does that. */
  readonly rechecks: boolean;
  /** Takes what the protocol holds during a fault. Called in a section; may leave it meanwhile. */
  begin(k: Kernel, mm: MmRef): void;
  /** Lets go of it. Called in a section. */
  end(k: Kernel, mm: MmRef): void;
  /**
   * Runs `sleeper` (I/O, a page lock, memory) outside every section of this thread. False if the VMA is dying and `sleeper` was
   * not run. Afterwards everything is to be checked again.
   */
  sleep(k: Kernel, mm: MmRef, vma: VmaRef, sleeper: () => void): boolean;
}
