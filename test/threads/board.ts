/** The words that the threads of one test share, beside the machine: how they meet, and how far each has come. */

/** 1: everybody is to end. */
export const STOP = 0;
/** Threads that are about to begin. */
export const READY = 1;
/** What the mapper and the replacer write. */
export const PERIOD = 2;
/** 1: the page of the writer may be written. */
export const LATCH = 3;
/** Times that the writer was stopped by a fault. */
export const PAUSED = 4;
/** From here on one word a thread: what it has done so far. */
export const PROGRESS = 8;
export const BOARD_WORDS = 64;

/** A wait for another thread looks again this often: nothing depends on it but how soon a stop is seen. */
export const LOOK_AGAIN_MS = 20;
