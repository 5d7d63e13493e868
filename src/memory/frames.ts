/**
 * Frames: the pool under one lock, a private cache per cpu. Frame 0 is the shared zero page and is never handed out, so a pfn
 * of 0 says "none".
 */
import { fillData, load, peek, poke, store } from '#atomics';
import { copyData } from '#atomics';
import { oops } from '../base/assert.ts';
import type { PageRef, Pfn } from '../base/brands.ts';
import { PAGE_SIZE } from '../base/limits.ts';
import { FRAME_CACHE } from '../base/tunables.ts';
import { FRAME_BUMP, FRAME_FREE, FRAME_HEAD, FRAME_LOCK } from '../sync/control.layout.ts';
import type { Cpu } from '../sync/cpu.ts';
import { CLASS_FRAMES } from '../sync/lock-classes.ts';
import { spinLock, spinReap, spinUnlock } from '../sync/spinlock.ts';
import { COUNTER } from '../trace/counters.ts';
import { CACHED, FREE, LIVE, OWNED, ownedBy, RETIRED, stateKind, stateTag } from './ownership.ts';
import { P_FLAGS, P_LINK, P_MAPPING, P_PINS, P_REFS, P_RMAP_MORE, P_RMAP_SLOT, P_STATE } from './page.layout.ts';
import { PAGE_RECORD_WORDS, type Regions } from './regions.ts';

export const ZERO_PFN: Pfn = 0 as Pfn;
const NO_FRAME: Pfn = 0 as Pfn;
const ZEROES: Uint8Array = new Uint8Array(PAGE_SIZE);

export class Frames {
  readonly bytes: Uint8Array;
  readonly total: number;
  readonly #cpu: Cpu;
  readonly #pages: number;
  readonly #cache: Int32Array;
  readonly #capacity: number;
  #count = 0;

  constructor(cpu: Cpu, regions: Regions, bytes: Uint8Array) {
    this.#cpu = cpu;
    this.bytes = bytes;
    this.total = regions.frames;
    this.#pages = regions.pages;
    this.#capacity = Math.min(FRAME_CACHE, Math.max(2, regions.frames >> 6));
    this.#cache = new Int32Array(this.#capacity);
  }

  pageOf(pfn: Pfn): PageRef {
    return (this.#pages + pfn * PAGE_RECORD_WORDS) as PageRef;
  }

  pfnOf(page: PageRef): Pfn {
    return ((page - this.#pages) / PAGE_RECORD_WORDS) as Pfn;
  }

  /** A frame in state OWNED with no references, its bytes undefined; 0 when there is none. Never waits. */
  alloc(): Pfn {
    if (this.#count === 0 && !this.#refill()) return NO_FRAME;
    const pfn = this.#cache[--this.#count] as Pfn;
    const page = this.pageOf(pfn);
    poke(this.#cpu.words, page + P_STATE, ownedBy(OWNED, this.#cpu.tag));
    this.#cpu.count(COUNTER['frames.allocated']);
    return pfn;
  }

  /** Takes back a frame that no translation, PTE or cache can reach. */
  free(pfn: Pfn): void {
    const { words } = this.#cpu;
    const page = this.pageOf(pfn);
    const state = stateKind(peek(words, page + P_STATE));
    if (state === FREE || state === CACHED || pfn === ZERO_PFN) oops('frames', `frame ${pfn} freed in state ${state}`);
    this.#check(page, pfn);
    poke(words, page + P_STATE, ownedBy(CACHED, this.#cpu.tag));
    this.#cpu.count(COUNTER['frames.freed']);
    if (this.#count === this.#capacity) this.#flush(this.#capacity >> 1);
    this.#cache[this.#count++] = pfn;
  }

  markLive(page: PageRef): void {
    poke(this.#cpu.words, page + P_STATE, LIVE);
  }

  markRetired(page: PageRef): void {
    poke(this.#cpu.words, page + P_STATE, ownedBy(RETIRED, this.#cpu.tag));
  }

  zero(pfn: Pfn): void {
    copyData(this.bytes, pfn * PAGE_SIZE, ZEROES, 0, PAGE_SIZE);
  }

  /** Zeroes the end of a frame from byte `from` on. */
  zeroTail(pfn: Pfn, from: number): void {
    fillData(this.bytes, pfn * PAGE_SIZE + from, (pfn + 1) * PAGE_SIZE, 0);
  }

  copy(target: Pfn, source: Pfn): void {
    copyData(this.bytes, target * PAGE_SIZE, this.bytes, source * PAGE_SIZE, (source + 1) * PAGE_SIZE);
  }

  /** Frames in the pool; those in cpus' caches are not counted. A hint. */
  poolFree(): number {
    return peek(this.#cpu.words, FRAME_FREE) + (this.total - peek(this.#cpu.words, FRAME_BUMP));
  }

  /** Whether word `at` is the lock over the pool. */
  isLock(at: number): boolean {
    return at === FRAME_LOCK;
  }

  flush(): void {
    this.#flush(this.#count);
  }

  /** Frames by state, for conservation checks. Exact only when nobody allocates. */
  census(): { live: number; owned: number; retired: number; free: number } {
    const { words } = this.#cpu;
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

  /** As Slab.reap. */
  reap(deadTag: number, settle: (page: PageRef) => boolean, retire: (page: PageRef) => void): number {
    const { words } = this.#cpu;
    let found = 0;
    if (spinReap(this.#cpu, FRAME_LOCK, deadTag)) this.#rebuild();
    const bump = load(words, FRAME_BUMP);
    for (let pfn = 1; pfn < bump; pfn++) {
      const page = this.pageOf(pfn as Pfn);
      const state = peek(words, page + P_STATE);
      if (stateTag(state) !== deadTag) continue;
      const kind = stateKind(state);
      if (kind === RETIRED) retire(page);
      else if (kind === OWNED && settle(page)) this.markLive(page);
      else this.#freeOfDead(pfn as Pfn, kind);
      if (kind !== CACHED) found++;
    }
    return found;
  }

  #freeOfDead(pfn: Pfn, kind: number): void {
    const { words } = this.#cpu;
    const page = this.pageOf(pfn);
    for (const word of [P_REFS, P_FLAGS, P_MAPPING, P_RMAP_SLOT, P_RMAP_MORE, P_PINS]) poke(words, page + word, 0);
    poke(words, page + P_STATE, ownedBy(OWNED, this.#cpu.tag));
    this.free(pfn);
    // A cached frame had been counted as freed by its dead cpu already.
    if (kind === CACHED) this.#cpu.countMany(COUNTER['frames.freed'], -1);
  }

  /** A frame that goes back must have let go of everything. */
  #check(page: PageRef, pfn: Pfn): void {
    const { words } = this.#cpu;
    const busy = peek(words, page + P_MAPPING) | peek(words, page + P_RMAP_MORE) | peek(words, page + P_PINS);
    if (busy !== 0) oops('frames', `frame ${pfn} freed while it is still in a file, mapped or pinned`);
  }

  #refill(): boolean {
    const { words } = this.#cpu;
    const want = Math.max(1, this.#capacity >> 1);
    spinLock(this.#cpu, FRAME_LOCK, CLASS_FRAMES);
    while (this.#count < want) {
      const head = peek(words, FRAME_HEAD) as Pfn;
      if (head === NO_FRAME) break;
      const page = this.pageOf(head);
      poke(words, page + P_STATE, ownedBy(CACHED, this.#cpu.tag));
      poke(words, FRAME_HEAD, peek(words, page + P_LINK));
      poke(words, FRAME_FREE, peek(words, FRAME_FREE) - 1);
      this.#cache[this.#count++] = head;
    }
    while (this.#count < want) {
      const fresh = peek(words, FRAME_BUMP);
      if (fresh >= this.total) break;
      poke(words, this.pageOf(fresh as Pfn) + P_STATE, ownedBy(CACHED, this.#cpu.tag));
      store(words, FRAME_BUMP, fresh + 1);
      this.#cache[this.#count++] = fresh;
    }
    spinUnlock(this.#cpu, FRAME_LOCK);
    return this.#count > 0;
  }

  #flush(count: number): void {
    if (count === 0) return;
    const { words } = this.#cpu;
    spinLock(this.#cpu, FRAME_LOCK, CLASS_FRAMES);
    for (let i = 0; i < count; i++) {
      const pfn = this.#cache[--this.#count] as Pfn;
      const page = this.pageOf(pfn);
      poke(words, page + P_STATE, FREE);
      poke(words, page + P_LINK, peek(words, FRAME_HEAD));
      poke(words, FRAME_HEAD, pfn);
    }
    poke(words, FRAME_FREE, peek(words, FRAME_FREE) + count);
    spinUnlock(this.#cpu, FRAME_LOCK);
  }

  /** The pool's owner died in the middle of a change. The states say which frames are free. */
  #rebuild(): void {
    const { words } = this.#cpu;
    spinLock(this.#cpu, FRAME_LOCK, CLASS_FRAMES);
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
    poke(words, FRAME_FREE, free);
    spinUnlock(this.#cpu, FRAME_LOCK);
  }
}
