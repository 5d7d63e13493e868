/**
 * Finishing what a dead thread left behind (I27). Called only once the host has confirmed the death. Nothing was journaled:
 * locks name their owner, records name the cpu that had them in hand, page-table entries say whether they were being zapped, and the
 * slot says which layout operation was under way; every step is idempotent, so it is simply done again.
 *
 * The order matters. The slot's section ends first (grace periods may be needed); locks next, each after what it protects was
 * made to agree with itself again; then what of the dead thread's edits is in a tree is told from what is not, before
 * the interrupted operation is done again under the dead thread's mmap_lock; what is left in its hands goes back last.
 *
 * A reaper may die too. The dead cpu's state names it, so whoever reaps the reaper takes both.
 */
import { cas, load, peek, poke, store } from '#atomics';
import { pageReap } from './backing/page-lock.ts';
import type { MappingRef, MmRef, PageRef, TableRef, VmaRef, Vpn } from './base/brands.ts';
import { VmError } from './base/errors.ts';
import { MAX_CPUS, VPN_LIMIT } from './base/limits.ts';
import { LIVE, ownedBy, R_STATE, RETIRED, stateKind } from './memory/ownership.ts';
import { P_LOCK, P_MAPPING, P_REFS, P_RMAP_SLOT } from './memory/page.layout.ts';
import type { Slab } from './memory/slab.ts';
import { bumpGeneration } from './paging/generation.ts';
import { MM_MMAP_LOCK } from './paging/mm.layout.ts';
import { ptePfn } from './paging/pte.ts';
import { INTENT_EXIT, INTENT_NONE, INTENT_PROTECT, INTENT_UNMAP, type Intent, readIntent } from './space/intent.ts';
import { type Kernel, RETIRE_FRAME, RETIRE_NODE, RETIRE_RMAP, RETIRE_TABLE } from './space/kernel.ts';
import { lockTree, rootOf, settleLayout, unlockTree } from './space/layout.ts';
import { announceReplaced } from './space/map.ts';
import { exitMm, exitMmLocked, forEachMm, forEveryMm, isExiting, leaveMm } from './space/mm.ts';
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
import { DETACHED_REPLACED } from './vma/vma.layout.ts';

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
  const was = cas(k.words, cpuSlot(id) + C_STATE, CPU_ATTACHED, deadIn(k.cpu.tag));
  // A reaping that ended in an error (another dead thread's lock, no memory) is begun again: every step is idempotent.
  if (was !== CPU_ATTACHED && was !== deadIn(k.cpu.tag)) return false;
  const dead = [id, ...corpsesOf(k, id + 1)];
  for (const each of dead) store(k.words, cpuSlot(each) + C_SLOT, 0);
  for (const each of dead) releaseSpinlocks(k, each);
  for (const each of dead) releasePageLocks(k, each);
  for (const each of dead) futexReap(k.words, each);
  for (const each of dead) k.rcu.dropLists(each);
  for (const each of dead) forEveryMm(k, (mm) => settleTree(k, mm, each + 1));
  for (const each of dead) forEveryMm(k, (mm) => finishLayout(k, mm, each, dead));
  for (const each of dead) finishExit(k, each);
  forEachMm(k, (mm) => bumpGeneration(k.cpu, mm, 0 as Vpn, VPN_LIMIT as Vpn));
  for (const each of dead) takeRecords(k, each + 1);
  for (const each of dead) dropReferences(k, each);
  for (const each of dead) bury(k, each);
  store(k.words, GRACE, load(k.words, GRACE) + 1);
  return true;
}

/** The state names who reaps, so that the reaper's own death leaves nobody unburied. */
function deadIn(tag: number): number {
  return CPU_DEAD | (tag << 8);
}

/** The cpus that a dead reaper had not finished with; they are ours now. */
function corpsesOf(k: Kernel, tag: number): number[] {
  const found: number[] = [];
  const used = load(k.words, CPUS_USED);
  for (let id = 0; id < used; id++) {
    if (cas(k.words, cpuSlot(id) + C_STATE, deadIn(tag), deadIn(k.cpu.tag)) === deadIn(tag)) found.push(id);
  }
  return found;
}

function bury(k: Kernel, id: number): void {
  store(k.words, H_DEATHS, load(k.words, H_DEATHS) + 1);
  k.cpu.count(COUNTER['reaped.cpus']);
  detachCpu(k.words, id);
}

function releaseSpinlocks(k: Kernel, id: number): void {
  const slot = cpuSlot(id);
  k.frames.reapLock(id + 1);
  for (const slab of Object.values(k.slabs) as Slab[]) slab.reapLock(id + 1);
  for (let i = 0; i < HELD_SLOTS; i++) {
    const lock = peek(k.words, slot + C_HELD + i);
    if (lock === 0 || (load(k.words, lock) & OWNER_MASK) !== id + 1) continue;
    repair(k, lock);
    if (spinReap(k.cpu, lock, id + 1)) k.cpu.count(COUNTER['reaped.locks']);
  }
}

/** Makes what a lock protects agree with itself while it still bears the dead thread's name: nobody else looks at it. */
function repair(k: Kernel, lock: number): void {
  const leaf = k.tables.ofLock(lock);
  if (leaf !== 0) k.tables.recount(leaf);
  const page = k.frames.ofRmapLock(lock);
  if (page !== 0) k.rmap.settleNodes(page);
  const owner = k.rcu.ofLock(lock);
  const claim = (object: number): void => poke(k.words, object + R_STATE, ownedBy(RETIRED, owner + 1));
  if (owner !== -1) k.rcu.repairLists(owner, claim);
  const mapping = k.files.ofLock(lock);
  if (mapping !== 0) k.files.recount(mapping, holdersOf(k, mapping));
}

/** VMAs that say that they have a reference on the file. */
function holdersOf(k: Kernel, mapping: MappingRef): number {
  let holders = 0;
  k.slabs.vma.forEach((record) => {
    const v = record as VmaRef;
    if (k.vmas.mapping(v) === mapping && peek(k.words, k.vmas.holdsFile(v)) !== 0) holders++;
  });
  return holders;
}

/** A page that was being read stays unread in its file, unlocked: whoever wants it next drops it and reads again. */
function releasePageLocks(k: Kernel, id: number): void {
  const { words } = k;
  for (let i = 0; i < PAGE_LOCK_SLOTS; i++) {
    const page = peek(words, cpuSlot(id) + C_PAGE_LOCKS + i) as PageRef;
    if (page === 0 || (load(words, page + P_LOCK) & OWNER_MASK) !== id + 1) continue;
    if (stateKind(peek(words, page)) === LIVE) settlePage(k, page);
    pageReap(k.cpu, page, id + 1);
    k.cpu.count(COUNTER['reaped.locks']);
  }
}

/** Under the dead thread's page lock. */
function settlePage(k: Kernel, page: PageRef): void {
  const { words } = k;
  if (isInCache(k, page)) {
    k.rmap.dropStale(page, k.frames.pfnOf(page));
    poke(words, page + P_REFS, 1); // reclaim had begun to take it
  } else if (peek(words, page + P_RMAP_SLOT) === 0) {
    // It had left its file, or had never got into it, and nobody maps it.
    poke(words, page + P_MAPPING, 0);
    k.frames.markRetired(page);
    k.rcu.retire(RETIRE_FRAME, page);
  }
}

function isInCache(k: Kernel, page: PageRef): boolean {
  const mapping = peek(k.words, page + P_MAPPING) as MappingRef;
  return mapping !== 0 && k.cache.findRecord(page, mapping);
}

/** Whether the dead thread had changed the tree or not: the root says. */
function settleTree(k: Kernel, mm: MmRef, tag: number): void {
  lockTree(k, mm);
  try {
    settleLayout(k, mm, tag);
  } finally {
    unlockTree(k, mm);
  }
}

/**
 * Does the interrupted layout operation again, under the dead thread's mmap_lock, which is ours now. If it was itself about to
 * finish another dead thread's, that one is done again too.
 */
function finishLayout(k: Kernel, mm: MmRef, id: number, dead: readonly number[]): void {
  const sem = mm + MM_MMAP_LOCK;
  if (!rwsemReap(k.cpu, sem, id)) return;
  k.cpu.count(COUNTER['reaped.locks']);
  try {
    for (const each of dead) {
      const intent = readIntent(k.words, k.floats, each);
      if (intent.mm !== mm || intent.kind === INTENT_NONE) continue;
      redo(k, intent);
      if (intent.kind !== INTENT_EXIT) store(k.words, cpuSlot(each) + C_INTENT, INTENT_NONE);
    }
  } finally {
    writeUnlock(k.cpu, sem);
  }
}

function redo(k: Kernel, { kind, mm, start, end, prot, vma }: Intent): void {
  if (kind === INTENT_UNMAP) {
    const done = vma !== 0 && k.tree.find(rootOf(k, mm), start) === vma;
    if (!done) unmapLocked(k, mm, start, end);
    if (vma !== 0) announceReplaced(k, mm);
  } else if (kind === INTENT_PROTECT) {
    if (k.tree.firstHole(rootOf(k, mm), start, end) < 0) protectLocked(k, mm, start, end, prot);
  } else if (kind === INTENT_EXIT && isExiting(k, mm, prot)) {
    exitMmLocked(k, mm);
  }
}

/** The thread died on its way to the mmap_lock of a space that it was to tear down. */
function finishExit(k: Kernel, id: number): void {
  const { kind, mm, prot } = readIntent(k.words, k.floats, id);
  if (kind === INTENT_EXIT && isExiting(k, mm, prot)) exitMm(k, mm);
  store(k.words, cpuSlot(id) + C_INTENT, INTENT_NONE);
}

/** Everything that names the dead cpu: published after all, waiting for a grace period, or free. */
function takeRecords(k: Kernel, tag: number): void {
  const { slabs, rcu } = k;
  const frames = k.frames.reap(
    tag,
    (page) => isMapped(k, page) || isInCache(k, page),
    (page) => {
      k.frames.markRetired(page);
      rcu.retire(RETIRE_FRAME, page);
    },
  );
  k.cpu.countMany(COUNTER['reaped.frames'], frames);
  let found = 0;
  found += slabs.table.reap(
    tag,
    (t) => k.tables.isReachable(t as TableRef),
    (t) => {
      if (k.tables.isReachable(t as TableRef)) return slabs.table.publish(t);
      slabs.table.markRetired(t);
      rcu.retire(RETIRE_TABLE, t);
    },
  );
  found += slabs.node.reap(tag, neverUsed, (n) => {
    slabs.node.markRetired(n);
    rcu.retire(RETIRE_NODE, n);
  });
  found += slabs.vma.reap(
    tag,
    (v) => {
      const mapping = k.vmas.mapping(v as VmaRef);
      if (mapping !== 0) k.files.put(mapping, k.vmas.holdsFile(v as VmaRef));
      return false;
    },
    (v) => {
      if (k.vmas.detachedReason(v as VmaRef) === 0) k.vmas.markDetached(v as VmaRef, DETACHED_REPLACED);
      k.tree.retireVma(v as VmaRef);
    },
  );
  found += slabs.rmap.reap(tag, neverUsed, (n) => {
    slabs.rmap.markRetired(n);
    rcu.retire(RETIRE_RMAP, n);
  });
  k.files.dropUnused(tag); // before the texts that they name
  found += slabs.mapping.reap(tag, neverUsed, () => undefined);
  found += slabs.text.reap(tag, neverUsed, () => undefined);
  k.cpu.countMany(COUNTER['reaped.objects'], found);
}

/** What is in use has been published by now: see settleTree and repair. */
function neverUsed(): boolean {
  return false;
}

/** The frame's record says which PTE it was to go behind. */
function isMapped(k: Kernel, page: PageRef): boolean {
  const entry = peek(k.words, page + P_RMAP_SLOT);
  if (entry === 0) return false;
  const pte = load(k.words, entry);
  return pte !== 0 && ptePfn(pte) !== 0 && k.frames.pageOf(ptePfn(pte)) === page;
}

function dropReferences(k: Kernel, id: number): void {
  store(k.words, cpuSlot(id) + C_REF_VMA, 0);
  // All spaces: it may have died after it had taken its name off one, before it tore it down.
  forEachMm(k, (mm) => leaveMm(k, mm, id));
  k.files.closeAll(id);
}
