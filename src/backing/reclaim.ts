/**
 * Reclaim of clean file pages: a clock hand over all page records, second chance over the accessed bits of the PTEs and the
 * page's own. A page leaves in this order: zap every PTE and bump (under the leaf's lock) -> leave the cache -> retire the
 * frame, so whoever finds the page gone from the cache finds no translation of it either [C4], and the frame is
 * reused only after a grace period.
 *
 * The hand and the records are all there is: no list that a death could break.
 */
import { add, cas, load, peek, peekRacy, poke } from '#atomics';
import type { MmRef, PageRef, Pfn, Vpn } from '../base/brands.ts';
import { NONE } from '../base/brands.ts';
import { VmError } from '../base/errors.ts';
import { RECLAIM_BATCH } from '../base/tunables.ts';
import type { Frames } from '../memory/frames.ts';
import { P_FLAGS, P_LINK, P_MAPPING, P_PINS, P_REFS, PG_REFERENCED, PG_UPTODATE } from '../memory/page.layout.ts';
import { bumpGeneration } from '../paging/generation.ts';
import { EMPTY, LEAVING, PTE_ACCESSED, ptePfn, pteState } from '../paging/pte.ts';
import type { Rmap } from '../paging/rmap.ts';
import type { Tables } from '../paging/tables.ts';
import { CLOCK_HAND, FRAME_BUMP } from '../sync/control.layout.ts';
import type { Cpu } from '../sync/cpu.ts';
import type { Rcu, Reclaimer } from '../sync/rcu.ts';
import { cutShort } from '../sync/spinlock.ts';
import { COUNTER } from '../trace/counters.ts';
import type { PageCache } from './page-cache.ts';
import { pageLockHeld, pageOwner, pageSleep, pageTryLock, pageUnlock } from './page-lock.ts';
import { Patience } from './patience.ts';

/** The hand moves in steps of this many records, so that two reclaimers do not look at the same ones. */
const HAND_STEP = 16;
const NO_FRAME = 0 as Pfn;

/** Searches in a row that find nothing, and nothing to wait for, before a fault says ENOMEM. */
const FRUITLESS_ROUNDS = 3;

export class Reclaim {
  private readonly _cpu: Cpu;
  private readonly _rcu: Rcu;
  private readonly _frames: Frames;
  private readonly _tables: Tables;
  private readonly _rmap: Rmap;
  private readonly _cache: PageCache;
  private readonly _retireKind: number;
  private readonly _lowWater: number;

  /** Whether the last run met pages that it could not take just then. */
  private _busy = false;
  /** A page that somebody was reading when the last run came to it. */
  private _reading = NONE as PageRef;

  constructor(cpu: Cpu, rcu: Rcu, frames: Frames, tables: Tables, rmap: Rmap, cache: PageCache, retireKind: number) {
    this._cpu = cpu;
    this._rcu = rcu;
    this._frames = frames;
    this._tables = tables;
    this._rmap = rmap;
    this._cache = cache;
    this._retireKind = retireKind;
    this._lowWater = Math.min(4 * RECLAIM_BATCH, frames.total >> 4);
  }

  /**
   * A frame, waiting for reclaim, grace periods and other threads' reads if need be. Throws ENOMEM when nothing can be had, ETIMEDOUT
   * when another thread keeps it waiting for too long, WouldBlock. Requires: outside sections, no lock but page locks (and, under
   * the designs that do so, the mmap_lock).
   */
  obtainFrame(): Pfn {
    let patience: Patience | undefined; // of nobody who finds a frame at once
    for (let fruitless = 0; fruitless < FRUITLESS_ROUNDS; ) {
      const pfn = this._frames.alloc();
      if (pfn !== NO_FRAME) return pfn;
      if (this._rcu.freeAllRetired() > 0) continue;
      const reclaimed = this.run(RECLAIM_BATCH);
      const stolen = reclaimed === 0 ? this._frames.steal() : NO_FRAME; // what idle threads keep, before anything is waited for
      if (stolen !== NO_FRAME) return stolen;
      this._waitForRetired();
      // What is retired may be waited for by a fault in I/O: then it gives us nothing.
      if (reclaimed > 0 || this._rcu.freeAllRetired() > 0) {
        fruitless = 0;
        patience = undefined;
        continue;
      }
      patience ??= new Patience(this._cpu);
      if (!this._waitForOthers(patience)) fruitless++;
    }
    throw new VmError('ENOMEM', 'fault', `no frame of ${this._frames.total} is free and no page can be reclaimed`);
  }

  /**
   * Room for page tables and reverse-map nodes: both go with the pages they are for. Throws ENOMEM when nothing can be reclaimed.
   * Requires: as `obtainFrame`.
   */
  makeRoom(): void {
    const patience = new Patience(this._cpu);
    for (;;) {
      const reclaimed = this.run(RECLAIM_BATCH);
      this._waitForRetired();
      if (this._rcu.freeAllRetired() > 0 || reclaimed > 0) return;
      if (this._waitForOthers(patience)) continue;
      if (patience.someFreed) return; // there may be room now: the caller looks
      throw new VmError('ENOMEM', 'fault', 'no room for another page table or reverse-map record');
    }
  }

  private _waitForRetired(): void {
    if (this._rcu.pendingRetired() > 0) this._rcu.synchronize();
  }

  /**
   * Waits a moment for memory that is to come back by itself: objects that another cpu is freeing, pages that are being read, pages
   * that somebody has locked or is just zapping. False when there is nothing to wait for, or the last was waited for long enough: its
   * holder may be waiting for us. Throws ETIMEDOUT when one of the others takes too long, WouldBlock.
   */
  private _waitForOthers(patience: Patience): boolean {
    const freeing = this._rcu.freeingCpu();
    if (patience.waitsForFreeing(freeing)) this._rcu.waitABit();
    else if (this._reading !== NONE) {
      patience.waitsForReader(pageOwner(this._cpu, this._reading));
      pageSleep(this._cpu, this._reading);
    } else if (this._busy && patience.waitsForBusy()) this._rcu.waitABit();
    else return false;
    return true;
  }

  /** Keeps a reserve, so that frames seldom have to be waited for. Never waits. */
  keepReserve(): void {
    if (this._frames.poolFree() >= this._lowWater) return;
    if (this._rcu.freeAllRetired() > 0 && this._frames.poolFree() >= this._lowWater) return;
    this.run(RECLAIM_BATCH);
    this._rcu.freeAllRetired();
  }

  /** Takes up to `wanted` pages out of the page cache and retires their frames. Never waits. */
  run(wanted: number): number {
    const { words } = this._cpu;
    this._cpu.count(COUNTER['reclaim.runs']);
    this._busy = false;
    this._reading = NONE as PageRef;
    const total = load(words, FRAME_BUMP);
    let found = 0;
    // Twice round: the first may only take the second chances away.
    for (let looked = 0; looked < 2 * total + HAND_STEP && found < wanted; looked += HAND_STEP) {
      const hand = add(words, CLOCK_HAND, HAND_STEP) >>> 0;
      for (let i = 0; i < HAND_STEP && found < wanted; i++) {
        const page = this._frames.pageOf(((hand + i) % total) as Pfn);
        if (peekRacy(words, page + P_MAPPING, 'which pages to look at: _tryPage looks again under the page lock') === 0)
          continue;
        this._cpu.count(COUNTER['reclaim.scanned']);
        if (this._tryPage(page)) found++;
      }
    }
    this._cpu.countMany(COUNTER['reclaim.pages'], found);
    return found;
  }

  /** Takes a page out of its file whoever used it lately: the file is going away. Requires: page lock, no PTE. */
  drop(page: PageRef): void {
    this._cache.remove(page);
    this._frames.markRetired(page);
    pageUnlock(this._cpu, page);
    this._rcu.retire(this._retireKind, page);
  }

  readonly reclaimer: Reclaimer = {
    linkOf: (page) => page + P_LINK,
    free: (page) => this._frames.freeRetired(page as PageRef),
    markRetired: (page) => this._frames.markRetired(page as PageRef),
  };

  private _tryPage(page: PageRef): boolean {
    if (!pageTryLock(this._cpu, page)) {
      this._noteLocked(page);
      return false;
    }
    const free = this._rcu.walking(
      () => this._isCandidate(page) && !this._wasUsed(page) && this._unmap(page) && this._freeze(page),
    );
    if (free) this.drop(page);
    else pageUnlock(this._cpu, page);
    return free;
  }

  private _noteLocked(page: PageRef): void {
    if (pageLockHeld(this._cpu, page)) return; // no wait would help
    const flags = peekRacy(
      this._cpu.words,
      page + P_FLAGS,
      'what to wait for: after the wait everything is looked at again',
    );
    if ((flags & PG_UPTODATE) === 0) this._reading = page;
    else this._busy = true;
  }

  /** Requires: page lock. */
  private _isCandidate(page: PageRef): boolean {
    const { words } = this._cpu;
    if (peek(words, page + P_MAPPING) === 0 || peek(words, page + P_PINS) !== 0) return false;
    return (load(words, page + P_FLAGS) & PG_UPTODATE) !== 0;
  }

  /** Takes the second chance away. True if there was one. */
  private _wasUsed(page: PageRef): boolean {
    const { words } = this._cpu;
    const flags = load(words, page + P_FLAGS);
    let used = (flags & PG_REFERENCED) !== 0;
    if (used) poke(words, page + P_FLAGS, flags & ~PG_REFERENCED);
    this._rmap.walk(page, (entry) => {
      const pte = load(words, entry);
      if ((pte & PTE_ACCESSED) === 0 || this._frames.pageOf(ptePfn(pte)) !== page) return;
      // By cas on the value seen: a lost race means that the entry is being used or replaced.
      cas(words, entry, pte, pte & ~PTE_ACCESSED);
      used = true;
    });
    return used;
  }

  /** Clears every PTE of the page. False if one is just being zapped by its owner. */
  private _unmap(page: PageRef): boolean {
    let clear = true;
    this._rmap.walk(page, (entry) => {
      if (!this._unmapOne(page, entry)) clear = false;
    });
    if (!clear) this._busy = true;
    return clear && !this._rmap.isMapped(page);
  }

  private _unmapOne(page: PageRef, entry: number): boolean {
    const { words } = this._cpu;
    const leaf = this._tables.lockLeaf(this._tables.tableOf(entry));
    let empty = false;
    try {
      const pte = load(words, entry);
      const state = pteState(pte);
      if (state === LEAVING) return false;
      const ours = state !== EMPTY && this._frames.pageOf(ptePfn(pte)) === page;
      if (ours) {
        const vpn = this._tables.vpnOf(entry);
        this._tables.clearEntry(leaf, entry);
        bumpGeneration(this._cpu, this._tables.mmOf(leaf) as MmRef, vpn, (vpn + 1) as Vpn);
        empty = this._tables.used(leaf) === 0;
      }
      this._rmap.remove(page, entry); // with no PTE behind it, it is what a dead thread left
      return true;
    } catch (error) {
      throw cutShort(this._cpu, error);
    } finally {
      this._tables.unlockLeaf(leaf);
      // A file much larger than memory can be read at random for ever: its tables go with its pages.
      if (empty) this._tables.tearDownLeaf(leaf);
    }
  }

  /** The cache's reference must be the only one. */
  private _freeze(page: PageRef): boolean {
    return cas(this._cpu.words, page + P_REFS, 1, 0) === 1;
  }
}
