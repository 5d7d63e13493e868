/** Taking pages out of their file where reclaim does not: because the file goes, or because their read has failed. */
import { load, peek, peekRacy } from '#atomics';
import { type MappingRef, NONE, type PageRef, type Pfn } from '../base/brands.ts';
import { PAGE_SIZE } from '../base/limits.ts';
import type { Frames } from '../memory/frames.ts';
import { P_INDEX, P_MAPPING } from '../memory/page.layout.ts';
import { FRAME_BUMP } from '../sync/control.layout.ts';
import type { Cpu } from '../sync/cpu.ts';
import type { PageCache } from './page-cache.ts';
import { pageLockHeld, pageLockSoon, pageUnlock } from './page-lock.ts';
import type { Reclaim } from './reclaim.ts';

const OF_OTHERS = 'pages of other files may change; those of a file that nobody has open do not';

export class Dropping {
  private readonly _cpu: Cpu;
  private readonly _frames: Frames;
  private readonly _cache: PageCache;
  private readonly _reclaim: Reclaim;

  constructor(cpu: Cpu, frames: Frames, cache: PageCache, reclaim: Reclaim) {
    this._cpu = cpu;
    this._frames = frames;
    this._cache = cache;
    this._reclaim = reclaim;
  }

  /**
   * Takes out all pages of a file of `size` bytes. Waits for those that somebody has locked. Requires: nobody maps the file or has it
   * open, so no page is mapped, and none is locked for longer than a look takes.
   */
  file(mapping: MappingRef, size: number): void {
    const pages = Math.ceil(size / PAGE_SIZE);
    const frames = load(this._cpu.words, FRAME_BUMP);
    if (pages > frames) {
      // A sparse file of terabytes: a page that it has is in one of the frames.
      for (let pfn = 1; pfn < frames; pfn++) {
        const page = this._frames.pageOf(pfn as Pfn);
        if (peekRacy(this._cpu.words, page + P_MAPPING, OF_OTHERS) === mapping) {
          this._page(mapping, peek(this._cpu.words, page + P_INDEX));
        }
      }
      return;
    }
    for (let index = 0; index < pages; index++) this._page(mapping, index);
  }

  /** Takes pages out whose read has failed. Whatever goes wrong, none of them stays locked. */
  unread(pages: readonly PageRef[]): void {
    try {
      for (const page of pages) if (pageLockHeld(this._cpu, page)) this._reclaim.drop(page);
    } catch (error) {
      // Left in the file unread: whoever wants them next drops them.
      for (const page of pages) if (pageLockHeld(this._cpu, page)) pageUnlock(this._cpu, page);
      throw error;
    }
  }

  /** Takes a page out that a dead reader has left behind unread, if it is still the one at `index`. Unlocks it. Requires: page lock. */
  leftBehind(page: PageRef, mapping: MappingRef, index: number): void {
    if (this._cache.holds(page, mapping, index)) this._reclaim.drop(page);
    else pageUnlock(this._cpu, page);
  }

  private _page(mapping: MappingRef, index: number): void {
    for (;;) {
      const page = this._cache.find(mapping, index); // not lookup: a page left behind would be the next file's
      if (page === NONE) return;
      pageLockSoon(this._cpu, page);
      if (this._cache.holds(page, mapping, index)) this._reclaim.drop(page);
      else pageUnlock(this._cpu, page);
    }
  }
}
