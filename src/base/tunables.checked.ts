/** The checker's tunables: see tunables.ts. The same names, small enough that every corner is within a few steps. */
/** Entries per B-tree node. The node record has room for 16. */
export const TREE_FANOUT = 4;
/** Fewest entries in a node that is not the root. */
export const TREE_MIN = 2;
/** Entries of a slab magazine (one per cpu and kind). */
export const MAGAZINE = 3;
/** Most frames a cpu keeps for itself. */
export const FRAME_CACHE = 3;
/** Page records that a thief of frames looks at under one hold of the pool's lock. */
export const STEAL_STRIDE = 4;
/** Retired objects that make a cpu look for an ended grace period. */
export const RETIRE_BATCH = 2;
/** Entries of a space's ring of recently changed ranges; a power of two. */
export const FLUSH_RING = 2;
/** One less. */
export const FLUSH_RING_MASK = 1;
/** Entries of a TLB; a power of two. */
export const TLB_ENTRIES = 4;
/** One less. */
export const TLB_MASK = 3;
/** Restarts of one fault before it commits under the tree lock. */
export const MAX_OPTIMISTIC_RESTARTS = 2;
/** Spins before a lock waits. */
export const SPIN_LIMIT = 1;
/** Frames reclaimed in one go. */
export const RECLAIM_BATCH = 2;
/** Largest read-ahead window, pages. */
export const READAHEAD_MAX = 2;
/** Spins for mmap_lock before a thread sleeps: it is held for longer than a spinlock. */
export const RWSEM_SPIN_LIMIT = 1;
/** Times that a sleeping writer may be passed by a running one. */
export const RWSEM_PASSES = 1;
/** Retired objects at which a layout call waits for a grace period when it is done. */
export const RETIRE_BACKLOG = 64;
/** Looks at the cpus while waiting for a grace period before the waiter sleeps between two. */
export const GRACE_SPINS_BEFORE_WAIT = 0;
/** Looks after which a cpu that is still in its section is nudged. */
export const GRACE_SPINS_BEFORE_NUDGE = 1;
