/** mmap(2): anonymous and file, private and shared, hint, MAP_FIXED, MAP_FIXED_NOREPLACE, top-down gap search, limits. */
import { add, notify, peek, peekF64 } from '#atomics';
import type { MappingRef, MmRef, NodeRef, VmaRef, Vpn } from '../base/brands.ts';
import { VmError } from '../base/errors.ts';
import { MAX_MAP_COUNT, MIN_VPN, PAGE_SIZE, SMALL_VPN_LIMIT, VPN_LIMIT } from '../base/limits.ts';
import { MM_LIMIT_PAGES, MM_MAP_COUNT, MM_MAPPED_PAGES, MM_MMAP_LOCK, MM_REPLACED } from '../paging/mm.layout.ts';
import { writeLock, writeUnlock } from '../sync/rwsem.ts';
import { cutShort } from '../sync/spinlock.ts';
import { COUNTER } from '../trace/counters.ts';
import type { LayoutPlan } from '../vma/plan.ts';
import type { TreeEdit } from '../vma/tree.ts';
import { DETACHED_REMAPPED } from '../vma/vma.layout.ts';
import type { VmaProps } from '../vma/vma-table.ts';
import { clearIntent, INTENT_UNMAP, intendVma, writeIntent } from './intent.ts';
import type { Kernel } from './kernel.ts';
import { commit, detach, lockTree, pagesAdded, prepare, rootOf, unlockTree } from './layout.ts';
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
  lockTree(k, mm);
  try {
    const root = rootOf(k, mm);
    const plan = k.planner.planMap(root, props);
    checkLimits(k, mm, plan);
    commit(k, mm, plan, prepare(k, root, plan));
  } catch (error) {
    throw cutShort(k.cpu, error);
  } finally {
    unlockTree(k, mm);
  }
}

/**
 * Over existing mappings: isolate them -> mark them detached while they are still in the tree (faults on them wait) -> zap ->
 * one root store puts the new one in their place. Memory for all of it is found before the first step that shows.
 */
function mapOver(k: Kernel, mm: MmRef, props: VmaProps): void {
  const { start, end } = props;
  const inside = isolate(k, mm, start, end, 'mmap');
  const { plan, edit } = undoIsolationOnError(k, mm, start, end, () => planOver(k, mm, props, inside));
  writeIntent(k.cpu, INTENT_UNMAP, mm, start, end, 0);
  intendVma(k.cpu, plan.created[0] as VmaRef);
  detach(k, inside, DETACHED_REMAPPED);
  zapRange(k, mm, start, end);
  lockTree(k, mm);
  try {
    commit(k, mm, plan, edit);
  } catch (error) {
    throw cutShort(k.cpu, error);
  } finally {
    unlockTree(k, mm);
  }
  announceReplaced(k, mm);
  clearIntent(k.cpu);
}

/** After the root is published: faults that met the old mapping on its way out look again. Not on the root: it may look the same again. */
export function announceReplaced(k: Kernel, mm: MmRef): void {
  add(k.words, mm + MM_REPLACED, 1); // pairs with the load in Faulter._waitForRemap
  notify(k.words, mm + MM_REPLACED, Number.POSITIVE_INFINITY);
}

function planOver(
  k: Kernel,
  mm: MmRef,
  props: VmaProps,
  inside: readonly VmaRef[],
): { plan: LayoutPlan; edit: TreeEdit } {
  lockTree(k, mm);
  try {
    const root = rootOf(k, mm);
    const plan = k.planner.planMap(root, props, inside);
    checkLimits(k, mm, plan);
    return { plan, edit: prepare(k, root, plan) };
  } catch (error) {
    throw cutShort(k.cpu, error);
  } finally {
    unlockTree(k, mm);
  }
}

function checkLimits(k: Kernel, mm: MmRef, plan: LayoutPlan): void {
  const count = peek(k.words, mm + MM_MAP_COUNT) + plan.created.length - plan.replaced.length;
  const limit = peekF64(k.floats, (mm + MM_LIMIT_PAGES) >> 1);
  const pages = peekF64(k.floats, (mm + MM_MAPPED_PAGES) >> 1) + pagesAdded(k, plan);
  if (count <= MAX_MAP_COUNT && (limit === 0 || pages <= limit)) return;
  k.planner.discardPlan(plan);
  if (count > MAX_MAP_COUNT) throw new VmError('ENOMEM', 'mmap', `the space has ${MAX_MAP_COUNT} mappings already`);
  throw new VmError('ENOMEM', 'mmap', `the space's limit of ${limit * PAGE_SIZE} mapped bytes would be passed`);
}
