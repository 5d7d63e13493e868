/**
 * Pages that a thread cannot read itself: which of them a fault wanted, and putting them into the cache once somebody has read them
 * with nothing held. What was found out before the read is compared again after it.
 */
import type { MappingRef, PageRef, VmaRef, Vpn } from '../base/brands.ts';
import { NONE } from '../base/brands.ts';
import { PAGE_SIZE } from '../base/limits.ts';
import { rootOf } from '../space/layout.ts';
import type { Faulter } from './faulter.ts';

/** `count` pages of a file from `index` on that are not in the cache. */
export interface AbsentPages {
  readonly mapping: MappingRef;
  readonly serial: number;
  readonly index: number;
  readonly count: number;
}

/**
 * The pages to be read for a fault at `vpn` and those after it, `most` at most; undefined if the fault waits for something else.
 * Requires: outside sections.
 */
export function absentPages(f: Faulter, vpn: Vpn, most: number): AbsentPages | undefined {
  const { rcu, tree, vmas, files, cache } = f.k;
  rcu.enter(f.view);
  try {
    const vma = tree.find(rootOf(f.k, f.mm), vpn);
    const mapping = vma === NONE ? NONE : vmas.mapping(vma);
    if (mapping === NONE) return undefined;
    const index = vmas.pageIndex(vma, vpn);
    const limit = Math.min(most, vmas.end(vma) - vpn);
    let count = 0;
    while (count < limit && files.contains(mapping as MappingRef, index + count)) {
      if (cache.lookup(mapping as MappingRef, index + count) !== (NONE as PageRef)) break;
      count++;
    }
    if (count === 0) return undefined;
    return { mapping: mapping as MappingRef, serial: files.serial(mapping as MappingRef), index, count };
  } finally {
    rcu.leave(f.view);
  }
}

/**
 * Puts the bytes of `pages` into the cache, if `vpn` still maps the first of them. The VMA is named in the slot as by a fault that
 * sleeps: it keeps the file. Requires: outside sections. Throws ENOMEM, EIO, WouldBlock.
 */
export function providePages(f: Faulter, vpn: Vpn, pages: AbsentPages, bytes: Uint8Array): void {
  const { k, mm } = f;
  k.rcu.enter(f.view);
  try {
    f.protocol.begin(k, mm);
    try {
      const vma = k.tree.find(rootOf(k, mm), vpn);
      if (!mapsStill(f, vma, vpn, pages)) return; // the next fault says what is there now
      f.protocol.sleep(k, mm, vma, () => k.files.provide(pages.mapping, pages.index, bytes));
    } finally {
      f.protocol.end(k, mm);
    }
  } finally {
    k.rcu.leave(f.view);
  }
}

function mapsStill(f: Faulter, vma: VmaRef, vpn: Vpn, { mapping, serial, index }: AbsentPages): boolean {
  const { vmas, files } = f.k;
  if (vma === NONE || vmas.mapping(vma) !== mapping) return false;
  return files.serial(mapping) === serial && vmas.pageIndex(vma, vpn) === index;
}

/** Bytes of the file in the pages. */
export function bytesIn(f: Faulter, { mapping, index, count }: AbsentPages): number {
  return Math.min(count * PAGE_SIZE, f.k.files.size(mapping) - index * PAGE_SIZE);
}
