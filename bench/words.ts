/** Names for the words of the control memory, for reports. */
import { PAGE_RECORD_WORDS, SPACE_WORDS, TABLE_HEADER_WORDS } from '../src/memory/regions.layout.ts';
import { computeRegions } from '../src/memory/regions.ts';
import { PAGE_SIZE } from '../src/node.ts';
import { MM_GENERATION, MM_MMAP_LOCK, MM_TREE_LOCK } from '../src/paging/mm.layout.ts';
import { T_LOCK } from '../src/paging/table.layout.ts';
import {
  ARENA_LOCK,
  C_RETIRE_LOCK,
  CPU_WORDS,
  CPUS,
  EPOCH,
  FRAME_LOCK,
  LINE,
  LOCKDEP,
  SLAB_LINES,
  TABLE_BUMP,
} from '../src/sync/control.layout.ts';

const SLABS = ['VMA', 'tree node', 'page table', 'file', 'reverse-map', 'text'];
const FIXED: ReadonlyMap<number, string> = new Map([
  [EPOCH, 'epoch'],
  [FRAME_LOCK, 'frame pool lock'],
  [ARENA_LOCK, 'arena lock'],
  [TABLE_BUMP, 'page-table bump'],
]);
const SPACE_LOCKS: ReadonlyMap<number, string> = new Map([
  [MM_MMAP_LOCK, 'mmap_lock'],
  [MM_TREE_LOCK, 'tree lock'],
  [MM_GENERATION, 'generation'],
]);

/** `memory` is the machine's: the regions lie behind each other, sized by its frames. */
export function nameOfWord(word: number, memory: number): string {
  if (word < CPUS) return FIXED.get(word) ?? slabName(word);
  if (word < LOCKDEP) return (word - CPUS) % CPU_WORDS === C_RETIRE_LOCK ? 'retire lock' : 'cpu slot';
  const regions = computeRegions(memory / PAGE_SIZE);
  if (word < regions.pages) return SPACE_LOCKS.get((word - regions.spaces) % SPACE_WORDS) ?? 'space';
  if (word < regions.buckets) return `page record +${(word - regions.pages) % PAGE_RECORD_WORDS}`;
  if (word < regions.tableHeaders) return 'page-cache bucket';
  if (word < regions.tables)
    return (word - regions.tableHeaders) % TABLE_HEADER_WORDS === T_LOCK ? 'leaf lock' : 'table';
  return word < regions.directory ? 'page-table entry' : 'record';
}

function slabName(word: number): string {
  const kind = Math.floor((word - SLAB_LINES) / LINE);
  return SLABS[kind] === undefined ? `word ${word}` : `${SLABS[kind]} slab lock`;
}
