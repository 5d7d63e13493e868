/** What must hold of a machine when no call is under way, whatever has failed or died before. */

import { F_LOCK } from '../../../src/backing/mapping.layout.ts';
import type { MappingRef, PageRef, Pfn } from '../../../src/base/brands.ts';
import { MAX_SPACES } from '../../../src/base/limits.ts';
import type { Machine } from '../../../src/index.ts';
import { P_INDEX, P_LOCK, P_MAPPING, P_REFS, P_RMAP_LOCK } from '../../../src/memory/page.layout.ts';
import { SPACE_WORDS } from '../../../src/memory/regions.layout.ts';
import type { Slab } from '../../../src/memory/slab.ts';
import { MM_MMAP_LOCK, MM_TREE_LOCK } from '../../../src/paging/mm.layout.ts';
import { T_LOCK } from '../../../src/paging/table.layout.ts';
import {
  ARENA_LOCK,
  C_FUTEX,
  C_FUTEX_ASYNC,
  C_INTENT,
  C_PAGE_LOCKS,
  C_RETIRE_FREEING,
  C_RETIRE_LOCK,
  C_RW_HOLD,
  C_RW_WAIT,
  C_SLOT,
  C_STATE,
  CPU_ATTACHED,
  CPU_FREE,
  CPU_LEFT,
  CPUS_USED,
  cpuSlot,
  FRAME_BUMP,
  FRAME_LOCK,
  FUTEX_ASYNC_ENTRIES,
  FUTEX_BUCKETS,
  FUTEX_ENTRY_WORDS,
  FUTEX_LINES,
  H_POISON,
  HASH_LOCK_LINES,
  HASH_LOCKS,
  LINE,
  PAGE_LOCK_SLOTS,
  SLAB_LINES,
  SPACE_LOCK,
} from '../../../src/sync/control.layout.ts';

/** What is wrong, in words. Requires: every dead thread reaped, no call under way. */
export function aftermath(machine: Machine): string[] {
  const problems = [...heldLocks(machine), ...busySlots(machine)];
  const { words } = machine.kernel;
  if (words[H_POISON] !== 0) problems.push(`poisoned by cpu ${(words[H_POISON] as number) - 1}`);
  return [...problems, ...countedFrames(machine), ...unreclaimable(machine)];
}

/** Cached pages that reclaim would leave alone for ever: the cache's reference is gone, or another is counted. */
function unreclaimable({ kernel: { words, frames, cache } }: Machine): string[] {
  const problems: string[] = [];
  for (let pfn = 1; pfn < (words[FRAME_BUMP] as number); pfn++) {
    const page: PageRef = frames.pageOf(pfn as Pfn);
    const [mapping, index, refs] = [P_MAPPING, P_INDEX, P_REFS].map((word) => words[page + word] as number);
    if (mapping === 0 || cache.find(mapping as MappingRef, index as number) !== page || refs === 1) continue;
    problems.push(`page ${index} of file ${mapping} is in the cache with ${refs} references`);
  }
  return problems;
}

/** Every frame that was taken and not given back is somebody's. Requires: as `aftermath`. */
function countedFrames(machine: Machine): string[] {
  const counters = machine.counters();
  const difference = (counters['frames.allocated'] as number) - (counters['frames.freed'] as number);
  const { live, owned, retired } = machine.census().frames;
  if (difference === live + owned + retired) return [];
  return [`${difference} frames are counted as in use, but ${live} live, ${owned} owned, ${retired} retired are`];
}

/** The names of the locks that somebody holds. */
export function heldLocks(machine: Machine): string[] {
  const { words } = machine.kernel;
  const held: string[] = [];
  for (const { name, at } of allLocks(machine)) {
    if (words[at] !== 0) held.push(`${name} is held: ${words[at]}`);
  }
  return held;
}

function* allLocks({ kernel: { words, slabs, frames, regions } }: Machine): Generator<{ name: string; at: number }> {
  yield { name: 'the frame pool', at: FRAME_LOCK };
  yield { name: 'the arena', at: ARENA_LOCK };
  yield { name: 'the space list', at: SPACE_LOCK };
  for (const slab of Object.values(slabs) as Slab[]) {
    yield { name: `slab ${slab.name}`, at: SLAB_LINES + slab.kind * LINE };
  }
  for (let i = 0; i < FUTEX_BUCKETS; i++) yield { name: `futex bucket ${i}`, at: FUTEX_LINES + i * LINE };
  for (let i = 0; i < HASH_LOCKS; i++) yield { name: `page-cache lock ${i}`, at: HASH_LOCK_LINES + i * LINE };
  for (let id = 0; id < (words[CPUS_USED] as number); id++) {
    yield { name: `the retire list of cpu ${id}`, at: cpuSlot(id) + C_RETIRE_LOCK };
  }
  for (let pfn = 1; pfn < (words[FRAME_BUMP] as number); pfn++) {
    const page: PageRef = frames.pageOf(pfn as Pfn);
    yield { name: `the page lock of frame ${pfn}`, at: page + P_LOCK };
    yield { name: `the reverse-map lock of frame ${pfn}`, at: page + P_RMAP_LOCK };
  }
  for (let i = 0; i < MAX_SPACES; i++) {
    const mm = regions.spaces + i * SPACE_WORDS;
    yield { name: `the tree lock of space ${i}`, at: mm + MM_TREE_LOCK };
    yield { name: `the mmap_lock of space ${i}`, at: mm + MM_MMAP_LOCK };
    yield { name: `the queue of mmap_lock of space ${i}`, at: mm + MM_MMAP_LOCK + 2 };
  }
  for (const table of recordsOf(slabs.table)) yield { name: `the lock of table ${table}`, at: table + T_LOCK };
  for (const file of recordsOf(slabs.mapping)) yield { name: `the lock of file ${file}`, at: file + F_LOCK };
}

function recordsOf(slab: Slab): number[] {
  const records: number[] = [];
  slab.forEach((record) => {
    records.push(record);
  });
  return records;
}

/** What a cpu's slot says while its thread is in the middle of something. */
const BUSY: readonly (readonly [number, string])[] = [
  [C_SLOT, 'is in a section'],
  [C_RW_HOLD, 'reads an mmap_lock'],
  [C_RW_WAIT, 'waits for an mmap_lock'],
  [C_INTENT, 'has a layout operation under way'],
  [C_RETIRE_FREEING, 'is freeing'],
  [C_FUTEX, 'waits for a notify'],
  ...Array.from(
    { length: FUTEX_ASYNC_ENTRIES },
    (_, i) => [C_FUTEX_ASYNC + i * FUTEX_ENTRY_WORDS, 'waits for a notify in waitAsync'] as const,
  ),
];

/** Whether a thread has the cpu, or somebody is still to finish its work. */
export function isTaken({ kernel: { words } }: Machine, id: number): boolean {
  const state = words[cpuSlot(id) + C_STATE] as number;
  return state !== CPU_FREE && state !== CPU_LEFT;
}

function busySlots({ kernel: { words } }: Machine): string[] {
  const problems: string[] = [];
  for (let id = 0; id < (words[CPUS_USED] as number); id++) {
    const slot = cpuSlot(id);
    const state = words[slot + C_STATE] as number;
    if (state === CPU_FREE || state === CPU_LEFT) continue;
    if (state !== CPU_ATTACHED) problems.push(`cpu ${id} is left in state ${state}`);
    for (const [word, what] of BUSY) if (words[slot + word] !== 0) problems.push(`cpu ${id} ${what}`);
    for (let i = 0; i < PAGE_LOCK_SLOTS; i++) {
      if (words[slot + C_PAGE_LOCKS + i] !== 0)
        problems.push(`cpu ${id} has page ${words[slot + C_PAGE_LOCKS + i]} noted as locked`);
    }
  }
  return problems;
}
