/**
 * The page cache: (mapping, index) -> page, a hash table chained through the page records. Looked up without a lock: the answer is
 * a hint until the page lock is held and mapping and index were compared again (I21). A miss may be false while a chain is
 * changing; only `insert`, under the bucket's lock, decides.
 *
 * Who maps a file chooses the page numbers, so the hash has a secret of the machine in it: nobody can choose them for one chain.
 */
import { load, peek, peekRacy, poke, store } from '#atomics';
import { assertRule, oops } from '../base/assert.ts';
import type { MappingRef, PageRef, Pfn } from '../base/brands.ts';
import { NONE } from '../base/brands.ts';
import type { Frames } from '../memory/frames.ts';
import {
  P_FLAGS,
  P_HASH_NEXT,
  P_INDEX,
  P_MAPPING,
  P_REFS,
  P_RMAP_MORE,
  P_RMAP_SLOT,
  PG_REFERENCED,
  PG_UPTODATE,
} from '../memory/page.layout.ts';
import type { Regions } from '../memory/regions.ts';
import { H_HASH_SEED, HASH_LOCK_LINES, HASH_LOCKS, LINE } from '../sync/control.layout.ts';
import type { Cpu } from '../sync/cpu.ts';
import { CLASS_CACHE } from '../sync/lock-classes.ts';
import { spinLock, spinUnlock } from '../sync/spinlock.ts';
import { pageLockHeld, pageLockSoon } from './page-lock.ts';

/** A lockless walk may be led astray into other chains: after this many steps the look-up goes on under the bucket's lock. */
const MAX_STEPS = 64;

const HINT = 'a look-up is a hint: its caller locks the page and asks `holds`';

export class PageCache {
  private readonly _cpu: Cpu;
  private readonly _frames: Frames;
  private readonly _buckets: number;
  private readonly _mask: number;
  /** Odd, and known to nobody outside. */
  private readonly _indexFactor: number;
  private readonly _mappingFactor: number;

  constructor(cpu: Cpu, regions: Regions, frames: Frames) {
    this._cpu = cpu;
    this._frames = frames;
    this._buckets = regions.buckets;
    this._mask = regions.bucketCount - 1;
    const seed = peek(cpu.words, H_HASH_SEED);
    this._indexFactor = seed | 1;
    this._mappingFactor = Math.imul(seed ^ (seed >>> 15), 0x9e3779b1) | 1;
  }

  /** The page of the file at `index`, or 0. A hint: lock it and call `holds`. */
  lookup(mapping: MappingRef, index: number): PageRef {
    const { words } = this._cpu;
    let page = load(words, this.bucketOf(mapping, index));
    for (let steps = 0; page !== 0; steps++) {
      if (steps === MAX_STEPS) return this.find(mapping, index);
      const found =
        peekRacy(words, page + P_MAPPING, HINT) === mapping && peekRacy(words, page + P_INDEX, HINT) === index;
      if (found) return page as PageRef;
      page = load(words, page + P_HASH_NEXT);
    }
    return NONE as PageRef;
  }

  /** Whether the page is still that page of that file. Requires: page lock. */
  holds(page: PageRef, mapping: MappingRef, index: number): boolean {
    const { words } = this._cpu;
    return peek(words, page + P_MAPPING) === mapping && peek(words, page + P_INDEX) === index;
  }

  isUptodate(page: PageRef): boolean {
    return (load(this._cpu.words, page + P_FLAGS) & PG_UPTODATE) !== 0;
  }

  /** Requires: page lock. */
  markUptodate(page: PageRef): void {
    store(this._cpu.words, page + P_FLAGS, PG_UPTODATE | PG_REFERENCED);
  }

  /**
   * Puts a new frame into the cache, locked and not up to date. Returns its page, or the page that was there first (not
   * locked; the frame stays the caller's).
   */
  insert(mapping: MappingRef, index: number, pfn: Pfn): { page: PageRef; inserted: boolean } {
    const { words } = this._cpu;
    const page = this._frames.pageOf(pfn);
    pageLockSoon(this._cpu, page); // a lookup led astray may hold the lock for a moment to find that this is not its page
    poke(words, page + P_REFS, 1);
    poke(words, page + P_FLAGS, 0);
    poke(words, page + P_RMAP_SLOT, 0);
    poke(words, page + P_RMAP_MORE, 0);
    const bucket = this.bucketOf(mapping, index);
    const lock = this._lockOf(bucket);
    spinLock(this._cpu, lock, CLASS_CACHE);
    const present = this._find(bucket, mapping, index);
    if (present === 0) {
      poke(words, page + P_INDEX, index);
      poke(words, page + P_MAPPING, mapping);
      store(words, page + P_HASH_NEXT, peek(words, bucket)); // a lookup led astray may read it (lookup's load)
      store(words, bucket, page); // publishes; pairs with lookup's load
      this._frames.markLive(page);
    }
    spinUnlock(this._cpu, lock);
    return present === 0 ? { page, inserted: true } : { page: present, inserted: false };
  }

  /** Takes the page out of its file. Requires: page lock, no PTE. The frame is the caller's to retire. */
  remove(page: PageRef): void {
    const { words } = this._cpu;
    assertRule(pageLockHeld(this._cpu, page), 'I21', () => `page ${page} removed from its file without its lock`);
    const mapping = peek(words, page + P_MAPPING) as MappingRef;
    const bucket = this.bucketOf(mapping, peek(words, page + P_INDEX));
    const lock = this._lockOf(bucket);
    spinLock(this._cpu, lock, CLASS_CACHE);
    let link = bucket;
    for (let at = peek(words, link); at !== page; at = peek(words, link)) {
      if (at === 0) {
        spinUnlock(this._cpu, lock);
        oops('page cache', `page ${page} is not in its bucket`);
      }
      link = at + P_HASH_NEXT;
    }
    store(words, link, peek(words, page + P_HASH_NEXT));
    poke(words, page + P_MAPPING, 0);
    poke(words, page + P_FLAGS, 0);
    poke(words, page + P_REFS, 0);
    spinUnlock(this._cpu, lock);
  }

  /** Marks a page as used since the clock hand passed. Only the first use of a round writes. */
  touch(page: PageRef): void {
    const { words } = this._cpu;
    const flags = peek(words, page + P_FLAGS);
    if ((flags & PG_REFERENCED) === 0) poke(words, page + P_FLAGS, flags | PG_REFERENCED);
  }

  /** As `lookup`, but exact for a page that is not being inserted or removed meanwhile. */
  find(mapping: MappingRef, index: number): PageRef {
    const bucket = this.bucketOf(mapping, index);
    const lock = this._lockOf(bucket);
    spinLock(this._cpu, lock, CLASS_CACHE);
    const page = this._find(bucket, mapping, index);
    spinUnlock(this._cpu, lock);
    return page;
  }

  /** Whether the record itself is chained as a page of `mapping`. */
  findRecord(page: PageRef, mapping: MappingRef): boolean {
    return this.find(mapping, peek(this._cpu.words, page + P_INDEX)) === page;
  }

  /** Requires: the bucket's lock. */
  private _find(bucket: number, mapping: MappingRef, index: number): PageRef {
    const { words } = this._cpu;
    let page = peek(words, bucket);
    while (page !== 0 && !(peek(words, page + P_MAPPING) === mapping && peek(words, page + P_INDEX) === index)) {
      page = peek(words, page + P_HASH_NEXT);
    }
    return page as PageRef;
  }

  /** The word at the head of the page's chain. */
  bucketOf(mapping: MappingRef, index: number): number {
    // Low bits of a product know only the low bits of its factors: hence the second round.
    const first = (Math.imul(index, this._indexFactor) + Math.imul(mapping, this._mappingFactor)) | 0;
    const second = Math.imul(first ^ (first >>> 15), 0x85ebca6b);
    return this._buckets + ((second ^ (second >>> 13)) & this._mask);
  }

  private _lockOf(bucket: number): number {
    return HASH_LOCK_LINES + ((bucket - this._buckets) & (HASH_LOCKS - 1)) * LINE;
  }
}
