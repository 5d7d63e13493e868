/**
 * The commit rule. Under the leaf's lock a fault looks at three things again: the upper entry still names this leaf (I8), the
 * VMA is still attached or its successor says the same (I5), the PTE is as first seen (I9).
 */
import { load } from '#atomics';
import type { LockedLeaf, TableRef, VmaRef } from '../base/brands.ts';
import { NONE } from '../base/brands.ts';
import { LEAF_PAGES } from '../paging/table.layout.ts';
import { rootOf } from '../space/layout.ts';
import type { Fault } from './fault.ts';
import { CHANGED, DETACHED, DONE, type Outcome, UNHOOKED } from './outcome.ts';

/** Word index of the PTE for the fault's page. */
export function entryIn(f: Fault, leaf: TableRef): number {
  return f.k.tables.entries(leaf) + (f.vpn & (LEAF_PAGES - 1));
}

/** DONE with the leaf locked and in `f.leaf`, or the reason to start again with it unlocked. */
export function lockForCommit(f: Fault, leaf: TableRef, seen: number): Outcome {
  const { tables, words } = f.k;
  const locked = tables.lockLeaf(leaf);
  f.leaf = locked;
  const verdict = !tables.isHooked(locked)
    ? UNHOOKED
    : !stillApplies(f)
      ? DETACHED
      : load(words, entryIn(f, leaf)) !== seen
        ? CHANGED
        : DONE;
  if (verdict !== DONE) unlockAfterCommit(f);
  return verdict;
}

export function unlockAfterCommit(f: Fault): void {
  const { leaf } = f;
  f.leaf = NONE as LockedLeaf;
  f.k.tables.unlockLeaf(leaf);
}

/** Attached, or replaced by a VMA with the same rights, backing and offset: a neighbour's merge must not cost a restart. */
function stillApplies(f: Fault): boolean {
  const { vmas, tree } = f.k;
  if (!f.protocol.rechecks) return true;
  if (vmas.detachedReason(f.vma) === 0) return true; // Atomics; pairs with the store in markDetached
  const current = tree.find(rootOf(f.k, f.mm), f.vpn);
  if (current === NONE || vmas.detachedReason(current) !== 0 || !sameFor(f, current)) return false;
  f.vma = current;
  return true;
}

function sameFor(f: Fault, current: VmaRef): boolean {
  const { vmas } = f.k;
  if (vmas.flags(current) !== vmas.flags(f.vma) || vmas.mapping(current) !== vmas.mapping(f.vma)) return false;
  if (vmas.mapping(current) === NONE) return true;
  return vmas.offset(current) - vmas.start(current) === vmas.offset(f.vma) - vmas.start(f.vma);
}
