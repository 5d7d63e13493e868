/**
 * The record of one address space (mm), 256 words. Words that different cpus hammer have a line of their own.
 *
 * ```
 *   0 state  serial            16 tree root        32 tree lock
 *  48 mmap_lock (rwsem)        64 generation       80 top table
 *  96 bookkeeping              128 flush ring: 16 x 4 words
 * ```
 */
export const MM_STATE = 0;
/** Distinguishes this space from the one that had the record before. */
export const MM_SERIAL = 1;
/** Root of the VMA tree. Published by one store under the tree lock; read with Atomics by everybody. */
export const MM_ROOT = 16;
/** Counts replacements by MAP_FIXED, each after its root is published: what faults sleep on that wait for one. */
export const MM_REPLACED = 17;
export const MM_TREE_LOCK = 32;
export const MM_MMAP_LOCK = 48;
/** Bumped after translations were made stale and before what they reach is reused. */
export const MM_GENERATION = 64;
/** The top-level page table. Written when the space is made and when it is torn down. */
export const MM_TOP = 80;
/** VMAs in the tree; under the tree lock. */
export const MM_MAP_COUNT = 96;
/** Float64: mapped pages; under the tree lock. */
export const MM_MAPPED_PAGES = 98;
/** Changes with every change of the layout (`space.sequence()`); under the tree lock. */
export const MM_SEQUENCE = 100;
/** Limit on mapped pages (RLIMIT_AS), Float64, 0 = none. Written once. */
export const MM_LIMIT_PAGES = 102;
export const MM_RING = 128;
export const RING_ENTRY_WORDS = 4;
/* A ring entry: the stamp is the generation it describes, written last. */
export const RING_STAMP = 0;
/** Low 32 bits of the first page's number, and the number of pages (2^31 - 1 for more). Atomics: readers race with the next writer. */
export const RING_FIRST = 1;
export const RING_PAGES = 2;

export const MM_FREE = 0;
export const MM_LIVE = 1;
/** The last user has left; its mappings are being torn down. */
export const MM_EXITING = 2;
