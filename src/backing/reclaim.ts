/**
 * Reclaim of clean file pages: a clock hand over all page records, second chance over the accessed bits of the PTEs and the
 * page's own. A page leaves in this order: zap every PTE and bump (under the leaf's lock) -> leave the cache -> retire the
 * frame, so whoever finds the page gone from the cache finds no translation of it either [C4], and the frame is
 * reused only after a grace period.
 *
 * The hand and the records are all there is: no list that a death could break.
 */
import { add, cas, load, peek, poke, store } from '#atomics';
import type { MmRef, PageRef, Pfn, Vpn } from '../base/brands.ts';
import { VmError } from '../base/errors.ts';
import { RECLAIM_BATCH } from '../base/tunables.ts';
import type { Frames } from '../memory/frames.ts';
import { P_FLAGS, P_LINK, P_MAPPING, P_PINS, P_REFS, PG_REFERENCED, PG_UPTODATE } from '../memory/page.layout.ts';
import { bumpGeneration } from '../paging/generation.ts';
import { PTE_ACCESSED, PTE_NONE, PTE_PRESENT, PTE_ZAPPED, ptePfn } from '../paging/pte.ts';
import type { Rmap } from '../paging/rmap.ts';
import type { Tables } from '../paging/tables.ts';
import { CLOCK_HAND, FRAME_BUMP } from '../sync/control.layout.ts';
import type { Cpu } from '../sync/cpu.ts';
import type { Rcu, Reclaimer, SectionClient } from '../sync/rcu.ts';
import { COUNTER } from '../trace/counters.ts';
import type { PageCache } from './page-cache.ts';
import { pageTryLock, pageUnlock } from './page-lock.ts';

/** The hand moves in steps of this many records, so that two reclaimers do not look at the same ones. */
const HAND_STEP = 16;
const NO_FRAME = 0 as Pfn;

/** Keeps leaves from being reused while a reverse-map walk looks at them. */
class WalkSection implements SectionClient {
  sectionDepth = 0;
  readonly sectionMm: number = 0;
  revalidate(): void {}
  deactivate(): void {}
}

export class Reclaim {
  readonly #cpu: Cpu;
  readonly #rcu: Rcu;
  readonly #frames: Frames;
  readonly #tables: Tables;
  readonly #rmap: Rmap;
  readonly #cache: PageCache;
  readonly #retireKind: number;
  readonly #section = new WalkSection();
  readonly #lowWater: number;

  constructor(cpu: Cpu, rcu: Rcu, frames: Frames, tables: Tables, rmap: Rmap, cache: PageCache, retireKind: number) {
    this.#cpu = cpu;
    this.#rcu = rcu;
    this.#frames = frames;
    this.#tables = tables;
    this.#rmap = rmap;
    this.#cache = cache;
    this.#retireKind = retireKind;
    this.#lowWater = Math.min(4 * RECLAIM_BATCH, frames.total >> 4);
  }

  /**
   * A frame, waiting for reclaim and grace periods if need be. Throws ENOMEM when nothing can be had. Requires: outside
   * sections, no lock but page locks (and, under the designs that do so, the mmap_lock).
   */
  obtainFrame(): Pfn {
    for (let fruitless = 0; fruitless < 3; ) {
      const pfn = this.#frames.alloc();
      if (pfn !== NO_FRAME) return pfn;
      if (this.#rcu.freeAllRetired() > 0) continue;
      const reclaimed = this.run(RECLAIM_BATCH);
      if (reclaimed === 0 && this.#rcu.pendingRetired() === 0) fruitless++;
      else if (this.#rcu.pendingRetired() > 0) this.#rcu.synchronize();
    }
    throw new VmError('ENOMEM', 'fault', `no frame of ${this.#frames.total} is free and no page can be reclaimed`);
  }

  /** Keeps a reserve, so that frames seldom have to be waited for. Never waits. */
  keepReserve(): void {
    if (this.#frames.poolFree() >= this.#lowWater) return;
    if (this.#rcu.freeAllRetired() > 0 && this.#frames.poolFree() >= this.#lowWater) return;
    this.run(RECLAIM_BATCH);
    this.#rcu.freeAllRetired();
  }

  /** Takes up to `wanted` pages out of the page cache and retires their frames. Never waits. */
  run(wanted: number): number {
    const { words } = this.#cpu;
    this.#cpu.count(COUNTER['reclaim.runs']);
    const total = load(words, FRAME_BUMP);
    let found = 0;
    // Twice round: the first may only take the second chances away.
    for (let looked = 0; looked < 2 * total + HAND_STEP && found < wanted; looked += HAND_STEP) {
      const hand = add(words, CLOCK_HAND, HAND_STEP) >>> 0;
      for (let i = 0; i < HAND_STEP && found < wanted; i++) {
        const page = this.#frames.pageOf(((hand + i) % total) as Pfn);
        if (peek(words, page + P_MAPPING) === 0) continue;
        this.#cpu.count(COUNTER['reclaim.scanned']);
        if (this.#tryPage(page)) found++;
      }
    }
    this.#cpu.countMany(COUNTER['reclaim.pages'], found);
    return found;
  }

  /** Takes a page out of its file whoever used it lately: the file is going away. Requires: page lock, no PTE. */
  drop(page: PageRef): void {
    this.#cache.remove(page);
    this.#frames.markRetired(page);
    pageUnlock(this.#cpu, page);
    this.#rcu.retire(this.#retireKind, page);
  }

  readonly reclaimer: Reclaimer = {
    linkOf: (page) => page + P_LINK,
    free: (page) => this.#frames.free(this.#frames.pfnOf(page as PageRef)),
    markRetired: (page) => this.#frames.markRetired(page as PageRef),
  };

  #tryPage(page: PageRef): boolean {
    if (!pageTryLock(this.#cpu, page)) return false;
    this.#rcu.enter(this.#section);
    try {
      if (!this.#isCandidate(page) || this.#wasUsed(page) || !this.#unmap(page) || !this.#freeze(page)) {
        pageUnlock(this.#cpu, page);
        return false;
      }
    } finally {
      this.#rcu.leave(this.#section);
    }
    this.drop(page);
    return true;
  }

  /** Requires: page lock. */
  #isCandidate(page: PageRef): boolean {
    const { words } = this.#cpu;
    if (peek(words, page + P_MAPPING) === 0 || peek(words, page + P_PINS) !== 0) return false;
    return (load(words, page + P_FLAGS) & PG_UPTODATE) !== 0;
  }

  /** Takes the second chance away. True if there was one. */
  #wasUsed(page: PageRef): boolean {
    const { words } = this.#cpu;
    const flags = load(words, page + P_FLAGS);
    let used = (flags & PG_REFERENCED) !== 0;
    if (used) poke(words, page + P_FLAGS, flags & ~PG_REFERENCED);
    this.#rmap.walk(page, (entry) => {
      const pte = load(words, entry);
      if ((pte & PTE_ACCESSED) === 0 || this.#frames.pageOf(ptePfn(pte)) !== page) return;
      // By cas on the value seen: a lost race means that the entry is being used or replaced.
      cas(words, entry, pte, pte & ~PTE_ACCESSED);
      used = true;
    });
    return used;
  }

  /** Clears every PTE of the page. False if one is just being zapped by its owner. */
  #unmap(page: PageRef): boolean {
    let clear = true;
    this.#rmap.walk(page, (entry) => {
      if (!this.#unmapOne(page, entry)) clear = false;
    });
    return clear && !this.#rmap.isMapped(page);
  }

  #unmapOne(page: PageRef, entry: number): boolean {
    const { words } = this.#cpu;
    const leaf = this.#tables.tableOf(entry);
    this.#tables.lockLeaf(leaf);
    try {
      const pte = load(words, entry);
      if ((pte & PTE_ZAPPED) !== 0) return false;
      const ours = (pte & (PTE_PRESENT | PTE_NONE)) !== 0 && this.#frames.pageOf(ptePfn(pte)) === page;
      if (ours) {
        const vpn = this.#tables.vpnOf(entry);
        store(words, entry, 0);
        bumpGeneration(this.#cpu, this.#tables.mmOf(leaf) as MmRef, vpn, (vpn + 1) as Vpn);
        this.#tables.addUsed(leaf, -1);
      }
      this.#rmap.remove(page, entry); // with no PTE behind it, it is what a dead thread left
      return true;
    } finally {
      this.#tables.unlockLeaf(leaf);
    }
  }

  /** The cache's reference must be the only one. */
  #freeze(page: PageRef): boolean {
    return cas(this.#cpu.words, page + P_REFS, 1, 0) === 1;
  }
}
