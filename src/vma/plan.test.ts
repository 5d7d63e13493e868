import { afterEach, describe, expect, test } from 'vitest';
import type { Vpn } from '../base/brands.ts';
import { isNoop, type LayoutPlan } from './plan.ts';
import { kindProps, layOut, stripOf, TestSpace } from './test-support.ts';
import { VM_READ, VM_WRITE } from './vma.layout.ts';

const BASE = 16;
const READ = VM_READ;
const READ_WRITE = VM_READ | VM_WRITE;

let space = new TestSpace();
afterEach(() => {
  space.close();
  space = new TestSpace();
});

/** Lays `before` out, runs `change`, and expects `after`. A `*` in `before` shows where; it counts as a hole. */
function expectStrip(before: string, change: (first: number, last: number) => LayoutPlan, after: string): LayoutPlan {
  const strip = before.replaceAll('|', '');
  const first = BASE + strip.indexOf('*');
  const last = BASE + strip.lastIndexOf('*') + 1;
  layOut(space, before.replaceAll('*', '.'), BASE);
  const plan = change(first, last);
  expect(stripOf(space, strip.length, BASE)).toBe(after);
  return plan;
}

/** Maps `kind` over the stars. */
function mapping(kind: string): (first: number, last: number) => LayoutPlan {
  return (first, last) => space.map(kindProps(space, kind, first, last));
}

/** Changes the rights of pages [from, to) of the strip. */
function protecting(from: number, to: number, prot: number): () => LayoutPlan {
  return () => space.protect(BASE + from, BASE + to, prot);
}

describe('a new mapping', () => {
  test('alone in a hole stays alone', () => {
    expect(expectStrip('AA.**.AA', mapping('A'), 'AA.AA.AA')).toMatchObject({ merged: 0, replaced: [] });
  });
  test('merges with its left neighbour only', () => {
    expect(expectStrip('AA*BB', mapping('A'), 'AAABB')).toMatchObject({ merged: 1 });
  });
  test('merges with its right neighbour only', () => {
    expect(expectStrip('AA*BB', mapping('B'), 'AABBB')).toMatchObject({ merged: 1 });
  });
  test('merges with both and leaves one VMA', () => {
    const plan = expectStrip('AA**AA', mapping('A'), 'AAAAAA');
    expect(plan).toMatchObject({ merged: 2, split: 0 });
    expect(plan.replaced).toHaveLength(2);
    expect(space.tree.count(space.root)).toBe(1);
  });
  test('merges with neither when the rights differ', () => {
    expect(expectStrip('AA*AA', mapping('N'), 'AANAA')).toMatchObject({ merged: 0 });
  });
  test('of anonymous memory does not merge with a file of the same rights', () => {
    expect(expectStrip('FF*GG', mapping('A'), 'FFAGG')).toMatchObject({ merged: 0 });
  });
  test('of a file merges where the offsets run on', () => {
    expectStrip('FF*FF', mapping('F'), 'FFFFF');
    expect(space.vmas.offset(space.tree.find(space.root, BASE + 4))).toBe(BASE);
  });
  test('of a file does not merge where the offsets jump', () => {
    expectStrip('ff*ff', mapping('F'), 'ffFff');
  });
  test('of one file does not merge with another', () => {
    expectStrip('GG*GG', mapping('F'), 'GGFGG');
  });
  test('of shared anonymous memory never merges: it has memory of its own', () => {
    expectStrip('SS*SS', mapping('S'), 'SS|S|SS');
  });
  test('does not reach a like VMA behind a hole', () => {
    expectStrip('AA.*.AA', mapping('A'), 'AA.A.AA');
  });
  test('in another space does not merge', () => {
    const change = (first: number, last: number): LayoutPlan =>
      space.map({ ...kindProps(space, 'A', first, last), mm: 8 as typeof space.mm });
    expectStrip('AA*AA', change, 'AA|A|AA');
  });
  test('may take the lowest page', () => {
    space.map(space.props(0, 2));
    expect(stripOf(space, 3, 0)).toBe('AA.');
  });
});

describe('a mapping at a fixed place', () => {
  test('replaces what is there and keeps the edges', () => {
    layOut(space, 'AAAA.BBBB', BASE);
    space.mapFixed(kindProps(space, 'N', BASE + 2, BASE + 7));
    expect(stripOf(space, 9, BASE)).toBe('AANNNNNBB');
  });
  test('merges with the edge it left over', () => {
    layOut(space, 'AAAA.BBBB', BASE);
    space.mapFixed(kindProps(space, 'B', BASE + 2, BASE + 7));
    expect(stripOf(space, 9, BASE)).toBe('AABBBBBBB');
    expect(space.tree.count(space.root)).toBe(2);
  });
  test('swallows whole VMAs', () => {
    layOut(space, 'ABNAB', BASE);
    space.mapFixed(kindProps(space, 'F', BASE, BASE + 5));
    expect(stripOf(space, 5, BASE)).toBe('FFFFF');
  });
});

describe('changing rights', () => {
  test('of a whole VMA replaces it', () => {
    expect(expectStrip('.AAA.', protecting(1, 4, READ_WRITE), '.BBB.')).toMatchObject({ merged: 0, split: 0 });
  });
  test('to what they are changes nothing', () => {
    const plan = expectStrip('AAABBB', protecting(0, 3, READ), 'AAABBB');
    expect(isNoop(plan)).toBe(true);
  });
  test('at the start splits in two', () => {
    expect(expectStrip('AAAA', protecting(0, 1, READ_WRITE), 'BAAA')).toMatchObject({ merged: 0, split: 1 });
  });
  test('at the end splits in two', () => {
    expect(expectStrip('AAAA', protecting(3, 4, READ_WRITE), 'AAAB')).toMatchObject({ merged: 0, split: 1 });
  });
  test('in the middle splits in three', () => {
    expect(expectStrip('AAAAA', protecting(2, 3, READ_WRITE), 'AABAA')).toMatchObject({ merged: 0, split: 2 });
  });
  test('at the start moves the boundary when the left neighbour is like it', () => {
    expect(expectStrip('BBAAA', protecting(2, 3, READ_WRITE), 'BBBAA')).toMatchObject({ merged: 1, split: 1 });
  });
  test('at the end moves the boundary when the right neighbour is like it', () => {
    expect(expectStrip('AAABB', protecting(2, 3, READ_WRITE), 'AABBB')).toMatchObject({ merged: 1, split: 1 });
  });
  test('at the start leaves an unlike left neighbour alone', () => {
    const plan = expectStrip('NNAAA', protecting(2, 3, READ_WRITE), 'NNBAA');
    expect(plan).toMatchObject({ merged: 0, split: 1 });
    expect(plan.replaced).toHaveLength(1);
  });
  test('of the middle one merges all three', () => {
    expect(expectStrip('AABBAA', protecting(2, 4, READ), 'AAAAAA')).toMatchObject({ merged: 2, split: 0 });
    expect(space.tree.count(space.root)).toBe(1);
  });
  test('of the middle one merges left only', () => {
    expect(expectStrip('AABBNN', protecting(2, 4, READ), 'AAAANN')).toMatchObject({ merged: 1, split: 0 });
  });
  test('of the middle one merges right only', () => {
    expect(expectStrip('NNBBAA', protecting(2, 4, READ), 'NNAAAA')).toMatchObject({ merged: 1, split: 0 });
  });
  test('across a hole does not merge', () => {
    expect(expectStrip('AA.BB.AA', protecting(3, 5, READ), 'AA.AA.AA')).toMatchObject({ merged: 0 });
  });
  test('of several VMAs merges them and both neighbours', () => {
    expect(expectStrip('AABBNNBBAA', protecting(2, 8, READ), 'AAAAAAAAAA')).toMatchObject({ merged: 4, split: 0 });
  });
  test('from the middle of one to the middle of another splits both and merges between', () => {
    expect(expectStrip('AAABBNNN', protecting(1, 7, READ_WRITE), 'ABBBBBBN')).toMatchObject({ merged: 2, split: 2 });
  });
  test('of a file merges only where the offsets run on', () => {
    expectStrip('FFWWff', protecting(2, 4, READ), 'FFFFff');
  });
  test('keeps the record of a VMA in the range that is right already', () => {
    layOut(space, 'BBNNFF', BASE);
    const kept = space.tree.find(space.root, BASE + 2);
    const plan = space.planner.planFlags(space.root, BASE as Vpn, (BASE + 6) as Vpn, READ_WRITE, 0);
    expect(plan.replaced).not.toContain(plan.created[0]);
    space.commit(plan);
    // BB loses its rights and becomes one with NN; FF is a file and stands alone
    expect(space.tree.count(space.root)).toBe(2);
    expect(space.tree.find(space.root, BASE + 2)).not.toBe(kept);
  });
  test('passes over a like VMA between unlike ones without making it anew', () => {
    layOut(space, 'FNW', BASE);
    const kept = space.tree.find(space.root, BASE + 1);
    const plan = space.commit(
      space.planner.planFlags(space.root, BASE as Vpn, (BASE + 3) as Vpn, VM_READ | VM_WRITE, 0),
    );
    expect(plan.replaced).toHaveLength(2);
    expect(plan.insert).toContain(kept);
    expect(space.tree.find(space.root, BASE + 1)).toBe(kept);
  });
});

describe('unmapping', () => {
  const removing = (from: number, to: number) => (): LayoutPlan => space.remove(BASE + from, BASE + to);

  test('a hole is nothing to do', () => {
    expect(isNoop(expectStrip('AA..AA', removing(2, 4), 'AA..AA'))).toBe(true);
  });
  test('a whole VMA takes it out', () => {
    expect(expectStrip('AABBAA', removing(2, 4), 'AA..AA')).toMatchObject({ split: 0, insert: [] });
  });
  test('the start of one shortens it', () => {
    expect(expectStrip('.FFFF', removing(1, 3), '...FF')).toMatchObject({ split: 1 });
    expect(space.vmas.offset(space.tree.find(space.root, BASE + 3))).toBe(BASE + 3);
  });
  test('the end of one shortens it', () => {
    expect(expectStrip('FFFF.', removing(2, 4), 'FF...')).toMatchObject({ split: 1 });
  });
  test('the middle of one leaves two', () => {
    expect(expectStrip('FFFFFF', removing(2, 4), 'FF..FF')).toMatchObject({ split: 2 });
  });
  test('from the middle of one to the middle of another leaves their ends', () => {
    expect(expectStrip('AAA.NN.BBB', removing(1, 9), 'A........B')).toMatchObject({ split: 2, insert: { length: 2 } });
  });
  test('everything leaves the empty tree', () => {
    expectStrip('AAA.NN.BBB', removing(0, 10), '..........');
    expect(space.root).toBe(0);
  });
});

describe('isolating', () => {
  const isolating = (from: number, to: number) => (): LayoutPlan => space.isolate(BASE + from, BASE + to);

  test('cuts one VMA in three', () => {
    expect(expectStrip('AAAA', isolating(1, 3), 'A|AA|A')).toMatchObject({ split: 2 });
  });
  test('on boundaries is nothing to do', () => {
    const plan = expectStrip('ABBA', isolating(1, 3), 'ABBA');
    expect(isNoop(plan)).toBe(true);
    expect(plan).toMatchObject({ inside: [space.tree.find(space.root, BASE + 1)] });
  });
  test('cuts two and lists old and new pieces in order', () => {
    const plan = expectStrip('AAABBNNN', isolating(2, 6), 'AA|ABBN|NN');
    const inside = [2, 3, 5].map((page) => space.tree.find(space.root, BASE + page));
    expect(plan).toMatchObject({ split: 2, inside });
  });
  test('a hole finds nothing inside', () => {
    expect(expectStrip('A..A', isolating(1, 3), 'A..A')).toMatchObject({ inside: [] });
  });
  test('then mapping the same again makes one of it', () => {
    layOut(space, 'AAAA', BASE);
    space.isolate(BASE + 1, BASE + 3);
    const root = space.root;
    const inside = space.tree.toArray(root, BASE + 1, BASE + 3);
    space.commit(space.planner.planMap(root, kindProps(space, 'A', BASE + 1, BASE + 3), inside));
    expect(stripOf(space, 4, BASE)).toBe('AAAA');
  });
});

describe('the first hole', () => {
  const holeIn = (strip: string, from: number, to: number): number => {
    layOut(space, strip, BASE);
    const found = space.tree.firstHole(space.root, BASE + from, BASE + to);
    return found < 0 ? found : found - BASE;
  };
  test('is none where VMAs touch', () => expect(holeIn('AABBNNFF', 1, 8)).toBe(-1));
  test('is the first page when nothing is mapped', () => expect(holeIn('....', 1, 3)).toBe(1));
  test('is found between two VMAs', () => expect(holeIn('AA.BB..AA', 0, 9)).toBe(2));
  test('is found behind the last one', () => expect(holeIn('AABB..', 0, 6)).toBe(4));
  test('outside of the range does not count', () => expect(holeIn('.AABB.', 1, 5)).toBe(-1));
});

describe('a plan that is given up', () => {
  test('leaves no record behind', () => {
    layOut(space, 'AABB', BASE);
    const before = space.vmaSlab.census();
    space.planner.discardPlan(space.planner.planProtect(space.root, (BASE + 1) as Vpn, (BASE + 3) as Vpn, 0));
    expect(space.vmaSlab.census()).toEqual(before);
  });
  test('for want of memory leaves no record behind', () => {
    space.close();
    space = new TestSpace({ vmas: 3 });
    layOut(space, 'AAAA', BASE);
    const before = space.vmaSlab.census();
    const change = (): LayoutPlan => space.planner.planProtect(space.root, (BASE + 1) as Vpn, (BASE + 3) as Vpn, 0);
    expect(change).toThrow('ENOMEM');
    expect(space.vmaSlab.census()).toEqual(before);
    expect(stripOf(space, 4, BASE)).toBe('AAAA');
    if (space.vmaLimit) space.vmaLimit.allowed = 8;
    space.commit(change());
    expect(stripOf(space, 4, BASE)).toBe('ANNA');
  });
});
