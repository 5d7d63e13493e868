/**
 * Page tables: four levels of 512 words, 9 bits of the vpn each (the top level uses 8). An upper entry is the header index of the
 * table below; a leaf entry is a PTE. The header stands apart from the 512 words:
 *
 * ```
 *  0 state  1 link  2 lock  3 level  4 mm  5 parent entry  6 entries in use  8 first vpn (Float64)
 * ```
 */
export const T_STATE = 0;
export const T_LINK = 1;
/** Leaf lock: PTE changes, hooking out. */
export const T_LOCK = 2;
/** 0 for a leaf, 3 for the top. Written before it is hooked. */
export const T_LEVEL = 3;
/** The space it belongs to. Written before it is hooked. */
export const T_MM = 4;
/** Word index of the upper entry that names this table; 0 for the top. Written before it is hooked. */
export const T_PARENT = 5;
/** PTEs that are not 0; under the leaf lock. */
export const T_USED = 6;
/** First vpn covered, Float64. Written before it is hooked. */
export const T_FIRST = 8;

export const LEAF_SHIFT = 9;
export const LEAF_PAGES = 512;
