/**
 * The edits that change how nodes are filled: a leaf over- or underflows, or the range spans several leaves.
 *
 * Level by level, from the leaves up. On each level a *seam* runs through the old tree: `left` is the node where the
 * replaced range begins and how many of its entries stay, `right` the one where it ends and which entry stays first. The new
 * entries of the level are
 *
 * ```
 *   left node's first entries  +  what the level below was cut into  +  right node's last entries
 * ```
 *
 * cut again into nodes of even size, whose summaries are the middle part one level up. If fewer entries than the minimum are
 * left, the seam is widened by a neighbour, of the same parent where there is one. Once the seam holds everything that is
 * above this level, what was collected is the whole new tree.
 */
import { DEV } from '#dev';
import type { NodeRef, VmaRef } from '../base/brands.ts';
import { TREE_FANOUT, TREE_MIN } from '../base/tunables.ts';
import type { TreeEdit } from './new-tree.ts';
import { checkWhole, type Entry, type NodeTable } from './tree-node.ts';
import type { VmaTable } from './vma-table.ts';

/** One edge of the seam: per level (0 = leaves) a node and an index in it. */
interface Edge {
  readonly node: NodeRef[];
  readonly index: number[];
}

export class TreeRebuild {
  readonly #nodes: NodeTable;
  readonly #vmas: VmaTable;
  /** `index` is the number of entries kept; above the leaves also the index of the child on the edge. */
  readonly #left: Edge = { node: [], index: [] };
  /** `index` is the first entry kept; above the leaves the child on the edge is the one before it. */
  readonly #right: Edge = { node: [], index: [] };
  #top = 0;

  constructor(nodes: NodeTable, vmas: VmaTable) {
    this.#nodes = nodes;
    this.#vmas = vmas;
  }

  /** Fills in `edit`. Throws ENOMEM; the nodes made so far are in the edit then. */
  run(edit: TreeEdit, start: number, end: number, insert: readonly VmaRef[]): void {
    let entries = this.#entriesOf(insert);
    if (edit.oldRoot === 0) {
      edit.newRoot = this.#crown(edit, 0, entries);
      return;
    }
    this.#top = this.#nodes.level(edit.oldRoot);
    this.#placeEdges(edit.oldRoot, start, end);
    for (let level = 0; ; level++) {
      this.#replaceSeam(edit, level);
      entries = [...this.#kept('left', level), ...entries, ...this.#kept('right', level)];
      while (entries.length > 0 && entries.length < TREE_MIN && !this.#holdsAllAbove(level)) {
        entries = this.#widen(edit, level, entries);
      }
      if (this.#holdsAllAbove(level)) {
        for (let up = level + 1; up <= this.#top; up++) this.#replaceSeam(edit, up);
        edit.newRoot = this.#crown(edit, level, entries);
        return;
      }
      entries = this.#cut(edit, level, entries);
    }
  }

  #entriesOf(insert: readonly VmaRef[]): Entry[] {
    return insert.map((v) => ({ start: this.#vmas.start(v), end: this.#vmas.end(v), gap: 0, child: v }));
  }

  #placeEdges(root: NodeRef, start: number, end: number): void {
    const nodes = this.#nodes;
    const left = this.#left;
    const right = this.#right;
    let l = root;
    let r = root;
    for (let level = this.#top; level >= 0; level--) {
      left.node[level] = l;
      right.node[level] = r;
      const from = nodes.firstEndingAfter(l, start);
      // A range that meets no VMA of this node is the hole before entry `from`: the right edge must not lie left of it.
      const to = nodes.firstStartingAt(r, end, l === r ? from : 0);
      if (level === 0) {
        left.index[0] = from;
        right.index[0] = to;
        if (DEV && l === r && to > from) checkWhole(nodes, l, from, to, start, end);
        if (DEV && l !== r && from < nodes.count(l)) checkWhole(nodes, l, from, nodes.count(l), start, end);
        if (DEV && l !== r && to > 0) checkWhole(nodes, r, 0, to, start, end);
        return;
      }
      const taken = Math.min(from, nodes.count(l) - 1);
      left.index[level] = taken;
      right.index[level] = l === r ? Math.max(to, taken + 1) : to;
      l = nodes.node(l, taken);
      r = nodes.node(r, (right.index[level] as number) - 1);
    }
  }

  /** The entries of the edge's node on `level` that stay. */
  #kept(side: 'left' | 'right', level: number): Entry[] {
    const edge = side === 'left' ? this.#left : this.#right;
    const n = edge.node[level] as NodeRef;
    const index = edge.index[level] as number;
    return side === 'left' ? this.#slice(n, 0, index) : this.#slice(n, index, this.#nodes.count(n));
  }

  #slice(n: NodeRef, from: number, to: number): Entry[] {
    const out: Entry[] = [];
    for (let i = from; i < to; i++) out.push(this.#nodes.entry(n, i));
    return out;
  }

  /** Whether nothing of the old tree stays beside the seam above `level`. */
  #holdsAllAbove(level: number): boolean {
    for (let up = level + 1; up <= this.#top; up++) {
      if (this.#staysLeft(up) || this.#staysRight(up)) return false;
    }
    return true;
  }

  #staysLeft(level: number): boolean {
    return (this.#left.index[level] as number) > 0;
  }

  #staysRight(level: number): boolean {
    return (this.#right.index[level] as number) < this.#nodes.count(this.#right.node[level] as NodeRef);
  }

  /** Takes in the nearest node beside the seam. Requires: there is one, see `#holdsAllAbove`. */
  #widen(edit: TreeEdit, level: number, entries: Entry[]): Entry[] {
    for (let up = level + 1; ; up++) {
      if (this.#staysLeft(up)) return [...this.#takeIn(edit, this.#widenLeft(level, up)), ...entries];
      if (this.#staysRight(up)) return [...entries, ...this.#takeIn(edit, this.#widenRight(level, up))];
    }
  }

  /** The node is replaced, everything below it stays. */
  #takeIn(edit: TreeEdit, n: NodeRef): Entry[] {
    edit.replaced.add(n);
    return this.#slice(n, 0, this.#nodes.count(n));
  }

  /** Moves the left edge to the last node before it on `level`; `up` is the lowest level where something stays. */
  #widenLeft(level: number, up: number): NodeRef {
    const { node, index } = this.#left;
    index[up] = (index[up] as number) - 1;
    let n = this.#nodes.node(node[up] as NodeRef, index[up] as number);
    for (let k = up - 1; k > level; k--) {
      node[k] = n;
      index[k] = this.#nodes.count(n) - 1;
      n = this.#nodes.node(n, index[k] as number);
    }
    node[level] = n;
    return n;
  }

  #widenRight(level: number, up: number): NodeRef {
    const { node, index } = this.#right;
    let n = this.#nodes.node(node[up] as NodeRef, index[up] as number);
    index[up] = (index[up] as number) + 1;
    for (let k = up - 1; k > level; k--) {
      node[k] = n;
      index[k] = 1;
      n = this.#nodes.node(n, 0);
    }
    node[level] = n;
    return n;
  }

  /** Cuts entries into as few nodes as will hold them, of sizes that differ by one at most. Returns their summaries. */
  #cut(edit: TreeEdit, level: number, entries: Entry[]): Entry[] {
    const out: Entry[] = [];
    const pieces = Math.ceil(entries.length / TREE_FANOUT);
    let at = 0;
    for (let k = 0; k < pieces; k++) {
      const size = Math.ceil((entries.length - at) / (pieces - k));
      out.push(this.#nodes.summary(this.#make(edit, level, entries, at, size)));
      at += size;
    }
    return out;
  }

  #make(edit: TreeEdit, level: number, entries: Entry[], at: number, size: number): NodeRef {
    const n = this.#nodes.create(level, size);
    edit.made.add(n);
    for (let i = 0; i < size; i++) {
      const { start, end, gap, child } = entries[at + i] as Entry;
      this.#nodes.setEntry(n, i, start, end, gap, child);
    }
    return n;
  }

  /** The root over all entries of `level`: as many levels as they need. A root with one child gives way to the child. */
  #crown(edit: TreeEdit, level: number, all: Entry[]): NodeRef {
    let entries = all;
    for (let at = level; entries.length > 0; at++) {
      if (entries.length === 1 && at > 0) return (entries[0] as Entry).child as NodeRef;
      entries = this.#cut(edit, at, entries);
    }
    return 0 as NodeRef;
  }

  /**
   * The nodes of `level` from the left edge to the right one are not in the new tree. To be called when the levels below are
   * done, which may have widened the seam here, and before this level is widened: what that takes in keeps its children.
   */
  #replaceSeam(edit: TreeEdit, level: number): void {
    this.#descend(edit, level, edit.oldRoot, this.#top, true, true);
  }

  #descend(edit: TreeEdit, level: number, n: NodeRef, at: number, onLeft: boolean, onRight: boolean): void {
    if (at === level) {
      edit.replaced.add(n);
      return;
    }
    const from = onLeft ? (this.#left.index[at] as number) : 0;
    const to = onRight ? (this.#right.index[at] as number) : this.#nodes.count(n);
    for (let i = from; i < to; i++) {
      this.#descend(edit, level, this.#nodes.node(n, i), at - 1, onLeft && i === from, onRight && i === to - 1);
    }
  }
}
