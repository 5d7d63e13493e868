/**
 * Page-table entries: 20 bits of pfn above 12 flag bits. 0 is "nothing here".
 *
 * ```
 *  31            12 11            5  4  3  2  1  0
 * +----------------+-------------+--+--+--+--+--+--+
 * |      pfn       |      -      |ZP|NO| D| A| W| P|
 * +----------------+-------------+--+--+--+--+--+--+
 * ```
 */
import type { Pfn } from '../base/brands.ts';

/** Translations may be made. */
export const PTE_PRESENT = 1;
/** ... for writing too. Implies PRESENT, and on an anonymous page that the page is exclusive (I16). */
export const PTE_WRITE = 2;
export const PTE_ACCESSED = 4;
/** Written through since the bit was cleared. A write translation exists only for a dirty PTE. */
export const PTE_DIRTY = 8;
/** The page stays, but the protection allows no access (PROT_NONE). Excludes PRESENT. */
export const PTE_NONE = 16;
/** Zapped: no new translation; page, reference and reverse-map slot are let go after the generation was bumped. */
export const PTE_ZAPPED = 32;

export function makePte(pfn: Pfn, flags: number): number {
  return (pfn << 12) | flags;
}
export function ptePfn(pte: number): Pfn {
  return (pte >>> 12) as Pfn;
}

/* What an entry says. Whoever tells states apart does it by these, so that a new one is decided upon everywhere. */

/** Nothing is here. */
export const EMPTY = 0;
/** A page is here, and may be read; also written, if `isWritable`. */
export const MAPPED = 1;
/** A page is here that nobody may touch (PROT_NONE). */
export const KEPT = 2;
/** A page is on its way out. */
export const LEAVING = 3;
export type PteState = typeof EMPTY | typeof MAPPED | typeof KEPT | typeof LEAVING;

export function pteState(pte: number): PteState {
  if (pte === 0) return EMPTY;
  if ((pte & PTE_ZAPPED) !== 0) return LEAVING;
  return (pte & PTE_PRESENT) !== 0 ? MAPPED : KEPT;
}

const FOR_WRITES: number = PTE_PRESENT | PTE_WRITE | PTE_DIRTY;

export function isReadable(pte: number): boolean {
  return (pte & PTE_PRESENT) !== 0;
}

/** A translation for writes may be made: the rights are there, and the page counts as dirty already. */
export function isWritable(pte: number): boolean {
  return (pte & FOR_WRITES) === FOR_WRITES;
}

export function isZapped(pte: number): boolean {
  return (pte & PTE_ZAPPED) !== 0;
}

/** An entry just used to read the page. */
export function readablePte(pfn: Pfn): number {
  return makePte(pfn, PTE_PRESENT | PTE_ACCESSED);
}

/** An entry just used to write the page. */
export function writablePte(pfn: Pfn): number {
  return makePte(pfn, FOR_WRITES | PTE_ACCESSED);
}

/** The entry just used again, after rights have come back. Keeps what it says of the page besides. */
export function restoredPte(pte: number, writable: boolean): number {
  const used = (pte & ~PTE_NONE) | PTE_PRESENT | PTE_ACCESSED;
  return writable ? used | FOR_WRITES : used;
}

/** The page stays in sight of whoever takes it out, and of nobody else. */
export function zappedPte(pte: number): number {
  return makePte(ptePfn(pte), PTE_ZAPPED);
}

/**
 * The entry under rights that have changed: what they forbid is taken away, readability is given back. Write permission comes with the
 * next write fault, which knows whether the page is the space's own.
 */
export function restrictedPte(pte: number, readable: boolean, writable: boolean): number {
  if (!readable) return (pte & ~(PTE_PRESENT | PTE_WRITE)) | PTE_NONE;
  const present = (pte & ~PTE_NONE) | PTE_PRESENT;
  return writable ? present : present & ~PTE_WRITE;
}
