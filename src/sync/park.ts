/**
 * Parking: a cpu sleeps on its own word until another one wakes it. The order is: `prepareToPark`, make the reason visible, look
 * again whether it still holds, `park`. A wake-up between the first and the last is not lost.
 */
import { notify, store, wait } from '#atomics';
import { mightSleep } from '#lockdep';
import { C_WAKE, cpuSlot } from './control.layout.ts';
import type { Cpu } from './cpu.ts';

/** Wakers and reasons are always looked at again; this only bounds how late a death or a stall is noticed. */
export const PARK_MS = 20;

export function prepareToPark(cpu: Cpu): void {
  store(cpu.words, cpu.base + C_WAKE, 0); // pairs with the store in wakeCpu
}

/** Requires: cpu.canBlock, no section, no spinlock. Returns after a wake-up or `milliseconds`. */
export function park(cpu: Cpu, milliseconds: number, what: string): void {
  mightSleep(cpu, what);
  wait(cpu.words, cpu.base + C_WAKE, 0, milliseconds);
}

export function wakeCpu(words: Int32Array, id: number): void {
  const at = cpuSlot(id) + C_WAKE;
  store(words, at, 1);
  notify(words, at, 1);
}
