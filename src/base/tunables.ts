/**
 * Fan-outs, batches and rings. They shrink under the checker, where small structures reach their corner cases within a small
 * bound: the checked bundle is built with `CHECKED` true.
 */
import { CHECKED } from '#dev';

/** Entries per B-tree node. The node record has room for 16. */
export const TREE_FANOUT: number = CHECKED ? 4 : 16;
/** Fewest entries in a node that is not the root. */
export const TREE_MIN: number = CHECKED ? 2 : 4;
/** Entries of a slab magazine (one per cpu and kind). */
export const MAGAZINE: number = CHECKED ? 3 : 32;
/** Most frames a cpu keeps for itself. */
export const FRAME_CACHE: number = CHECKED ? 3 : 64;
/** Retired objects that make a cpu look for an ended grace period. */
export const RETIRE_BATCH: number = CHECKED ? 2 : 64;
/** Entries of a space's ring of recently changed ranges; a power of two. */
export const FLUSH_RING: number = CHECKED ? 2 : 16;
/** Entries of a TLB; a power of two. */
export const TLB_ENTRIES: number = CHECKED ? 4 : 1024;
/** Restarts of one fault before it commits under the tree lock. */
export const MAX_OPTIMISTIC_RESTARTS: number = CHECKED ? 2 : 16;
/** Spins before a lock waits. */
export const SPIN_LIMIT: number = CHECKED ? 1 : 200;
/** Frames reclaimed in one go. */
export const RECLAIM_BATCH: number = CHECKED ? 2 : 64;
/** Largest read-ahead window, pages. */
export const READAHEAD_MAX: number = CHECKED ? 2 : 32;
