/** The table of tree nodes (see tree.layout.ts): reading an entry, searching one node, making a new node. */
import { copyWords, peek, peekF64, poke, pokeF64 } from '#atomics';
import { assertRule, oops } from '../base/assert.ts';
import type { NodeRef, VmaRef } from '../base/brands.ts';
import { TREE_FANOUT, TREE_MIN } from '../base/tunables.ts';
import type { Slab } from '../memory/slab.ts';
import type { Cpu } from '../sync/cpu.ts';
import {
  N_CHILDREN,
  N_COUNT,
  N_ENDS,
  N_GAPS,
  N_LEVEL,
  N_STARTS,
  N_STATE,
  N_USED,
  NODE_SLOTS,
  NODE_WORDS,
} from './tree.layout.ts';
import { range } from './vma-table.ts';

if ([N_STARTS, N_ENDS, N_GAPS, N_CHILDREN].some((at, i) => at !== 4 + 2 * NODE_SLOTS * i)) {
  oops('layout', 'the columns of a tree node overlap or are not 8-byte aligned');
}
if (N_USED !== N_CHILDREN + NODE_SLOTS || N_USED > NODE_WORDS) oops('layout', 'the entries of a tree node do not fit');
if (TREE_FANOUT > NODE_SLOTS) oops('layout', `a tree node has room for ${NODE_SLOTS} entries, not ${TREE_FANOUT}`);
if (TREE_MIN < 2 || 2 * TREE_MIN > TREE_FANOUT + 1) oops('layout', `fill ${TREE_MIN} to ${TREE_FANOUT} cannot be kept`);

/** One entry, outside of a node. `child` is a VMA or a node. */
export interface Entry {
  readonly start: number;
  readonly end: number;
  readonly gap: number;
  readonly child: number;
}

export class NodeTable {
  readonly words: Int32Array;
  readonly floats: Float64Array;
  readonly slab: Slab;

  constructor(cpu: Cpu, slab: Slab) {
    this.words = cpu.words;
    this.floats = cpu.floats;
    this.slab = slab;
  }

  level(n: NodeRef): number {
    return peek(this.words, n + N_LEVEL);
  }

  count(n: NodeRef): number {
    return peek(this.words, n + N_COUNT);
  }

  start(n: NodeRef, i: number): number {
    return peekF64(this.floats, ((n + N_STARTS) >> 1) + i);
  }

  end(n: NodeRef, i: number): number {
    return peekF64(this.floats, ((n + N_ENDS) >> 1) + i);
  }

  /** Requires: not a leaf. */
  gap(n: NodeRef, i: number): number {
    return peekF64(this.floats, ((n + N_GAPS) >> 1) + i);
  }

  /** Requires: not a leaf. */
  node(n: NodeRef, i: number): NodeRef {
    return peek(this.words, n + N_CHILDREN + i) as NodeRef;
  }

  /** Requires: a leaf. */
  vma(n: NodeRef, i: number): VmaRef {
    return peek(this.words, n + N_CHILDREN + i) as VmaRef;
  }

  entry(n: NodeRef, i: number): Entry {
    const gap = this.level(n) === 0 ? 0 : this.gap(n, i);
    return { start: this.start(n, i), end: this.end(n, i), gap, child: peek(this.words, n + N_CHILDREN + i) };
  }

  /** The first entry that ends behind `vpn`, or `count`. Linear: a branchy search of 16 mispredicts more than it saves. */
  firstEndingAfter(n: NodeRef, vpn: number): number {
    const count = peek(this.words, n + N_COUNT);
    const ends = (n + N_ENDS) >> 1;
    let i = 0;
    while (i < count && peekF64(this.floats, ends + i) <= vpn) i++;
    return i;
  }

  /** The first entry, from `i` on, that starts at `vpn` or behind it, or `count`. */
  firstStartingAt(n: NodeRef, vpn: number, i: number): number {
    const count = peek(this.words, n + N_COUNT);
    const starts = (n + N_STARTS) >> 1;
    let at = i;
    while (at < count && peekF64(this.floats, starts + at) < vpn) at++;
    return at;
  }

  /** The largest hole strictly inside the node: what its entry in the parent says. */
  largestGap(n: NodeRef): number {
    const { floats } = this;
    const count = this.count(n);
    const starts = (n + N_STARTS) >> 1;
    const ends = (n + N_ENDS) >> 1;
    let largest = 0;
    for (let i = 1; i < count; i++) {
      const gap = peekF64(floats, starts + i) - peekF64(floats, ends + i - 1);
      if (gap > largest) largest = gap;
    }
    if (this.level(n) === 0) return largest;
    const gaps = (n + N_GAPS) >> 1;
    for (let i = 0; i < count; i++) {
      const gap = peekF64(floats, gaps + i);
      if (gap > largest) largest = gap;
    }
    return largest;
  }

  summary(n: NodeRef): Entry {
    return { start: this.start(n, 0), end: this.end(n, this.count(n) - 1), gap: this.largestGap(n), child: n };
  }

  state(n: NodeRef): number {
    return peek(this.words, n + N_STATE);
  }

  /* Making. Nobody else can reach the node yet. */

  /** A node whose entries are still to be set. Throws ENOMEM. */
  create(level: number, count: number): NodeRef {
    const n = this.slab.alloc() as NodeRef;
    poke(this.words, n + N_LEVEL, level);
    poke(this.words, n + N_COUNT, count);
    return n;
  }

  /** A copy, entries and all. Throws ENOMEM. */
  clone(from: NodeRef): NodeRef {
    const n = this.slab.alloc() as NodeRef;
    copyWords(this.words, n + N_LEVEL, from + N_LEVEL, N_USED - N_LEVEL);
    return n;
  }

  setLeafEntry(n: NodeRef, i: number, start: number, end: number, v: VmaRef): void {
    pokeF64(this.floats, ((n + N_STARTS) >> 1) + i, start);
    pokeF64(this.floats, ((n + N_ENDS) >> 1) + i, end);
    poke(this.words, n + N_CHILDREN + i, v);
  }

  setEntry(n: NodeRef, i: number, start: number, end: number, gap: number, child: number): void {
    pokeF64(this.floats, ((n + N_STARTS) >> 1) + i, start);
    pokeF64(this.floats, ((n + N_ENDS) >> 1) + i, end);
    pokeF64(this.floats, ((n + N_GAPS) >> 1) + i, gap);
    poke(this.words, n + N_CHILDREN + i, child);
  }

  setChild(n: NodeRef, i: number, child: NodeRef): void {
    poke(this.words, n + N_CHILDREN + i, child);
  }

  /** Makes entry `i` stand for `child`. True if it says of it what it said of the one before. */
  summarize(n: NodeRef, i: number, child: NodeRef): boolean {
    const start = this.start(child, 0);
    const end = this.end(child, this.count(child) - 1);
    const gap = this.largestGap(child);
    const same = this.start(n, i) === start && this.end(n, i) === end && this.gap(n, i) === gap;
    this.setEntry(n, i, start, end, gap, child);
    return same;
  }

  /** Copies leaf entries [first, last) of `from` to `n`, from index `at` on. A loop beats `copyWords` for so few words. */
  copyLeafEntries(n: NodeRef, at: number, from: NodeRef, first: number, last: number): void {
    const { words, floats } = this;
    const shift = at - first;
    const target = n >> 1;
    const source = from >> 1;
    for (let i = first; i < last; i++) {
      pokeF64(floats, target + (N_STARTS >> 1) + shift + i, peekF64(floats, source + (N_STARTS >> 1) + i));
      pokeF64(floats, target + (N_ENDS >> 1) + shift + i, peekF64(floats, source + (N_ENDS >> 1) + i));
      poke(words, n + N_CHILDREN + shift + i, peek(words, from + N_CHILDREN + i));
    }
  }
}

/** Entries [from, to) of a leaf are about to be replaced: a piece outside of [start, end) would lose its owner. */
export function checkWhole(
  nodes: NodeTable,
  leaf: NodeRef,
  from: number,
  to: number,
  start: number,
  end: number,
): void {
  assertRule(
    nodes.start(leaf, from) >= start && nodes.end(leaf, to - 1) <= end,
    'tree replace',
    () => `${range(start, end)} cuts ${range(nodes.start(leaf, from), nodes.end(leaf, to - 1))} in leaf ${leaf}`,
  );
}
