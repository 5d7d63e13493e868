/**
 * The regions of the control memory behind the fixed part (see sync/control.layout.ts), sized from the number of frames. Memory
 * that is never touched costs address space only, so the regions are generous.
 *
 * ```
 * CONTROL_END +---------------------+
 *             | spaces, 64 x 256    |
 *             | pages, 16 a frame   |
 *             | page-cache buckets  |  one a frame, rounded up to a power of two
 *             | table headers, 16   |
 *             | tables, 512 each    |  aligned to 512 words: a PTE's table is its index with nine bits cleared
 *             | arena               |  directory, then chunks of 4096 words, each cut into records of one kind
 *             +---------------------+
 * ```
 */
import { MAX_CPUS, MAX_SPACES } from '../base/limits.ts';
import { MAGAZINE } from '../base/tunables.ts';
import { CONTROL_END } from '../sync/control.layout.ts';
import { CHUNK_WORDS, PAGE_RECORD_WORDS, SPACE_WORDS, TABLE_HEADER_WORDS, TABLE_WORDS } from './regions.layout.ts';

export interface Regions {
  readonly frames: number;
  readonly spaces: number;
  readonly pages: number;
  readonly buckets: number;
  readonly bucketCount: number;
  readonly tableHeaders: number;
  readonly tables: number;
  readonly tableCount: number;
  readonly directory: number;
  readonly chunks: number;
  readonly chunkCount: number;
  /** Total number of words. */
  readonly words: number;
}

/** Words of one record of each kind that is cut from the arena, all together. */
export const ARENA_RECORD_WORDS = 272;

/**
 * Page tables, and chunks of the arena, that can be in use. There are more of both, by what all cpus' magazines hold: records that
 * idle threads keep are never missing elsewhere, and need not be stolen as frames are (see docs/decisions/0035).
 */
export function promisedTables(frames: number): number {
  return (frames >> 2) + 1024;
}
export function promisedChunks(frames: number): number {
  return Math.max(1024, frames >> 7);
}

export function computeRegions(frames: number): Regions {
  const bucketCount = 2 ** Math.ceil(Math.log2(frames));
  const inMagazines = MAX_CPUS * MAGAZINE;
  const tableCount = promisedTables(frames) + inMagazines;
  const chunkCount = promisedChunks(frames) + Math.ceil((inMagazines * ARENA_RECORD_WORDS) / CHUNK_WORDS);
  const spaces = CONTROL_END;
  const pages = align(spaces + MAX_SPACES * SPACE_WORDS, 16);
  const buckets = pages + frames * PAGE_RECORD_WORDS;
  const tableHeaders = align(buckets + bucketCount, 16);
  const tables = align(tableHeaders + tableCount * TABLE_HEADER_WORDS, TABLE_WORDS);
  const directory = tables + tableCount * TABLE_WORDS;
  const chunks = align(directory + chunkCount, 16);
  const words = chunks + chunkCount * CHUNK_WORDS;
  return {
    frames,
    spaces,
    pages,
    buckets,
    bucketCount,
    tableHeaders,
    tables,
    tableCount,
    directory,
    chunks,
    chunkCount,
    words,
  };
}

function align(words: number, to: number): number {
  return Math.ceil(words / to) * to;
}
