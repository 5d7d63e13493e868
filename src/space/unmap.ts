/**
 * munmap(2): isolate the range -> mark its VMAs detached while they are still in the tree -> zap, tear tables down -> one root
 * store removes them. The range stays occupied until it is torn down, so that no new owner's page can be zapped by us.
 */
import type { MmRef, VmaRef, Vpn } from '../base/brands.ts';
import { NONE } from '../base/brands.ts';
import { VmError } from '../base/errors.ts';
import { VPN_LIMIT } from '../base/limits.ts';
import { MM_MMAP_LOCK } from '../paging/mm.layout.ts';
import { writeLock, writeUnlock } from '../sync/rwsem.ts';
import { cutShort } from '../sync/spinlock.ts';
import { COUNTER } from '../trace/counters.ts';
import { isNoop } from '../vma/plan.ts';
import { DETACHED_UNMAPPED } from '../vma/vma.layout.ts';
import { clearIntent, INTENT_UNMAP, writeIntent } from './intent.ts';
import type { Kernel } from './kernel.ts';
import { commit, commitPrepared, detach, type Prepared, prepare, rootOf, underTreeLock } from './layout.ts';
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
  writeIntent(k.cpu, INTENT_UNMAP, mm, start, end, 0);
  detach(k, removal.inside, DETACHED_UNMAPPED);
  if (zapRange(k, mm, start, end)) {
    const { low, high } = holeAround(k, mm, start, end);
    tearDownTables(k, mm, start, end, low, high);
  }
  commitPrepared(k, mm, removal);
  clearIntent(k.cpu);
}

interface Removal extends Prepared {
  readonly inside: readonly VmaRef[];
}

/** The usual case: the range is exactly one VMA. */
function planWhole(k: Kernel, mm: MmRef, start: Vpn, end: Vpn): Removal | undefined {
  const root = rootOf(k, mm);
  const v = k.tree.find(root, start);
  if (v === NONE || k.vmas.start(v) !== start || k.vmas.end(v) !== end) return undefined;
  return underTreeLock(k, mm, (now) => {
    const { plan, edit } = prepare(k, mm, now, k.planner.planDrop(start, end, [v]), 'munmap');
    return { inside: plan.replaced, plan, edit };
  });
}

/** Before anything is torn down: afterwards there must be nothing left that can fail. */
function planParts(k: Kernel, mm: MmRef, start: Vpn, end: Vpn): Removal | undefined {
  const inside = isolate(k, mm, start, end, 'munmap');
  if (inside.length === 0) return undefined;
  const { plan, edit } = undoIsolationOnError(k, mm, start, end, () =>
    underTreeLock(k, mm, (root) => prepare(k, mm, root, k.planner.planRemove(root, start, end), 'munmap')),
  );
  return { inside, plan, edit };
}

/** Puts VMA boundaries at both ends of the range and returns the VMAs inside. Requires: mmap_lock for writing. */
export function isolate(k: Kernel, mm: MmRef, start: Vpn, end: Vpn, syscall: string): readonly VmaRef[] {
  return underTreeLock(k, mm, (root) => {
    const plan = k.planner.planIsolate(root, start, end);
    if (!isNoop(plan)) commit(k, mm, plan, prepare(k, mm, root, plan, syscall).edit);
    return plan.inside;
  });
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
  try {
    underTreeLock(k, mm, (root) => {
      const plan = k.planner.planMerge(root, start, end);
      if (!isNoop(plan)) commit(k, mm, plan, prepare(k, mm, root, plan, 'merge').edit);
    });
  } catch (error) {
    // Without memory for the merge the boundaries stay; they mean nothing to anybody.
    if (!(error instanceof VmError)) throw error;
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
