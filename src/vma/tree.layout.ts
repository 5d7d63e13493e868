/**
 * The node of the VMA tree: a B-tree node whose entries are VMAs (level 0) or nodes one level below. 128 words, eight cache
 * lines; each column of the entries is contiguous, because a look-up reads little but the ends.
 *
 * ```
 *   0       1       2       3
 * +-------+-------+-------+-------+
 * | state | link  | level | count |
 * +-------+-------+-------+-------+-----------------------+
 * | start 0..15, f64              4 .. 35                 |  first page of the entry's first VMA
 * | end   0..15, f64             36 .. 67                 |  the page behind its last VMA
 * | gap   0..15, f64             68 .. 99                 |  largest hole between two VMAs below the entry
 * | child 0..15                 100 .. 115                |  VMA (level 0) or node
 * +-------------------------------------------------------+
 * | spare                       116 .. 127                |
 * +-------------------------------------------------------+
 * ```
 *
 * The hole between neighbours i and i + 1 is `start[i + 1] - end[i]`: all that an entry says can be computed from the node it
 * stands for alone, so replacing a node means rewriting the path above it and nothing beside it.
 *
 * A node never changes once published, but for `state` and `link`. Everything else is written by its maker before, and may be
 * read plainly by whoever came from a root loaded with Atomics and is still in that section, or holds the tree lock.
 *
 * This file has literals only, so that a bundler puts them in their place; the node table checks them at load.
 */
export const NODE_WORDS = 128;
/** Entries for which the record has room, whatever the fan-out. */
export const NODE_SLOTS = 16;

/** Who is responsible for the record (see memory/ownership.ts). Written by the slab and by whoever retires it. */
export const N_STATE = 0;
/** Retire list. Written by the cpu that retired it, under its retire lock. */
export const N_LINK = 1;
/** 0 for a leaf, whose entries are VMAs; all leaves are equally deep. */
export const N_LEVEL = 2;
/** Entries in use, from the left. */
export const N_COUNT = 3;
/** Vpns, Float64, strictly rising. */
export const N_STARTS = 4;
/** Vpns, Float64, strictly rising: `start[i] < end[i] <= start[i + 1]`. */
export const N_ENDS = 36;
/** Pages, Float64. Not written and not read in a leaf. */
export const N_GAPS = 68;
export const N_CHILDREN = 100;
/** Words in use, for copies. */
export const N_USED = 116;
