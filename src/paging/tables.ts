/**
 * Page tables in the control memory. Hooking a table is one cas of the upper entry; a leaf is unhooked under its lock and freed
 * after a grace period; upper tables live until the space exits (a late fault could hook a leaf into a freed one: A10).
 *
 * A free table's 512 words are all zero: a leaf is empty before it is unhooked.
 */
import { cas, exchange, load, peek, peekF64, poke, pokeF64, store } from '#atomics';
import { assertRule } from '../base/assert.ts';
import type { LockedLeaf, MmRef, TableRef, Vpn } from '../base/brands.ts';
import { NONE } from '../base/brands.ts';
import { VPN_LIMIT } from '../base/limits.ts';
import { TABLE_HEADER_WORDS } from '../memory/regions.layout.ts';
import type { Regions } from '../memory/regions.ts';
import type { Slab } from '../memory/slab.ts';
import type { Cpu } from '../sync/cpu.ts';
import { CLASS_LEAF } from '../sync/lock-classes.ts';
import type { Rcu, Reclaimer } from '../sync/rcu.ts';
import { spinLock, spinUnlock } from '../sync/spinlock.ts';
import { COUNTER } from '../trace/counters.ts';
import { MM_TOP } from './mm.layout.ts';
import { LEAF_PAGES, LEAF_SHIFT, T_FIRST, T_LEVEL, T_LINK, T_LOCK, T_MM, T_PARENT, T_USED } from './table.layout.ts';

const TOP_LEVEL = 3;
/** A header has 16 words, a table 512: the one's offset is the other's shifted by this. */
const HEADER_TO_ENTRIES = 5;
/** Pages covered by one entry of a table at each level. */
const SPAN = [1, 2 ** 9, 2 ** 18, 2 ** 27];

export class Tables {
  private readonly _cpu: Cpu;
  private readonly _words: Int32Array;
  private readonly _slab: Slab;
  private readonly _rcu: Rcu;
  private readonly _retireKind: number;
  private readonly _headers: number;
  private readonly _tables: number;

  constructor(cpu: Cpu, regions: Regions, slab: Slab, rcu: Rcu, retireKind: number) {
    this._cpu = cpu;
    this._words = cpu.words;
    this._slab = slab;
    this._rcu = rcu;
    this._retireKind = retireKind;
    this._headers = regions.tableHeaders;
    this._tables = regions.tables;
  }

  /** Word index of the table's first entry. */
  entries(table: TableRef): number {
    return this._tables + ((table - this._headers) << HEADER_TO_ENTRIES);
  }

  /** The table that word `entry` lies in. */
  tableOf(entry: number): TableRef {
    return (this._headers + ((entry - this._tables) >> LEAF_SHIFT) * TABLE_HEADER_WORDS) as TableRef;
  }

  /** The first page that it covers. */
  firstPage(table: TableRef): number {
    return peekF64(this._cpu.floats, (table + T_FIRST) >> 1);
  }

  mmOf(table: TableRef): MmRef {
    return peek(this._words, table + T_MM) as MmRef;
  }

  vpnOf(entry: number): Vpn {
    const table = this.tableOf(entry);
    return (peekF64(this._cpu.floats, (table + T_FIRST) >> 1) + (entry - this.entries(table))) as Vpn;
  }

  /** The leaf that covers `vpn`, or 0. Requires: a section, or the mmap_lock for writing. */
  leafFor(mm: MmRef, vpn: Vpn): TableRef {
    const leaves = this.leavesAround(mm, vpn);
    return (leaves === 0 ? 0 : load(this._words, leaves + indexAt(vpn, 1))) as TableRef;
  }

  /** The same, made if missing. Throws ENOMEM. Requires: a section. */
  ensureLeaf(mm: MmRef, vpn: Vpn): TableRef {
    const { floats } = this._cpu;
    let table = load(this._words, mm + MM_TOP) as TableRef;
    for (let level = TOP_LEVEL; level > 0; level--) {
      const entry = this.entries(table) + indexAt(vpn, level);
      let below = load(this._words, entry) as TableRef;
      if (below === 0) below = this._hook(entry, mm, level - 1, vpn);
      table = below;
    }
    assertRule(
      peekF64(floats, (table + T_FIRST) >> 1) === vpn - (vpn % LEAF_PAGES),
      'walk',
      () => `wrong leaf for ${vpn}`,
    );
    return table;
  }

  makeTop(mm: MmRef): void {
    const top = this._make(mm, TOP_LEVEL, 0 as Vpn, 0);
    store(this._words, mm + MM_TOP, top);
    this._slab.publish(top);
  }

  lockLeaf(leaf: TableRef): LockedLeaf {
    spinLock(this._cpu, leaf + T_LOCK, CLASS_LEAF);
    return leaf as LockedLeaf;
  }

  unlockLeaf(leaf: LockedLeaf): void {
    spinUnlock(this._cpu, leaf + T_LOCK);
  }

  /** Whether the upper entry still names this leaf. It stays so under its lock. */
  isHooked(leaf: LockedLeaf): boolean {
    return load(this._words, peek(this._words, leaf + T_PARENT)) === leaf;
  }

  /** Fills an entry that was 0: publishes `pte` to walks. Pairs with their loads. */
  fillEntry(leaf: LockedLeaf, entry: number, pte: number): void {
    store(this._words, entry, pte);
    poke(this._words, leaf + T_USED, peek(this._words, leaf + T_USED) + 1);
  }

  /** Empties an entry that was not 0. */
  clearEntry(leaf: LockedLeaf, entry: number): void {
    store(this._words, entry, 0);
    poke(this._words, leaf + T_USED, peek(this._words, leaf + T_USED) - 1);
  }

  /** Replaces an entry that was not 0 by another. Accessed and dirty bits that come meanwhile are lost: see `exchangeEntry`. */
  setEntry(_leaf: LockedLeaf, entry: number, pte: number): void {
    store(this._words, entry, pte);
  }

  /** The same. Returns what it was last, with all its bits. */
  exchangeEntry(_leaf: LockedLeaf, entry: number, pte: number): number {
    return exchange(this._words, entry, pte);
  }

  /** The same, if the entry is still `seen`. Returns what it was. */
  casEntry(_leaf: LockedLeaf, entry: number, seen: number, pte: number): number {
    return cas(this._words, entry, seen, pte);
  }

  /** The leaf whose lock word `at` is, or 0. */
  ofLock(at: number): TableRef {
    const offset = at - this._headers;
    const inside = offset >= 0 && offset < this._tables - this._headers;
    return (inside && offset % TABLE_HEADER_WORDS === T_LOCK ? at - T_LOCK : 0) as TableRef;
  }

  /** Under the lock of a dead thread, which may have died between an entry and its count. */
  recount(leaf: TableRef): void {
    const first = this.entries(leaf);
    let used = 0;
    for (let i = 0; i < LEAF_PAGES; i++) if (peek(this._words, first + i) !== 0) used++;
    poke(this._words, leaf + T_USED, used);
  }

  used(leaf: TableRef): number {
    return peek(this._words, leaf + T_USED);
  }

  /** Unhooks an empty leaf and retires it. Leaves it alone if somebody has installed a page meanwhile. */
  tearDownLeaf(leaf: TableRef): void {
    const locked = this.lockLeaf(leaf);
    const empty = this.used(leaf) === 0 && this.isHooked(locked);
    if (empty) {
      this._slab.markRetiredUnlocked(leaf); // first, so that an unhooked leaf is in somebody's hands
      store(this._words, peek(this._words, leaf + T_PARENT), 0); // pairs with isHooked in a fault's commit
    }
    this.unlockLeaf(locked);
    if (!empty) return;
    this._rcu.retire(this._retireKind, leaf);
    this._cpu.count(COUNTER['tables.freed']);
  }

  /** The first leaf that covers part of [start, end), or 0. Requires: a section, if it is looked into: reclaim tears empty ones down. */
  leafFrom(mm: MmRef, start: Vpn, end: Vpn): TableRef {
    const top = load(this._words, mm + MM_TOP) as TableRef;
    if (top === NONE) return NONE as TableRef;
    const limit = Math.min(end, VPN_LIMIT);
    for (let at: number = start; at < limit; ) {
      let table = top;
      let level = TOP_LEVEL;
      for (; level > 0 && table !== NONE; level--) {
        table = load(this._words, this.entries(table) + indexAt(at, level)) as TableRef;
      }
      if (table !== NONE) return table;
      const span = SPAN[level + 1] as number; // of the entry that was empty
      at += span - (at % span);
    }
    return NONE as TableRef;
  }

  /** Calls `visit` with each leaf that covers part of [start, end). Requires: as `leafFrom`. */
  forEachLeaf(mm: MmRef, start: Vpn, end: Vpn, visit: (leaf: TableRef) => void): void {
    for (let at: number = start; at < end; ) {
      const leaf = this.leafFrom(mm, at as Vpn, end);
      if (leaf === NONE) return;
      at = this.firstPage(leaf) + LEAF_PAGES;
      visit(leaf);
    }
  }

  /** Retires every table of a space that nobody walks from the top any more. Never waits. */
  freeAll(mm: MmRef): void {
    const top = load(this._words, mm + MM_TOP) as TableRef;
    if (top === 0) return;
    this._freeBelow(top, TOP_LEVEL);
    this._slab.markRetired(top);
    store(this._words, mm + MM_TOP, 0);
    this._rcu.retire(this._retireKind, top);
  }

  readonly reclaimer: Reclaimer = {
    linkOf: (table) => table + T_LINK,
    free: (table) => this._slab.free(table),
    markRetired: (table) => this._slab.markRetired(table),
  };

  /** Whether a dead cpu's table is hooked after all. */
  isReachable(table: TableRef): boolean {
    const parent = peek(this._words, table + T_PARENT);
    if (parent !== 0) return load(this._words, parent) === table;
    const mm = this.mmOf(table);
    return mm !== 0 && load(this._words, mm + MM_TOP) === table;
  }

  /**
   * Word index of the first entry of the table whose entries are the leaves around `vpn`, or 0. Upper tables live until the space
   * exits: a user of the space may keep it.
   */
  leavesAround(mm: MmRef, vpn: Vpn): number {
    let table = load(this._words, mm + MM_TOP) as TableRef;
    if (table === 0) return 0;
    for (let level = TOP_LEVEL; level > 1; level--) {
      table = load(this._words, this.entries(table) + indexAt(vpn, level)) as TableRef;
      if (table === 0) return 0;
    }
    return this.entries(table);
  }

  private _hook(entry: number, mm: MmRef, level: number, vpn: Vpn): TableRef {
    const span = (SPAN[level] as number) * LEAF_PAGES;
    const table = this._make(mm, level, (vpn - (vpn % span)) as Vpn, entry);
    const found = cas(this._words, entry, 0, table); // publishes; pairs with leafFor's loads
    if (found === 0) {
      this._slab.publishUnlocked(table); // whoever found it empty meanwhile may be tearing it down
      return table;
    }
    this._slab.free(table);
    return found as TableRef;
  }

  private _make(mm: MmRef, level: number, first: Vpn, parent: number): TableRef {
    const table = this._slab.alloc() as TableRef;
    poke(this._words, table + T_LEVEL, level);
    poke(this._words, table + T_MM, mm);
    poke(this._words, table + T_PARENT, parent);
    poke(this._words, table + T_USED, 0);
    pokeF64(this._cpu.floats, (table + T_FIRST) >> 1, first);
    return table;
  }

  private _freeBelow(table: TableRef, level: number): void {
    for (let i = 0; i < LEAF_PAGES && level > 0; i++) {
      const entry = this.entries(table) + i;
      const below = load(this._words, entry) as TableRef;
      if (below === 0) continue;
      if (level === 1) {
        this.tearDownLeaf(below); // reclaim may be about to, too: the leaf's lock decides who
        continue;
      }
      this._freeBelow(below, level - 1);
      this._slab.markRetired(below); // in somebody's hands before nothing names it
      store(this._words, entry, 0);
      this._rcu.retire(this._retireKind, below);
    }
  }
}

function indexAt(vpn: number, level: number): number {
  if (level === TOP_LEVEL) return Math.floor(vpn / 2 ** 27);
  return (vpn >>> (LEAF_SHIFT * level)) & (LEAF_PAGES - 1);
}
