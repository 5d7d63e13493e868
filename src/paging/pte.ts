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
