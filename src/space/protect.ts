/**
 * mprotect(2): publish the new layout -> the replaced VMAs are detached -> fit existing PTEs -> bump; tightening returns after
 * a grace period (I14), even if no PTE had to change.
 */
import type { MmRef, NodeRef, Vpn } from '../base/brands.ts';
import { VmError } from '../base/errors.ts';
import { PAGE_SIZE } from '../base/limits.ts';
import { bumpGeneration } from '../paging/generation.ts';
import { MM_MMAP_LOCK } from '../paging/mm.layout.ts';
import { writeLock, writeUnlock } from '../sync/rwsem.ts';
import { cutShort } from '../sync/spinlock.ts';
import { COUNTER } from '../trace/counters.ts';
import { isNoop } from '../vma/plan.ts';
import { VM_MAYWRITE, VM_PROT, VM_WRITE } from '../vma/vma.layout.ts';
import { clearIntent, INTENT_PROTECT, writeIntent } from './intent.ts';
import type { Kernel } from './kernel.ts';
import { commit, prepare, rootOf, underTreeLock } from './layout.ts';
import { protectPages } from './protect-pages.ts';

/**
 * What is to be protected. The record outlives an attempt: whoever tries again after others, or a recovery, have changed the rights
 * still knows that a grace period is owed.
 */
export interface ProtectRequest {
  readonly start: Vpn;
  readonly end: Vpn;
  readonly prot: number;
  /** Rights are taken away. */
  tightens: boolean;
}

/**
 * Throws ENOMEM (a hole in the range; records), EACCES (a shared file that was not opened for writing); nothing has changed
 * then. Requires: outside sections.
 */
export function protectRange(k: Kernel, mm: MmRef, request: ProtectRequest): void {
  const { start, end, prot } = request;
  k.cpu.count(COUNTER['call.mprotect']);
  writeLock(k.cpu, mm + MM_MMAP_LOCK);
  try {
    const root = rootOf(k, mm);
    checkRange(k, root, start, end, prot);
    request.tightens ||= k.tree.toArray(root, start, end).some((v) => (k.vmas.flags(v) & VM_PROT & ~prot) !== 0);
    protectLocked(k, mm, start, end, prot);
    if (request.tightens) k.rcu.synchronize();
  } catch (error) {
    throw cutShort(k.cpu, error);
  } finally {
    writeUnlock(k.cpu, mm + MM_MMAP_LOCK);
    k.rcu.pollRetired();
  }
}

/** Idempotent. Requires: mmap_lock for writing, no hole in the range. */
export function protectLocked(k: Kernel, mm: MmRef, start: Vpn, end: Vpn, prot: number): void {
  underTreeLock(k, mm, (root) => {
    const plan = k.planner.planProtect(root, start, end, prot);
    if (isNoop(plan)) return;
    const { edit } = prepare(k, mm, root, plan, 'mprotect');
    writeIntent(k.cpu, INTENT_PROTECT, mm, start, end, prot);
    commit(k, mm, plan, edit);
  });
  protectPages(k, mm, start, end, prot);
  bumpGeneration(k.cpu, mm, start, end);
  clearIntent(k.cpu);
}

function checkRange(k: Kernel, root: NodeRef, start: Vpn, end: Vpn, prot: number): void {
  const hole = k.tree.firstHole(root, start, end);
  if (hole >= 0) throw new VmError('ENOMEM', 'mprotect', 'a page of the range is not mapped', hole * PAGE_SIZE);
  if ((prot & VM_WRITE) === 0) return;
  for (const v of k.tree.toArray(root, start, end)) {
    if ((k.vmas.flags(v) & VM_MAYWRITE) !== 0) continue;
    const address = k.vmas.start(v) * PAGE_SIZE;
    throw new VmError('EACCES', 'mprotect', 'a shared mapping of a file that was opened for reading only', address);
  }
}
