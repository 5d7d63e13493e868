/**
 * Carrying out a layout plan: the tree lock is held from the load of the root to the last word of the commit, so that at any
 * instant outside it the tree and the detached marks agree.
 */
import { load, peek, peekF64, poke, pokeF64, store } from '#atomics';
import { assertRule } from '../base/assert.ts';
import type { MmRef, NodeRef, VmaRef } from '../base/brands.ts';
import { MM_MAP_COUNT, MM_MAPPED_PAGES, MM_ROOT, MM_SEQUENCE, MM_TREE_LOCK } from '../paging/mm.layout.ts';
import { CLASS_TREE } from '../sync/lock-classes.ts';
import { spinHeld, spinLock, spinUnlock } from '../sync/spinlock.ts';
import { COUNTER } from '../trace/counters.ts';
import type { LayoutPlan } from '../vma/plan.ts';
import type { TreeEdit } from '../vma/tree.ts';
import type { Kernel } from './kernel.ts';

export function lockTree(k: Kernel, mm: MmRef): void {
  spinLock(k.cpu, mm + MM_TREE_LOCK, CLASS_TREE);
}

export function unlockTree(k: Kernel, mm: MmRef): void {
  spinUnlock(k.cpu, mm + MM_TREE_LOCK);
}

export function rootOf(k: Kernel, mm: MmRef): NodeRef {
  return load(k.words, mm + MM_ROOT) as NodeRef; // pairs with the publishing cas
}

/** The edit for a plan; both are given up if memory for nodes is missing. Throws ENOMEM. */
export function prepare(k: Kernel, root: NodeRef, plan: LayoutPlan): TreeEdit {
  try {
    return k.tree.replace(root, plan.start, plan.end, plan.insert);
  } catch (error) {
    k.planner.discardPlan(plan);
    throw error;
  }
}

/**
 * Makes the plan the layout: references on files, one store of the root, then the replaced VMAs detached and retired. VMAs that
 * carry a reason already (they are being unmapped) keep it. Requires: tree lock, held since the root was loaded.
 */
export function commit(k: Kernel, mm: MmRef, plan: LayoutPlan, edit: TreeEdit): void {
  assertRule(spinHeld(k.cpu, mm + MM_TREE_LOCK), 'tree lock', () => 'a plan is committed without it');
  for (const v of plan.created) {
    const mapping = k.vmas.mapping(v);
    if (mapping !== 0) k.files.get(mapping, k.vmas.holdsFile(v));
  }
  account(k, mm, plan);
  k.tree.publish(mm + MM_ROOT, edit, plan.replaced);
  for (const v of plan.created) k.vmas.publish(v);
  if (plan.merged > 0) k.cpu.countMany(COUNTER['vma.merged'], plan.merged);
  if (plan.split > 0) k.cpu.countMany(COUNTER['vma.split'], plan.split);
}

/** Under the tree lock, for a dead thread: what its edit has done to the layout, and the sums over it. */
export function settleLayout(k: Kernel, mm: MmRef, deadTag: number): void {
  const root = rootOf(k, mm);
  k.tree.settle(root, deadTag);
  const vmas = k.tree.toArray(root);
  let pages = 0;
  for (const v of vmas) pages += k.vmas.pages(v);
  poke(k.words, mm + MM_MAP_COUNT, vmas.length);
  pokeF64(k.floats, (mm + MM_MAPPED_PAGES) >> 1, pages);
  store(k.words, mm + MM_SEQUENCE, (peek(k.words, mm + MM_SEQUENCE) + 1) | 0); // pairs with the load in Space.sequence
}

/** Pages that a plan adds to the space. */
export function pagesAdded(k: Kernel, plan: LayoutPlan): number {
  let pages = 0;
  for (const v of plan.created) pages += k.vmas.pages(v);
  for (const v of plan.replaced) pages -= k.vmas.pages(v);
  return pages;
}

/** Detaches VMAs that stay in the tree until their range is torn down. Requires: mmap_lock. */
export function detach(k: Kernel, vmas: readonly VmaRef[], reason: number): void {
  for (const v of vmas) k.vmas.markDetached(v, reason);
}

function account(k: Kernel, mm: MmRef, plan: LayoutPlan): void {
  const { words, floats } = k;
  const count = peek(words, mm + MM_MAP_COUNT) + plan.created.length - plan.replaced.length;
  poke(words, mm + MM_MAP_COUNT, count);
  const pages = (mm + MM_MAPPED_PAGES) >> 1;
  pokeF64(floats, pages, peekF64(floats, pages) + pagesAdded(k, plan));
  store(words, mm + MM_SEQUENCE, (peek(words, mm + MM_SEQUENCE) + 1) | 0); // pairs with the load in Space.sequence
}
