/**
 * Open files and their I/O. `fetch` is the only place that calls a file system: the calling thread holds the locks of the
 * pages it fills and nothing else.
 */
import { add, load, now, peek, peekF64, peekRacy, poke, pokeF64, setBytes, store } from '#atomics';
import { doingIo } from '#lockdep';
import { oops } from '../base/assert.ts';
import type { MappingRef, PageRef, Pfn } from '../base/brands.ts';
import { NONE } from '../base/brands.ts';
import { VmError } from '../base/errors.ts';
import { MAX_CPUS, PAGE_SIZE } from '../base/limits.ts';
import type { Frames } from '../memory/frames.ts';
import { LIVE, OWNED, ownedBy, R_STATE, stateKind } from '../memory/ownership.ts';
import { P_INDEX, P_MAPPING } from '../memory/page.layout.ts';
import type { Slab } from '../memory/slab.ts';
import { FRAME_BUMP, H_FILES_CLOSED } from '../sync/control.layout.ts';
import type { Cpu } from '../sync/cpu.ts';
import { CLASS_FILES } from '../sync/lock-classes.ts';
import { spinLock, spinUnlock } from '../sync/spinlock.ts';
import { COUNTER } from '../trace/counters.ts';
import { type Backing, makeBacking } from './backing.ts';
import { F_DESCRIPTOR, F_LOCK, F_OPENERS, F_REFS, F_SERIAL, F_SIZE } from './mapping.layout.ts';
import type { PageCache } from './page-cache.ts';
import { pageTryLock, pageUnlock, pageWait } from './page-lock.ts';
import { Readahead } from './readahead.ts';
import type { Reclaim } from './reclaim.ts';
import type { TextStore } from './text.ts';

interface LocalBacking {
  readonly serial: number;
  readonly backing: Backing;
}

const OF_OTHERS = 'pages of other files may change; those of a file that nobody has open do not';

export class Files {
  private readonly _cpu: Cpu;
  private readonly _frames: Frames;
  private readonly _mappings: Slab;
  private readonly _texts: TextStore;
  private readonly _cache: PageCache;
  private readonly _reclaim: Reclaim;
  private readonly _readahead = new Readahead();
  private readonly _local = new Map<MappingRef, LocalBacking>();
  private _closedSeen = 0;

  constructor(cpu: Cpu, frames: Frames, mappings: Slab, texts: TextStore, cache: PageCache, reclaim: Reclaim) {
    this._cpu = cpu;
    this._frames = frames;
    this._mappings = mappings;
    this._texts = texts;
    this._cache = cache;
    this._reclaim = reclaim;
  }

  /** Makes a file known to the machine, opened by this cpu. Throws ENOMEM, EINVAL (options that JSON cannot hold). */
  create(kind: string, options: unknown, size: number): MappingRef {
    const { words, floats } = this._cpu;
    const descriptor = this._texts.put(asText(kind, options));
    let mapping: MappingRef;
    try {
      mapping = this._mappings.alloc() as MappingRef;
    } catch (error) {
      this._texts.free(descriptor);
      throw error;
    }
    poke(words, mapping + F_SERIAL, (peek(words, mapping + F_SERIAL) + 1) | 0);
    poke(words, mapping + F_DESCRIPTOR, descriptor);
    poke(words, mapping + F_OPENERS, 0);
    poke(words, mapping + F_OPENERS + 1, 0);
    poke(words, this._openersOf(mapping, this._cpu.id), 1 << (this._cpu.id & 31));
    pokeF64(floats, (mapping + F_SIZE) >> 1, size);
    store(words, mapping + F_REFS, 1);
    this._texts.publish(descriptor);
    this._mappings.publish(mapping);
    return mapping;
  }

  /** This cpu opens the file too. Throws ESTALE when the file of that serial is gone. */
  open(mapping: MappingRef, serial: number): void {
    const { words } = this._cpu;
    if (!this._isRecord(mapping)) throw new VmError('ESTALE', 'attachFile', 'the handle names no file');
    spinLock(this._cpu, mapping + F_LOCK, CLASS_FILES);
    try {
      const live = stateKind(peek(words, mapping + R_STATE)) === LIVE && peek(words, mapping + F_SERIAL) === serial;
      if (!live) throw new VmError('ESTALE', 'attachFile', 'the file was closed by all threads that had it open');
      const word = this._openersOf(mapping, this._cpu.id);
      const bit = 1 << (this._cpu.id & 31);
      if ((peek(words, word) & bit) !== 0) return;
      poke(words, word, peek(words, word) | bit);
      poke(words, mapping + F_REFS, peek(words, mapping + F_REFS) + 1);
    } finally {
      spinUnlock(this._cpu, mapping + F_LOCK);
    }
  }

  /** A handle may say anything. */
  private _isRecord(mapping: number): boolean {
    let found = false;
    this._mappings.forEach((record) => {
      if (record === mapping) found = true;
    });
    return found;
  }

  /** Cpu `id` (this one, or a dead one) closes the file. Mappings keep it alive. */
  close(mapping: MappingRef, id: number): void {
    const { words } = this._cpu;
    spinLock(this._cpu, mapping + F_LOCK, CLASS_FILES);
    const word = this._openersOf(mapping, id);
    const bit = 1 << (id & 31);
    const was = peek(words, word) & bit;
    poke(words, word, peek(words, word) & ~bit);
    this._unlockAndDrop(mapping, was !== 0);
  }

  private _openersOf(mapping: MappingRef, id: number): number {
    return mapping + F_OPENERS + (id >> 5);
  }

  closeAll(id: number): void {
    this._mappings.forEach((mapping) => {
      if (stateKind(peek(this._cpu.words, mapping + R_STATE)) === LIVE) this.close(mapping as MappingRef, id);
    });
  }

  /** A reference, noted in the holder's word `note`. Requires: a reference already. Idempotent, as `put`. */
  get(mapping: MappingRef, note: number): void {
    const { words } = this._cpu;
    spinLock(this._cpu, mapping + F_LOCK, CLASS_FILES);
    if (peek(words, note) === 0) {
      poke(words, note, 1);
      poke(words, mapping + F_REFS, peek(words, mapping + F_REFS) + 1);
    }
    spinUnlock(this._cpu, mapping + F_LOCK);
  }

  /** Gives it back, if `note` says so. The last reference takes the pages with it (I7). Never waits. */
  put(mapping: MappingRef, note: number): void {
    const { words } = this._cpu;
    if (peek(words, note) === 0) return;
    spinLock(this._cpu, mapping + F_LOCK, CLASS_FILES);
    poke(words, note, 0);
    this._unlockAndDrop(mapping, true);
  }

  /** Whether word `at` is the lock of a file: then that file, else 0. */
  ofLock(at: number): MappingRef {
    let found = NONE;
    this._mappings.forEach((mapping) => {
      if (mapping + F_LOCK === at) found = mapping;
    });
    return found as MappingRef;
  }

  /** Under the lock of a dead thread: `held` holders say that they have a reference. */
  recount(mapping: MappingRef, held: number): void {
    const { words } = this._cpu;
    let openers = 0;
    for (let id = 0; id < MAX_CPUS; id++) if ((peek(words, this._openersOf(mapping, id)) >> (id & 31)) & 1) openers++;
    poke(words, mapping + F_REFS, openers + held);
  }

  /** Drops files that nobody refers to: a dead thread had begun to, or had not come to it. */
  dropUnused(deadTag: number): void {
    const { words } = this._cpu;
    this._mappings.forEach((record) => {
      const mapping = record as MappingRef;
      const state = peek(words, mapping + R_STATE);
      if (state === ownedBy(OWNED, deadTag)) {
        this._mappings.own(mapping);
        this._drop(mapping);
      } else if (state === LIVE && peek(words, mapping + F_REFS) === 0) {
        spinLock(this._cpu, mapping + F_LOCK, CLASS_FILES);
        this._unlockAndDrop(mapping, false);
      }
    });
  }

  /** Requires: the file's lock. */
  private _unlockAndDrop(mapping: MappingRef, reference: boolean): void {
    const { words } = this._cpu;
    const left = peek(words, mapping + F_REFS) - (reference ? 1 : 0);
    poke(words, mapping + F_REFS, left);
    const last = left === 0 && peek(words, mapping + R_STATE) === LIVE;
    if (last) this._mappings.own(mapping);
    spinUnlock(this._cpu, mapping + F_LOCK);
    if (left < 0) oops('refcount', `file ${mapping} has ${left} references`);
    if (last) this._drop(mapping);
  }

  /** Requires: in this cpu's hands, with no references. Every step can be done again. */
  private _drop(mapping: MappingRef): void {
    const { words } = this._cpu;
    this._dropPages(mapping);
    const descriptor = peek(words, mapping + F_DESCRIPTOR);
    this._texts.own(descriptor);
    poke(words, mapping + F_DESCRIPTOR, 0);
    this._texts.free(descriptor);
    add(words, H_FILES_CLOSED, 1);
    this._mappings.free(mapping);
  }

  size(mapping: MappingRef): number {
    return peekF64(this._cpu.floats, (mapping + F_SIZE) >> 1);
  }

  serial(mapping: MappingRef): number {
    return peek(this._cpu.words, mapping + F_SERIAL);
  }

  /** Whether byte offset `index` x 4096 lies in the file. */
  contains(mapping: MappingRef, index: number): boolean {
    return index * PAGE_SIZE < this.size(mapping);
  }

  /**
   * The page of the file at `index`, locked and up to date. Reads it, and what read-ahead wants, if it is not in the cache.
   * Requires: outside sections; a reference on the file; no lock held (but the mmap_lock under some designs). Throws what
   * the backing threw (the pages are then as if never asked for), ENOMEM, WouldBlock.
   */
  fetch(mapping: MappingRef, index: number): PageRef {
    for (let since = 0; ; ) {
      const page = this._cache.lookup(mapping, index);
      if (page === NONE) {
        const read = this._readNew(mapping, index);
        if (read !== NONE) return read;
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
      this._discardUnread(page, mapping, index);
    }
  }

  /** This thread's backings of files that are gone, or all (when the cpu detaches). */
  sweepLocal(which: 'closed' | 'all'): void {
    const closed = load(this._cpu.words, H_FILES_CLOSED);
    if (which === 'closed' && closed === this._closedSeen) return;
    this._closedSeen = closed;
    for (const [mapping, { serial, backing }] of this._local) {
      const live = stateKind(peek(this._cpu.words, mapping + R_STATE)) === LIVE && this.serial(mapping) === serial;
      if (which === 'closed' && live) continue;
      this._local.delete(mapping);
      try {
        backing.close();
      } catch {
        // The file is gone for this thread: nobody is left to be told, and whoever sweeps must go on.
      }
    }
  }

  /** Lets this thread use `backing` itself for the file (a Blob, say, which no descriptor can name). */
  adopt(mapping: MappingRef, backing: Backing): void {
    this._local.set(mapping, { serial: this.serial(mapping), backing });
  }

  /** This thread's backing of the file, if it has one already. Calls nobody. */
  localBacking(mapping: MappingRef): Backing | undefined {
    const known = this._local.get(mapping);
    return known !== undefined && known.serial === this.serial(mapping) ? known.backing : undefined;
  }

  /**
   * Puts pages that were read beforehand into the cache, unlocked: the one at `index` whatever it takes, those after it while frames are
   * free. Whoever was first keeps his page. `bytes` are whole pages, but at the end of the file, and nobody else's. Requires: as `fetch`.
   * Throws EIO (not as many bytes as the file has there), ENOMEM, WouldBlock.
   */
  provide(mapping: MappingRef, index: number, bytes: Uint8Array): void {
    const wanted = Math.ceil(bytes.length / PAGE_SIZE) * PAGE_SIZE;
    const expected = Math.min(wanted, this.size(mapping) - index * PAGE_SIZE);
    if (bytes.length === 0 || bytes.length !== expected) {
      throw new VmError('EIO', 'read', `${bytes.length} bytes at page ${index}, where the file has ${expected}`);
    }
    this._cpu.count(COUNTER['io.reads']);
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
    const page = this._insertLocked(mapping, index, pfn)[0];
    if (page === undefined) {
      this._frames.free(pfn);
      return true;
    }
    setBytes(this._frames.bytes, pfn * PAGE_SIZE, part);
    if (part.length < PAGE_SIZE) this._frames.zeroTail(pfn, part.length);
    this._cache.markUptodate(page);
    pageUnlock(this._cpu, page);
    this._cpu.count(COUNTER['io.pages']);
    if (frame === 'free') this._cpu.count(COUNTER['readahead.pages']);
    return true;
  }

  /** Requires: page lock. A page that a dead reader left behind unread leaves the file; then the lock is dropped. */
  private _discardUnread(page: PageRef, mapping: MappingRef, index: number): void {
    if (this._cache.holds(page, mapping, index)) this._reclaim.drop(page);
    else pageUnlock(this._cpu, page);
  }

  /** NONE if somebody else was first. */
  private _readNew(mapping: MappingRef, index: number): PageRef {
    const backing = this._backingOf(mapping);
    const pfn = this._reclaim.obtainFrame();
    const pages = this._insertLocked(mapping, index, pfn);
    if (pages.length === 0) {
      this._frames.free(pfn);
      return NONE as PageRef;
    }
    this._insertAhead(mapping, index, pages);
    try {
      this._read(mapping, index, backing, pages);
    } catch (error) {
      this._cpu.count(COUNTER['io.errors']);
      for (const page of pages) this._reclaim.drop(page);
      throw error;
    }
    for (let i = 1; i < pages.length; i++) pageUnlock(this._cpu, pages[i] as PageRef);
    this._reclaim.keepReserve();
    return pages[0] as PageRef;
  }

  private _insertLocked(mapping: MappingRef, index: number, pfn: Pfn): PageRef[] {
    const { inserted, page } = this._cache.insert(mapping, index, pfn);
    if (inserted) return [page];
    pageUnlock(this._cpu, this._frames.pageOf(pfn));
    return [];
  }

  /** Adds the following pages while read-ahead wants them, frames are free and nobody has them yet. */
  private _insertAhead(mapping: MappingRef, index: number, pages: PageRef[]): void {
    const window = this._readahead.windowFor(mapping, index);
    for (let i = 1; i < window && this.contains(mapping, index + i); i++) {
      if (this._cache.lookup(mapping, index + i) !== NONE) break;
      const pfn = this._frames.alloc();
      if (pfn === 0) break;
      const more = this._insertLocked(mapping, index + i, pfn);
      if (more.length === 0) {
        this._frames.free(pfn);
        break;
      }
      pages.push(more[0] as PageRef);
    }
    this._readahead.advance(mapping, index, pages.length);
  }

  private _read(mapping: MappingRef, index: number, backing: Backing, pages: readonly PageRef[]): void {
    const position = index * PAGE_SIZE;
    const targets = pages.map((page) => this._bytesOf(page));
    doingIo(this._cpu, 'a read of a file');
    this._cpu.count(COUNTER['io.reads']);
    const got = backing.read(position, targets);
    const expected = Math.min(pages.length * PAGE_SIZE, this.size(mapping) - position);
    if (!(got >= expected)) {
      throw new VmError(
        'EIO',
        'read',
        `the file gave ${got} bytes of ${expected} at ${position}: has it been truncated?`,
      );
    }
    pages.forEach((page, i) => {
      const valid = expected - i * PAGE_SIZE;
      if (valid < PAGE_SIZE) this._frames.zeroTail(this._frames.pfnOf(page), valid);
      this._cache.markUptodate(page);
    });
    this._cpu.countMany(COUNTER['io.pages'], pages.length);
    this._cpu.countMany(COUNTER['readahead.pages'], pages.length - 1);
  }

  private _bytesOf(page: PageRef): Uint8Array {
    const start = this._frames.pfnOf(page) * PAGE_SIZE;
    return this._frames.bytes.subarray(start, start + PAGE_SIZE);
  }

  private _backingOf(mapping: MappingRef): Backing {
    this.sweepLocal('closed');
    const serial = this.serial(mapping);
    const known = this._local.get(mapping);
    if (known !== undefined && known.serial === serial) return known.backing;
    const descriptor = JSON.parse(this._texts.get(peek(this._cpu.words, mapping + F_DESCRIPTOR))) as {
      kind: string;
      options: unknown;
    };
    const backing = makeBacking(descriptor.kind, descriptor.options, this.size(mapping));
    this._local.set(mapping, { serial, backing });
    return backing;
  }

  /** Requires: nobody maps the file or has it open, so no page is locked for long and none is mapped. */
  private _dropPages(mapping: MappingRef): void {
    const pages = Math.ceil(this.size(mapping) / PAGE_SIZE);
    const frames = load(this._cpu.words, FRAME_BUMP);
    if (pages > frames) {
      // A sparse file of terabytes: a page that it has is in one of the frames.
      for (let pfn = 1; pfn < frames; pfn++) {
        const page = this._frames.pageOf(pfn as Pfn);
        if (peekRacy(this._cpu.words, page + P_MAPPING, OF_OTHERS) === mapping) {
          this._dropPage(mapping, peek(this._cpu.words, page + P_INDEX));
        }
      }
      return;
    }
    for (let index = 0; index < pages; index++) this._dropPage(mapping, index);
  }

  private _dropPage(mapping: MappingRef, index: number): void {
    for (;;) {
      const page = this._cache.find(mapping, index); // not lookup: a page left behind would be the next file's
      if (page === NONE) return;
      if (!pageTryLock(this._cpu, page)) continue;
      if (this._cache.holds(page, mapping, index)) this._reclaim.drop(page);
      else pageUnlock(this._cpu, page);
    }
  }
}

function asText(kind: string, options: unknown): string {
  try {
    return JSON.stringify({ kind, options });
  } catch (error) {
    throw new VmError('EINVAL', 'createFile', `the options do not survive JSON: ${(error as Error).message}`);
  }
}
