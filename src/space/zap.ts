/**
 * Taking pages out of a range, in Linux's order: unhook, flush, free (I11). The page table itself is the gather: the first
 * pass marks each entry ZAPPED (no new translation), then the generation is bumped, the second pass lets go of page, slot and
 * entry. So there is no batch to overflow, and a thread that dies in between leaves entries that say what is still to do.
 *
 * Requires: mmap_lock for writing, the range's VMAs detached, outside sections (or nobody but us left in the space).
 */
import { exchange, peek, peekRacy, poke, store } from '#atomics';
import type { MmRef, PageRef, TableRef, Vpn } from '../base/brands.ts';
import { NONE } from '../base/brands.ts';
import { RETIRED, stateKind } from '../memory/ownership.ts';
import { P_FLAGS, P_LINK, P_REFS, P_RMAP_SLOT, P_STATE, PG_ANON } from '../memory/page.layout.ts';
import { bumpGeneration } from '../paging/generation.ts';
import { makePte, PTE_ZAPPED, ptePfn } from '../paging/pte.ts';
import { LEAF_PAGES } from '../paging/table.layout.ts';
import { COUNTER } from '../trace/counters.ts';
import { type Kernel, RETIRE_FRAME } from './kernel.ts';

const BITS_ONLY = 'under the leaf lock only accessed and dirty bits change, and only the pfn is used';

const KIND_ONLY = 'PG_ANON does not change while a PTE names the page; the other bits are not looked at';

/** Empties [start, end). Returns whether there is a page table for any of it. */
export function zapRange(k: Kernel, mm: MmRef, start: Vpn, end: Vpn): boolean {
  if (!k.tables.hasLeaf(mm, start, end)) return false;
  // In a section: a leaf that reclaim tears down meanwhile is empty, but stays this space's until we are through.
  const found = k.rcu.walking(() => zapLeaves(k, mm, start, end));
  k.cpu.countMany(COUNTER['pages.zapped'], found);
  return true;
}

function zapLeaves(k: Kernel, mm: MmRef, start: Vpn, end: Vpn): number {
  let found = 0;
  k.tables.forEachLeaf(mm, start, end, (leaf, from, to) => {
    found += markLeaf(k, leaf, from, to);
  });
  // If nothing was there nothing is stale: reclaim bumps under the leaf lock that we have just held.
  if (found === 0) return 0;
  bumpGeneration(k.cpu, mm, start, end);
  k.tables.forEachLeaf(mm, start, end, (leaf, from, to) => releaseLeaf(k, leaf, from, to));
  return found;
}

/** Tears down the leaves of [start, end) that lie wholly in the hole [low, high). */
export function tearDownTables(k: Kernel, mm: MmRef, start: Vpn, end: Vpn, low: Vpn, high: Vpn): void {
  k.rcu.walking(() =>
    k.tables.forEachLeaf(mm, start, end, (leaf, from) => {
      const first = from - (from % LEAF_PAGES);
      if (first >= low && first + LEAF_PAGES <= high) k.tables.tearDownLeaf(leaf);
    }),
  );
}

function markLeaf(k: Kernel, leaf: TableRef, from: Vpn, to: Vpn): number {
  const { words } = k;
  const base = k.tables.entries(leaf);
  const last = base + ((to - 1) % LEAF_PAGES);
  let found = 0;
  // Even an empty leaf is locked: a fault that saw the VMA attached may be about to install and count its page.
  k.tables.lockLeaf(leaf);
  const used = k.tables.used(leaf) > 0;
  for (let entry = base + (from % LEAF_PAGES); used && entry <= last; entry++) {
    // Under the lock only the accessed and dirty bits change, by cas on the value seen; the exchange ends that.
    const pte = peekRacy(words, entry, BITS_ONLY);
    if (pte === 0) continue;
    found++;
    exchange(words, entry, makePte(ptePfn(pte), PTE_ZAPPED));
  }
  k.tables.unlockLeaf(leaf);
  return found;
}

function releaseLeaf(k: Kernel, leaf: TableRef, from: Vpn, to: Vpn): void {
  const { words } = k;
  const base = k.tables.entries(leaf);
  const last = base + ((to - 1) % LEAF_PAGES);
  let head: PageRef | 0 = NONE as PageRef;
  let tail = head;
  let chained = 0;
  k.tables.lockLeaf(leaf);
  for (let entry = base + (from % LEAF_PAGES); entry <= last; entry++) {
    const pte = peek(words, entry);
    if ((pte & PTE_ZAPPED) === 0) continue;
    if (releasePage(k, pte, entry)) {
      // In the order of addresses: frames that are zeroed in ascending order cost half (the processor's prefetcher).
      const page = k.frames.pageOf(ptePfn(pte));
      if (head === NONE) head = page;
      else poke(words, tail + P_LINK, page);
      tail = page;
      chained++;
    }
    store(words, entry, 0);
    k.tables.addUsed(leaf, -1);
  }
  k.tables.unlockLeaf(leaf);
  if (chained > 0) k.rcu.retireChain(RETIRE_FRAME, head, tail, chained);
}

/** Lets go of the page behind a zapped entry. True if its frame is now to be retired. Requires: leaf lock. */
function releasePage(k: Kernel, pte: number, entry: number): boolean {
  const { words } = k;
  const pfn = ptePfn(pte);
  if (pfn === 0) return false;
  const page = k.frames.pageOf(pfn);
  if ((peekRacy(words, page + P_FLAGS, KIND_ONLY) & PG_ANON) === 0) {
    k.rmap.remove(page, entry);
    return false;
  }
  // A thread died between these two lines and the entry's store: the page is in its hands, the reaper's scan finds it.
  if (stateKind(peek(words, page + P_STATE)) === RETIRED) return false;
  k.frames.markRetired(page);
  poke(words, page + P_REFS, 0);
  poke(words, page + P_FLAGS, 0);
  poke(words, page + P_RMAP_SLOT, 0);
  return true;
}
