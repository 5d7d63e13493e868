/**
 * Intents: before its first store a layout operation writes into its cpu's slot what it is about to do. If its thread dies, whoever
 * reaps the cpu does it again, from the start: every step is idempotent. Requires: mmap_lock for writing, but for EXIT, which is
 * written before the last user waits for it.
 *
 * ```
 *  +0 kind   +1 mm   +2 prot, or the space's serial (exit)   +3 new VMA   +4 start (Float64)   +6 end (Float64)
 * ```
 * The kind is written last and cleared first, so an intent that is there is whole.
 */
import { load, peek, peekF64, poke, pokeF64, store } from '#atomics';
import type { MmRef, VmaRef, Vpn } from '../base/brands.ts';
import { C_INTENT, cpuSlot } from '../sync/control.layout.ts';
import type { Cpu } from '../sync/cpu.ts';

export const INTENT_NONE = 0;
/** The range is to be empty, or to hold `vma` if that is in the tree already. */
export const INTENT_UNMAP = 1;
export const INTENT_PROTECT = 2;
/** The space's last user has left. */
export const INTENT_EXIT = 3;

export interface Intent {
  readonly kind: number;
  readonly mm: MmRef;
  readonly prot: number;
  readonly vma: VmaRef;
  readonly start: Vpn;
  readonly end: Vpn;
}

export function writeIntent(cpu: Cpu, kind: number, mm: MmRef, start: Vpn, end: Vpn, prot: number): void {
  const { words, floats } = cpu;
  const at = cpu.base + C_INTENT;
  poke(words, at + 1, mm);
  poke(words, at + 2, prot);
  poke(words, at + 3, 0);
  pokeF64(floats, (at + 4) >> 1, start);
  pokeF64(floats, (at + 6) >> 1, end);
  store(words, at, kind);
}

/** The VMA that takes the range's place: once it is in the tree the operation is done. */
export function intendVma(cpu: Cpu, vma: VmaRef): void {
  poke(cpu.words, cpu.base + C_INTENT + 3, vma);
}

export function clearIntent(cpu: Cpu): void {
  store(cpu.words, cpu.base + C_INTENT, INTENT_NONE);
}

export function readIntent(words: Int32Array, floats: Float64Array, id: number): Intent {
  const at = cpuSlot(id) + C_INTENT;
  return {
    kind: load(words, at),
    mm: peek(words, at + 1) as MmRef,
    prot: peek(words, at + 2),
    vma: peek(words, at + 3) as VmaRef,
    start: peekF64(floats, (at + 4) >> 1) as Vpn,
    end: peekF64(floats, (at + 6) >> 1) as Vpn,
  };
}
