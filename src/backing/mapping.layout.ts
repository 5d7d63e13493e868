/**
 * The record of one open file's page cache (Linux's address_space), 32 words.
 *
 * ```
 *  0 state  1 link  2 refs  3 serial  4 descriptor  5 openers low  6 openers high
 *  8 size (Float64, bytes)   10 lock
 * ```
 */
export const MAPPING_WORDS = 32;
/** Each VMA that says so: 1; each cpu that has the file open: 1. Under the lock: whoever takes it from a dead thread counts anew. */
export const F_REFS = 2;
/** Distinguishes this file from the one that had the record before. */
export const F_SERIAL = 3;
/** Text record with the JSON from which any thread makes its own backing. Written before publication; 0 while free. */
export const F_DESCRIPTOR = 4;
/** Bit per cpu that has it open; under the lock. */
export const F_OPENERS = 5;
/** Bytes, Float64. Fixed when the file was opened. */
export const F_SIZE = 8;
/** Spinlock over refs and openers, and over the notes of VMAs that they hold a reference. */
export const F_LOCK = 10;
