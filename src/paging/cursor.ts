/**
 * The cursor: the page-table entries of a range, leaf by leaf, each leaf under its lock (Asterinas' page-table cursor, xv6's `walk`).
 * Whoever changes the entries of a range does it through a cursor: taking pages out, fitting rights, and what will clean, move
 * or copy entries.
 *
 * ```ts
 * const cursor = new RangeCursor(k.tables, k.words, mm, start, end);
 * while (cursor.nextLeaf()) {
 *   for (let entry = cursor.first(); entry !== NONE; entry = cursor.after(entry)) {
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
  /** What `first` or `after` has seen. */
  pte = 0;
  private readonly _tables: Tables;
  private readonly _words: Int32Array;
  private readonly _mm: MmRef;
  private readonly _endPage: number;
  /** The first page that no leaf was looked for yet. */
  private _at: number;
  /** The entries of the leaf to be looked at: word indices. */
  private _first = 0;
  private _end = 0;

  constructor(tables: Tables, words: Int32Array, mm: MmRef, start: Vpn, end: Vpn) {
    this._tables = tables;
    this._words = words;
    this._mm = mm;
    this._at = start;
    this._endPage = end;
  }

  /** Unlocks the leaf in hand, and locks the next one that covers part of the range. False when there is none. */
  nextLeaf(): boolean {
    this.unlock();
    const tables = this._tables;
    const leaf = tables.leafFrom(this._mm, this._at as Vpn, this._endPage as Vpn);
    if (leaf === NONE) return false;
    const first = tables.firstPage(leaf);
    const from = Math.max(first, this._at);
    this._at = Math.min(first + LEAF_PAGES, this._endPage);
    this.leaf = tables.lockLeaf(leaf);
    this._first = tables.entries(leaf) + (from - first);
    this._end = tables.used(leaf) > 0 ? this._first + (this._at - from) : this._first;
    return true;
  }

  /** Word index of the leaf's first entry in which something is; 0 when there is none. */
  first(): number {
    return this.after(this._first - 1);
  }

  /** The next one behind `entry`. */
  after(entry: number): number {
    const words = this._words;
    for (let next = entry + 1, end = this._end; next < end; next++) {
      const pte = peekRacy(words, next, BITS_ONLY);
      if (pte === 0) continue;
      this.pte = pte;
      return next;
    }
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
