/**
 * File pages: reads map the page of the page cache, private writes copy it. The page lock is held from the check of size and mapping
 * through the install [T1], so a page that leaves the file is never mapped afterwards.
 */
import { pageTryLock, pageUnlock } from '../backing/page-lock.ts';
import type { PageRef, Pfn, TableRef } from '../base/brands.ts';
import { NONE } from '../base/brands.ts';
import { readablePte } from '../paging/pte.ts';
import { cutShort } from '../sync/spinlock.ts';
import { COUNTER } from '../trace/counters.ts';
import { entryIn, lockForCommit, unlockAfterCommit } from './commit.ts';
import type { Fault } from './fault.ts';
import { installPrivate, takeFrame } from './install.ts';
import { BUS, DONE, NEED_FRAME, NEED_PAGE, type Outcome, PAGE_BUSY, TRUNCATED } from './outcome.ts';

export function installFilePage(f: Fault, leaf: TableRef): Outcome {
  const verdict = lockSource(f);
  if (verdict !== DONE) return verdict;
  try {
    return mapPage(f, leaf, f.held);
  } catch (error) {
    throw cutShort(f.k.cpu, error);
  } finally {
    unlockSource(f);
  }
}

/** A write to a private mapping of a file: `seen` is the PTE of the file's page, or 0. */
export function copyFilePage(f: Fault, leaf: TableRef, seen: number): Outcome {
  const { frames, cpu } = f.k;
  const locked = lockSource(f);
  if (locked !== DONE) return locked;
  const pfn = takeFrame(f);
  if (pfn === 0) return NEED_FRAME; // with the source locked: it must not change now
  try {
    frames.copy(pfn, frames.pfnOf(f.held));
    const verdict = installPrivate(f, leaf, seen, pfn);
    if (verdict === DONE) cpu.count(COUNTER['fault.file.copy']);
    return verdict;
  } catch (error) {
    throw cutShort(f.k.cpu, error);
  } finally {
    unlockSource(f);
  }
}

function mapPage(f: Fault, leaf: TableRef, page: PageRef): Outcome {
  const { k } = f;
  const entry = entryIn(f, leaf);
  k.rmap.reserve();
  const verdict = lockForCommit(f, leaf, 0);
  if (verdict !== DONE) return verdict;
  const pfn: Pfn = k.frames.pfnOf(page);
  k.rmap.add(page, entry); // before the PTE: a walk that misses the slot must not miss a PTE
  k.tables.fillEntry(f.leaf, entry, readablePte(pfn));
  unlockAfterCommit(f);
  f.view.tlb.fill(f.vpn, pfn, false);
  k.cpu.count(COUNTER['fault.file.read']);
  return DONE;
}

/** DONE with the page of the file locked, up to date, and in `f.held`. */
function lockSource(f: Fault): Outcome {
  const { k, vma, vpn } = f;
  f.mapping = k.vmas.mapping(vma);
  f.index = k.vmas.pageIndex(vma, vpn);
  if (!k.files.contains(f.mapping, f.index)) return BUS;
  if (f.held !== NONE) {
    if (k.cache.holds(f.held, f.mapping, f.index)) return DONE;
    unlockSource(f);
  }
  const page = k.cache.lookup(f.mapping, f.index);
  if (page === NONE) return NEED_PAGE;
  if (!pageTryLock(k.cpu, page)) return PAGE_BUSY;
  if (!k.cache.holds(page, f.mapping, f.index)) {
    pageUnlock(k.cpu, page);
    return TRUNCATED;
  }
  if (!k.cache.isUptodate(page)) {
    pageUnlock(k.cpu, page);
    return NEED_PAGE;
  }
  k.cache.touch(page);
  f.held = page;
  return DONE;
}

function unlockSource(f: Fault): void {
  if (f.held === NONE) return;
  pageUnlock(f.k.cpu, f.held);
  f.held = NONE as PageRef;
}
