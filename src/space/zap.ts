/**
 * Taking pages out of a range, in Linux's order: unhook, flush, free (I11). The page table itself is the gather: the first
 * pass marks each entry ZAPPED (no new translation), then the generation is bumped, the second pass lets go of page, slot and
 * entry. So there is no batch to overflow, and a thread that dies in between leaves entries that say what is still to do.
 *
 * Requires: mmap_lock for writing, the range's VMAs detached, outside sections (or nobody but us left in the space).
 */
import { peek, peekRacy, poke } from '#atomics';
import type { MmRef, PageRef, Vpn } from '../base/brands.ts';
import { NONE } from '../base/brands.ts';
import { RETIRED, stateKind } from '../memory/ownership.ts';
import { P_FLAGS, P_LINK, P_REFS, P_RMAP_SLOT, P_STATE, PG_ANON } from '../memory/page.layout.ts';
import { RangeCursor } from '../paging/cursor.ts';
import { bumpGeneration } from '../paging/generation.ts';
import { isZapped, ptePfn, zappedPte } from '../paging/pte.ts';
import { LEAF_PAGES } from '../paging/table.layout.ts';
import { COUNTER } from '../trace/counters.ts';
import { type Kernel, RETIRE_FRAME } from './kernel.ts';

const KIND_ONLY = 'PG_ANON does not change while a PTE names the page; the other bits are not looked at';

/** Empties [start, end). Returns whether there is a page table for any of it. */
export function zapRange(k: Kernel, mm: MmRef, start: Vpn, end: Vpn): boolean {
  if (k.tables.leafFrom(mm, start, end) === NONE) return false;
  // In a section: a leaf that reclaim tears down meanwhile is empty, but stays this space's until we are through.
  const found = k.rcu.walking(() => {
    const marked = markEntries(k, mm, start, end);
    // If nothing was there nothing is stale: reclaim bumps under the leaf lock that we have just held.
    if (marked === 0) return 0;
    bumpGeneration(k.cpu, mm, start, end);
    releaseEntries(k, mm, start, end);
    return marked;
  });
  k.cpu.countMany(COUNTER['pages.zapped'], found);
  return true;
}

/** Tears down the leaves of [start, end) that lie wholly in the hole [low, high). */
export function tearDownTables(k: Kernel, mm: MmRef, start: Vpn, end: Vpn, low: Vpn, high: Vpn): void {
  k.rcu.walking(() =>
    k.tables.forEachLeaf(mm, start, end, (leaf) => {
      const first = k.tables.firstPage(leaf);
      if (first >= low && first + LEAF_PAGES <= high) k.tables.tearDownLeaf(leaf);
    }),
  );
}

/** How many there were. */
function markEntries(k: Kernel, mm: MmRef, start: Vpn, end: Vpn): number {
  const cursor = new RangeCursor(k.tables, k.words, mm, start, end);
  let found = 0;
  while (cursor.nextLeaf()) {
    for (let entry = cursor.first(); entry !== NONE; entry = cursor.after(entry)) {
      found++;
      k.tables.exchangeEntry(cursor.leaf, entry, zappedPte(cursor.pte));
    }
  }
  return found;
}

function releaseEntries(k: Kernel, mm: MmRef, start: Vpn, end: Vpn): void {
  const cursor = new RangeCursor(k.tables, k.words, mm, start, end);
  while (cursor.nextLeaf()) releaseLeaf(k, cursor);
}

function releaseLeaf(k: Kernel, cursor: RangeCursor): void {
  const { words } = k;
  let head: PageRef | 0 = NONE as PageRef;
  let tail = head;
  let chained = 0;
  for (let entry = cursor.first(); entry !== NONE; entry = cursor.after(entry)) {
    const { pte } = cursor;
    if (!isZapped(pte)) continue;
    if (releasePage(k, pte, entry)) {
      // In the order of addresses: frames that are zeroed in ascending order cost half (the processor's prefetcher).
      const page = k.frames.pageOf(ptePfn(pte));
      if (head === NONE) head = page;
      else poke(words, tail + P_LINK, page);
      tail = page;
      chained++;
    }
    k.tables.clearEntry(cursor.leaf, entry);
  }
  cursor.unlock();
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
