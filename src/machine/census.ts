/** Conservation (I26): what every pool holds. */
import { peek } from '#atomics';
import type { MmRef } from '../base/brands.ts';
import { MM_MAP_COUNT } from '../paging/mm.layout.ts';
import type { Kernel } from '../space/kernel.ts';
import { forEachMm } from '../space/mm.ts';

/** What a pool holds: numbers of frames, or of records. */
export interface PoolCensus {
  /** In use. */
  readonly live: number;
  /** Allocated by a thread, not yet published: work in progress. */
  readonly owned: number;
  /** Waiting for a grace period. */
  readonly retired: number;
  /** Free, the caches of the threads included. */
  readonly free: number;
}

/** What every pool of a machine holds. */
export interface Census {
  /** Frames: pages of memory. */
  readonly frames: PoolCensus;
  /** Records of mappings. */
  readonly vma: PoolCensus;
  /** Nodes of the trees of mappings. */
  readonly node: PoolCensus;
  /** Page tables. */
  readonly table: PoolCensus;
  /** Files that are open or mapped. */
  readonly file: PoolCensus;
  /** Records of which page tables show a page of a file. */
  readonly rmap: PoolCensus;
  /** Pieces of text: the options of files. */
  readonly text: PoolCensus;
  /** Spaces that some thread has open. */
  readonly spaces: number;
  /** Mappings of all spaces. */
  readonly mappings: number;
}

/** @internal */
export function takeCensus(k: Kernel): Census {
  let spaces = 0;
  let mappings = 0;
  forEachMm(k, (mm: MmRef) => {
    spaces++;
    mappings += peek(k.words, mm + MM_MAP_COUNT);
  });
  return {
    frames: k.frames.census(),
    vma: k.slabs.vma.census(),
    node: k.slabs.node.census(),
    table: k.slabs.table.census(),
    file: k.slabs.mapping.census(),
    rmap: k.slabs.rmap.census(),
    text: k.slabs.text.census(),
    spaces,
    mappings,
  };
}
