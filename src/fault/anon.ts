/** Anonymous memory: the zero page for reads, a frame of one's own for writes. */
import { poke, store } from '#atomics';
import type { PageRef, Pfn, TableRef, Vpn } from '../base/brands.ts';
import { ZERO_PFN } from '../memory/frames.ts';
import { P_FLAGS, P_INDEX, P_MM, P_REFS, P_RMAP_SLOT, PG_ANON, PG_EXCLUSIVE } from '../memory/page.layout.ts';
import { bumpGeneration } from '../paging/generation.ts';
import { makePte, PTE_ACCESSED, PTE_DIRTY, PTE_NONE, PTE_PRESENT, PTE_WRITE, ptePfn } from '../paging/pte.ts';
import { COUNTER } from '../trace/counters.ts';
import { VM_WRITE } from '../vma/vma.layout.ts';
import { entryIn, lockForCommit } from './commit.ts';
import type { Faulter } from './faulter.ts';
import { DONE, NEED_FRAME } from './outcome.ts';

const WRITABLE: number = PTE_PRESENT | PTE_WRITE | PTE_ACCESSED | PTE_DIRTY;

/** A read of untouched memory maps the shared zero page. */
export function installZeroPage(f: Faulter, leaf: TableRef): number {
  const { k } = f;
  const verdict = lockForCommit(f, leaf, 0);
  if (verdict !== DONE) return verdict;
  store(k.words, entryIn(f, leaf), makePte(ZERO_PFN, PTE_PRESENT | PTE_ACCESSED));
  k.tables.addUsed(leaf, 1);
  k.tables.unlockLeaf(leaf);
  f.view.tlb.fill(f.vpn, ZERO_PFN, false);
  k.cpu.count(COUNTER['fault.anon.read']);
  return DONE;
}

/** A write to untouched memory, or (`seen` not 0) to the zero page. */
export function installAnonymous(f: Faulter, leaf: TableRef, seen: number): number {
  const pfn = takeFrame(f);
  if (pfn === 0) return NEED_FRAME;
  f.k.frames.zero(pfn);
  const verdict = installPrivate(f, leaf, seen, pfn);
  if (verdict === DONE) f.k.cpu.count(COUNTER['fault.anon.write']);
  return verdict;
}

/** Puts a filled frame of our own behind the page. On anything but DONE it is kept as the spare. */
export function installPrivate(f: Faulter, leaf: TableRef, seen: number, pfn: Pfn): number {
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
    store(k.words, entry, 0);
    bumpGeneration(k.cpu, f.mm, f.vpn, (f.vpn + 1) as Vpn);
  } else {
    k.tables.addUsed(leaf, 1);
  }
  store(k.words, entry, makePte(pfn, WRITABLE)); // publishes; pairs with the walk's load
  k.frames.markLive(page);
  const old = ptePfn(seen);
  if (old !== 0) k.rmap.remove(k.frames.pageOf(old), entry);
  k.tables.unlockLeaf(leaf);
  f.view.tlb.fill(f.vpn, pfn, true);
  return DONE;
}

/**
 * The page is there but the PTE allows less than the VMA: mprotect has given rights back. A private page becomes writable and
 * dirty on a write, readable otherwise.
 */
export function restoreAccess(f: Faulter, leaf: TableRef, seen: number): number {
  const { k } = f;
  const verdict = lockForCommit(f, leaf, seen);
  if (verdict !== DONE) return verdict;
  const writable = f.write && (k.vmas.flags(f.vma) & VM_WRITE) !== 0;
  const pte = (seen & ~PTE_NONE) | (writable ? WRITABLE : PTE_PRESENT | PTE_ACCESSED);
  store(k.words, entryIn(f, leaf), pte);
  k.tables.unlockLeaf(leaf);
  f.view.tlb.fill(f.vpn, ptePfn(pte), writable);
  k.cpu.count(COUNTER['fault.write.upgrade']);
  return DONE;
}

/** The spare, or a new frame; 0 if that would have to be waited for. */
export function takeFrame(f: Faulter): Pfn {
  const { spare } = f;
  if (spare === 0) return f.k.frames.alloc();
  f.spare = 0 as Pfn;
  return spare;
}

/** The page record of a frame that nobody else can reach yet. */
function describePage(f: Faulter, page: PageRef, entry: number): void {
  const { words } = f.k;
  poke(words, page + P_REFS, 1);
  poke(words, page + P_FLAGS, PG_ANON | PG_EXCLUSIVE);
  poke(words, page + P_MM, f.mm);
  poke(words, page + P_INDEX, f.vpn & 0x7fffffff);
  poke(words, page + P_RMAP_SLOT, entry); // where a reaper looks whether the PTE was set
}
