/**
 * What the other rooms see of files: the table, this thread's backings, and the bringing of pages, put together. Each method is one of
 * theirs, which says what it does, needs and throws.
 */
import type { MappingRef, PageRef } from '../base/brands.ts';
import type { Frames } from '../memory/frames.ts';
import type { Slab } from '../memory/slab.ts';
import type { Cpu } from '../sync/cpu.ts';
import type { Backing } from './backing.ts';
import { Dropping } from './dropping.ts';
import { Fetch } from './fetch.ts';
import { FileTable } from './file-table.ts';
import { OwnBackings } from './own-backings.ts';
import type { PageCache } from './page-cache.ts';
import type { Reclaim } from './reclaim.ts';
import type { TextStore } from './text.ts';

export class Files {
  private readonly _table: FileTable;
  private readonly _backings: OwnBackings;
  private readonly _fetch: Fetch;

  constructor(cpu: Cpu, frames: Frames, mappings: Slab, texts: TextStore, cache: PageCache, reclaim: Reclaim) {
    const dropping = new Dropping(cpu, frames, cache, reclaim);
    const table = new FileTable(cpu, mappings, texts, dropping);
    const backings = new OwnBackings(cpu, table);
    this._table = table;
    this._backings = backings;
    this._fetch = new Fetch(cpu, { frames, cache, reclaim, table, backings, dropping });
  }

  /**
   * Makes a file known to the machine, opened by this cpu. `text` is its descriptor; `own` is this thread's backing, else the kind's
   * factory makes it. Requires: outside sections. Throws ENODEV, EINVAL, ENOMEM; EIO, or its code, for what the
   * factory throws.
   */
  create(text: string, size: number, own?: Backing): MappingRef {
    if (own !== undefined) return this._createWith(text, size, own);
    const made = this._backings.makeFirst(text, size);
    try {
      return this._createWith(text, size, made);
    } catch (error) {
      this._backings.closeQuietly(made);
      throw error;
    }
  }

  private _createWith(text: string, size: number, backing: Backing): MappingRef {
    const mapping = this._table.add(text, size);
    this._backings.adopt(mapping, backing);
    return mapping;
  }

  /* The table. */

  open(mapping: MappingRef, serial: number): void {
    this._table.open(mapping, serial);
  }

  isOpen(mapping: MappingRef, id: number, serial: number): boolean {
    return this._table.isOpen(mapping, id, serial);
  }

  close(mapping: MappingRef, id: number, serial?: number): void {
    this._table.close(mapping, id, serial);
  }

  closeAll(id: number): void {
    this._table.closeAll(id);
  }

  get(mapping: MappingRef, note: number): void {
    this._table.get(mapping, note);
  }

  put(mapping: MappingRef, note: number): void {
    this._table.put(mapping, note);
  }

  ofLock(at: number): MappingRef {
    return this._table.ofLock(at);
  }

  recount(mapping: MappingRef, held: number): void {
    this._table.recount(mapping, held);
  }

  dropUnused(deadTag: number): void {
    this._table.dropUnused(deadTag);
  }

  size(mapping: MappingRef): number {
    return this._table.size(mapping);
  }

  serial(mapping: MappingRef): number {
    return this._table.serial(mapping);
  }

  contains(mapping: MappingRef, index: number): boolean {
    return this._table.contains(mapping, index);
  }

  /* This thread's backings. */

  sweepLocal(which: 'closed' | 'all'): void {
    this._backings.sweep(which);
  }

  adopt(mapping: MappingRef, backing: Backing): void {
    this._backings.adopt(mapping, backing);
  }

  localBacking(mapping: MappingRef): Backing | undefined {
    return this._backings.known(mapping);
  }

  /* Pages. */

  fetch(mapping: MappingRef, index: number): PageRef {
    return this._fetch.fetch(mapping, index);
  }

  provide(mapping: MappingRef, index: number, bytes: Uint8Array): void {
    this._fetch.provide(mapping, index, bytes);
  }
}
