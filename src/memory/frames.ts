/**
 * Frames: the pool under one lock, a private cache per cpu (frame-cache.ts). Frame 0 is the shared zero page and is never handed out, so
 * a pfn of 0 says "none".
 */
import { cas, fillData, load, moveData, peek, peekRacy, poke, pokeRacy, setBytes } from '#atomics';
import type { PageRef, Pfn } from '../base/brands.ts';
import { MAX_CPUS, PAGE_SIZE } from '../base/limits.ts';
import { FRAME_BUMP, FRAME_FREE, FRAME_HEAD, FRAME_LOCK } from '../sync/control.layout.ts';
import type { Cpu } from '../sync/cpu.ts';
import { isHeldBy, spinReap } from '../sync/spinlock.ts';
import { FrameCache, NO_FRAME, POOL_HINT, STATE } from './frame-cache.ts';
import { settleCounts } from './frame-counts.ts';
import { CACHED, FREE, KEPT, LIVE, OWNED, ownedBy, RETIRED, stateKind, stateTag } from './ownership.ts';
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

export { ZERO_PFN } from './frame-cache.ts';

const FREE_UNDER_LOCK =
  'frames become free, and cease to be, under the lock alone; what else others make of theirs is theirs';
const DEAD_ONLY = 'only frames in the hands of a dead cpu are acted upon: nobody else writes their state';
const ZEROES: Uint8Array = new Uint8Array(PAGE_SIZE);

export class Frames extends FrameCache {
  /** Another array after each `follow` that says so. */
  bytes: Uint8Array;
  /**
   * For memory that its host may move: brings `bytes` up to date after the caller's code may have run; true if the memory had moved.
   * Set by the machine.
   */
  follow: () => boolean = () => false;

  constructor(cpu: Cpu, regions: Regions, bytes: Uint8Array) {
    super(cpu, regions);
    this.bytes = bytes;
  }

  markLive(page: PageRef): void {
    pokeRacy(this._cpu.words, page + P_STATE, LIVE, STATE);
  }

  markRetired(page: PageRef): void {
    pokeRacy(this._cpu.words, page + P_STATE, ownedBy(RETIRED, this._cpu.tag), STATE);
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

  /** As Slab.rename. */
  rename(tag: number, to: number): void {
    const { words } = this._cpu;
    const bump = load(words, FRAME_BUMP);
    for (let pfn = 1; pfn < bump; pfn++) {
      const at = this.pageOf(pfn as Pfn) + P_STATE;
      const state = peekRacy(words, at, DEAD_ONLY);
      if (stateTag(state) === tag) cas(words, at, state, ownedBy(stateKind(state), to));
    }
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
    // A call that gave up has counted what it did: it ended between two changes.
    if (deadTag <= MAX_CPUS) settleCounts(this._cpu, deadTag, (pfn) => this.pageOf(pfn as Pfn) + P_STATE);
    let found = 0;
    const bump = load(words, FRAME_BUMP);
    for (let pfn = 1; pfn < bump; pfn++) {
      const page = this.pageOf(pfn as Pfn);
      const state = peekRacy(words, page + P_STATE, DEAD_ONLY);
      if (stateTag(state) !== deadTag) continue;
      const kind = stateKind(state);
      if (kind === CACHED || kind === KEPT) {
        // By cas: a thief may be quicker.
        if (cas(words, page + P_STATE, state, this._cached) === state) this._push(pfn as Pfn);
        continue;
      }
      found++;
      if (kind === RETIRED) retire(page);
      // By cas: a page that was published after all may be on its way out in other hands by now.
      else if (kind === OWNED && settle(page)) cas(words, page + P_STATE, state, LIVE);
      else if (cas(words, page + P_STATE, state, this._owned) === state) this._freeOfDead(pfn as Pfn);
    }
    return found;
  }

  private _freeOfDead(pfn: Pfn): void {
    const { words } = this._cpu;
    const page = this.pageOf(pfn);
    for (const word of [P_REFS, P_FLAGS, P_MAPPING, P_RMAP_SLOT, P_RMAP_MORE, P_PINS]) poke(words, page + word, 0);
    this.free(pfn);
  }

  /** The pool's owner died in the middle of a change. The states say which frames are free. */
  private _rebuild(): void {
    const { words } = this._cpu;
    let head: number = NO_FRAME;
    let free = 0;
    const bump = load(words, FRAME_BUMP);
    for (let pfn = bump - 1; pfn > 0; pfn--) {
      const page = this.pageOf(pfn as Pfn);
      if (peekRacy(words, page + P_STATE, FREE_UNDER_LOCK) !== FREE) continue;
      poke(words, page + P_LINK, head);
      head = pfn;
      free++;
    }
    poke(words, FRAME_HEAD, head);
    pokeRacy(words, FRAME_FREE, free, POOL_HINT);
  }
}
