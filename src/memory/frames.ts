/**
 * Frames: the pool under one lock, a private cache per cpu. Frame 0 is the shared zero page and is never handed out, so a pfn
 * of 0 says "none".
 */
import { cas, fillData, load, moveData, peek, peekRacy, poke, pokeRacy, setBytes, store } from '#atomics';
import { oops } from '../base/assert.ts';
import type { PageRef, Pfn } from '../base/brands.ts';
import { PAGE_SIZE } from '../base/limits.ts';
import { FRAME_CACHE } from '../base/tunables.ts';
import { FRAME_BUMP, FRAME_FREE, FRAME_HEAD, FRAME_LOCK } from '../sync/control.layout.ts';
import type { Cpu } from '../sync/cpu.ts';
import { CLASS_FRAMES } from '../sync/lock-classes.ts';
import { isHeldBy, spinLock, spinReap, spinUnlock } from '../sync/spinlock.ts';
import { COUNTER } from '../trace/counters.ts';
import { CACHED, FREE, LIVE, OWNED, ownedBy, RETIRED, stateKind, stateTag } from './ownership.ts';
import {
  P_FLAGS,
  P_LINK,
  P_MAPPING,
  P_PINS,
  P_REFS,
  P_RMAP_LOCK,
  P_RMAP_MORE,
  P_RMAP_SLOT,
  P_STATE,
} from './page.layout.ts';
import { PAGE_RECORD_WORDS } from './regions.layout.ts';
import type { Regions } from './regions.ts';

export const ZERO_PFN: Pfn = 0 as Pfn;
const NO_FRAME: Pfn = 0 as Pfn;
const DEAD_ONLY = 'only frames in the hands of a dead cpu are acted upon: nobody else writes their state';
const POOL_HINT = 'how full the pool is decides when to reclaim, not whether a frame is free';
const ZEROES: Uint8Array = new Uint8Array(PAGE_SIZE);

export class Frames {
  /** Another array after each `follow` that says so. */
  bytes: Uint8Array;
  /**
   * For memory that its host may move: brings `bytes` up to date after the caller's code may have run; true if the memory had moved.
   * Set by the machine.
   */
  follow: () => boolean = () => false;
  readonly total: number;
  private readonly _cpu: Cpu;
  private readonly _pages: number;
  private readonly _cache: Int32Array;
  private readonly _capacity: number;
  private _count = 0;

  constructor(cpu: Cpu, regions: Regions, bytes: Uint8Array) {
    this._cpu = cpu;
    this.bytes = bytes;
    this.total = regions.frames;
    this._pages = regions.pages;
    this._capacity = Math.min(FRAME_CACHE, Math.max(2, regions.frames >> 6));
    this._cache = new Int32Array(this._capacity);
  }

  pageOf(pfn: Pfn): PageRef {
    return (this._pages + pfn * PAGE_RECORD_WORDS) as PageRef;
  }

  pfnOf(page: PageRef): Pfn {
    return ((page - this._pages) >> 4) as Pfn; // PAGE_RECORD_WORDS is 16
  }

  /** A frame in state OWNED with no references, its bytes undefined; 0 when there is none. Never waits. */
  alloc(): Pfn {
    if (this._count === 0 && !this._refill()) return NO_FRAME;
    const pfn = this._cache[--this._count] as Pfn;
    const page = this.pageOf(pfn);
    poke(this._cpu.words, page + P_STATE, ownedBy(OWNED, this._cpu.tag));
    this._cpu.count(COUNTER['frames.allocated']);
    return pfn;
  }

  /** Takes back a frame that no translation, PTE or cache can reach. */
  free(pfn: Pfn): void {
    const { words } = this._cpu;
    const page = this.pageOf(pfn);
    const state = stateKind(peek(words, page + P_STATE));
    if (state === FREE || state === CACHED || pfn === ZERO_PFN) oops('frames', `frame ${pfn} freed in state ${state}`);
    this._check(page, pfn);
    poke(words, page + P_STATE, ownedBy(CACHED, this._cpu.tag));
    this._cpu.count(COUNTER['frames.freed']);
    if (this._count === this._capacity) this._flush(this._capacity >> 1);
    this._cache[this._count++] = pfn;
  }

  markLive(page: PageRef): void {
    poke(this._cpu.words, page + P_STATE, LIVE);
  }

  markRetired(page: PageRef): void {
    poke(this._cpu.words, page + P_STATE, ownedBy(RETIRED, this._cpu.tag));
  }

  zero(pfn: Pfn): void {
    setBytes(this.bytes, pfn * PAGE_SIZE, ZEROES);
  }

  /** Zeroes the end of a frame from byte `from` on. */
  zeroTail(pfn: Pfn, from: number): void {
    fillData(this.bytes, pfn * PAGE_SIZE + from, (pfn + 1) * PAGE_SIZE, 0);
  }

  copy(target: Pfn, source: Pfn): void {
    moveData(this.bytes, target * PAGE_SIZE, source * PAGE_SIZE, (source + 1) * PAGE_SIZE);
  }

  /** Frames in the pool; those in cpus' caches are not counted. A hint. */
  poolFree(): number {
    const { words } = this._cpu;
    return peekRacy(words, FRAME_FREE, POOL_HINT) + (this.total - peekRacy(words, FRAME_BUMP, POOL_HINT));
  }

  /** Whether word `at` is the lock over the pool. */
  isLock(at: number): boolean {
    return at === FRAME_LOCK;
  }

  flush(): void {
    this._flush(this._count);
  }

  /** As Slab.forget. */
  forget(): void {
    this._count = 0;
  }

  /** Frames by state, for conservation checks. Exact only when nobody allocates. */
  census(): { live: number; owned: number; retired: number; free: number } {
    const { words } = this._cpu;
    const out = { live: 0, owned: 0, retired: 0, free: 0 };
    const bump = load(words, FRAME_BUMP);
    for (let pfn = 1; pfn < bump; pfn++) {
      const kind = stateKind(peek(words, this.pageOf(pfn as Pfn) + P_STATE));
      if (kind === LIVE) out.live++;
      else if (kind === OWNED) out.owned++;
      else if (kind === RETIRED) out.retired++;
      else out.free++;
    }
    out.free += this.total - bump;
    return out;
  }

  /** As Slab.reapLock. */
  reapLock(deadTag: number): void {
    if (!isHeldBy(this._cpu.words, FRAME_LOCK, deadTag)) return;
    this._rebuild(); // under the dead cpu's lock: whoever dies here leaves it to the next reaper
    spinReap(this._cpu, FRAME_LOCK, deadTag);
  }

  /** The page whose reverse-map lock word `at` is, or 0. */
  ofRmapLock(at: number): PageRef {
    const offset = at - this._pages;
    const inside = offset >= 0 && offset < this.total * PAGE_RECORD_WORDS;
    return (inside && offset % PAGE_RECORD_WORDS === P_RMAP_LOCK ? at - P_RMAP_LOCK : 0) as PageRef;
  }

  /** As Slab.reap. */
  reap(deadTag: number, settle: (page: PageRef) => boolean, retire: (page: PageRef) => void): number {
    const { words } = this._cpu;
    let found = 0;
    const bump = load(words, FRAME_BUMP);
    for (let pfn = 1; pfn < bump; pfn++) {
      const page = this.pageOf(pfn as Pfn);
      const state = peekRacy(words, page + P_STATE, DEAD_ONLY);
      if (stateTag(state) !== deadTag) continue;
      const kind = stateKind(state);
      if (kind === RETIRED) retire(page);
      // By cas: a page that was published after all may be on its way out in other hands by now.
      else if (kind === OWNED && settle(page)) cas(words, page + P_STATE, state, LIVE);
      else if (cas(words, page + P_STATE, state, ownedBy(OWNED, this._cpu.tag)) === state)
        this._freeOfDead(pfn as Pfn, kind);
      if (kind !== CACHED) found++;
    }
    return found;
  }

  private _freeOfDead(pfn: Pfn, kind: number): void {
    const { words } = this._cpu;
    const page = this.pageOf(pfn);
    for (const word of [P_REFS, P_FLAGS, P_MAPPING, P_RMAP_SLOT, P_RMAP_MORE, P_PINS]) poke(words, page + word, 0);
    this.free(pfn);
    // A cached frame had been counted as freed by its dead cpu already.
    if (kind === CACHED) this._cpu.countMany(COUNTER['frames.freed'], -1);
  }

  /** A frame that goes back must have let go of everything. */
  private _check(page: PageRef, pfn: Pfn): void {
    const { words } = this._cpu;
    const busy = peek(words, page + P_MAPPING) | peek(words, page + P_RMAP_MORE) | peek(words, page + P_PINS);
    if (busy !== 0) oops('frames', `frame ${pfn} freed while it is still in a file, mapped or pinned`);
  }

  /**
   * Half a cache from the pool, so that `alloc` gives it out in the order in which `_flush` had it freed: ascending, for a run of
   * pages that was unmapped. Zeroing in that order costs half of what it costs in the other.
   */
  private _refill(): boolean {
    const { words } = this._cpu;
    const want = Math.max(1, this._capacity >> 1);
    let taken = 0;
    spinLock(this._cpu, FRAME_LOCK, CLASS_FRAMES);
    for (let head = peek(words, FRAME_HEAD); head !== NO_FRAME && taken < want; head = peek(words, FRAME_HEAD)) {
      const page = this.pageOf(head as Pfn);
      poke(words, page + P_STATE, ownedBy(CACHED, this._cpu.tag));
      poke(words, FRAME_HEAD, peek(words, page + P_LINK));
      this._cache[taken++] = head;
    }
    pokeRacy(words, FRAME_FREE, peek(words, FRAME_FREE) - taken, POOL_HINT);
    for (let fresh = peek(words, FRAME_BUMP); fresh < this.total && taken < want; fresh++) {
      poke(words, this.pageOf(fresh as Pfn) + P_STATE, ownedBy(CACHED, this._cpu.tag));
      store(words, FRAME_BUMP, fresh + 1);
      this._cache[taken++] = fresh;
    }
    spinUnlock(this._cpu, FRAME_LOCK);
    this._cache.subarray(0, taken).reverse();
    this._count = taken;
    return taken > 0;
  }

  private _flush(count: number): void {
    if (count === 0) return;
    const { words } = this._cpu;
    spinLock(this._cpu, FRAME_LOCK, CLASS_FRAMES);
    for (let i = 0; i < count; i++) {
      const pfn = this._cache[--this._count] as Pfn;
      const page = this.pageOf(pfn);
      poke(words, page + P_STATE, FREE);
      poke(words, page + P_LINK, peek(words, FRAME_HEAD));
      poke(words, FRAME_HEAD, pfn);
    }
    pokeRacy(words, FRAME_FREE, peek(words, FRAME_FREE) + count, POOL_HINT);
    spinUnlock(this._cpu, FRAME_LOCK);
  }

  /** The pool's owner died in the middle of a change. The states say which frames are free. */
  private _rebuild(): void {
    const { words } = this._cpu;
    let head: number = NO_FRAME;
    let free = 0;
    const bump = load(words, FRAME_BUMP);
    for (let pfn = bump - 1; pfn > 0; pfn--) {
      const page = this.pageOf(pfn as Pfn);
      if (peek(words, page + P_STATE) !== FREE) continue;
      poke(words, page + P_LINK, head);
      head = pfn;
      free++;
    }
    poke(words, FRAME_HEAD, head);
    pokeRacy(words, FRAME_FREE, free, POOL_HINT);
  }
}
