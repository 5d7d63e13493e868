/** Anonymous memory: the zero page for reads, a frame of one's own for writes. */
import type { TableRef } from '../base/brands.ts';
import { ZERO_PFN } from '../memory/frames.ts';
import { ptePfn, readablePte, restoredPte } from '../paging/pte.ts';
import { COUNTER } from '../trace/counters.ts';
import { VM_WRITE } from '../vma/vma.layout.ts';
import { entryIn, lockForCommit, unlockAfterCommit } from './commit.ts';
import type { Fault } from './fault.ts';
import { installPrivate, takeFrame } from './install.ts';
import { DONE, NEED_FRAME, type Outcome } from './outcome.ts';

/** A read of untouched memory maps the shared zero page. */
export function installZeroPage(f: Fault, leaf: TableRef): Outcome {
  const { k } = f;
  const verdict = lockForCommit(f, leaf, 0);
  if (verdict !== DONE) return verdict;
  k.tables.fillEntry(f.leaf, entryIn(f, leaf), readablePte(ZERO_PFN));
  unlockAfterCommit(f);
  f.view.tlb.fill(f.vpn, ZERO_PFN, false);
  k.cpu.count(COUNTER['fault.anon.read']);
  return DONE;
}

/** A write to untouched memory, or (`seen` not 0) to the zero page. */
export function installAnonymous(f: Fault, leaf: TableRef, seen: number): Outcome {
  const pfn = takeFrame(f);
  if (pfn === 0) return NEED_FRAME;
  f.k.frames.zero(pfn);
  const verdict = installPrivate(f, leaf, seen, pfn);
  if (verdict === DONE) f.k.cpu.count(COUNTER['fault.anon.write']);
  return verdict;
}

/**
 * The page is there but the PTE allows less than the VMA: mprotect has given rights back. A private page becomes writable and
 * dirty on a write, readable otherwise.
 */
export function restoreAccess(f: Fault, leaf: TableRef, seen: number): Outcome {
  const { k } = f;
  const verdict = lockForCommit(f, leaf, seen);
  if (verdict !== DONE) return verdict;
  const writable = f.write && (k.vmas.flags(f.vma) & VM_WRITE) !== 0;
  const pfn = ptePfn(seen);
  k.tables.setEntry(f.leaf, entryIn(f, leaf), restoredPte(seen, writable));
  unlockAfterCommit(f);
  f.view.tlb.fill(f.vpn, pfn, writable);
  k.cpu.count(COUNTER['fault.write.upgrade']);
  return DONE;
}
