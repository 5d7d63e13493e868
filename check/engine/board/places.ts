/**
 * The board: what the modelled threads of one crew and their scheduler share. Only the thread whose turn it is reads
 * and writes it, and a turn is handed on with Atomics, so everything here is plain but the parking words. Each part
 * has a table of its own:
 *
 * ```
 *      0 +----------------------+
 *        | header               |  header.ts
 *     64 +----------------------+
 *        | threads, 32 each     |  thread.ts
 *    320 +----------------------+
 *        | vector clocks, 8 x 8 |  CLOCKS
 *    384 +----------------------+
 *        | words read, 32 each  |  READS
 *    640 +----------------------+
 *        | script               |  SCRIPT
 *        +----------------------+
 *        | trace                |  record.ts
 *        +----------------------+
 * ```
 *
 * Beside it: what is known of each location (location.ts), the race detector's notes (note.ts), the writes that
 * marked reads may look behind (write.ts), the numbers of the chunks that must be put back, and texts.
 *
 * The tables are modules of literals that import nothing, and are imported whole (`import * as B`): the bundler then
 * puts the numbers in their place, which it would not do with the fields of an object.
 */

export const MAX_THREADS = 8;

const THREADS = 64;
const THREAD_WORDS = 32;

/**
 * Vector clocks, MAX_THREADS words for each thread: how much it knows of the others, and its own time. The owner of
 * the turn; see clocks.ts.
 */
export const CLOCKS = 320;

/**
 * Per thread: how many words it has read since it last paused, then their byte addresses; ALL_WORDS when they are too
 * many. The thread writes its own, others look in them whether a write concerns it.
 */
export const READS = 384;
export const READS_WORDS = 32;
export const ALL_WORDS = 32;

/**
 * The script: a position and an action (KILL, OLDER - n, or a thread) for each entry, then NEVER. The leader; under a
 * strategy of chance the owner of the turn.
 */
export const SCRIPT = 640;
/** Words of an entry. */
export const SCRIPT_WORDS = 2;
export const SCRIPT_ENTRIES = 4096;

export const TRACE = 8832;

/** Bytes that one thread's result may have, in `BoardMemory.text`: a slot for each thread, then the failure's text. */
export const RESULT_BYTES = 2048;
export const FAILURE_BYTES = 16384;
export const FAILURE_AT = 16384;

/** What must be put back is noted in chunks of so many bytes, as a power of two. */
export const CHUNK_SHIFT = 8;

export function threadAt(thread: number): number {
  return THREADS + thread * THREAD_WORDS;
}
