/**
 * The RCU B-tree of a space's VMAs. Look-ups walk a root that the caller loaded with Atomics and see one complete layout,
 * however many times it is replaced meanwhile; a writer builds the next tree beside the current one and stores one word.
 *
 * Requires, for everything that takes a root: a section entered before the root was loaded, or the tree lock.
 */
import { cas, peek, peekF64, poke } from '#atomics';
import { oops } from '../base/assert.ts';
import type { NodeRef, VmaRef } from '../base/brands.ts';
import { LIVE, R_STATE, stateTag } from '../memory/ownership.ts';
import type { Slab } from '../memory/slab.ts';
import type { Cpu } from '../sync/cpu.ts';
import type { Rcu, RetiredChain } from '../sync/rcu.ts';
import { NodeList, type TreeEdit } from './new-tree.ts';
import { N_CHILDREN, N_COUNT, N_ENDS, N_LEVEL, N_LINK, N_STARTS } from './tree.layout.ts';
import { TreeEditor } from './tree-edit.ts';
import { findGap, firstHole } from './tree-gap.ts';
import { NodeTable } from './tree-node.ts';
import { dumpTree, type ValidateOptions, validateTree } from './tree-validate.ts';
import { DETACHED_RELEASED, DETACHED_REPLACED, DETACHED_UNMAPPED, V_LINK } from './vma.layout.ts';
import type { VmaTable } from './vma-table.ts';

export { TreeEdit } from './new-tree.ts';
export type { ValidateOptions } from './tree-validate.ts';

const NO_VMAS: readonly VmaRef[] = [];

export class VmaTree {
  readonly nodes: NodeTable;
  readonly vmas: VmaTable;
  private readonly _words: Int32Array;
  private readonly _floats: Float64Array;
  private readonly _rcu: Rcu;
  private readonly _kinds: { readonly node: number; readonly vma: number };
  private readonly _editor: TreeEditor;
  private readonly _deadNodes: RetiredChain;
  private readonly _deadVmas: RetiredChain;

  /** Registers the reclaimers of both retire kinds with `rcu`. One tree object serves all spaces: it holds no root. */
  constructor(cpu: Cpu, vmas: VmaTable, nodes: Slab, rcu: Rcu, retireKinds: { node: number; vma: number }) {
    this._words = cpu.words;
    this._floats = cpu.floats;
    this.vmas = vmas;
    this.nodes = new NodeTable(cpu, nodes);
    this._rcu = rcu;
    this._kinds = retireKinds;
    this._editor = new TreeEditor(this.nodes, vmas);
    this._deadNodes = { kind: retireKinds.node, head: 0, tail: 0, count: 0 };
    this._deadVmas = { kind: retireKinds.vma, head: 0, tail: 0, count: 0 };
    rcu.registerReclaimer(retireKinds.node, {
      linkOf: (n) => n + N_LINK,
      free: (n) => nodes.free(n),
      markRetired: (n) => nodes.markRetired(n),
    });
    rcu.registerReclaimer(retireKinds.vma, {
      linkOf: (v) => v + V_LINK,
      free: (v) => this._afterGrace(v as VmaRef),
      isAwaited: (v) => vmas.isAwaited(v as VmaRef),
      markRetired: (v) => vmas.markRetired(v as VmaRef),
    });
  }

  /* Looking up. */

  /** The VMA that contains `vpn`, or 0. The hot one: plain reads, no call, no allocation. */
  find(root: NodeRef, vpn: number): VmaRef {
    const words = this._words;
    const floats = this._floats;
    let n: number = root;
    while (n !== 0) {
      const count = peek(words, n + N_COUNT);
      const ends = (n + N_ENDS) >> 1;
      let i = 0;
      while (i < count && peekF64(floats, ends + i) <= vpn) i++;
      if (i === count || peekF64(floats, ((n + N_STARTS) >> 1) + i) > vpn) return 0 as VmaRef;
      const child = peek(words, n + N_CHILDREN + i);
      if (peek(words, n + N_LEVEL) === 0) return child as VmaRef;
      n = child;
    }
    return 0 as VmaRef;
  }

  /** The first VMA that ends behind `vpn`, or 0. */
  next(root: NodeRef, vpn: number): VmaRef {
    const { nodes } = this;
    let n = root;
    while (n !== 0) {
      const i = nodes.firstEndingAfter(n, vpn);
      if (i === nodes.count(n)) break;
      if (nodes.level(n) === 0) return nodes.vma(n, i);
      n = nodes.node(n, i);
    }
    return 0 as VmaRef;
  }

  /** The last VMA that ends at `vpn` or before it, or 0. */
  previous(root: NodeRef, vpn: number): VmaRef {
    const { nodes } = this;
    let n = root;
    let before = 0 as NodeRef; // the nearest node that lies wholly before vpn
    while (n !== 0) {
      const i = nodes.firstEndingAfter(n, vpn);
      if (nodes.level(n) === 0) {
        if (i > 0) return nodes.vma(n, i - 1);
        break;
      }
      if (i > 0) before = nodes.node(n, i - 1);
      n = i < nodes.count(n) && nodes.start(n, i) < vpn ? nodes.node(n, i) : (0 as NodeRef);
    }
    return before === 0 ? (0 as VmaRef) : this._last(before);
  }

  private _last(root: NodeRef): VmaRef {
    const { nodes } = this;
    let n = root;
    while (nodes.level(n) > 0) n = nodes.node(n, nodes.count(n) - 1);
    return nodes.vma(n, nodes.count(n) - 1);
  }

  /** Visits the VMAs that meet [start, end), in order. */
  forEach(root: NodeRef, start: number, end: number, visit: (v: VmaRef) => void): void {
    for (const v of this.toArray(root, start, end)) visit(v);
  }

  /** The VMAs that meet [start, end), in order; all of them without a range. */
  toArray(root: NodeRef, start: number = 0, end: number = Number.POSITIVE_INFINITY): VmaRef[] {
    const out: VmaRef[] = [];
    if (root !== 0) this._collect(root, start, end, out);
    return out;
  }

  private _collect(n: NodeRef, start: number, end: number, out: VmaRef[]): void {
    const { nodes } = this;
    const leaf = nodes.level(n) === 0;
    const first = nodes.firstEndingAfter(n, start);
    const last = nodes.firstStartingAt(n, end, first);
    for (let i = first; i < last; i++) {
      if (leaf) out.push(nodes.vma(n, i));
      else this._collect(nodes.node(n, i), start, end, out);
    }
  }

  count(root: NodeRef): number {
    if (root === 0) return 0;
    const { nodes } = this;
    const count = nodes.count(root);
    if (nodes.level(root) === 0) return count;
    let sum = 0;
    for (let i = 0; i < count; i++) sum += this.count(nodes.node(root, i));
    return sum;
  }

  /** Levels: 0 for the empty tree. */
  height(root: NodeRef): number {
    return root === 0 ? 0 : this.nodes.level(root) + 1;
  }

  /** The highest start such that [start, start + pages) lies in [low, high) and meets no VMA, or -1. */
  findGap(root: NodeRef, pages: number, low: number, high: number): number {
    return findGap(this.nodes, root, pages, low, high);
  }

  /** The first page of [start, end) that no VMA covers, or -1. */
  firstHole(root: NodeRef, start: number, end: number): number {
    return firstHole(this.nodes, root, start, end);
  }

  /* Changing. Requires: the tree lock, from the load of the root that is edited to `publish`. */

  /**
   * Builds the tree in which the VMAs in [start, end), each of which lies inside, give way to `insert`: sorted, disjoint and
   * inside too. Throws ENOMEM; nothing has changed then. A second edit may build on the `newRoot` of the first before either
   * is published: they are then published in that order, or abandoned in the other.
   */
  replace(root: NodeRef, start: number, end: number, insert: readonly VmaRef[]): TreeEdit {
    return this._editor.replace(root, start, end, insert);
  }

  /**
   * Makes the edit the layout. The VMAs in `removed` leave it: they are detached (with DETACHED_REPLACED, if they carry no reason
   * yet) and retired with the old nodes. All that comes or goes is in this cpu's hands while the root changes: should the
   * thread die, the tree says which is in and which is out.
   */
  publish(rootWord: number, edit: TreeEdit, removed: readonly VmaRef[] = NO_VMAS): void {
    const { made } = edit;
    this._linkVmas(removed);
    this._linkNodes(edit.replaced);
    const found = cas(this._words, rootWord, edit.oldRoot, edit.newRoot); // pairs with every look-up's load of the root
    if (found !== edit.oldRoot) oops('tree publish', `root is ${found}, the edit was made for ${edit.oldRoot}`);
    for (const v of removed) if (this.vmas.detachedReason(v) === 0) this.vmas.markDetached(v, DETACHED_REPLACED);
    for (let i = 0; i < made.count; i++) this.nodes.slab.publish(made.at(i));
    this._rcu.retireChains(this._deadNodes, this._deadVmas);
    this._editor.close(edit);
  }

  private _linkVmas(removed: readonly VmaRef[]): void {
    const chain = this._deadVmas;
    chain.count = 0;
    for (const v of removed) {
      this.vmas.markRetired(v);
      if (chain.count++ === 0) chain.head = v;
      else poke(this._words, chain.tail + V_LINK, v);
      chain.tail = v;
    }
  }

  private _linkNodes(dead: NodeList): void {
    const chain = this._deadNodes;
    chain.count = 0;
    for (let i = 0; i < dead.count; i++) {
      const n = dead.at(i);
      this.nodes.slab.markRetired(n);
      if (chain.count++ === 0) chain.head = n;
      else poke(this._words, chain.tail + N_LINK, n);
      chain.tail = n;
    }
  }

  /** Gives up an edit that was not published: its nodes are free again. */
  abandon(edit: TreeEdit): void {
    this._editor.abandon(edit);
  }

  /** The VMA has left the published tree: the tree's reference on it falls after a grace period. */
  retireVma(v: VmaRef): void {
    this.vmas.markRetired(v);
    this._rcu.retire(this._kinds.vma, v);
  }

  /** Somebody may still hold a counted reference: the record is nobody's to reap then, the last put frees it. */
  private _afterGrace(v: VmaRef): void {
    if (this.vmas.refs(v) > 1) {
      this.vmas.markDetached(v, DETACHED_RELEASED);
      this.vmas.publish(v);
      this.vmas.put(v);
    } else {
      this.vmas.release(v);
    }
  }

  /** Detaches and retires everything below a root, when its space goes; `unpublish` takes the root away in between. */
  freeAll(root: NodeRef, unpublish: () => void = () => undefined): void {
    const dead = new NodeList();
    const vmas: VmaRef[] = [];
    if (root !== 0) {
      this._walk(
        root,
        (n) => dead.add(n),
        (v) => vmas.push(v),
      );
    }
    for (const v of vmas) this.vmas.markDetached(v, DETACHED_UNMAPPED);
    this._linkVmas(vmas);
    this._linkNodes(dead);
    unpublish();
    this._rcu.retireChains(this._deadNodes, this._deadVmas);
  }

  /**
   * A dead thread's edit of this tree: what of it is in the tree is in use, all else is still in the dead thread's hands. Requires:
   * tree lock.
   */
  settle(root: NodeRef, deadTag: number): void {
    for (const record of this.reachable(root)) {
      if (stateTag(peek(this._words, record + R_STATE)) === deadTag) poke(this._words, record + R_STATE, LIVE);
    }
  }

  /* Looking at it. */

  /** Every node and VMA below `root`: what a dead thread's edit had already made part of the layout. */
  reachable(root: NodeRef): Set<number> {
    const out = new Set<number>();
    if (root === 0) return out;
    this._walk(
      root,
      (n) => out.add(n),
      (v) => out.add(v),
    );
    return out;
  }

  private _walk(n: NodeRef, onNode: (n: NodeRef) => void, onVma: (v: VmaRef) => void): void {
    const { nodes } = this;
    onNode(n);
    const count = nodes.count(n);
    for (let i = 0; i < count; i++) {
      if (nodes.level(n) === 0) onVma(nodes.vma(n, i));
      else this._walk(nodes.node(n, i), onNode, onVma);
    }
  }

  /** Throws an Oops that names the first broken rule, where, what was expected and what was found. */
  validate(root: NodeRef, options: ValidateOptions = {}): void {
    validateTree(this.nodes, this.vmas, root, options);
  }

  dump(root: NodeRef): string {
    return dumpTree(this.nodes, this.vmas, root);
  }
}
