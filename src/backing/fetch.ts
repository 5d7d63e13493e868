/**
 * Bringing pages of files: reading with read-ahead, and taking what was read beforehand. `_read` is the only place that calls a file
 * system: the calling thread holds the locks of the pages it fills and nothing else.
 */
import { now, setBytes } from '#atomics';
import { doingIo } from '#lockdep';
import { type MappingRef, NONE, type PageRef, type Pfn } from '../base/brands.ts';
import { VmError } from '../base/errors.ts';
import { PAGE_SIZE } from '../base/limits.ts';
import type { Frames } from '../memory/frames.ts';
import type { Cpu } from '../sync/cpu.ts';
import { COUNTER } from '../trace/counters.ts';
import { checkAnswer, handled } from './answer.ts';
import { type Backing, isExact } from './backing.ts';
import type { Dropping } from './dropping.ts';
import type { FileTable } from './file-table.ts';
import type { OwnBackings } from './own-backings.ts';
import type { PageCache } from './page-cache.ts';
import { pageTryLock, pageUnlock, pageWait } from './page-lock.ts';
import { Readahead } from './readahead.ts';
import type { Reclaim } from './reclaim.ts';

/** What bringing a page needs of the others. */
export interface FetchParts {
  readonly frames: Frames;
  readonly cache: PageCache;
  readonly reclaim: Reclaim;
  readonly table: FileTable;
  readonly backings: OwnBackings;
  readonly dropping: Dropping;
}

export class Fetch {
  private readonly _cpu: Cpu;
  private readonly _frames: Frames;
  private readonly _cache: PageCache;
  private readonly _reclaim: Reclaim;
  private readonly _table: FileTable;
  private readonly _backings: OwnBackings;
  private readonly _dropping: Dropping;
  private readonly _readahead = new Readahead();

  constructor(cpu: Cpu, parts: FetchParts) {
    this._cpu = cpu;
    this._frames = parts.frames;
    this._cache = parts.cache;
    this._reclaim = parts.reclaim;
    this._table = parts.table;
    this._backings = parts.backings;
    this._dropping = parts.dropping;
  }

  /**
   * The page of the file at `index`, locked and up to date. Reads it, and what read-ahead wants, if it is not in the cache.
   * Requires: outside sections; a reference on the file; no lock held (but the mmap_lock under some designs). Throws what
   * the backing threw (the pages are then as if never asked for), ENOMEM, WouldBlock, ETIMEDOUT.
   */
  fetch(mapping: MappingRef, index: number): PageRef {
    let present = NONE as PageRef; // a page that the look-up has missed and the insert found
    for (let since = 0; ; ) {
      const page = present !== NONE ? present : this._cache.lookup(mapping, index);
      present = NONE as PageRef;
      if (page === NONE) {
        const { page: found, inserted } = this._readNew(mapping, index);
        if (inserted) return found;
        present = found;
        continue;
      }
      if (!pageTryLock(this._cpu, page)) {
        this._cpu.count(COUNTER['io.waits']);
        since = since === 0 ? now() : since;
        pageWait(this._cpu, page, since);
        continue;
      }
      if (this._cache.holds(page, mapping, index) && this._cache.isUptodate(page)) {
        this._cpu.count(COUNTER['cache.hits']);
        return page;
      }
      this._dropping.leftBehind(page, mapping, index);
    }
  }

  /**
   * Puts pages that were read beforehand into the cache, unlocked: the one at `index` whatever it takes, those after it while frames are
   * free. Whoever was first keeps his page. `bytes` are whole pages, but at the end of the file, and nobody else's. Requires: as `fetch`.
   * Throws EIO (not as many bytes as the file has there), ENOMEM, WouldBlock.
   */
  provide(mapping: MappingRef, index: number, bytes: Uint8Array): void {
    const wanted = Math.ceil(bytes.length / PAGE_SIZE) * PAGE_SIZE;
    const expected = Math.min(wanted, this._table.size(mapping) - index * PAGE_SIZE);
    if (bytes.length === 0 || bytes.length !== expected) {
      throw new VmError('EIO', 'read', `${bytes.length} bytes at page ${index}, where the file has ${expected}`);
    }
    this._cpu.count(COUNTER['io.reads']);
    this._frames.follow(); // the caller's code has run since the bytes were asked for
    this._reclaim.keepReserve(); // before: it could take the pages that we are bringing
    for (let done = 0; done < bytes.length; done += PAGE_SIZE) {
      const part = bytes.subarray(done, done + PAGE_SIZE);
      if (!this._providePage(mapping, index + done / PAGE_SIZE, part, done === 0 ? 'wait' : 'free')) return;
    }
  }

  /** False if no frame was to be had. */
  private _providePage(mapping: MappingRef, index: number, part: Uint8Array, frame: 'wait' | 'free'): boolean {
    if (this._cache.lookup(mapping, index) !== NONE) return true;
    const pfn = frame === 'wait' ? this._reclaim.obtainFrame() : this._frames.alloc();
    if (pfn === 0) return false;
    const { page, inserted } = this._insertLocked(mapping, index, pfn);
    if (!inserted) return true;
    setBytes(this._frames.bytes, pfn * PAGE_SIZE, part);
    if (part.length < PAGE_SIZE) this._frames.zeroTail(pfn, part.length);
    this._cache.markUptodate(page);
    pageUnlock(this._cpu, page);
    this._cpu.count(COUNTER['io.pages']);
    if (frame === 'free') this._cpu.count(COUNTER['readahead.pages']);
    return true;
  }

  /** The page, locked and read; or the page, not locked, of somebody who was first. */
  private _readNew(mapping: MappingRef, index: number): { page: PageRef; inserted: boolean } {
    const backing = this._backings.of(mapping);
    this._frames.follow(); // it may just have been made, by code of the user's
    const first = this._insertLocked(mapping, index, this._reclaim.obtainFrame());
    if (!first.inserted) return first;
    const pages = [first.page];
    try {
      this._insertAhead(mapping, index, pages);
      this._read(mapping, index, backing, pages);
      for (let i = 1; i < pages.length; i++) pageUnlock(this._cpu, pages[i] as PageRef);
    } catch (error) {
      this._cpu.count(COUNTER['io.errors']);
      this._dropping.unread(pages);
      throw error;
    }
    this._keepReserve(first.page);
    return first;
  }

  /** A new page of the file, locked, in frame `pfn`; or the page that is there, and the frame is free again. */
  private _insertLocked(mapping: MappingRef, index: number, pfn: Pfn): { page: PageRef; inserted: boolean } {
    const result = this._cache.insert(mapping, index, pfn);
    if (!result.inserted) {
      pageUnlock(this._cpu, this._frames.pageOf(pfn));
      this._frames.free(pfn);
    }
    return result;
  }

  /** Adds the following pages while read-ahead wants them, frames are free and nobody has them yet. */
  private _insertAhead(mapping: MappingRef, index: number, pages: PageRef[]): void {
    const window = this._readahead.windowFor(mapping, index);
    for (let i = 1; i < window && this._table.contains(mapping, index + i); i++) {
      if (this._cache.lookup(mapping, index + i) !== NONE) break;
      const pfn = this._frames.alloc();
      if (pfn === 0) break;
      const { page, inserted } = this._insertLocked(mapping, index + i, pfn);
      if (!inserted) break;
      pages.push(page);
    }
    this._readahead.advance(mapping, index, pages.length);
  }

  /** With `page` locked and read: memory that is not found ahead of need is looked for in need, and is no failure of the read. */
  private _keepReserve(page: PageRef): void {
    try {
      this._reclaim.keepReserve();
    } catch (error) {
      if (error instanceof VmError && this._cpu.gaveUp === undefined) return;
      pageUnlock(this._cpu, page);
      throw error;
    }
  }

  private _read(mapping: MappingRef, index: number, backing: Backing, pages: readonly PageRef[]): void {
    const position = index * PAGE_SIZE;
    const asked = pages.length * PAGE_SIZE;
    const expected = Math.min(asked, this._table.size(mapping) - position);
    // What a backing says it has read and has not: not the bytes of whoever had the frame before.
    if (!isExact(backing)) for (const page of pages) this._frames.zero(this._frames.pfnOf(page));
    const targets = pages.map((page) => this._bytesOf(page));
    doingIo(this._cpu, 'a read of a file');
    this._cpu.count(COUNTER['io.reads']);
    const got: unknown = this._backings.callback(() => handled(backing.read(position, targets)));
    if (this._frames.follow()) throw new VmError('EIO', 'read', 'the memory of the machine has moved during the read');
    checkAnswer(got, position, expected, asked);
    pages.forEach((page, i) => {
      const valid = expected - i * PAGE_SIZE;
      if (valid < PAGE_SIZE) this._frames.zeroTail(this._frames.pfnOf(page), valid);
      this._cache.markUptodate(page);
    });
    this._cpu.countMany(COUNTER['io.pages'], pages.length);
    this._cpu.countMany(COUNTER['readahead.pages'], pages.length - 1);
  }

  private _bytesOf(page: PageRef): Uint8Array {
    const { buffer, byteOffset } = this._frames.bytes;
    return new Uint8Array(buffer, byteOffset + this._frames.pfnOf(page) * PAGE_SIZE, PAGE_SIZE);
  }
}
