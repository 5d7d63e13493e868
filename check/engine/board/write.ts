/**
 * A write in the history, of a location that marked reads look at. (Imported as `H`.) In `BoardMemory.history`;
 * B.HISTORY counts them. The owner of the turn adds one before it writes, and it stays as it is until the execution
 * ends.
 */
export const WORDS = 12;

/** 1 + the number of the write before it to the same location, 0 for none. */
export const PREVIOUS = 0;
/** The value that it overwrote. */
export const VALUE = 1;
/** The thread that wrote. */
export const WRITER = 2;
/** That thread's vector clock at the write, 8 words. */
export const CLOCK = 3;
