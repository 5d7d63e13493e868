/**
 * The cursor: the page-table entries of a range, leaf by leaf, each leaf under its lock (Asterinas' page-table cursor, xv6's `walk`).
 * Whoever changes the entries of a range does it through a cursor: taking pages out, fitting rights, and what will clean, move
 * or copy entries.
 *
 * ```ts
 * const cursor = new RangeCursor(k.tables, k.words, mm, start, end);
 * while (cursor.nextLeaf()) {
 *   for (let entry = cursor.next(); entry !== NONE; entry = cursor.next()) {
 *     // cursor.pte is what the entry was; cursor.leaf is locked
 *   }
 * }
 * ```
 *
 * A leaf without entries is locked too: a fault that saw the VMA attached may be about to install and count its page.
 */
import { peekRacy } from '#atomics';
import type { LockedLeaf, MmRef, Vpn } from '../base/brands.ts';
import { NONE } from '../base/brands.ts';
import { LEAF_PAGES } from './table.layout.ts';
import type { Tables } from './tables.ts';

const BITS_ONLY = 'under the leaf lock only accessed and dirty bits change: by cas, on the value that was seen';

/** Requires: a section, or nobody else in the space: reclaim tears empty leaves down. */
export class RangeCursor {
  /** Good between `nextLeaf` and the one after it, or `unlock`. */
  leaf: LockedLeaf = NONE as LockedLeaf;
  /** What `next` has seen. */
  pte = 0;
  private readonly _tables: Tables;
  private readonly _words: Int32Array;
  private readonly _mm: MmRef;
  private readonly _end: number;
  /** The first page that no leaf was looked for yet. */
  private _at: number;
  /** The next entry to look at, and the end of those to look at. */
  private _entry = 0;
  private _last = 0;

  constructor(tables: Tables, words: Int32Array, mm: MmRef, start: Vpn, end: Vpn) {
    this._tables = tables;
    this._words = words;
    this._mm = mm;
    this._at = start;
    this._end = end;
  }

  /** Unlocks the leaf in hand, and locks the next one that covers part of the range. False when there is none. */
  nextLeaf(): boolean {
    this.unlock();
    const tables = this._tables;
    const leaf = tables.leafFrom(this._mm, this._at as Vpn, this._end as Vpn);
    if (leaf === NONE) return false;
    const first = tables.firstPage(leaf);
    const from = Math.max(first, this._at);
    this._at = Math.min(first + LEAF_PAGES, this._end);
    this.leaf = tables.lockLeaf(leaf);
    this._entry = tables.entries(leaf) + (from - first);
    this._last = tables.used(leaf) > 0 ? this._entry + (this._at - from) : this._entry;
    return true;
  }

  /** Word index of the next entry of the leaf in which something is; 0 when there is none. */
  next(): number {
    for (let entry = this._entry; entry < this._last; entry++) {
      const pte = peekRacy(this._words, entry, BITS_ONLY);
      if (pte === 0) continue;
      this.pte = pte;
      this._entry = entry + 1;
      return entry;
    }
    this._entry = this._last;
    return NONE;
  }

  /** Lets go of the leaf in hand, if there is one. */
  unlock(): void {
    const { leaf } = this;
    if (leaf === NONE) return;
    this.leaf = NONE as LockedLeaf;
    this._tables.unlockLeaf(leaf);
  }
}
