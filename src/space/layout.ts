/**
 * Carrying out a layout plan: the tree lock is held from the load of the root to the last word of the commit, so that at any
 * instant outside it the tree and the detached marks agree.
 */
import { load, peek, peekF64, poke, pokeF64, store } from '#atomics';
import { assertRule } from '../base/assert.ts';
import type { MmRef, NodeRef, VmaRef } from '../base/brands.ts';
import { VmError } from '../base/errors.ts';
import { MAX_MAP_COUNT, PAGE_SIZE } from '../base/limits.ts';
import {
  MM_LIMIT_PAGES,
  MM_MAP_COUNT,
  MM_MAPPED_PAGES,
  MM_ROOT,
  MM_SEQUENCE,
  MM_TREE_LOCK,
} from '../paging/mm.layout.ts';
import { CLASS_TREE } from '../sync/lock-classes.ts';
import { cutShort, spinHeld, spinLock, spinUnlock } from '../sync/spinlock.ts';
import { COUNTER } from '../trace/counters.ts';
import type { LayoutPlan } from '../vma/plan.ts';
import type { TreeEdit } from '../vma/tree.ts';
import type { Kernel } from './kernel.ts';

export function rootOf(k: Kernel, mm: MmRef): NodeRef {
  return load(k.words, mm + MM_ROOT) as NodeRef; // pairs with the publishing cas
}

/** Runs `work` under the tree lock, with the root that nobody else changes meanwhile. */
export function underTreeLock<T>(k: Kernel, mm: MmRef, work: (root: NodeRef) => T): T {
  spinLock(k.cpu, mm + MM_TREE_LOCK, CLASS_TREE);
  try {
    return work(rootOf(k, mm));
  } catch (error) {
    throw cutShort(k.cpu, error);
  } finally {
    spinUnlock(k.cpu, mm + MM_TREE_LOCK);
  }
}

/** A change of the layout for which all memory is found: nothing can fail after it. */
export interface Prepared {
  readonly plan: LayoutPlan;
  readonly edit: TreeEdit;
}

/**
 * Plans a change, looks at the space's limits and finds memory for it. Requires: tree lock. Throws ENOMEM, in the name of `syscall`:
 * nothing has changed then.
 */
export function prepare(k: Kernel, mm: MmRef, root: NodeRef, plan: LayoutPlan, syscall: string): Prepared {
  try {
    checkLimits(k, mm, plan, syscall);
    return { plan, edit: k.tree.replace(root, plan.start, plan.end, plan.insert) };
  } catch (error) {
    k.planner.discardPlan(plan);
    throw error;
  }
}

function checkLimits(k: Kernel, mm: MmRef, plan: LayoutPlan, syscall: string): void {
  const added = plan.created.length - plan.replaced.length;
  if (added > 0 && peek(k.words, mm + MM_MAP_COUNT) + added > MAX_MAP_COUNT) {
    throw new VmError('ENOMEM', syscall, `the space would have more than ${MAX_MAP_COUNT} mappings`);
  }
  const limit = peekF64(k.floats, (mm + MM_LIMIT_PAGES) >> 1);
  if (limit === 0) return;
  const pages = pagesAdded(k, plan);
  if (pages <= 0 || peekF64(k.floats, (mm + MM_MAPPED_PAGES) >> 1) + pages <= limit) return;
  throw new VmError('ENOMEM', syscall, `the space's limit of ${limit * PAGE_SIZE} mapped bytes would be passed`);
}

/** Makes a change that was prepared earlier the layout. Requires: mmap_lock for writing, held since it was prepared. */
export function commitPrepared(k: Kernel, mm: MmRef, { plan, edit }: Prepared): void {
  underTreeLock(k, mm, () => commit(k, mm, plan, edit));
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
export function settleLayout(k: Kernel, mm: MmRef, root: NodeRef, deadTag: number): void {
  k.tree.settle(root, deadTag);
  const vmas = k.tree.toArray(root);
  let pages = 0;
  for (const v of vmas) pages += k.vmas.pages(v);
  poke(k.words, mm + MM_MAP_COUNT, vmas.length);
  pokeF64(k.floats, (mm + MM_MAPPED_PAGES) >> 1, pages);
  store(k.words, mm + MM_SEQUENCE, (peek(k.words, mm + MM_SEQUENCE) + 1) | 0); // pairs with the load in Space.sequence
}

/** Pages that a plan adds to the space. */
function pagesAdded(k: Kernel, plan: LayoutPlan): number {
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
