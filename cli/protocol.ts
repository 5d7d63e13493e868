/**
 * What the main thread and its workers share besides the machine. Workers stop by a flag and keep their figures in shared
 * memory, so that nothing is lost when one has to be ended.
 *
 * ```
 * control  Int32     STOP | GO | SLEEPS | SLEEPERS
 * figures  Float64   one block a worker; a cell has one writer, its worker, and any reader
 * ```
 */
import type { FileHandle, SpaceHandle } from '../src/index.ts';
import { LATENCY_CELLS } from './latency.ts';

export const STOP = 0;
/** Measuring begins when it is 1: everybody waits for the slowest to start. */
export const GO = 1;
/** Reads that have begun to sleep for the I/O delay, and those asleep now. */
export const SLEEPS = 2;
export const SLEEPERS = 3;
export const CONTROL_BYTES = 16;

/** Bytes whose SHA-256 was the same through the mapping and by a direct read. */
export const VERIFIED = 0;
/** Words written to private copies, found there and nowhere else. */
export const PRIVATE_WRITES = 1;
/** When the mapping call that is now under way began (milliseconds since 1970), or 0. */
export const PENDING_SINCE = 2;
/** Histograms: mmap+munmap, those of them that began while a read slept, mprotect. */
export const MAPPING_TIMES = 8;
export const SLEEP_TIMES: number = MAPPING_TIMES + LATENCY_CELLS;
export const PROTECT_TIMES: number = SLEEP_TIMES + LATENCY_CELLS;
export const FIGURE_CELLS: number = PROTECT_TIMES + LATENCY_CELLS;

export interface WorkerSetup {
  readonly space: SpaceHandle;
  readonly control: SharedArrayBuffer;
  readonly figures: SharedArrayBuffer;
}

export interface ReaderSetup extends WorkerSetup {
  readonly file: FileHandle;
  readonly path: string;
  readonly size: number;
  /** Where the whole file is mapped for reading. */
  readonly base: number;
  /** Pages of the file that this reader may have mapped as a private copy at a time. */
  readonly copyPages: number;
  readonly seed: number;
  /** From 0 to 1: how far it is on its way to its first slow read. */
  readonly phase: number;
}

/** Wrong bytes; the file was changed by others and could not be read to its end; anything else. */
export type FailureKind = 'mismatch' | 'changed' | 'error';

/** From a worker. `failed` is its last: something was wrong, `detail` says where. */
export type WorkerMessage =
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed'; readonly what: FailureKind; readonly detail: string };
