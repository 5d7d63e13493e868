/**
 * The table of files: their records in shared memory, which cpus have them open, how many refer to them. The last reference takes the
 * file's pages, descriptor and record with it (I7).
 */
import { add, peek, peekF64, peekRacy, poke, pokeF64, store } from '#atomics';
import { oops } from '../base/assert.ts';
import { type MappingRef, NONE } from '../base/brands.ts';
import { VmError } from '../base/errors.ts';
import { PAGE_SIZE } from '../base/limits.ts';
import { LIVE, OWNED, ownedBy, R_STATE, stateKind } from '../memory/ownership.ts';
import type { Slab } from '../memory/slab.ts';
import { H_FILES_CLOSED } from '../sync/control.layout.ts';
import type { Cpu } from '../sync/cpu.ts';
import { CLASS_FILES } from '../sync/lock-classes.ts';
import { cutShort, spinLock, spinUnlock } from '../sync/spinlock.ts';
import type { Dropping } from './dropping.ts';
import { F_DESCRIPTOR, F_LOCK, F_REFS, F_SERIAL, F_SIZE } from './mapping.layout.ts';
import { addOpener, checkOpenersFit, countOpeners, isOpener, removeOpener, setOnlyOpener } from './openers.ts';
import type { TextStore } from './text.ts';

const LOOKED_AT_AGAIN = 'a file in use changes meanwhile: what looks unused is looked at again under its lock';

export class FileTable {
  private readonly _cpu: Cpu;
  private readonly _mappings: Slab;
  private readonly _texts: TextStore;
  private readonly _dropping: Dropping;

  constructor(cpu: Cpu, mappings: Slab, texts: TextStore, dropping: Dropping) {
    checkOpenersFit();
    this._cpu = cpu;
    this._mappings = mappings;
    this._texts = texts;
    this._dropping = dropping;
  }

  /** A new file, opened by this cpu. `text` is its descriptor, `size` in bytes. Throws ENOMEM, with nothing allocated. */
  add(text: string, size: number): MappingRef {
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
    setOnlyOpener(words, mapping, this._cpu.id);
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
      if (!addOpener(words, mapping, this._cpu.id)) return;
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
    const opened = isOpener(this._cpu.words, mapping, id);
    return opened && this.serial(mapping) === serial;
  }

  /** Cpu `id` (this one, or a dead one) closes the file, if it is that of `serial`. Mappings keep it alive. */
  close(mapping: MappingRef, id: number, serial?: number): void {
    const { words } = this._cpu;
    spinLock(this._cpu, mapping + F_LOCK, CLASS_FILES);
    if (serial !== undefined && peek(words, mapping + F_SERIAL) !== serial) {
      spinUnlock(this._cpu, mapping + F_LOCK);
      return;
    }
    const opened = removeOpener(words, mapping, id);
    this._unlockAndDrop(mapping, opened);
  }

  /** Cpu `id` (this one, or a dead one) closes all files that it has open. */
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
    poke(words, mapping + F_REFS, countOpeners(words, mapping) + held);
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
    this._dropping.file(mapping, this.size(mapping));
    const descriptor = peek(words, mapping + F_DESCRIPTOR);
    this._texts.own(descriptor);
    poke(words, mapping + F_DESCRIPTOR, 0);
    this._texts.free(descriptor);
    add(words, H_FILES_CLOSED, 1);
    this._mappings.free(mapping);
  }

  /** In bytes. */
  size(mapping: MappingRef): number {
    return peekF64(this._cpu.floats, (mapping + F_SIZE) >> 1);
  }

  /** Tells the file from those that had the record before. */
  serial(mapping: MappingRef): number {
    return peek(this._cpu.words, mapping + F_SERIAL);
  }

  /** Whether byte offset `index` x 4096 lies in the file. */
  contains(mapping: MappingRef, index: number): boolean {
    return index * PAGE_SIZE < this.size(mapping);
  }

  /** Whether the file of that serial still has the record, because somebody has it open or maps it. */
  isLive(mapping: MappingRef, serial: number): boolean {
    return stateKind(peek(this._cpu.words, mapping + R_STATE)) === LIVE && this.serial(mapping) === serial;
  }

  /** The text that the file was made with: kind and options as JSON. Requires: a reference. */
  descriptor(mapping: MappingRef): string {
    return this._texts.get(peek(this._cpu.words, mapping + F_DESCRIPTOR));
  }
}
