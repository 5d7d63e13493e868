/**
 * The first words of the control memory: header, machine-wide locks, one slot per cpu. 32-bit words; every word that
 * different cpus hammer has a 64-byte line (16 words) of its own.
 *
 * ```
 *      0 +--------------------------+
 *        | header                   |  written once by createMachine, but for POISON
 *     64 +--------------------------+
 *        | epoch, cpu lock, frame   |  one line each
 *        | pool, arena, clock       |
 *    512 +--------------------------+
 *        | slab kinds, 1 line each  |
 *   1024 +--------------------------+
 *        | futex buckets, 64 lines  |
 *   2048 +--------------------------+
 *        | page-cache locks, 64     |
 *   4096 +--------------------------+
 *        | cpu slots, 64 x 1024     |
 *  69632 +--------------------------+
 *        | lockdep (dev builds)     |
 * 135168 +--------------------------+
 *        | regions of the memory room (spaces, pages, tables, arena)
 * ```
 */
export const LINE = 16;

/* Header. */
export const H_MAGIC = 0;
export const H_VERSION = 1;
export const H_WORDS = 2;
export const H_FRAMES = 3;
export const H_ID_LOW = 4;
export const H_ID_HIGH = 5;
export const H_DESIGN = 6;
/** 0, or 1 + the cpu that found a broken rule. */
export const H_POISON = 7;
export const H_SHARED = 8;
/** Milliseconds after which a wait for another thread becomes an error. */
export const H_STALL_MS = 9;
/** Machine-wide count of closed files; a change makes cpus sweep their own descriptors. */
export const H_FILES_CLOSED = 10;
/** Deaths reaped so far. */
export const H_DEATHS = 11;
/** Milliseconds after which a wait for another thread's read becomes an error. */
export const H_IO_MS = 12;
/** A secret of the machine, mixed into the hash of the page cache (backing/page-cache.ts). */
export const H_HASH_SEED = 13;

export const MAGIC = 0x766d7370;
/** Bumped with every change of a layout file; attach refuses another one. */
export const LAYOUT_VERSION = 4;

/* Machine-wide lines. */
export const EPOCH = 64;
/** Threads waiting for a grace period sleep on this word; leaving a section notifies it when the next word is not 0. */
export const GRACE = 80;
export const GRACE_WAITERS = 81;
export const CPU_LOCK = 96;
/** Highest cpu ever attached, plus 1: bounds every scan of the slots. */
export const CPUS_USED = 97;
export const CPU_SERIAL = 98;
export const FRAME_LOCK = 112;
export const FRAME_HEAD = 113;
export const FRAME_FREE = 114;
/** Frames never handed out yet start here. */
export const FRAME_BUMP = 115;
export const ARENA_LOCK = 128;
export const ARENA_BUMP = 129;
export const TABLE_BUMP = 130;
export const CLOCK_HAND = 145;
export const SPACE_LOCK = 160;

export const SLAB_LINES = 512;
export const FUTEX_LINES = 1024;
export const FUTEX_BUCKETS = 64;
export const HASH_LOCK_LINES = 2048;
export const HASH_LOCKS = 64;

/* Cpu slots. */
export const CPUS = 4096;
export const CPU_WORDS = 1024;
/** Epoch of the section the cpu is in, low bit set; even when it is in none. */
export const C_SLOT = 0;
export const C_STATE = 16;
export const C_THREAD = 17;
export const C_SERIAL = 18;
/** Parking word: 0 while the cpu should sleep, 1 to wake it. */
export const C_WAKE = 19;
/** The frame that this cpu is just taking (giving back), and the count of those before it: see memory/frame-counts.ts. */
export const C_FRAME_TAKEN = 20;
export const C_FRAME_GIVEN = 21;
/** Moves whenever the thread enters or leaves a section: then it lives. Plain, modulo 2^32. */
export const C_ENTRIES = 22;
/** Whether the thread holds a Web Lock for as long as it lives (see life-lock.ts). Written by the thread itself. */
export const C_LIFE = 23;
export const LIFE_NONE = 0;
/** Asked for; the host may have given it already. */
export const LIFE_ASKED = 1;
export const LIFE_HELD = 2;
/** Locks that the cpu may hold: where a reaper looks. */
export const C_HELD = 32;
export const HELD_SLOTS = 16;
/* rwsem. */
export const C_RW_HOLD = 48;
export const C_RW_WAIT = 49;
export const C_RW_MODE = 50;
export const C_RW_TICKET = 51;
/** Times that others took the lock before this waiter. */
export const C_RW_PASSED = 52;
/* The layout operation in progress (see space/intent.ts). */
export const C_INTENT = 64;
export const INTENT_WORDS = 32;
/* Retire lists (see rcu.ts). */
export const C_RETIRE_LOCK = 96;
export const C_RETIRE_TAG = 97;
export const C_RETIRE_OPEN_COUNT = 98;
export const C_RETIRE_WAIT_COUNT = 99;
export const C_RETIRE_OPEN = 100;
export const C_RETIRE_WAIT = 108;
/** Objects that this cpu has taken off a list and is just freeing. */
export const C_RETIRE_FREEING = 116;
/** Per kind, objects that this cpu has retired while it could not have the lock over its lists. */
export const C_RETIRE_LATE = 117;
export const RETIRE_KINDS = 8;
/* futex waiter (see sync/futex.ts). */
export const C_FUTEX = 128;
/** Entries of C_FUTEX_ASYNC that this cpu has ever used: a notifier looks at these. */
export const C_FUTEX_ASYNC_USED = 134;
/* The reference of a fault that sleeps: what a dead cpu must give back. */
export const C_REF_VMA = 144;
/** Bit per space that this cpu uses; under the lock over the list of spaces. Two words. */
export const C_SPACES = 148;
export const C_PAGE_LOCKS = 160;
export const PAGE_LOCK_SLOTS = 48;
/** Waiters of `waitAsync` (see sync/futex.ts). */
export const C_FUTEX_ASYNC = 208;
export const FUTEX_ENTRY_WORDS = 6;
export const FUTEX_ASYNC_ENTRIES = 8;
/** Counters: Float64, one writer each. */
export const C_COUNTERS = 256;
export const COUNTER_SLOTS = 192;
/** Text of the stack that entered the section; dev builds only: length, then one code unit per word. */
export const C_STACK = 640;
export const STACK_CHARS = 383;

export const CPU_FREE = 0;
export const CPU_ATTACHED = 1;
/**
 * The thread is gone; its work is to be finished. In the state word of this and of CPU_GAVE_UP the bits above the low eight are the tag
 * of the cpu that is at it, 0 for nobody.
 */
export const CPU_DEAD = 2;
/** Detached, but what it retired still waits for a grace period. Who gets the slot gets the lists with it. */
export const CPU_LEFT = 3;
/**
 * Alive, but its last call has given up half-way (see spinlock.ts): it does nothing until what that call left has been finished, by
 * itself or by whoever reaps.
 */
export const CPU_GAVE_UP = 4;
/**
 * A thread is about to have the slot, or to leave it. Above the state stands the host's number of it: if it dies here nothing else
 * names it.
 */
export const CPU_ATTACHING = 5;

export const LOCKDEP: number = CPUS + 64 * CPU_WORDS;
export const LOCKDEP_CLASSES = 16;
export const LOCKDEP_PAIR_WORDS = 256;
export const CONTROL_END: number = LOCKDEP + LOCKDEP_CLASSES * LOCKDEP_CLASSES * LOCKDEP_PAIR_WORDS;

/** Word index of cpu `id`'s slot. */
export function cpuSlot(id: number): number {
  return CPUS + id * CPU_WORDS;
}
