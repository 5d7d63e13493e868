/** The tree that an edit makes: its root, what it adds to the old one, and what it leaves out of it. */
import type { NodeRef } from '../base/brands.ts';

/** Nodes of one edit. Kept from edit to edit, since growing an array costs as much as copying a node. */
export class NodeList {
  count = 0;
  private readonly _items: NodeRef[] = [];

  add(n: NodeRef): void {
    this._items[this.count++] = n;
  }

  at(i: number): NodeRef {
    return this._items[i] as NodeRef;
  }

  clear(): void {
    this.count = 0;
  }
}

/** A tree that nobody else has seen yet. Ends in exactly one of `publish` and `abandon`, and is not to be touched after. */
export class TreeEdit {
  oldRoot: NodeRef = 0 as NodeRef;
  newRoot: NodeRef = 0 as NodeRef;
  /** Nodes of the new tree that the old one has not. */
  readonly made: NodeList = new NodeList();
  /** Nodes of the old tree that the new one has not. */
  readonly replaced: NodeList = new NodeList();
  open = false;
}
