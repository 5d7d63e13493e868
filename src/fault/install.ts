/** Putting a page of the space's own behind an address: fresh memory, the copy of a file's page. */
import { poke } from '#atomics';
import type { PageRef, Pfn, TableRef, Vpn } from '../base/brands.ts';
import { P_FLAGS, P_INDEX, P_MM, P_REFS, P_RMAP_SLOT, PG_ANON, PG_EXCLUSIVE } from '../memory/page.layout.ts';
import { bumpGeneration } from '../paging/generation.ts';
import { ptePfn, writablePte } from '../paging/pte.ts';
import { entryIn, lockForCommit, unlockAfterCommit } from './commit.ts';
import type { Fault } from './fault.ts';
import { DONE, type Outcome } from './outcome.ts';

/** The spare, or a new frame; 0 if that would have to be waited for. */
export function takeFrame(f: Fault): Pfn {
  const { spare } = f;
  if (spare === 0) return f.k.frames.alloc();
  f.spare = 0 as Pfn;
  return spare;
}

/** Puts a filled frame of our own behind the page. On anything but DONE it is kept as the spare. */
export function installPrivate(f: Fault, leaf: TableRef, seen: number, pfn: Pfn): Outcome {
  const { k } = f;
  const entry = entryIn(f, leaf);
  const page = k.frames.pageOf(pfn);
  describePage(f, page, entry);
  const verdict = lockForCommit(f, leaf, seen);
  if (verdict !== DONE) {
    f.spare = pfn;
    return verdict;
  }
  if (seen !== 0) {
    // Clear, bump, set: no thread may read the old page after another was seen to write the new one [C1 C2].
    k.tables.clearEntry(f.leaf, entry);
    bumpGeneration(k.cpu, f.mm, f.vpn, (f.vpn + 1) as Vpn);
  }
  k.tables.fillEntry(f.leaf, entry, writablePte(pfn));
  k.frames.markLive(page);
  const old = ptePfn(seen);
  if (old !== 0) k.rmap.remove(k.frames.pageOf(old), entry);
  unlockAfterCommit(f);
  f.view.tlb.fill(f.vpn, pfn, true);
  return DONE;
}

/** The page record of a frame that nobody else can reach yet. */
function describePage(f: Fault, page: PageRef, entry: number): void {
  const { words } = f.k;
  poke(words, page + P_REFS, 1);
  poke(words, page + P_FLAGS, PG_ANON | PG_EXCLUSIVE);
  poke(words, page + P_MM, f.mm);
  poke(words, page + P_INDEX, f.vpn & 0x7fffffff);
  poke(words, page + P_RMAP_SLOT, entry); // where a reaper looks whether the PTE was set
}
