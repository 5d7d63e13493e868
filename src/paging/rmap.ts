/**
 * Reverse map: from a page to the PTEs that name it. The first slot is in the page record, more are in rmap nodes. A slot is the
 * word index of a PTE. Under the leaf's lock, slot and PTE agree: it is added before the PTE is set and dropped after
 * the PTE is cleared (or, for a zapped PTE, after the generation was bumped: pending).
 *
 * A mapping's reference on a page is its slot: a page with slots is in use. That saves two contended counts a fault.
 *
 * Every change is one store, so a death in the middle leaves at worst a slot whose PTE does not name the page; `walk` tells
 * its visitor, which drops it.
 */
import { load, peek, poke, store } from '#atomics';
import { assertRule } from '../base/assert.ts';
import type { PageRef, Pfn } from '../base/brands.ts';
import { R_LINK } from '../memory/ownership.ts';
import { P_RMAP_LOCK, P_RMAP_MORE, P_RMAP_SEQ, P_RMAP_SLOT } from '../memory/page.layout.ts';
import type { Slab } from '../memory/slab.ts';
import type { Cpu } from '../sync/cpu.ts';
import { CLASS_RMAP } from '../sync/lock-classes.ts';
import type { Rcu, Reclaimer } from '../sync/rcu.ts';
import { spinLock, spinUnlock } from '../sync/spinlock.ts';
import { ptePfn } from './pte.ts';

export const RMAP_NODE_WORDS = 16;
const N_NEXT = 2;
const N_SLOTS = 3;
const SLOTS_PER_NODE: number = RMAP_NODE_WORDS - N_SLOTS;
/** Passes over a page's slots before the walk gives up on finding them unchanged. */
const MAX_PASSES = 64;

export class Rmap {
  private readonly _cpu: Cpu;
  private readonly _slab: Slab;
  private readonly _rcu: Rcu;
  private readonly _retireKind: number;

  constructor(cpu: Cpu, slab: Slab, rcu: Rcu, retireKind: number) {
    this._cpu = cpu;
    this._slab = slab;
    this._rcu = rcu;
    this._retireKind = retireKind;
  }

  /** Makes sure that the next `add` finds memory. Throws ENOMEM. To be called before the leaf lock is taken. */
  reserve(): void {
    this._slab.reserve(1);
  }

  /** The only slot of a page that nobody else can reach yet. */
  setFirst(page: PageRef, entry: number): void {
    poke(this._cpu.words, page + P_RMAP_SLOT, entry);
  }

  /** Requires: leaf lock of `entry`, `reserve`. */
  add(page: PageRef, entry: number): void {
    const { words } = this._cpu;
    spinLock(this._cpu, page + P_RMAP_LOCK, CLASS_RMAP);
    const place = this._find(page, 0);
    if (place !== 0) poke(words, place, entry);
    else this._addNode(page, entry);
    store(words, page + P_RMAP_SEQ, (peek(words, page + P_RMAP_SEQ) + 1) | 0); // pairs with the loads in walk
    spinUnlock(this._cpu, page + P_RMAP_LOCK);
  }

  /** True if the slot was there. Requires: leaf lock of `entry`. */
  remove(page: PageRef, entry: number): boolean {
    const { words } = this._cpu;
    spinLock(this._cpu, page + P_RMAP_LOCK, CLASS_RMAP);
    const place = this._find(page, entry);
    if (place !== 0) {
      poke(words, place, 0);
      store(words, page + P_RMAP_SEQ, (peek(words, page + P_RMAP_SEQ) + 1) | 0); // pairs with the loads in walk
      if (place !== page + P_RMAP_SLOT) this._trim(page);
    }
    spinUnlock(this._cpu, page + P_RMAP_LOCK);
    return place !== 0;
  }

  /** Whether any PTE names the page. Exact while its page lock is held: none can be added then. */
  isMapped(page: PageRef): boolean {
    return this.slots(page).length > 0;
  }

  slots(page: PageRef): number[] {
    const { words } = this._cpu;
    const found: number[] = [];
    spinLock(this._cpu, page + P_RMAP_LOCK, CLASS_RMAP);
    const first = peek(words, page + P_RMAP_SLOT);
    if (first !== 0) found.push(first);
    for (let node = peek(words, page + P_RMAP_MORE); node !== 0; node = peek(words, node + N_NEXT)) {
      for (let i = 0; i < SLOTS_PER_NODE; i++) {
        const slot = peek(words, node + N_SLOTS + i);
        if (slot !== 0) found.push(slot);
      }
    }
    spinUnlock(this._cpu, page + P_RMAP_LOCK);
    return found;
  }

  /**
   * Calls `visit` with every slot, until a whole pass saw no change of the list (mremap moves slots while we look: R1). The
   * visitor locks the slot's leaf and looks at the PTE itself. Requires: a section, so that the leaves stay leaves.
   */
  walk(page: PageRef, visit: (entry: number) => void): void {
    const { words } = this._cpu;
    for (let pass = 0; pass < MAX_PASSES; pass++) {
      const before = load(words, page + P_RMAP_SEQ);
      const slots = this.slots(page);
      for (const slot of slots) visit(slot);
      if (slots.length === 0 || load(words, page + P_RMAP_SEQ) === before) return;
    }
  }

  /** Under the lock of a dead thread: nodes that hang on the page are in use, whatever it was about to do with them. */
  settleNodes(page: PageRef): void {
    const { words } = this._cpu;
    for (let node = peek(words, page + P_RMAP_MORE); node !== 0; node = peek(words, node + N_NEXT))
      this._slab.publish(node);
    this._trim(page);
  }

  /**
   * Drops slots whose PTE does not name the page: a thread died before it set the PTE, or after it had replaced it. Requires:
   * the page lock, so that nobody adds one.
   */
  dropStale(page: PageRef, pfn: Pfn): void {
    for (const entry of this.slots(page)) {
      const pte = load(this._cpu.words, entry);
      if (pte === 0 || ptePfn(pte) !== pfn) this.remove(page, entry);
    }
  }

  /** Words for a page that is about to be freed: nothing may be left. */
  assertEmpty(page: PageRef): void {
    assertRule(!this.isMapped(page), 'I6', () => `page record ${page} freed with a reverse-map slot`);
  }

  readonly reclaimer: Reclaimer = {
    linkOf: (node) => node + R_LINK,
    free: (node) => this._slab.free(node),
    markRetired: (node) => this._slab.markRetired(node),
  };

  private _find(page: PageRef, wanted: number): number {
    const { words } = this._cpu;
    if (peek(words, page + P_RMAP_SLOT) === wanted) return page + P_RMAP_SLOT;
    for (let node = peek(words, page + P_RMAP_MORE); node !== 0; node = peek(words, node + N_NEXT)) {
      for (let i = 0; i < SLOTS_PER_NODE; i++) {
        if (peek(words, node + N_SLOTS + i) === wanted) return node + N_SLOTS + i;
      }
    }
    return 0;
  }

  private _addNode(page: PageRef, entry: number): void {
    const { words } = this._cpu;
    const node = this._slab.alloc();
    for (let i = 1; i < SLOTS_PER_NODE; i++) poke(words, node + N_SLOTS + i, 0);
    poke(words, node + N_SLOTS, entry);
    poke(words, node + N_NEXT, peek(words, page + P_RMAP_MORE));
    store(words, page + P_RMAP_MORE, node);
    this._slab.publish(node);
  }

  /** Drops the first node if it is empty; a later one goes when it has become the first. */
  private _trim(page: PageRef): void {
    const { words } = this._cpu;
    for (let node = peek(words, page + P_RMAP_MORE); node !== 0; node = peek(words, page + P_RMAP_MORE)) {
      for (let i = 0; i < SLOTS_PER_NODE; i++) if (peek(words, node + N_SLOTS + i) !== 0) return;
      this._slab.markRetired(node); // first, so that an unhooked node is in somebody's hands
      store(words, page + P_RMAP_MORE, peek(words, node + N_NEXT));
      this._rcu.retire(this._retireKind, node);
    }
  }
}
