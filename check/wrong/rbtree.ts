/**
 * Known wrong: a red-black tree of ranges in shared words whose look-up takes no lock. Insertion is right under its lock (Cormen,
 * Leiserson, Rivest, Stein, chapter 13), but a rotation takes three stores, and between them a walker from the root misses nodes
 * that are there throughout (H2). Links are Atomics: there is no data race to blame.
 *
 * ```
 * word 0: root (0: none)   word 1: nodes in use
 * node: start | end | left | right | parent | red      8 words each, from word 8 on
 * ```
 */
import { load, store } from '#atomics';

const ROOT = 0;
const COUNT = 1;
const NODE_WORDS = 8;
const START = 0;
const END = 1;
const LEFT = 2;
const RIGHT = 3;
const PARENT = 4;
const RED = 5;

export class RbTree {
  readonly words: Int32Array;

  constructor(words: Int32Array) {
    this.words = words;
  }

  /** Requires: the writer's lock, no overlap. */
  insert(start: number, end: number): void {
    const node = NODE_WORDS * (this._get(COUNT) + 1);
    this._set(COUNT, this._get(COUNT) + 1);
    this._set(node + START, start);
    this._set(node + END, end);
    this._set(node + LEFT, 0);
    this._set(node + RIGHT, 0);
    this._set(node + RED, 1);
    let parent = 0;
    for (let at = this._get(ROOT); at !== 0; at = this._get(at + (start < this._get(at + START) ? LEFT : RIGHT)))
      parent = at;
    this._set(node + PARENT, parent);
    if (parent === 0) this._set(ROOT, node);
    else this._set(parent + (start < this._get(parent + START) ? LEFT : RIGHT), node);
    this._rebalance(node);
  }

  /** The start of the range that holds `key`, or -1. Takes no lock: this is what is wrong. */
  lookup(key: number): number {
    let at = this._get(ROOT);
    while (at !== 0) {
      const start = this._get(at + START);
      if (key >= start && key < this._get(at + END)) return start;
      at = this._get(at + (key < start ? LEFT : RIGHT));
    }
    return -1;
  }

  /** Throws if the tree is not a red-black tree. Returns the ranges' starts in order. */
  validate(): number[] {
    const starts: number[] = [];
    const visit = (at: number): number => {
      if (at === 0) return 1;
      for (const child of [this._get(at + LEFT), this._get(at + RIGHT)]) {
        if (child !== 0 && this._get(child + PARENT) !== at) throw new Error('a child names another parent');
        if (child !== 0 && this._get(at + RED) === 1 && this._get(child + RED) === 1)
          throw new Error('two red nodes in a row');
      }
      const left = visit(this._get(at + LEFT));
      starts.push(this._get(at + START));
      if (visit(this._get(at + RIGHT)) !== left) throw new Error('paths differ in their black nodes');
      return left + (this._get(at + RED) === 1 ? 0 : 1);
    };
    visit(this._get(ROOT));
    if (this._get(ROOT) !== 0 && this._get(this._get(ROOT) + RED) === 1) throw new Error('the root is red');
    return starts;
  }

  private _rebalance(inserted: number): void {
    let node = inserted;
    for (
      let parent = this._get(node + PARENT);
      parent !== 0 && this._get(parent + RED) === 1;
      parent = this._get(node + PARENT)
    ) {
      const grand = this._get(parent + PARENT);
      const [near, far] = this._get(grand + LEFT) === parent ? [LEFT, RIGHT] : [RIGHT, LEFT];
      const uncle = this._get(grand + far);
      if (uncle !== 0 && this._get(uncle + RED) === 1) {
        this._set(parent + RED, 0);
        this._set(uncle + RED, 0);
        this._set(grand + RED, 1);
        node = grand;
        continue;
      }
      if (this._get(parent + far) === node) {
        this._rotate(parent, near);
        node = parent;
        parent = this._get(node + PARENT);
      }
      this._set(parent + RED, 0);
      this._set(grand + RED, 1);
      this._rotate(grand, far);
    }
    this._set(this._get(ROOT) + RED, 0);
  }

  /** `node` goes down on side `down`; its child on the other side takes its place. */
  private _rotate(node: number, down: number): void {
    const up = down === LEFT ? RIGHT : LEFT;
    const child = this._get(node + up);
    const middle = this._get(child + down);
    this._set(node + up, middle);
    if (middle !== 0) this._set(middle + PARENT, node);
    const parent = this._get(node + PARENT);
    this._set(child + PARENT, parent);
    if (parent === 0) this._set(ROOT, child);
    else this._set(parent + (this._get(parent + LEFT) === node ? LEFT : RIGHT), child);
    this._set(child + down, node);
    this._set(node + PARENT, child);
  }

  private _get(at: number): number {
    return load(this.words, at);
  }
  private _set(at: number, value: number): void {
    store(this.words, at, value);
  }
}

/** The meaning of a word of the tree. */
export function describeRbTree(byte: number): string {
  const word = byte >> 2;
  if (word < NODE_WORDS) return word === ROOT ? 'rbtree .root' : 'rbtree .count';
  return `rbtree node ${Math.floor(word / NODE_WORDS)} .${['start', 'end', 'left', 'right', 'parent', 'red'][word % NODE_WORDS]}`;
}

/** The meaning of a value in it. */
export function describeRbValue(byte: number, value: number): string | undefined {
  if (!/\.(root|left|right|parent)$/.test(describeRbTree(byte))) return undefined;
  return value === 0 ? 'none' : `node ${value / NODE_WORDS}`;
}
