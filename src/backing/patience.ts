/** How long one search for memory has waited for others, and for whom: every wait has an end. */
import { now } from '#atomics';
import { VmError, WouldBlock } from '../base/errors.ts';
import type { Cpu } from '../sync/cpu.ts';

/** Times that a fault waits a tenth of a millisecond for pages in other hands before it says ENOMEM. */
const BUSY_ROUNDS = 100;

export class Patience {
  /** Whether a cpu was seen freeing: what it has freed may be there now. */
  someFreed = false;
  readonly #cpu: Cpu;
  #busyRounds = 0;
  /** Since when the same cpu has been seen freeing. */
  #freeing = -1;
  #freeingSince = 0;
  /** Since when the search has waited for readers; 0 before. */
  #readersSince = 0;

  constructor(cpu: Cpu) {
    this.#cpu = cpu;
  }

  /** Whether to wait for cpu `id` (-1: nobody) to give back what it is freeing. Throws ETIMEDOUT after the stall limit. */
  waitsForFreeing(id: number): boolean {
    const { stallLimit, canBlock } = this.#cpu;
    if (id !== this.#freeing) this.#freeingSince = now();
    this.#freeing = id;
    if (id === -1) return false;
    this.someFreed = true;
    if (now() - this.#freeingSince > stallLimit) {
      throw new VmError('ETIMEDOUT', 'fault', `cpu ${id} has been freeing memory for ${stallLimit} ms`);
    }
    if (!canBlock && this.#busyRounds++ > BUSY_ROUNDS)
      throw new WouldBlock('fault', 'memory that another thread is freeing');
    return true;
  }

  /** The search waits for pages that are being read, one by cpu `id`. Throws ETIMEDOUT after the machine's limit for reads. */
  waitsForReader(id: number): void {
    const { ioLimit } = this.#cpu;
    if (this.#readersSince === 0) this.#readersSince = now();
    if (now() - this.#readersSince <= ioLimit) return;
    const who = id < 0 ? 'other cpus have been' : `cpu ${id} is`;
    throw new VmError('ETIMEDOUT', 'fault', `no frame has come free for ${ioLimit} ms: ${who} reading pages of files`);
  }

  /** Whether to wait for pages that are locked or just being zapped. They can be had in a moment; or their holder waits for us. */
  waitsForBusy(): boolean {
    return this.#busyRounds++ < BUSY_ROUNDS;
  }
}
