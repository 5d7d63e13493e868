/**
 * Open files and their I/O. `_read` is the only place that calls a file system: the calling thread holds the locks of the pages it
 * fills and nothing else.
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
import { cutShort, spinLock, spinUnlock } from '../sync/spinlock.ts';
import { COUNTER } from '../trace/counters.ts';
import { checkAnswer, handled } from './answer.ts';
import { type Backing, isExact, makeBacking } from './backing.ts';
import { parseDescriptor } from './descriptor.ts';
import { BackingFailure, failureOf } from './failure.ts';
import { F_DESCRIPTOR, F_LOCK, F_OPENERS, F_REFS, F_SERIAL, F_SIZE } from './mapping.layout.ts';
import type { PageCache } from './page-cache.ts';
import { pageLockHeld, pageLockSoon, pageTryLock, pageUnlock, pageWait } from './page-lock.ts';
import { Readahead } from './readahead.ts';
import type { Reclaim } from './reclaim.ts';
import type { TextStore } from './text.ts';

interface LocalBacking {
  readonly serial: number;
  readonly backing: Backing;
}

const OWN_BIT = 'a cpu sets and clears its own bit alone; the others in the word are not looked at';
const LOOKED_AT_AGAIN = 'a file in use changes meanwhile: what looks unused is looked at again under its lock';
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

  /**
   * Makes a file known to the machine, opened by this cpu. `text` is its descriptor; `own` is this thread's backing, else the kind's
   * factory makes it. Requires: outside sections. Throws ENODEV, EINVAL, ENOMEM; EIO, or its code, for what the
   * factory throws.
   */
  create(text: string, size: number, own?: Backing): MappingRef {
    if (own !== undefined) return this._createWith(text, size, own);
    const { kind, options } = parseDescriptor(text); // as other threads get them
    const made = this._makeFirst(kind, options, size);
    try {
      return this._createWith(text, size, made);
    } catch (error) {
      this._closeQuietly(made);
      throw error;
    }
  }

  private _createWith(text: string, size: number, backing: Backing): MappingRef {
    const { words, floats } = this._cpu;
    const descriptor = this._texts.put(text);
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
    this.adopt(mapping, backing);
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
    } catch (error) {
      throw cutShort(this._cpu, error);
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

  /** Whether cpu `id` has the file of that serial open. Exact for this cpu's own. */
  isOpen(mapping: MappingRef, id: number, serial: number): boolean {
    const { words } = this._cpu;
    const bits = peekRacy(words, this._openersOf(mapping, id), OWN_BIT);
    return this.serial(mapping) === serial && ((bits >> (id & 31)) & 1) !== 0;
  }

  /** Cpu `id` (this one, or a dead one) closes the file, if it is that of `serial`. Mappings keep it alive. */
  close(mapping: MappingRef, id: number, serial?: number): void {
    const { words } = this._cpu;
    spinLock(this._cpu, mapping + F_LOCK, CLASS_FILES);
    if (serial !== undefined && peek(words, mapping + F_SERIAL) !== serial) {
      spinUnlock(this._cpu, mapping + F_LOCK);
      return;
    }
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

  /**
   * Gives it back, if `note` says so. The last reference takes the pages with it (I7), and waits for those that somebody has locked
   * for a moment.
   */
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
      const state = peekRacy(words, mapping + R_STATE, LOOKED_AT_AGAIN);
      if (state === ownedBy(OWNED, deadTag)) {
        this._mappings.own(mapping);
        this._drop(mapping);
      } else if (state === LIVE && peekRacy(words, mapping + F_REFS, LOOKED_AT_AGAIN) === 0) {
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
      this._closeQuietly(backing);
    }
  }

  /** Lets this thread use `backing` itself for the file (a Blob, say, which no descriptor can name). */
  adopt(mapping: MappingRef, backing: Backing): void {
    this.sweepLocal('closed'); // the record may have been that of a file which this thread has still open
    const was = this._local.get(mapping);
    if (was !== undefined && was.backing !== backing) this._closeQuietly(was.backing);
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

  /** Requires: page lock. A page that a dead reader left behind unread leaves the file; then the lock is dropped. */
  private _discardUnread(page: PageRef, mapping: MappingRef, index: number): void {
    if (this._cache.holds(page, mapping, index)) this._reclaim.drop(page);
    else pageUnlock(this._cpu, page);
  }

  /** The page, locked and read; or the page, not locked, of somebody who was first. */
  private _readNew(mapping: MappingRef, index: number): { page: PageRef; inserted: boolean } {
    const backing = this._backingOf(mapping);
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
      this._dropUnread(pages);
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
    for (let i = 1; i < window && this.contains(mapping, index + i); i++) {
      if (this._cache.lookup(mapping, index + i) !== NONE) break;
      const pfn = this._frames.alloc();
      if (pfn === 0) break;
      const { page, inserted } = this._insertLocked(mapping, index + i, pfn);
      if (!inserted) break;
      pages.push(page);
    }
    this._readahead.advance(mapping, index, pages.length);
  }

  /** Takes pages out of the file again whose read failed. Whatever goes wrong, none of them stays locked. */
  private _dropUnread(pages: readonly PageRef[]): void {
    try {
      for (const page of pages) if (pageLockHeld(this._cpu, page)) this._reclaim.drop(page);
    } catch (error) {
      // Left in the file unread: whoever wants them next drops them.
      for (const page of pages) if (pageLockHeld(this._cpu, page)) pageUnlock(this._cpu, page);
      throw error;
    }
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
    const expected = Math.min(asked, this.size(mapping) - position);
    // What a backing says it has read and has not: not the bytes of whoever had the frame before.
    if (!isExact(backing)) for (const page of pages) this._frames.zero(this._frames.pfnOf(page));
    const targets = pages.map((page) => this._bytesOf(page));
    doingIo(this._cpu, 'a read of a file');
    this._cpu.count(COUNTER['io.reads']);
    const got: unknown = this._callback(() => handled(backing.read(position, targets)));
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

  private _backingOf(mapping: MappingRef): Backing {
    this.sweepLocal('closed');
    const serial = this.serial(mapping);
    const known = this._local.get(mapping);
    if (known !== undefined && known.serial === serial) return known.backing;
    const { kind, options } = parseDescriptor(this._texts.get(peek(this._cpu.words, mapping + F_DESCRIPTOR)));
    const backing = this._make(kind, options, this.size(mapping), 'read');
    this._local.set(mapping, { serial, backing });
    return backing;
  }

  private _closeQuietly(backing: Backing): void {
    try {
      this._callback(() => backing.close());
    } catch {
      // The file is gone for this thread: nobody is left to be told, and whoever closes must go on.
    }
  }

  /** In the thread that creates the file nobody waits for a page: what the factory throws fails that call. */
  private _makeFirst(kind: string, options: unknown, size: number): Backing {
    try {
      return this._make(kind, options, size, 'createFile');
    } catch (error) {
      if (!(error instanceof BackingFailure)) throw error;
      const why = `the factory of '${kind}' has thrown: ${error.why}`;
      const failure = new VmError(error.code ?? 'EIO', 'createFile', why);
      failure.cause = error.thrown;
      throw failure;
    }
  }

  private _make(kind: string, options: unknown, size: number, syscall: 'read' | 'createFile'): Backing {
    return makeBacking(kind, options, size, syscall, (factory) => this._callback(factory));
  }

  /**
   * Runs a user's function: no public call of this thread may lock or wait meanwhile. What it throws is thrown as a BackingFailure.
   */
  private _callback<T>(run: () => T): T {
    this._cpu.callbacks++;
    try {
      return run();
    } catch (error) {
      throw failureOf(error);
    } finally {
      this._cpu.callbacks--;
    }
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
      pageLockSoon(this._cpu, page);
      if (this._cache.holds(page, mapping, index)) this._reclaim.drop(page);
      else pageUnlock(this._cpu, page);
    }
  }
}
