import { describe, expect, test } from 'vitest';
import { poke } from '#atomics';
import type { NodeRef, VmaRef } from '../base/brands.ts';
import { Oops } from '../base/errors.ts';
import { TREE_FANOUT, TREE_MIN } from '../base/tunables.ts';
import { layOut, reader, stripOf, TestSpace } from './test-support.ts';
import { N_COUNT } from './tree.layout.ts';
import { DETACHED_REPLACED } from './vma.layout.ts';

/** `count` VMAs of two pages with a hole of two behind each, from page 100 on; built in one edit. */
function comb(space: TestSpace, count: number): void {
  const vmas = Array.from({ length: count }, (_, i) => space.vmas.create(space.props(100 + 4 * i, 102 + 4 * i)));
  const edit = space.tree.replace(space.root, 100, 100 + 4 * count, vmas);
  for (const v of vmas) space.vmas.publish(v);
  space.tree.publish(space.rootWord, edit);
  space.tree.validate(space.root);
}

describe('looking up', () => {
  test('in the empty tree finds nothing', () => {
    const { tree } = new TestSpace();
    const empty = 0 as NodeRef;
    expect([tree.find(empty, 5), tree.next(empty, 0), tree.previous(empty, 9), tree.height(empty)]).toEqual([
      0, 0, 0, 0,
    ]);
    expect(tree.findGap(empty, 4, 16, 32)).toBe(28);
    expect(tree.findGap(empty, 17, 16, 32)).toBe(-1);
    expect(tree.dump(empty)).toBe('(empty)');
  });

  test.each([1, TREE_FANOUT, TREE_FANOUT + 1, 300, 5000])('finds each of %i VMAs, and holes beside them', (count) => {
    const space = new TestSpace();
    comb(space, count);
    const { tree, root } = space;
    expect(tree.count(root)).toBe(count);
    for (let i = 0; i < count; i++) {
      const first = 100 + 4 * i;
      const v = tree.find(root, first);
      expect(space.vmas.start(v)).toBe(first);
      expect(tree.find(root, first + 1)).toBe(v);
      expect(tree.find(root, first + 2)).toBe(0);
      expect(tree.next(root, first - 1)).toBe(v);
      expect(tree.next(root, first + 1)).toBe(v);
      expect(tree.previous(root, first + 2)).toBe(v);
      expect(tree.previous(root, first + 5)).toBe(v);
      expect(tree.previous(root, first + 1)).toBe(i === 0 ? 0 : tree.find(root, first - 4));
    }
    expect(tree.next(root, 100 + 4 * count)).toBe(0);
    space.close();
  });

  test('an old root still shows the old layout, however often it is replaced meanwhile', () => {
    const space = new TestSpace();
    const section = reader();
    comb(space, 200);
    space.rcu.enter(section);
    const old = space.root;
    const before = stripOf(space, 820, 90, old);
    for (let i = 0; i < 200; i++) space.remove(100 + 4 * i, 101 + 4 * i);
    for (let i = 0; i < 100; i++) space.protect(101 + 4 * i, 102 + 4 * i, 3);
    expect(stripOf(space, 820, 90, old)).toBe(before);
    expect(stripOf(space, 820, 90)).not.toBe(before);
    space.tree.validate(old, { allowDetached: true, allowRetired: true });
    space.rcu.leave(section);
    space.close();
  });
});

describe('editing', () => {
  test('a leaf in the middle copies its path and nothing else', () => {
    const space = new TestSpace();
    comb(space, 1000);
    const edit = space.tree.replace(space.root, 2100, 2102, []);
    expect(edit.made.count).toBe(space.tree.height(space.root));
    expect(edit.replaced.count).toBe(edit.made.count);
    space.tree.abandon(edit);
    space.close();
  });

  test('a second edit may build on the first before either is published', () => {
    const space = new TestSpace();
    layOut(space, 'AABBNN');
    const [a, b] = space.tree.toArray(space.root) as [VmaRef, VmaRef];
    const first = space.tree.replace(space.root, 16, 18, []);
    const second = space.tree.replace(first.newRoot, 18, 20, []);
    space.tree.publish(space.rootWord, first);
    space.tree.publish(space.rootWord, second);
    for (const v of [a, b]) space.tree.retireVma(v);
    expect(stripOf(space, 6)).toBe('....NN');
    space.close();
  });

  test('published over a root that it was not made for is an Oops', () => {
    const space = new TestSpace();
    layOut(space, 'AABB');
    const edit = space.tree.replace(space.root, 16, 18, []);
    poke(space.cpu.words, space.rootWord, 0);
    expect(() => space.tree.publish(space.rootWord, edit)).toThrow(Oops);
  });

  test('that cuts a VMA, or inserts out of order, is an Oops that changes nothing', () => {
    const space = new TestSpace();
    layOut(space, 'AABB');
    const before = space.nodeSlab.census();
    const [a, b] = space.tree.toArray(space.root) as [VmaRef, VmaRef];
    expect(() => space.tree.replace(space.root, 17, 20, [])).toThrow('cuts');
    expect(() => space.tree.replace(space.root, 16, 20, [b, a])).toThrow('tree insert');
    expect(space.nodeSlab.census()).toEqual(before);
    expect(stripOf(space, 4)).toBe('AABB');
    space.close();
  });

  test('without memory changes nothing, whichever node is the one too many', () => {
    let failures = 0;
    for (let allowed = 1; allowed < 60; allowed++) {
      const space = new TestSpace({ nodes: allowed });
      const section = reader();
      space.rcu.enter(section); // nothing is reused, so that memory runs out
      try {
        for (let i = 0; i < 30; i++) space.map(space.props(20 + 3 * i, 21 + 3 * i));
        space.remove(25, 80);
      } catch (error) {
        expect((error as Error).message).toMatch('ENOMEM');
        failures++;
        const { owned, live } = space.nodeSlab.census();
        expect(owned).toBe(0);
        expect(live).toBe([...space.tree.reachable(space.root)].length - space.tree.count(space.root));
        space.tree.validate(space.root);
        const count = space.tree.count(space.root);
        if (space.nodeLimit) space.nodeLimit.allowed += 20;
        space.map(space.props(200, 201));
        expect(space.tree.count(space.root)).toBe(count + 1);
      }
      space.rcu.leave(section);
      space.close();
    }
    expect(failures).toBeGreaterThan(20);
  });

  test('replaces exactly the nodes that the new tree has not, whichever range goes', () => {
    const space = new TestSpace();
    const count = 150;
    comb(space, count);
    const spare = [0, 1].map((i) => space.vmas.create(space.props(90 + i, 91 + i)));
    const nodesOf = (root: NodeRef): Set<number> => {
      const all = space.tree.reachable(root);
      for (const v of space.tree.toArray(root)) all.delete(v);
      return all;
    };
    const before = nodesOf(space.root);
    for (let from = 0; from < count; from += 2) {
      for (let to = from; to <= count; to += 3) {
        const insert = from === 0 ? spare : [];
        const edit = space.tree.replace(space.root, from === 0 ? 90 : 100 + 4 * from, 100 + 4 * to, insert);
        space.tree.validate(edit.newRoot);
        expect(space.tree.count(edit.newRoot)).toBe(count - (to - from) + insert.length);
        const after = nodesOf(edit.newRoot);
        for (let i = 0; i < edit.made.count; i++) expect(after.delete(edit.made.at(i))).toBe(true);
        for (let i = 0; i < edit.replaced.count; i++) after.add(edit.replaced.at(i));
        expect(after).toEqual(before);
        expect(edit.replaced.count).toBe(
          new Set(Array.from({ length: edit.replaced.count }, (_, i) => edit.replaced.at(i))).size,
        );
        space.tree.abandon(edit);
      }
    }
    for (const v of spare) space.vmas.discard(v);
    space.close();
  });

  test('that removes all but few keeps the nodes filled', () => {
    for (const [from, to] of [
      [0, 997],
      [3, 1000],
      [1, 999],
      [0, 1000],
      [17, 980],
      [500, 999],
    ] as const) {
      const space = new TestSpace();
      comb(space, 1000);
      space.remove(100 + 4 * from, 100 + 4 * to);
      expect(space.tree.count(space.root)).toBe(1000 - (to - from));
      space.close();
    }
  });
});

describe('a VMA', () => {
  test('is freed, and its file released, by whoever drops the last reference', () => {
    const space = new TestSpace();
    layOut(space, 'FF');
    const v = space.tree.find(space.root, 16);
    expect(space.vmas.tryGet(v)).toBe(true);
    space.remove(16, 18);
    expect(space.vmas.isDetached(v)).toBe(true);
    space.rcu.drain();
    expect(space.released).toEqual([]);
    space.vmas.put(v);
    expect(space.released).toEqual([40]);
    expect(space.vmas.tryGet(v)).toBe(false);
    space.close();
  });

  test('describes itself', () => {
    const space = new TestSpace();
    layOut(space, 'W');
    const v = space.tree.find(space.root, 16);
    expect(space.vmas.describe(v)).toBe(`vma ${v} [0x10, 0x11) rw-p flags 0x3 mapping 40 page 16, 1 refs`);
    expect(space.tree.dump(space.root)).toContain('[0x10, 0x11)');
    space.close();
  });
});

describe('validate', () => {
  /** A tree of two levels, and its first leaf. */
  function sound(): { space: TestSpace; leaf: NodeRef } {
    const space = new TestSpace();
    comb(space, 3 * TREE_FANOUT);
    return { space, leaf: space.tree.nodes.node(space.root, 0) };
  }

  test('passes over a sound tree', () => {
    const { space } = sound();
    expect(() => space.tree.validate(space.root)).not.toThrow();
  });
  test('reports a leaf that says something else than its VMA', () => {
    const { space, leaf } = sound();
    space.tree.nodes.setLeafEntry(leaf, 1, 104, 105, space.tree.nodes.vma(leaf, 1));
    expect(() => space.tree.validate(space.root)).toThrow('tree bounds');
  });
  test('reports entries out of order', () => {
    const { space, leaf } = sound();
    space.tree.nodes.setLeafEntry(leaf, 1, 101, 106, space.tree.nodes.vma(leaf, 1));
    expect(() => space.tree.validate(space.root)).toThrow('tree order');
  });
  test('reports a summary that is out of date', () => {
    const { space, leaf } = sound();
    const { start, end } = space.tree.nodes.summary(leaf);
    space.tree.nodes.setEntry(space.root, 0, start, end, 99, leaf);
    expect(() => space.tree.validate(space.root)).toThrow('tree summary');
  });
  test('reports a node that is not full enough', () => {
    const { space, leaf } = sound();
    poke(space.cpu.words, leaf + N_COUNT, TREE_MIN - 1);
    expect(() => space.tree.validate(space.root)).toThrow('tree fill');
  });
  test('reports leaves at different depths', () => {
    const { space, leaf } = sound();
    const { start, end, gap } = space.tree.nodes.summary(leaf);
    space.tree.nodes.setEntry(space.root, 0, start, end, gap, space.root);
    expect(() => space.tree.validate(space.root)).toThrow('tree depth');
  });
  test('reports a node that was freed', () => {
    const { space, leaf } = sound();
    space.nodeSlab.free(leaf);
    expect(() => space.tree.validate(space.root)).toThrow('I6');
  });
  test('reports a detached VMA, unless one is expected', () => {
    const { space } = sound();
    space.vmas.markDetached(space.tree.find(space.root, 100), DETACHED_REPLACED);
    expect(() => space.tree.validate(space.root)).toThrow('I5');
    expect(() => space.tree.validate(space.root, { allowDetached: true })).not.toThrow();
  });
});
