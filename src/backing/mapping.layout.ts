/**
 * The record of one open file's page cache (Linux's address_space), 32 words.
 *
 * ```
 *  0 state  1 link  2 refs  3 serial  4 descriptor  5 lock  6 size (Float64, bytes)
 *  8 openers, a bit for each cpu: as many words as there are cpus for (openers.ts), up to the end of the record
 * ```
 */
export const MAPPING_WORDS = 32;
/** Each VMA that says so: 1; each cpu that has the file open: 1. Under the lock: whoever takes it from a dead thread counts anew. */
export const F_REFS = 2;
/** Distinguishes this file from the one that had the record before. */
export const F_SERIAL = 3;
/** Text record with the JSON from which any thread makes its own backing. Written before publication; 0 while free. */
export const F_DESCRIPTOR = 4;
/** Spinlock over refs and openers, and over the notes of VMAs that they hold a reference. */
export const F_LOCK = 5;
/** Bytes, Float64. Fixed when the file was opened. */
export const F_SIZE = 6;
/** Bit per cpu that has it open; under the lock. The last of the record, as their number follows from that of the cpus. */
export const F_OPENERS = 8;
