/**
 * The frames that a cpu keeps for itself, between the pool and who uses them: taken without a lock, stolen by cpus in need.
 *
 * A cpu's cache is an array of its own, but the frames' states have the last word: CACHED frames may be stolen by a cpu that finds none
 * elsewhere. A number in the array is only where to look, so one that has become stale, or is there twice, does no harm: the cpu
 * takes a frame only if it turns its state from CACHED by itself, by cas. Thieves hold the pool's lock; what is done under it
 * (refill, flush) needs no cas. A frame that was freed without Atomics is KEPT: no thief may have it until its cpu has been through the
 * lock (`_flush`, `_offer`), which orders what the cpu did with it before what the thief does.
 */
import { cas, load, peek, peekF64, peekRacy, poke, pokeRacy, pokeRacyF64, store } from '#atomics';
import { oops } from '../base/assert.ts';
import type { PageRef, Pfn } from '../base/brands.ts';
import { FRAME_CACHE, STEAL_STRIDE } from '../base/tunables.ts';
import {
  C_FRAME_GIVEN,
  C_FRAME_TAKEN,
  FRAME_BUMP,
  FRAME_FREE,
  FRAME_HEAD,
  FRAME_LOCK,
} from '../sync/control.layout.ts';
import type { Cpu } from '../sync/cpu.ts';
import { CLASS_FRAMES } from '../sync/lock-classes.ts';
import { spinLock, spinUnlock } from '../sync/spinlock.ts';
import { COUNTER } from '../trace/counters.ts';
import { COUNT_BITS, COUNT_MASK } from './frame-counts.ts';
import { CACHED, FREE, KEPT, LIVE, OWNED, ownedBy, stateKind } from './ownership.ts';
import { P_LINK, P_MAPPING, P_PINS, P_RMAP_MORE, P_STATE } from './page.layout.ts';
import { PAGE_RECORD_WORDS } from './regions.layout.ts';
import type { Regions } from './regions.ts';

export const ZERO_PFN: Pfn = 0 as Pfn;
export const NO_FRAME: Pfn = 0 as Pfn;
export const STATE =
  'a thief or a reaper may look at any time; it takes only what is CACHED, by cas, or what a dead cpu had';
export const POOL_HINT = 'how full the pool is decides when to reclaim, not whether a frame is free';
const STATISTIC = 'a statistic: one writer, and a reader may see it late';

export class FrameCache {
  readonly total: number;
  protected readonly _cpu: Cpu;
  protected readonly _pages: number;
  private readonly _cache: Int32Array;
  private readonly _capacity: number;
  private _count = 0;
  /** This cpu's state words. */
  protected readonly _cached: number;
  private readonly _kept: number;
  protected readonly _owned: number;
  /** Words of this cpu's notes, Float64s of its counters: see frame-counts.ts. */
  private readonly _taken: number;
  private readonly _given: number;
  private readonly _allocated: number;
  private readonly _freed: number;
  /** Where the last theft ended. */
  private _hand = 0;

  constructor(cpu: Cpu, regions: Regions) {
    this._cpu = cpu;
    this.total = regions.frames;
    this._pages = regions.pages;
    this._capacity = Math.min(FRAME_CACHE, Math.max(2, regions.frames >> 6));
    this._cache = new Int32Array(this._capacity);
    this._cached = ownedBy(CACHED, cpu.tag);
    this._kept = ownedBy(KEPT, cpu.tag);
    this._owned = ownedBy(OWNED, cpu.tag);
    this._taken = cpu.base + C_FRAME_TAKEN;
    this._given = cpu.base + C_FRAME_GIVEN;
    this._allocated = cpu.counters + COUNTER['frames.allocated'];
    this._freed = cpu.counters + COUNTER['frames.freed'];
  }

  pageOf(pfn: Pfn): PageRef {
    return (this._pages + pfn * PAGE_RECORD_WORDS) as PageRef;
  }

  pfnOf(page: PageRef): Pfn {
    return ((page - this._pages) >> 4) as Pfn; // PAGE_RECORD_WORDS is 16
  }

  /** A frame in state OWNED with no references, its bytes undefined; 0 when there is none. Never waits. */
  alloc(): Pfn {
    while (this._count > 0 || this._refill()) {
      const pfn = this._cache[--this._count] as Pfn;
      const state = peekRacy(this._cpu.words, this.pageOf(pfn) + P_STATE, STATE);
      if ((state === this._cached || state === this._kept) && this._take(pfn, state)) return pfn;
    }
    return NO_FRAME;
  }

  /** Takes back a frame that no translation, PTE or cache can reach. */
  free(pfn: Pfn): void {
    const page = this.pageOf(pfn);
    this._beforeFree(page, pfn);
    store(this._cpu.words, page + P_STATE, this._cached); // pairs with a thief's cas
    this._afterFree(pfn);
  }

  /** The same for the page of a chain whose grace period is over. At the end of the chain others may steal what is kept of it. */
  freeRetired(page: PageRef): void {
    const { words } = this._cpu;
    const pfn = this.pfnOf(page);
    const isLast = peek(words, page + P_LINK) === 0;
    this._beforeFree(page, pfn);
    pokeRacy(words, page + P_STATE, this._kept, STATE);
    this._afterFree(pfn);
    if (isLast) this._offer();
  }

  /**
   * A frame out of another cpu's cache, as `alloc`; 0 if none has any. Takes a few more along for the next `alloc`. The first is this
   * cpu's own at once, so of several thieves each theft brings one on. Requires: as `alloc`, and that the pool is empty.
   */
  steal(): Pfn {
    const total = load(this._cpu.words, FRAME_BUMP);
    let stolen = NO_FRAME;
    for (let looked = 0; looked < total && stolen === NO_FRAME; looked += STEAL_STRIDE) {
      spinLock(this._cpu, FRAME_LOCK, CLASS_FRAMES);
      stolen = this._stealNext(STEAL_STRIDE, total);
      spinUnlock(this._cpu, FRAME_LOCK);
    }
    return stolen;
  }

  flush(): void {
    this._flush(this._count);
  }

  /** As Slab.forget. */
  forget(): void {
    this._count = 0;
  }

  /** The frame becomes this cpu's own if it is in state `seen`, CACHED or this cpu's KEPT. */
  private _take(pfn: Pfn, seen: number): boolean {
    const { words, floats } = this._cpu;
    const counted = peekF64(floats, this._allocated);
    poke(words, this._taken, (pfn << COUNT_BITS) | (counted & COUNT_MASK));
    if (cas(words, this.pageOf(pfn) + P_STATE, seen, this._owned) === seen) {
      pokeRacyF64(floats, this._allocated, counted + 1, STATISTIC);
      return true;
    }
    poke(words, this._taken, 0);
    return false;
  }

  /** Checks that the frame may go, makes it this cpu's own in name too, and notes that it goes. */
  private _beforeFree(page: PageRef, pfn: Pfn): void {
    const { words, floats } = this._cpu;
    const kind = stateKind(peek(words, page + P_STATE));
    if (kind === FREE || kind === CACHED || kind === KEPT || pfn === ZERO_PFN)
      oops('frames', `frame ${pfn} freed in state ${kind}`);
    this._check(page, pfn);
    if (kind === LIVE) pokeRacy(words, page + P_STATE, this._owned, STATE);
    poke(words, this._given, (pfn << COUNT_BITS) | (peekF64(floats, this._freed) & COUNT_MASK));
  }

  private _afterFree(pfn: Pfn): void {
    const { floats } = this._cpu;
    pokeRacyF64(floats, this._freed, peekF64(floats, this._freed) + 1, STATISTIC);
    this._push(pfn);
  }

  /** A frame that goes back must have let go of everything. */
  private _check(page: PageRef, pfn: Pfn): void {
    const { words } = this._cpu;
    const busy = peek(words, page + P_MAPPING) | peek(words, page + P_RMAP_MORE) | peek(words, page + P_PINS);
    if (busy !== 0) oops('frames', `frame ${pfn} freed while it is still in a file, mapped or pinned`);
  }

  protected _push(pfn: Pfn): void {
    if (this._count === this._capacity) this._flush(this._capacity >> 1);
    this._cache[this._count++] = pfn;
  }

  /** Requires: the pool's lock. Looks at the next `stride` of `total` records; stops when it has enough. */
  private _stealNext(stride: number, total: number): Pfn {
    const { words } = this._cpu;
    let stolen = NO_FRAME;
    for (let i = 0; i < stride && (stolen === NO_FRAME || this._count < this._capacity >> 1); i++) {
      this._hand = this._hand + 1 < total ? this._hand + 1 : 1;
      const pfn = this._hand as Pfn;
      const page = this.pageOf(pfn);
      const state = peekRacy(words, page + P_STATE, STATE);
      if (stateKind(state) !== CACHED || state === this._cached) continue;
      if (stolen === NO_FRAME) {
        if (this._take(pfn, state)) stolen = pfn;
      } else if (cas(words, page + P_STATE, state, this._cached) === state) {
        this._cache[this._count++] = pfn;
      }
    }
    return stolen;
  }

  /** What is kept goes through the lock: thieves may have it from now on. */
  private _offer(): void {
    const { words } = this._cpu;
    spinLock(this._cpu, FRAME_LOCK, CLASS_FRAMES);
    for (let i = this._count - 1; i >= 0; i--) {
      const state = this.pageOf(this._cache[i] as Pfn) + P_STATE;
      if (peekRacy(words, state, STATE) === this._kept) pokeRacy(words, state, this._cached, STATE);
    }
    spinUnlock(this._cpu, FRAME_LOCK);
  }

  /**
   * Half a cache from the pool, so that `alloc` gives it out in the order in which `_flush` had it freed: ascending, for a run of
   * pages that was unmapped. Zeroing in that order costs half of what it costs in the other.
   */
  private _refill(): boolean {
    const { words } = this._cpu;
    const want = Math.max(1, this._capacity >> 1);
    let place = want;
    spinLock(this._cpu, FRAME_LOCK, CLASS_FRAMES);
    let head = peek(words, FRAME_HEAD);
    for (; head !== NO_FRAME && place > 0; head = peek(words, this.pageOf(head as Pfn) + P_LINK)) {
      pokeRacy(words, this.pageOf(head as Pfn) + P_STATE, this._cached, STATE);
      this._cache[--place] = head;
    }
    poke(words, FRAME_HEAD, head); // who dies before it dies with the lock: the list is built anew
    pokeRacy(words, FRAME_FREE, peek(words, FRAME_FREE) - (want - place), POOL_HINT);
    const bump = peek(words, FRAME_BUMP);
    let fresh = bump;
    for (; fresh < this.total && place > 0; fresh++) {
      pokeRacy(words, this.pageOf(fresh as Pfn) + P_STATE, this._cached, STATE);
      this._cache[--place] = fresh;
    }
    if (fresh !== bump) store(words, FRAME_BUMP, fresh); // last: whoever sees it finds states
    spinUnlock(this._cpu, FRAME_LOCK);
    if (place > 0) this._cache.copyWithin(0, place, want);
    this._count = want - place;
    return this._count > 0;
  }

  private _flush(count: number): void {
    if (count === 0) return;
    const { words } = this._cpu;
    spinLock(this._cpu, FRAME_LOCK, CLASS_FRAMES);
    let head = peek(words, FRAME_HEAD);
    let freed = 0;
    for (let i = 0; i < count; i++) {
      const pfn = this._cache[--this._count] as Pfn;
      const page = this.pageOf(pfn);
      const state = peekRacy(words, page + P_STATE, STATE);
      if (state !== this._cached && state !== this._kept) continue; // stolen
      pokeRacy(words, page + P_STATE, FREE, STATE);
      poke(words, page + P_LINK, head);
      head = pfn;
      freed++;
    }
    poke(words, FRAME_HEAD, head);
    pokeRacy(words, FRAME_FREE, peek(words, FRAME_FREE) + freed, POOL_HINT);
    spinUnlock(this._cpu, FRAME_LOCK);
  }
}
