/**
 * Finishing what a dead thread left behind (I27). Called only once the host has confirmed the death. Nothing was journaled:
 * locks name their owner, records name the cpu that had them in hand, page-table entries say whether they were being zapped, and the
 * slot says which layout operation was under way; every step is idempotent, so it is simply done again.
 *
 * The order matters. The slot's section ends first (grace periods may be needed); locks next, with every structure
 * consistent at each store; then the trees are brought in line with the detached marks, before the interrupted operation is
 * done again under the dead thread's mmap_lock; what is left in its hands goes back last.
 */
import { cas, load, peek, poke, store } from '#atomics';
import { pageReap } from './backing/page-lock.ts';
import type { MappingRef, MmRef, NodeRef, PageRef, TableRef, VmaRef, Vpn } from './base/brands.ts';
import { VmError } from './base/errors.ts';
import { MAX_CPUS, VPN_LIMIT } from './base/limits.ts';
import { LIVE, R_STATE, stateKind } from './memory/ownership.ts';
import { P_LOCK, P_MAPPING, P_RMAP_SLOT } from './memory/page.layout.ts';
import { bumpGeneration } from './paging/generation.ts';
import { MM_EXITING, MM_MMAP_LOCK, MM_STATE, MM_TREE_LOCK } from './paging/mm.layout.ts';
import { ptePfn } from './paging/pte.ts';
import { INTENT_EXIT, INTENT_NONE, INTENT_PROTECT, INTENT_UNMAP, type Intent, readIntent } from './space/intent.ts';
import { type Kernel, RETIRE_FRAME, RETIRE_NODE, RETIRE_RMAP, RETIRE_TABLE } from './space/kernel.ts';
import { lockTree, rootOf, unlockTree } from './space/layout.ts';
import { exitMm, exitMmLocked, forEachMm, leaveMm, usesMm } from './space/mm.ts';
import { protectLocked } from './space/protect.ts';
import { unmapLocked } from './space/unmap.ts';
import {
  C_HELD,
  C_INTENT,
  C_PAGE_LOCKS,
  C_REF_VMA,
  C_SLOT,
  C_STATE,
  C_THREAD,
  CPU_ATTACHED,
  CPU_DEAD,
  CPUS_USED,
  cpuSlot,
  GRACE,
  H_DEATHS,
  HELD_SLOTS,
  PAGE_LOCK_SLOTS,
} from './sync/control.layout.ts';
import { detachCpu } from './sync/cpu.ts';
import { futexReap } from './sync/futex.ts';
import { OWNER_MASK } from './sync/lock-classes.ts';
import { rwsemReap, writeUnlock } from './sync/rwsem.ts';
import { spinReap } from './sync/spinlock.ts';
import { COUNTER } from './trace/counters.ts';
import { DETACHED_RELEASED, DETACHED_REPLACED } from './vma/vma.layout.ts';

/** Reaps every cpu of the host's thread `thread`. */
export function reapThread(k: Kernel, thread: number): number {
  let reaped = 0;
  for (let id = 0; id < load(k.words, CPUS_USED); id++) {
    if (id !== k.cpu.id && load(k.words, cpuSlot(id) + C_THREAD) === thread && reapCpu(k, id)) reaped++;
  }
  return reaped;
}

/** Requires: outside sections, nothing held. False if the cpu is not attached, or somebody else is reaping it. */
export function reapCpu(k: Kernel, id: number): boolean {
  if (id >= MAX_CPUS) throw new VmError('EINVAL', 'reap', `there is no cpu ${id}`);
  const slot = cpuSlot(id);
  if (cas(k.words, slot + C_STATE, CPU_ATTACHED, CPU_DEAD) !== CPU_ATTACHED) return false;
  store(k.words, slot + C_SLOT, 0);
  releaseSpinlocks(k, id);
  releasePageLocks(k, id);
  futexReap(k.words, id);
  k.rcu.dropLists(id);
  settleTrees(k);
  forEachMm(k, (mm) => finishLayout(k, mm, id));
  finishExit(k, id);
  forEachMm(k, (mm) => bumpGeneration(k.cpu, mm, 0 as Vpn, VPN_LIMIT as Vpn));
  takeRecords(k, id + 1);
  dropReferences(k, id);
  store(k.words, H_DEATHS, load(k.words, H_DEATHS) + 1);
  k.cpu.count(COUNTER['reaped.cpus']);
  detachCpu(k.words, id);
  store(k.words, GRACE, load(k.words, GRACE) + 1);
  return true;
}

function releaseSpinlocks(k: Kernel, id: number): void {
  const slot = cpuSlot(id);
  // The pool and the slabs rebuild their lists before they let their locks go: see takeRecords.
  for (let i = 0; i < HELD_SLOTS; i++) {
    const lock = peek(k.words, slot + C_HELD + i);
    if (lock === 0 || isPoolLock(k, lock)) continue;
    if (spinReap(k.cpu, lock, id + 1)) k.cpu.count(COUNTER['reaped.locks']);
  }
}

function isPoolLock(k: Kernel, lock: number): boolean {
  return k.frames.isLock(lock) || Object.values(k.slabs).some((slab) => slab.isLock(lock));
}

/** A page that was being read stays unread in its file, unlocked: whoever wants it next drops it and reads again. */
function releasePageLocks(k: Kernel, id: number): void {
  const { words } = k;
  for (let i = 0; i < PAGE_LOCK_SLOTS; i++) {
    const page = peek(words, cpuSlot(id) + C_PAGE_LOCKS + i) as PageRef;
    if (page === 0 || (load(words, page + P_LOCK) & OWNER_MASK) !== id + 1) continue;
    if (stateKind(peek(words, page)) === LIVE && !isInCache(k, page) && peek(words, page + P_RMAP_SLOT) === 0) {
      // It had left its file, or had never got into it, and nobody maps it.
      poke(words, page + P_MAPPING, 0);
      k.frames.markRetired(page);
      k.rcu.retire(RETIRE_FRAME, page);
    }
    pageReap(k.cpu, page, id + 1);
    k.cpu.count(COUNTER['reaped.locks']);
  }
}

function isInCache(k: Kernel, page: PageRef): boolean {
  const mapping = peek(k.words, page + P_MAPPING) as MappingRef;
  return mapping !== 0 && k.cache.findRecord(page, mapping);
}

/**
 * Under every tree lock: a node or VMA that is live and in no tree was on its way out when its writer died. Readers may still
 * see it, so it is retired; a VMA is detached first.
 */
function settleTrees(k: Kernel): void {
  const locked: MmRef[] = [];
  const reachable = new Set<number>();
  try {
    forEachMm(k, (mm) => {
      lockTree(k, mm);
      locked.push(mm);
    });
    for (const mm of locked) for (const record of k.tree.reachable(rootOf(k, mm))) reachable.add(record);
    k.slabs.node.forEach((node) => {
      if (stateKind(peek(k.words, node + R_STATE)) !== LIVE || reachable.has(node)) return;
      k.slabs.node.markRetired(node);
      k.rcu.retire(RETIRE_NODE, node);
    });
    k.slabs.vma.forEach((record) => {
      const v = record as VmaRef;
      if (stateKind(peek(k.words, v + R_STATE)) !== LIVE || reachable.has(v)) return;
      const reason = k.vmas.detachedReason(v);
      if (reason === DETACHED_RELEASED) return; // the tree's reference has fallen; a sleeper has the last one
      if (reason === 0) k.vmas.markDetached(v, DETACHED_REPLACED);
      k.tree.retireVma(v);
    });
  } finally {
    for (const mm of locked.reverse()) unlockTree(k, mm);
  }
}

/** Does the interrupted layout operation again, under the dead thread's mmap_lock, which is ours now. */
function finishLayout(k: Kernel, mm: MmRef, id: number): void {
  const sem = mm + MM_MMAP_LOCK;
  spinReap(k.cpu, mm + MM_TREE_LOCK, id + 1);
  if (!rwsemReap(k.cpu, sem, id)) return;
  k.cpu.count(COUNTER['reaped.locks']);
  try {
    const intent = readIntent(k.words, k.floats, id);
    if (intent.mm === mm) redo(k, intent);
    store(k.words, cpuSlot(id) + C_INTENT, INTENT_NONE);
  } finally {
    writeUnlock(k.cpu, sem);
  }
}

function redo(k: Kernel, { kind, mm, start, end, prot, vma }: Intent): void {
  if (kind === INTENT_UNMAP) {
    const done = vma !== 0 && k.tree.find(rootOf(k, mm), start) === vma;
    if (!done) unmapLocked(k, mm, start, end);
  } else if (kind === INTENT_PROTECT) {
    if (k.tree.firstHole(rootOf(k, mm), start, end) < 0) protectLocked(k, mm, start, end, prot);
  } else if (kind === INTENT_EXIT && peek(k.words, mm + MM_STATE) === MM_EXITING) {
    exitMmLocked(k, mm);
  }
}

/** The thread died on its way to the mmap_lock of a space that it was to tear down. */
function finishExit(k: Kernel, id: number): void {
  const { kind, mm } = readIntent(k.words, k.floats, id);
  if (kind === INTENT_EXIT && peek(k.words, mm + MM_STATE) === MM_EXITING) exitMm(k, mm);
  store(k.words, cpuSlot(id) + C_INTENT, INTENT_NONE);
}

/** Everything that names the dead cpu: published after all, waiting for a grace period, or free. */
function takeRecords(k: Kernel, tag: number): void {
  const { words, slabs, rcu } = k;
  const frames = k.frames.reap(
    tag,
    (page) => isMapped(k, page) || isInCache(k, page),
    (page) => {
      k.frames.markRetired(page);
      rcu.retire(RETIRE_FRAME, page);
    },
  );
  k.cpu.countMany(COUNTER['reaped.frames'], frames);
  const reachable = new Set<number>();
  forEachMm(k, (mm) => {
    for (const record of k.tree.reachable(rootOf(k, mm))) reachable.add(record);
  });
  const again = (kind: number, mark: (record: number) => void) => (record: number) => {
    mark(record);
    rcu.retire(kind, record);
  };
  let found = 0;
  found += slabs.table.reap(
    tag,
    (t) => k.tables.isReachable(t as TableRef),
    again(RETIRE_TABLE, (t) => slabs.table.markRetired(t)),
  );
  found += slabs.node.reap(
    tag,
    (n) => reachable.has(n),
    again(RETIRE_NODE, (n) => slabs.node.markRetired(n as NodeRef)),
  );
  found += slabs.vma.reap(
    tag,
    (v) => reachable.has(v),
    (v) => k.tree.retireVma(v as VmaRef),
  );
  found += slabs.rmap.reap(
    tag,
    () => false,
    again(RETIRE_RMAP, (n) => slabs.rmap.markRetired(n)),
  );
  found += slabs.mapping.reap(
    tag,
    () => false,
    () => undefined,
  );
  found += slabs.text.reap(
    tag,
    () => false,
    () => undefined,
  );
  k.cpu.countMany(COUNTER['reaped.objects'], found);
  releaseLeftLocks(words, k, tag);
}

/** Locks whose lists were rebuilt. */
function releaseLeftLocks(words: Int32Array, k: Kernel, tag: number): void {
  const slot = cpuSlot(tag - 1);
  for (let i = 0; i < HELD_SLOTS; i++) {
    const lock = peek(words, slot + C_HELD + i);
    if (lock !== 0) spinReap(k.cpu, lock, tag);
  }
}

/** The frame's record says which PTE it was to go behind. */
function isMapped(k: Kernel, page: PageRef): boolean {
  const entry = peek(k.words, page + P_RMAP_SLOT);
  if (entry === 0) return false;
  const pte = load(k.words, entry);
  return pte !== 0 && ptePfn(pte) !== 0 && k.frames.pageOf(ptePfn(pte)) === page;
}

function dropReferences(k: Kernel, id: number): void {
  const { words } = k;
  const slot = cpuSlot(id);
  const vma = peek(words, slot + C_REF_VMA) as VmaRef;
  poke(words, slot + C_REF_VMA, 0);
  if (vma !== 0) k.vmas.put(vma);
  forEachMm(k, (mm) => {
    if (usesMm(k, id, mm)) leaveMm(k, mm, id);
  });
  k.files.closeAll(id);
}
