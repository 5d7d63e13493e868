/**
 * A location: an element of shared memory that somebody has touched, or a page of frame data. (Imported as `L`.) Two
 * words in `BoardMemory.locations`, by number from 1 on; numbers last for all executions. The owner of the turn reads
 * and writes them.
 */
export const WORDS = 2;

/** Byte address of its first byte. Written once, with the number. */
export const ADDRESS = 0;
/**
 * Who has touched it, in any execution so far: bit per thread that read it, from WRITERS_SHIFT on those that wrote
 * it; MARKED. Bits are only added.
 */
export const MASK = 1;

export const THREADS = 0xff;
export const WRITERS_SHIFT = 8;
/** Everybody has read and written it. */
export const ANYBODY = 0xffff;
/** A marked read has read it: it has a history. */
export const MARKED = 0x10000;

/** Locations that one model may touch. */
export const MOST = 65_536;

/**
 * Of the threads in a mask, those whose accesses conflict with one that writes (with any access) or reads (with a
 * write).
 */
export function conflicting(mask: number, writes: boolean): number {
  return (writes ? mask | (mask >> WRITERS_SHIFT) : mask >> WRITERS_SHIFT) & THREADS;
}
