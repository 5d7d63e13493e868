/**
 * Building the next tree out of the current one. Nothing reachable is written: the nodes on the path are copied, the rest is
 * shared by both trees, and the caller decides whether the new root is published or given up.
 *
 * Nearly every edit exchanges a few entries of one leaf that stays between its minimum and its fan-out: `replaceInLeaf`, a
 * copy of the path. All others are `rebuild`'s (tree-rebuild.ts).
 */
import { DEV } from '#dev';
import { assertRule } from '../base/assert.ts';
import type { NodeRef, VmaRef } from '../base/brands.ts';
import { TREE_FANOUT, TREE_MIN } from '../base/tunables.ts';
import { TreeEdit } from './new-tree.ts';
import { checkWhole, type NodeTable } from './tree-node.ts';
import { TreeRebuild } from './tree-rebuild.ts';
import { range, type VmaTable } from './vma-table.ts';

export class TreeEditor {
  private readonly _nodes: NodeTable;
  private readonly _vmas: VmaTable;
  private readonly _rebuild: TreeRebuild;
  /** The way down, from the root on: node and index of the child taken. Scratch. */
  private readonly _path: NodeRef[] = [];
  private readonly _taken: number[] = [];
  private readonly _idle: TreeEdit[] = [];

  constructor(nodes: NodeTable, vmas: VmaTable) {
    this._nodes = nodes;
    this._vmas = vmas;
    this._rebuild = new TreeRebuild(nodes, vmas);
  }

  /** See `VmaTree.replace`. */
  replace(root: NodeRef, start: number, end: number, insert: readonly VmaRef[]): TreeEdit {
    if (DEV) this._checkInsert(start, end, insert);
    const edit = this._idle.pop() ?? new TreeEdit();
    edit.oldRoot = root;
    edit.newRoot = root;
    edit.open = true;
    try {
      if (root === 0 ? !this._firstLeaf(edit, insert) : !this._replaceInLeaf(edit, start, end, insert)) {
        this._rebuild.run(edit, start, end, insert);
      }
    } catch (error) {
      this.abandon(edit);
      throw error;
    }
    return edit;
  }

  abandon(edit: TreeEdit): void {
    for (let i = 0; i < edit.made.count; i++) this._nodes.slab.free(edit.made.at(i));
    this.close(edit);
  }

  /** The edit is over; the next one may use the object. */
  close(edit: TreeEdit): void {
    assertRule(edit.open, 'tree edit', () => `edit ${edit.oldRoot} -> ${edit.newRoot} ended twice`);
    edit.open = false;
    edit.made.clear();
    edit.replaced.clear();
    this._idle.push(edit);
  }

  /** The first VMAs of an empty tree. */
  private _firstLeaf(edit: TreeEdit, insert: readonly VmaRef[]): boolean {
    if (insert.length === 0 || insert.length > TREE_FANOUT) return false;
    const leaf = this._nodes.create(0, insert.length);
    edit.made.add(leaf);
    for (let k = 0; k < insert.length; k++) {
      const v = insert[k] as VmaRef;
      this._nodes.setLeafEntry(leaf, k, this._vmas.start(v), this._vmas.end(v), v);
    }
    edit.newRoot = leaf;
    return true;
  }

  /** False, with nothing done: the range reaches into another leaf, or this one would over- or underflow. */
  private _replaceInLeaf(edit: TreeEdit, start: number, end: number, insert: readonly VmaRef[]): boolean {
    const nodes = this._nodes;
    let n = edit.oldRoot;
    let depth = 0;
    let nextLeaf = Number.POSITIVE_INFINITY; // where the VMAs of the next leaf begin
    for (; nodes.level(n) > 0; depth++) {
      const count = nodes.count(n);
      let i = nodes.firstEndingAfter(n, start);
      if (i === count) i--;
      if (i + 1 < count) nextLeaf = nodes.start(n, i + 1);
      this._path[depth] = n;
      this._taken[depth] = i;
      n = nodes.node(n, i);
    }
    if (nextLeaf < end) return false;
    const count = nodes.count(n);
    const from = nodes.firstEndingAfter(n, start);
    const to = nodes.firstStartingAt(n, end, from);
    const left = count - (to - from) + insert.length;
    if (left > TREE_FANOUT || left < (depth === 0 ? 0 : TREE_MIN)) return false;
    if (DEV && to > from) checkWhole(nodes, n, from, to, start, end);
    if (left === 0) {
      edit.replaced.add(n);
      edit.newRoot = 0 as NodeRef; // the last VMA goes
      return true;
    }

    const copy = nodes.create(0, left);
    edit.made.add(copy);
    edit.replaced.add(n);
    nodes.copyLeafEntries(copy, 0, n, 0, from);
    for (let k = 0; k < insert.length; k++) {
      const v = insert[k] as VmaRef;
      nodes.setLeafEntry(copy, from + k, this._vmas.start(v), this._vmas.end(v), v);
    }
    nodes.copyLeafEntries(copy, from + insert.length, n, to, count);
    edit.newRoot = this._copyPath(edit, depth, copy);
    return true;
  }

  /** Copies the nodes above `child`, `depth` of them, the lowest first. Returns the new root. */
  private _copyPath(edit: TreeEdit, depth: number, child: NodeRef): NodeRef {
    const nodes = this._nodes;
    let below = child;
    let same = false; // the entries above the last copy say what they said before: only the child changes
    for (let d = depth - 1; d >= 0; d--) {
      const old = this._path[d] as NodeRef;
      const i = this._taken[d] as number;
      const copy = nodes.clone(old);
      edit.made.add(copy);
      edit.replaced.add(old);
      if (same) nodes.setChild(copy, i, below);
      else same = nodes.summarize(copy, i, below);
      below = copy;
    }
    return below;
  }

  private _checkInsert(start: number, end: number, insert: readonly VmaRef[]): void {
    let at = start;
    for (let k = 0; k < insert.length; k++) {
      const v = insert[k] as VmaRef;
      assertRule(
        this._vmas.start(v) >= at && this._vmas.end(v) <= end,
        'tree insert',
        () => `${this._vmas.describe(v)} as number ${k}, expected inside ${range(at, end)}`,
      );
      at = this._vmas.end(v);
    }
  }
}
