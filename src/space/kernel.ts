/** One thread's hands on one machine: its cpu and the tables of every room, over the shared words. Made by `machine.ts`. */
import type { Files } from '../backing/files.ts';
import type { PageCache } from '../backing/page-cache.ts';
import type { Reclaim } from '../backing/reclaim.ts';
import type { TextStore } from '../backing/text.ts';
import type { Frames } from '../memory/frames.ts';
import type { Regions } from '../memory/regions.ts';
import type { Slab } from '../memory/slab.ts';
import type { Rmap } from '../paging/rmap.ts';
import type { Tables } from '../paging/tables.ts';
import type { Cpu } from '../sync/cpu.ts';
import type { Rcu } from '../sync/rcu.ts';
import type { Planner } from '../vma/plan.ts';
import type { VmaTree } from '../vma/tree.ts';
import type { VmaTable } from '../vma/vma-table.ts';

export interface Slabs {
  readonly vma: Slab;
  readonly node: Slab;
  readonly table: Slab;
  readonly mapping: Slab;
  readonly rmap: Slab;
  readonly text: Slab;
}

export interface Kernel {
  readonly cpu: Cpu;
  readonly words: Int32Array;
  readonly floats: Float64Array;
  readonly regions: Regions;
  readonly rcu: Rcu;
  readonly slabs: Slabs;
  readonly frames: Frames;
  readonly tables: Tables;
  readonly rmap: Rmap;
  readonly vmas: VmaTable;
  readonly tree: VmaTree;
  readonly planner: Planner;
  readonly texts: TextStore;
  readonly cache: PageCache;
  readonly reclaim: Reclaim;
  readonly files: Files;
}

/** Slab kinds: the number of the slab's line and of its chunks in the arena's directory. */
export const SLAB_VMA = 0;
export const SLAB_NODE = 1;
export const SLAB_TABLE = 2;
export const SLAB_MAPPING = 3;
export const SLAB_RMAP = 4;
export const SLAB_TEXT = 5;

/** Kinds of retired objects. */
export const RETIRE_FRAME = 0;
export const RETIRE_TABLE = 1;
export const RETIRE_NODE = 2;
export const RETIRE_VMA = 3;
export const RETIRE_RMAP = 4;
