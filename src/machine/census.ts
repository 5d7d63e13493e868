/** Conservation (I26): what every pool holds. */
import { peek } from '#atomics';
import type { MmRef } from '../base/brands.ts';
import { MM_MAP_COUNT } from '../paging/mm.layout.ts';
import type { Kernel } from '../space/kernel.ts';
import { forEachMm } from '../space/mm.ts';

export interface PoolCensus {
  /** In use. */
  readonly live: number;
  /** Allocated by a thread, not yet published: work in progress. */
  readonly owned: number;
  /** Waiting for a grace period. */
  readonly retired: number;
  readonly free: number;
}

export interface Census {
  readonly frames: PoolCensus;
  readonly vma: PoolCensus;
  readonly node: PoolCensus;
  readonly table: PoolCensus;
  readonly file: PoolCensus;
  readonly rmap: PoolCensus;
  readonly text: PoolCensus;
  readonly spaces: number;
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
