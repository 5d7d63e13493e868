/**
 * munmap(2): isolate the range -> mark its VMAs detached while they are still in the tree -> zap, tear tables down -> one root
 * store removes them. The range stays occupied until it is torn down, so that no new owner's page can be zapped by us.
 */
import { peek } from '#atomics';
import type { MmRef, VmaRef, Vpn } from '../base/brands.ts';
import { NONE } from '../base/brands.ts';
import { VmError } from '../base/errors.ts';
import { MAX_MAP_COUNT, VPN_LIMIT } from '../base/limits.ts';
import { MM_MAP_COUNT, MM_MMAP_LOCK } from '../paging/mm.layout.ts';
import { writeLock, writeUnlock } from '../sync/rwsem.ts';
import { cutShort } from '../sync/spinlock.ts';
import { COUNTER } from '../trace/counters.ts';
import { isNoop, type LayoutPlan } from '../vma/plan.ts';
import type { TreeEdit } from '../vma/tree.ts';
import { DETACHED_UNMAPPED } from '../vma/vma.layout.ts';
import { clearIntent, INTENT_UNMAP, writeIntent } from './intent.ts';
import type { Kernel } from './kernel.ts';
import { commit, detach, lockTree, prepare, rootOf, unlockTree } from './layout.ts';
import { tearDownTables, zapRange } from './zap.ts';

/** Throws ENOMEM (a split needs a record, or would pass the limit of mappings); nothing has changed then. */
export function unmapPages(k: Kernel, mm: MmRef, start: Vpn, end: Vpn): void {
  k.cpu.count(COUNTER['call.munmap']);
  writeLock(k.cpu, mm + MM_MMAP_LOCK);
  try {
    unmapLocked(k, mm, start, end);
  } catch (error) {
    throw cutShort(k.cpu, error);
  } finally {
    writeUnlock(k.cpu, mm + MM_MMAP_LOCK);
    k.rcu.pollRetired();
  }
}

/** Idempotent. Requires: mmap_lock for writing, outside sections. */
export function unmapLocked(k: Kernel, mm: MmRef, start: Vpn, end: Vpn): void {
  const removal = planWhole(k, mm, start, end) ?? planParts(k, mm, start, end);
  if (removal === undefined) return;
  const { inside, plan, edit } = removal;
  writeIntent(k.cpu, INTENT_UNMAP, mm, start, end, 0);
  detach(k, inside, DETACHED_UNMAPPED);
  if (zapRange(k, mm, start, end)) {
    const { low, high } = holeAround(k, mm, start, end);
    tearDownTables(k, mm, start, end, low, high);
  }
  lockTree(k, mm);
  try {
    commit(k, mm, plan, edit);
  } catch (error) {
    throw cutShort(k.cpu, error);
  } finally {
    unlockTree(k, mm);
  }
  clearIntent(k.cpu);
}

interface Removal {
  readonly inside: readonly VmaRef[];
  readonly plan: LayoutPlan;
  readonly edit: TreeEdit;
}

/** The usual case: the range is exactly one VMA. */
function planWhole(k: Kernel, mm: MmRef, start: Vpn, end: Vpn): Removal | undefined {
  const root = rootOf(k, mm);
  const v = k.tree.find(root, start);
  if (v === NONE || k.vmas.start(v) !== start || k.vmas.end(v) !== end) return undefined;
  lockTree(k, mm);
  try {
    const plan = k.planner.planDrop(start, end, [v]);
    return { inside: plan.replaced, plan, edit: prepare(k, rootOf(k, mm), plan) };
  } catch (error) {
    throw cutShort(k.cpu, error);
  } finally {
    unlockTree(k, mm);
  }
}

function planParts(k: Kernel, mm: MmRef, start: Vpn, end: Vpn): Removal | undefined {
  const inside = isolate(k, mm, start, end, 'munmap');
  if (inside.length === 0) return undefined;
  return { inside, ...undoIsolationOnError(k, mm, start, end, () => planRemoval(k, mm, start, end)) };
}

/** Puts VMA boundaries at both ends of the range and returns the VMAs inside. Requires: mmap_lock for writing. */
export function isolate(k: Kernel, mm: MmRef, start: Vpn, end: Vpn, syscall: string): readonly VmaRef[] {
  lockTree(k, mm);
  try {
    const root = rootOf(k, mm);
    const plan = k.planner.planIsolate(root, start, end);
    if (isNoop(plan)) return plan.inside;
    if (peek(k.words, mm + MM_MAP_COUNT) + plan.created.length - plan.replaced.length > MAX_MAP_COUNT) {
      k.planner.discardPlan(plan);
      throw new VmError('ENOMEM', syscall, `the split would make more than ${MAX_MAP_COUNT} mappings`);
    }
    commit(k, mm, plan, prepare(k, root, plan));
    return plan.inside;
  } catch (error) {
    throw cutShort(k.cpu, error);
  } finally {
    unlockTree(k, mm);
  }
}

/** A failed call changes nothing: boundaries that were cut for it are merged away again. */
export function undoIsolationOnError<T>(k: Kernel, mm: MmRef, start: Vpn, end: Vpn, run: () => T): T {
  try {
    return run();
  } catch (error) {
    mergeAgain(k, mm, start, end);
    throw error;
  }
}

function mergeAgain(k: Kernel, mm: MmRef, start: Vpn, end: Vpn): void {
  lockTree(k, mm);
  try {
    const root = rootOf(k, mm);
    const plan = k.planner.planMerge(root, start, end);
    if (!isNoop(plan)) commit(k, mm, plan, prepare(k, root, plan));
  } catch (error) {
    // Without memory for the merge the boundaries stay; they mean nothing to anybody.
    if (!(error instanceof VmError)) throw cutShort(k.cpu, error);
  } finally {
    unlockTree(k, mm);
  }
}

/** Before anything is torn down: afterwards there must be nothing left that can fail. */
function planRemoval(k: Kernel, mm: MmRef, start: Vpn, end: Vpn): { plan: LayoutPlan; edit: TreeEdit } {
  lockTree(k, mm);
  try {
    const root = rootOf(k, mm);
    const plan = k.planner.planRemove(root, start, end);
    return { plan, edit: prepare(k, root, plan) };
  } catch (error) {
    throw cutShort(k.cpu, error);
  } finally {
    unlockTree(k, mm);
  }
}

/** The hole that the range will be part of. */
function holeAround(k: Kernel, mm: MmRef, start: Vpn, end: Vpn): { low: Vpn; high: Vpn } {
  const root = rootOf(k, mm);
  const before = k.tree.previous(root, start);
  const after = k.tree.next(root, end);
  return {
    low: before === 0 ? (0 as Vpn) : k.vmas.end(before),
    high: after === 0 ? (VPN_LIMIT as Vpn) : k.vmas.start(after),
  };
}
