/** How much memory the machine gets, and how little will do. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { MiB, PAGE_SIZE } from '../src/index.ts';
import { UsageError } from './errors.ts';
import { MAX_MEMORY, type RunOptions } from './options.ts';
import { formatSize } from './sizes.ts';

const LEAST_DEFAULT: number = 16 * MiB;
const LEAST_BASE: number = MiB;
/** Each thread has pages locked for reading, a private copy and a stock of free frames. */
const LEAST_PER_THREAD: number = MiB / 4;

/** A leaf page table maps so much. A machine has a table for every 4 frames, and 1024 more. */
const TABLE_SPAN: number = 2 * MiB;
const TABLES_FREE = 1024;
const FRAMES_PER_TABLE = 4;
const SPARE_TABLES = 64;
const SPARE_TABLES_PER_THREAD = 8;

/** A quarter of the file, so that most of it must be read again and again. */
export function memoryFor(size: number): number {
  const quarter = Math.ceil(size / 4 / PAGE_SIZE) * PAGE_SIZE;
  return Math.min(MAX_MEMORY, Math.max(LEAST_DEFAULT, quarter));
}

/** Throws UsageError if that is too little to map a file of `size` bytes. */
export function checkMemory({ memory, threads }: RunOptions, size: number): void {
  const least = leastMemory(size, threads);
  if (least > MAX_MEMORY) {
    throw new UsageError(`the file is too large: its page tables do not fit into ${formatSize(MAX_MEMORY)} of memory`);
  }
  if (memory === undefined || memory >= least) return;
  const what = size === 0 ? '' : ` and a file of ${formatSize(size)}`;
  const readers = `${threads} ${threads === 1 ? 'thread' : 'threads'}`;
  throw new UsageError(
    `--memory ${formatSize(memory)} is too little for ${readers}${what}; the least is ${Math.ceil(least / MiB)} MiB`,
  );
}

function leastMemory(size: number, threads: number): number {
  const leaves = Math.ceil(size / TABLE_SPAN);
  const tables = leaves + Math.ceil(leaves / 512) + SPARE_TABLES + threads * SPARE_TABLES_PER_THREAD;
  const forTables = (tables - TABLES_FREE) * FRAMES_PER_TABLE * PAGE_SIZE;
  return Math.max(LEAST_BASE + threads * LEAST_PER_THREAD, forTables);
}

/** Lets go of the last machine before the next one is made: together they may not fit into the host. */
export function freeUnused(): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
}
