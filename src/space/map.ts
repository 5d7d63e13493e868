/** mmap(2): anonymous and file, private and shared, hint, MAP_FIXED, MAP_FIXED_NOREPLACE, top-down gap search, limits. */
import { add, notify } from '#atomics';
import type { MappingRef, MmRef, NodeRef, VmaRef, Vpn } from '../base/brands.ts';
import { VmError } from '../base/errors.ts';
import { MIN_VPN, PAGE_SIZE, SMALL_VPN_LIMIT, VPN_LIMIT } from '../base/limits.ts';
import { MM_MMAP_LOCK, MM_REPLACED } from '../paging/mm.layout.ts';
import { writeLock, writeUnlock } from '../sync/rwsem.ts';
import { cutShort } from '../sync/spinlock.ts';
import { COUNTER } from '../trace/counters.ts';
import { DETACHED_REMAPPED } from '../vma/vma.layout.ts';
import type { VmaProps } from '../vma/vma-table.ts';
import { clearIntent, INTENT_UNMAP, intendVma, writeIntent } from './intent.ts';
import type { Kernel } from './kernel.ts';
import { commit, commitPrepared, detach, prepare, rootOf, underTreeLock } from './layout.ts';
import { isolate, undoIsolationOnError } from './unmap.ts';
import { zapRange } from './zap.ts';

export type Placement = 'anywhere' | 'hint' | 'fixed' | 'fixed-noreplace';

export interface MapRequest {
  readonly pages: number;
  readonly placement: Placement;
  /** First page wanted; 0 for 'anywhere'. */
  readonly start: number;
  /** VM_* bits. */
  readonly flags: number;
  /** 0 for anonymous. */
  readonly mapping: MappingRef;
  /** Page index in the file. */
  readonly offset: number;
}

/** The first page of the new mapping. Throws ENOMEM, EEXIST; nothing has changed then. Requires: outside sections. */
export function mapPages(k: Kernel, mm: MmRef, request: MapRequest): Vpn {
  k.cpu.count(COUNTER['call.mmap']);
  writeLock(k.cpu, mm + MM_MMAP_LOCK);
  try {
    const root = rootOf(k, mm);
    const start = choosePlace(k, root, request);
    const end = (start + request.pages) as Vpn;
    const { flags, mapping, offset } = request;
    const props: VmaProps = { start, end, flags, mapping, offset, mm };
    // 'fixed' is the only placement whose range may be occupied.
    if (request.placement === 'fixed' && k.tree.toArray(root, start, end).length > 0) mapOver(k, mm, props);
    else mapHole(k, mm, props);
    return start;
  } catch (error) {
    throw cutShort(k.cpu, error);
  } finally {
    writeUnlock(k.cpu, mm + MM_MMAP_LOCK);
    k.rcu.pollRetired();
  }
}

function choosePlace(k: Kernel, root: NodeRef, { pages, placement, start }: MapRequest): Vpn {
  if (placement === 'fixed') return start as Vpn;
  if (placement === 'fixed-noreplace') {
    if (isFree(k, root, start, start + pages)) return start as Vpn;
    throw new VmError('EEXIST', 'mmap', 'the range is occupied and MAP_FIXED_NOREPLACE was given', start * PAGE_SIZE);
  }
  if (placement === 'hint' && start >= MIN_VPN && start + pages <= VPN_LIMIT && isFree(k, root, start, start + pages)) {
    return start as Vpn;
  }
  const small = k.tree.findGap(root, pages, MIN_VPN, SMALL_VPN_LIMIT);
  // From the lowest page on: a mapping of nearly everything lies on both sides of the limit.
  const found = small >= 0 ? small : k.tree.findGap(root, pages, MIN_VPN, VPN_LIMIT);
  if (found < 0) throw new VmError('ENOMEM', 'mmap', `no gap of ${pages} pages in the address space`);
  return found as Vpn;
}

function isFree(k: Kernel, root: NodeRef, start: number, end: number): boolean {
  const next = k.tree.next(root, start);
  return next === 0 || k.vmas.start(next) >= end;
}

/** One root store; a merged neighbour is replaced by it. */
function mapHole(k: Kernel, mm: MmRef, props: VmaProps): void {
  underTreeLock(k, mm, (root) => {
    const { plan, edit } = prepare(k, mm, root, k.planner.planMap(root, props), 'mmap');
    commit(k, mm, plan, edit);
  });
}

/**
 * Over existing mappings: isolate them -> mark them detached while they are still in the tree (faults on them wait) -> zap ->
 * one root store puts the new one in their place. Memory for all of it is found before the first step that shows.
 */
function mapOver(k: Kernel, mm: MmRef, props: VmaProps): void {
  const { start, end } = props;
  const inside = isolate(k, mm, start, end, 'mmap');
  const change = undoIsolationOnError(k, mm, start, end, () =>
    underTreeLock(k, mm, (root) => prepare(k, mm, root, k.planner.planMap(root, props, inside), 'mmap')),
  );
  writeIntent(k.cpu, INTENT_UNMAP, mm, start, end, 0);
  intendVma(k.cpu, change.plan.created[0] as VmaRef);
  detach(k, inside, DETACHED_REMAPPED);
  zapRange(k, mm, start, end);
  commitPrepared(k, mm, change);
  announceReplaced(k, mm);
  clearIntent(k.cpu);
}

/** After the root is published: faults that met the old mapping on its way out look again. Not on the root: it may look the same again. */
export function announceReplaced(k: Kernel, mm: MmRef): void {
  add(k.words, mm + MM_REPLACED, 1); // pairs with the load in waitForRemap of fault/faulter.ts
  notify(k.words, mm + MM_REPLACED, Number.POSITIVE_INFINITY);
}
