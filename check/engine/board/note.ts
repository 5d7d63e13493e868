/**
 * The race detector's note on a location. (Imported as `N`.) In `BoardMemory.notes`, by the location's number. The
 * owner of the turn reads and writes it; it holds only if its EXECUTION is the board's, otherwise it is cleared
 * first. Times are those of vector clocks; eight words have one for each thread.
 */
export const WORDS = 48;

/** The execution that it is of. */
export const EXECUTION = 0;
/**
 * Bytes of the Atomics write whose clock is in CLOCK; 0 when the last write was none: then nobody is ordered by
 * reading.
 */
export const RELEASED = 1;
/** Per thread: the time of its last plain write, 0 for none; so for the next three. */
export const PLAIN_WRITES = 2;
/** Writes by Atomics, and marked ones. */
export const WRITES = 10;
export const PLAIN_READS = 18;
/** Reads by Atomics. */
export const READS = 26;
/** The vector clock that the last Atomics write published. Holds if RELEASED is not 0. */
export const CLOCK = 34;
/** 1 + the thread that wrote last, 0 for nobody. */
export const WRITER = 42;
/** 1 + the number of the last write in the history, 0 for none. */
export const LAST = 43;
