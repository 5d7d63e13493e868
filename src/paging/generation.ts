/**
 * The generation of a space's translations and the ring of the ranges changed last. Whoever makes translations stale bumps the
 * generation before anything they reach is reused; a thread that finds it changed looks into the ring and drops only what
 * overlaps, or everything when the ring has moved on.
 */
import { add, cas, load, store } from '#atomics';
import type { MmRef, Vpn } from '../base/brands.ts';
import { MAX_SPACES } from '../base/limits.ts';
import { FLUSH_RING, FLUSH_RING_MASK } from '../base/tunables.ts';
import { SPACE_WORDS } from '../memory/regions.layout.ts';
import type { Regions } from '../memory/regions.ts';
import { C_SPACES, cpuSlot } from '../sync/control.layout.ts';
import type { Cpu } from '../sync/cpu.ts';
import { COUNTER } from '../trace/counters.ts';
import { MM_GENERATION, MM_RING, RING_ENTRY_WORDS, RING_FIRST, RING_PAGES, RING_STAMP } from './mm.layout.ts';
import type { Tlb } from './tlb.ts';

/**
 * Claimed. (One generation in 2^32 has the number: its readers flush more than they must. So do those of the entry that a thread
 * was writing when it died.)
 */
const BEING_WRITTEN = -0x80000000;
const MOST_PAGES = 0x7fffffff;

/** Announces that translations of [start, end) are stale. Requires: they are already out of the tables. */
export function bumpGeneration(cpu: Cpu, mm: MmRef, start: Vpn, end: Vpn): void {
  const generation = (add(cpu.words, mm + MM_GENERATION, 1) + 1) | 0; // pairs with the section's load after storing its slot
  const entry = ringEntry(mm, generation);
  // Whoever was slow enough to meet us here an entry's round later must not mix its range with ours: the one who claims the
  // entry writes it, and for the other's generation readers find no stamp and flush everything.
  const seen = load(cpu.words, entry + RING_STAMP);
  if (seen === BEING_WRITTEN || ((generation - seen) | 0) <= 0) return;
  if (cas(cpu.words, entry + RING_STAMP, seen, BEING_WRITTEN) !== seen) return;
  store(cpu.words, entry + RING_FIRST, start | 0);
  store(cpu.words, entry + RING_PAGES, Math.min(end - start, MOST_PAGES));
  // Last: a reader that finds the stamp finds the range. The one generation that looks like a claim must not stay one.
  store(cpu.words, entry + RING_STAMP, generation === BEING_WRITTEN ? (generation - FLUSH_RING) | 0 : generation);
}

/** Makes every section of the space pass a quiescent point at its next access, without dropping anything. */
export function nudgeGeneration(cpu: Cpu, mm: MmRef): void {
  bumpGeneration(cpu, mm, 0 as Vpn, 0 as Vpn);
}

/**
 * Makes cpu `id`'s section pass a quiescent point at its next access, whichever of its spaces that is in, without dropping anything.
 * All of them: which it is just polling only the cpu itself could say, at every entry, suspension and return.
 */
export function nudgeSpacesOf(cpu: Cpu, regions: Regions, id: number): void {
  for (let word = 0; word < MAX_SPACES >> 5; word++) {
    for (let bits = load(cpu.words, cpuSlot(id) + C_SPACES + word); bits !== 0; bits &= bits - 1) {
      const index = 32 * word + 31 - Math.clz32(bits & -bits);
      nudgeGeneration(cpu, (regions.spaces + index * SPACE_WORDS) as MmRef);
    }
  }
}

/** Drops what became stale between generations `from` and `to`. */
export function catchUp(cpu: Cpu, mm: MmRef, tlb: Tlb, from: number, to: number): void {
  const behind = (to - from) | 0;
  if (behind <= 0 || behind >= FLUSH_RING) {
    flushAll(cpu, tlb);
    return;
  }
  for (let generation = (from + 1) | 0; ((to - generation) | 0) >= 0; generation = (generation + 1) | 0) {
    const entry = ringEntry(mm, generation);
    const stamped = load(cpu.words, entry + RING_STAMP) === generation;
    const first = load(cpu.words, entry + RING_FIRST);
    const pages = load(cpu.words, entry + RING_PAGES);
    if (!stamped || load(cpu.words, entry + RING_STAMP) !== generation) {
      flushAll(cpu, tlb);
      return;
    }
    tlb.flushRange(first, pages);
  }
  cpu.count(COUNTER['tlb.range-flushes']);
}

function flushAll(cpu: Cpu, tlb: Tlb): void {
  tlb.flush();
  cpu.count(COUNTER['tlb.flushes']);
}

/** The entry that describes `generation`. */
export function ringEntry(mm: number, generation: number): number {
  return mm + MM_RING + (generation & FLUSH_RING_MASK) * RING_ENTRY_WORDS;
}
