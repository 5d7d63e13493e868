/**
 * The steps of finishing a cpu's work (see reap.ts for their order). Each takes the cpu's number or its tag; whose thread is
 * dead and whose has given up makes no difference but in `dropReferences`.
 */
import { load, peek, poke, store } from '#atomics';
import { pageReap } from '../backing/page-lock.ts';
import type { MappingRef, MmRef, PageRef, TableRef, VmaRef } from '../base/brands.ts';
import { LIVE, ownedBy, R_STATE, RETIRED, stateKind } from '../memory/ownership.ts';
import { P_LOCK, P_MAPPING, P_REFS, P_RMAP_SLOT } from '../memory/page.layout.ts';
import type { Slab } from '../memory/slab.ts';
import { MM_MMAP_LOCK } from '../paging/mm.layout.ts';
import { ptePfn } from '../paging/pte.ts';
import { INTENT_EXIT, INTENT_NONE, INTENT_PROTECT, INTENT_UNMAP, type Intent, readIntent } from '../space/intent.ts';
import { type Kernel, RETIRE_FRAME, RETIRE_NODE, RETIRE_RMAP, RETIRE_TABLE } from '../space/kernel.ts';
import { rootOf, settleLayout, underTreeLock } from '../space/layout.ts';
import { announceReplaced } from '../space/map.ts';
import { exitMm, exitMmLocked, forEachMm, forEveryMm, isExiting, leaveMm, usesMm } from '../space/mm.ts';
import { protectLocked } from '../space/protect.ts';
import { unmapLocked } from '../space/unmap.ts';
import {
  C_HELD,
  C_INTENT,
  C_PAGE_LOCKS,
  C_REF_VMA,
  cpuSlot,
  HELD_SLOTS,
  PAGE_LOCK_SLOTS,
} from '../sync/control.layout.ts';
import { OWNER_MASK } from '../sync/lock-classes.ts';
import { rwsemReap, writeUnlock } from '../sync/rwsem.ts';
import { spinReap } from '../sync/spinlock.ts';
import { COUNTER } from '../trace/counters.ts';
import { DETACHED_REPLACED } from '../vma/vma.layout.ts';

/** Each lock is let go of after what it protects was made to agree with itself again. Takes no lock that others could keep. */
export function releaseSpinlocks(k: Kernel, id: number): void {
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
export function releasePageLocks(k: Kernel, id: number): void {
  const { words } = k;
  for (let i = 0; i < PAGE_LOCK_SLOTS; i++) {
    const note = cpuSlot(id) + C_PAGE_LOCKS + i;
    const page = peek(words, note) as PageRef;
    if (page === 0) continue;
    if ((load(words, page + P_LOCK) & OWNER_MASK) === id + 1) {
      if (stateKind(peek(words, page)) === LIVE) settlePage(k, page);
      pageReap(k.cpu, page, id + 1);
      k.cpu.count(COUNTER['reaped.locks']);
    }
    poke(words, note, 0); // its thread may live, and has but so many
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

/** The spaces whose trees these cpus may have changed: those that they use, or were to finish something in. */
export function concernedSpaces(k: Kernel, left: readonly number[]): readonly MmRef[] {
  const intents = left.map((id) => readIntent(k.words, k.floats, id));
  const found: MmRef[] = [];
  forEveryMm(k, (mm) => {
    const intended = intents.some((intent) => intent.kind !== INTENT_NONE && intent.mm === mm);
    if (intended || left.some((id) => usesMm(k, id, mm))) found.push(mm);
  });
  return found;
}

/** Whether the thread had changed the tree or not: the root says. */
export function settleTree(k: Kernel, mm: MmRef, tag: number): void {
  underTreeLock(k, mm, (root) => settleLayout(k, mm, root, tag));
}

/**
 * Does the interrupted layout operation again, under the dead thread's mmap_lock, which is ours now. If it was itself about to
 * finish another dead thread's, that one is done again too.
 */
export function finishLayout(k: Kernel, mm: MmRef, id: number, left: readonly number[]): void {
  const sem = mm + MM_MMAP_LOCK;
  if (!rwsemReap(k.cpu, sem, id)) return;
  k.cpu.count(COUNTER['reaped.locks']);
  // Not in a `finally`: if this fails the lock stays ours with the operation half done, and whoever finishes our work goes on.
  for (const each of left) {
    const intent = readIntent(k.words, k.floats, each);
    if (intent.mm !== mm || intent.kind === INTENT_NONE) continue;
    redo(k, intent);
    if (intent.kind !== INTENT_EXIT) store(k.words, cpuSlot(each) + C_INTENT, INTENT_NONE);
  }
  writeUnlock(k.cpu, sem);
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
export function finishExit(k: Kernel, id: number): void {
  const { kind, mm, prot } = readIntent(k.words, k.floats, id);
  if (kind === INTENT_EXIT && isExiting(k, mm, prot)) exitMm(k, mm);
  store(k.words, cpuSlot(id) + C_INTENT, INTENT_NONE);
}

/** Tree nodes that it had in hand and that are in no tree: settleTree has told them apart. */
export function takeNodes(k: Kernel, tag: number): void {
  k.slabs.node.reap(tag, neverUsed, () => undefined); // those that are retired wait for takeRecords
}

/** Everything that names the dead cpu: published after all, waiting for a grace period, or free. */
export function takeRecords(k: Kernel, tag: number): void {
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

export function dropReferences(k: Kernel, id: number): void {
  store(k.words, cpuSlot(id) + C_REF_VMA, 0);
  // All spaces: it may have died after it had taken its name off one, before it tore it down.
  forEachMm(k, (mm) => leaveMm(k, mm, id));
  k.files.closeAll(id);
}
