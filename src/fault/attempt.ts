/** One attempt at a fault, without sleeping: look-up, rights, and which kind of fault it is. */
import { cas, load, peekRacy } from '#atomics';
import type { TableRef } from '../base/brands.ts';
import { NONE } from '../base/brands.ts';
import { VmError } from '../base/errors.ts';
import { P_FLAGS, PG_ANON } from '../memory/page.layout.ts';
import { EMPTY, isReadable, isWritable, KEPT, LEAVING, MAPPED, PTE_ACCESSED, ptePfn, pteState } from '../paging/pte.ts';
import { LEAF_PAGES } from '../paging/table.layout.ts';
import { rootOf, underTreeLock } from '../space/layout.ts';
import { COUNTER } from '../trace/counters.ts';
import { DETACHED_REMAPPED, DETACHED_UNMAPPED, VM_PROT, VM_WRITE } from '../vma/vma.layout.ts';
import { installAnonymous, installZeroPage, restoreAccess } from './anon.ts';
import type { Fault } from './fault.ts';
import { copyFilePage, installFilePage } from './file.ts';
import { ACCERR, CHANGED, DETACHED, DONE, MAPERR, NEED_RECORD, type Outcome, WAIT } from './outcome.ts';

const KIND_ONLY = 'a page that is no longer behind the PTE is found out when the PTE is compared under the leaf lock';

/** Requires: a section. */
export function attempt(f: Fault): Outcome {
  try {
    return f.pessimistic ? lookUpUnderTreeLock(f) : lookUpAndCommit(f);
  } catch (error) {
    if (error instanceof VmError && error.code === 'ENOMEM') return NEED_RECORD;
    throw error;
  }
}

function lookUpUnderTreeLock(f: Fault): Outcome {
  f.k.cpu.count(COUNTER['fault.tree.commit']);
  return underTreeLock(f.k, f.mm, () => lookUpAndCommit(f));
}

function lookUpAndCommit(f: Fault): Outcome {
  const { k, vpn, write } = f;
  const root = rootOf(k, f.mm);
  const again = f.held !== NONE && !f.protocol.rechecks;
  const vma = again ? f.vma : k.tree.find(root, vpn);
  if (vma === NONE) return MAPERR;
  f.vma = vma;
  f.root = root;
  const reason = again ? 0 : k.vmas.detachedReason(vma);
  if (reason !== 0) return reason === DETACHED_UNMAPPED ? MAPERR : reason === DETACHED_REMAPPED ? WAIT : DETACHED;
  const flags = k.vmas.flags(vma);
  if ((flags & (write ? VM_WRITE : VM_PROT)) === 0) return ACCERR;
  const leaf = f.view.leafFor(k.tables, vpn);
  if (leaf === NONE) return faultOnNothing(f, k.tables.ensureLeaf(f.mm, vpn));
  const entry = k.tables.entries(leaf) + (vpn & (LEAF_PAGES - 1));
  const pte = load(k.words, entry);
  const state = pteState(pte);
  switch (state) {
    case EMPTY:
      return faultOnNothing(f, leaf);
    case LEAVING:
      return CHANGED;
    case MAPPED:
    case KEPT:
      return faultOnPage(f, leaf, entry, pte);
    default:
      return state satisfies never;
  }
}

function faultOnNothing(f: Fault, leaf: TableRef): Outcome {
  if (f.k.vmas.mapping(f.vma) !== NONE) return f.write ? copyFilePage(f, leaf, 0) : installFilePage(f, leaf);
  return f.write ? installAnonymous(f, leaf, 0) : installZeroPage(f, leaf);
}

function faultOnPage(f: Fault, leaf: TableRef, entry: number, pte: number): Outcome {
  const { k, write } = f;
  if (write ? isWritable(pte) : isReadable(pte)) return useTranslation(f, entry, pte);
  if (!write || isPrivatePage(f, pte)) return restoreAccess(f, leaf, pte);
  if (k.vmas.mapping(f.vma) !== NONE) return copyFilePage(f, leaf, pte);
  k.cpu.count(COUNTER['fault.zero.upgrade']);
  return installAnonymous(f, leaf, pte);
}

/** The translation was there all along: a TLB miss, or another thread was first. */
function useTranslation(f: Fault, entry: number, pte: number): Outcome {
  if ((pte & PTE_ACCESSED) === 0 && cas(f.k.words, entry, pte, pte | PTE_ACCESSED) !== pte) return CHANGED;
  f.view.tlb.fill(f.vpn, ptePfn(pte), isWritable(pte));
  return DONE;
}

/** An anonymous page of this space alone: a write needs no copy. (Sharing by fork will ask for PG_EXCLUSIVE here.) */
function isPrivatePage(f: Fault, pte: number): boolean {
  const pfn = ptePfn(pte);
  if (pfn === 0) return false;
  return (peekRacy(f.k.words, f.k.frames.pageOf(pfn) + P_FLAGS, KIND_ONLY) & PG_ANON) !== 0;
}
