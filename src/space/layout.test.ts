import { describe, expect, test } from 'vitest';
import { faultBench, numberedFile, R, RW, type Thread } from '../../test/faulting.ts';
import { meeting, vpn } from '../../test/kernel.ts';
import type { MappingRef } from '../base/brands.ts';
import { Oops, VmError } from '../base/errors.ts';
import { MAX_MAP_COUNT } from '../base/limits.ts';
import {
  MM_LIMIT_PAGES,
  MM_MAP_COUNT,
  MM_MAPPED_PAGES,
  MM_ROOT,
  MM_SEQUENCE,
  MM_TREE_LOCK,
} from '../paging/mm.layout.ts';
import type { LayoutPlan } from '../vma/plan.ts';
import { DETACHED_REPLACED, DETACHED_UNMAPPED, V_DETACHED } from '../vma/vma.layout.ts';
import { commit, detach, prepare, rootOf, settleLayout, underTreeLock } from './layout.ts';

function plan(me: Thread, start: number, end: number, flags = RW): LayoutPlan {
  const { k, mm } = me;
  const mapping = 0 as MappingRef;
  return k.planner.planMap(rootOf(k, mm), { start: vpn(start), end: vpn(end), flags, mapping, offset: 0, mm });
}

/** What a failed call must leave as it was: the layout, its sums, and the records in use. */
function state(me: Thread): unknown {
  const { k, mm } = me;
  return {
    layout: me.layout(),
    root: k.words[mm + MM_ROOT],
    count: k.words[mm + MM_MAP_COUNT],
    pages: k.floats[(mm + MM_MAPPED_PAGES) >> 1],
    sequence: k.words[mm + MM_SEQUENCE],
    vmas: inHand(k.slabs.vma.census()),
    nodes: inHand(k.slabs.node.census()),
    locks: k.cpu.heldDepth,
  };
}

function inHand({ live, owned }: { live: number; owned: number }): number[] {
  return [live, owned];
}

function prepareAndCommit(me: Thread, make: () => LayoutPlan): void {
  const { k, mm } = me;
  underTreeLock(k, mm, (root) => {
    const made = make();
    commit(k, mm, made, prepare(k, mm, root, made, 'test').edit);
  });
}

describe('the tree lock', () => {
  test('is held while the work runs, on the root as it is then, and let go whatever comes of it', () => {
    const { me, words, cpu } = faultBench();
    me.map(100, 1);
    const seen = underTreeLock(me.k, me.mm, (root) => [root, words[me.mm + MM_TREE_LOCK]]);
    expect(seen).toEqual([rootOf(me.k, me.mm), cpu.tag]);
    const error = new VmError('ENOMEM', 'test', 'nothing left');
    expect(() =>
      underTreeLock(me.k, me.mm, () => {
        throw error;
      }),
    ).toThrow(error);
    expect([words[me.mm + MM_TREE_LOCK], cpu.heldDepth]).toEqual([0, 0]);
  });

  test('stays with the call when the engine has thrown in the middle: what is half-done is for recovery', () => {
    const { me, words, cpu } = faultBench();
    const error = new RangeError('the stack is exhausted');
    expect(() =>
      underTreeLock(me.k, me.mm, () => {
        throw error;
      }),
    ).toThrow(error);
    expect([words[me.mm + MM_TREE_LOCK], cpu.gaveUp?.error]).toEqual([cpu.tag, error]);
  });

  test('is what a commit asks for', () => {
    const { me } = faultBench();
    const made = plan(me, 100, 101);
    const { edit } = prepare(me.k, me.mm, rootOf(me.k, me.mm), made, 'test');
    expect(() => commit(me.k, me.mm, made, edit)).toThrow(Oops);
    expect(me.layout()).toEqual([]);
  });
});

describe('the limits of a space', () => {
  test.each([
    ['may be reached', 10, true],
    ['may not be passed', 9, false],
  ])('on mapped pages %s', (_what, limit, fits) => {
    const { me } = faultBench();
    me.map(100, 4);
    me.k.floats[(me.mm + MM_LIMIT_PAGES) >> 1] = limit;
    const before = state(me);
    const map = () => prepareAndCommit(me, () => plan(me, 200, 206));
    if (fits) {
      map();
      expect(me.layout()).toEqual(['100-104 rw', '200-206 rw']);
    } else {
      expect(map).toThrow(/^ENOMEM: the space's limit of 36864 mapped bytes would be passed, test/);
      expect(state(me)).toEqual(before);
    }
  });

  test('on mapped pages are for what a change adds: to replace or to give back is allowed at the limit', () => {
    const { me } = faultBench();
    me.map(100, 4);
    me.k.floats[(me.mm + MM_LIMIT_PAGES) >> 1] = 1;
    me.map(100, 4, { flags: R });
    prepareAndCommit(me, () => me.k.planner.planRemove(rootOf(me.k, me.mm), vpn(100), vpn(102)));
    expect(me.layout()).toEqual(['102-104 r-']);
    expect(() => me.map(100, 3, { flags: R })).toThrow(/ENOMEM/);
  });

  test('0 is none', () => {
    const { me } = faultBench();
    me.map(100, 2 ** 30);
    expect(me.k.floats[(me.mm + MM_MAPPED_PAGES) >> 1]).toBe(2 ** 30);
  });

  test.each([
    ['may be reached', MAX_MAP_COUNT - 1, true],
    ['may not be passed', MAX_MAP_COUNT, false],
  ])('on the number of mappings %s', (_what, count, fits) => {
    const { me, words } = faultBench();
    me.map(100, 1);
    words[me.mm + MM_MAP_COUNT] = count;
    const before = state(me);
    const map = () => prepareAndCommit(me, () => plan(me, 200, 201));
    if (fits) {
      map();
      expect(words[me.mm + MM_MAP_COUNT]).toBe(MAX_MAP_COUNT);
    } else {
      expect(map).toThrow(/^ENOMEM: the space would have more than 65530 mappings/);
      expect(state(me)).toEqual(before);
      // A merge adds none.
      prepareAndCommit(me, () => plan(me, 101, 102));
      expect(me.layout()).toEqual(['100-102 rw']);
      expect(words[me.mm + MM_MAP_COUNT]).toBe(MAX_MAP_COUNT);
    }
  });
});

test('a change for which no memory is found changes nothing: the plan’s records are given back', () => {
  const { me } = faultBench();
  me.map(100, 1);
  const before = state(me);
  me.k.tree.replace = () => {
    throw new VmError('ENOMEM', 'alloc', 'no tree node');
  };
  expect(() => prepareAndCommit(me, () => plan(me, 200, 201))).toThrow(/no tree node/);
  expect(state(me)).toEqual(before);
});

describe('a commit', () => {
  test('keeps the sums over the layout, and changes the sequence once', () => {
    const { me, words } = faultBench();
    const sums = () => [words[me.mm + MM_MAP_COUNT], me.k.floats[(me.mm + MM_MAPPED_PAGES) >> 1]];
    me.map(100, 10);
    expect(sums()).toEqual([1, 10]);
    const sequence = words[me.mm + MM_SEQUENCE] as number;
    prepareAndCommit(me, () => me.k.planner.planProtect(rootOf(me.k, me.mm), vpn(103), vpn(105), 1));
    expect(me.layout()).toEqual(['100-103 rw', '103-105 r-', '105-110 rw']);
    expect([...sums(), words[me.mm + MM_SEQUENCE]]).toEqual([3, 10, sequence + 1]);
    prepareAndCommit(me, () => me.k.planner.planRemove(rootOf(me.k, me.mm), vpn(102), vpn(106)));
    expect([...sums(), words[me.mm + MM_SEQUENCE]]).toEqual([2, 6, sequence + 2]);
  });

  test('shows the new root before it detaches what was replaced: who meets the mark finds the successor', () => {
    const { me, words } = faultBench();
    me.map(100, 2);
    const old = me.vmaAt(100);
    const root = words[me.mm + MM_ROOT];
    const states = new Set<string>();
    const look = () => {
      const marked = (words[old + V_DETACHED] as number) !== 0 ? 'detached' : 'attached';
      states.add(`${words[me.mm + MM_ROOT] === root ? 'old' : 'new'} root, ${marked}`);
    };
    meeting(() => prepareAndCommit(me, () => plan(me, 102, 103)), look);
    look();
    expect([...states]).toEqual(['old root, attached', 'new root, attached', 'new root, detached']);
    expect(words[old + V_DETACHED]).toBe(DETACHED_REPLACED);
  });

  test('takes a reference on the file for each new record, before anybody can find it', () => {
    const bench = faultBench();
    const { me, words } = bench;
    const file = numberedFile(bench, 40960);
    const root = words[me.mm + MM_ROOT];
    const held: number[] = [];
    const { get } = me.k.files;
    me.k.files.get = (mapping, note) => {
      expect(words[me.mm + MM_ROOT]).toBe(root);
      held.push(mapping);
      get.call(me.k.files, mapping, note);
    };
    me.map(100, 4, { mapping: file });
    expect(held).toEqual([file]);
    me.k.files.close(file, me.k.cpu.id);
    expect(words[me.k.vmas.holdsFile(me.vmaAt(100))]).toBe(1);
    me.fault(100, 'read');
    expect(me.byteAt(100)).toBe(1);
  });
});

test('detach marks each VMA, and leaves all of them in the tree', () => {
  const { me } = faultBench();
  me.map(100, 1);
  me.map(200, 1);
  const vmas = me.k.tree.toArray(rootOf(me.k, me.mm));
  detach(me.k, vmas, DETACHED_UNMAPPED);
  expect(me.layout()).toEqual(['100-101 rw!', '200-201 rw!']);
  expect(vmas.map((v) => me.k.vmas.detachedReason(v))).toEqual([DETACHED_UNMAPPED, DETACHED_UNMAPPED]);
});

test('the layout of a dead thread is settled by counting anew, and the sequence tells that something changed', () => {
  const { me, words } = faultBench();
  me.map(100, 3);
  me.map(200, 4, { flags: R });
  const sequence = words[me.mm + MM_SEQUENCE] as number;
  words[me.mm + MM_MAP_COUNT] = 77;
  me.k.floats[(me.mm + MM_MAPPED_PAGES) >> 1] = 99;
  underTreeLock(me.k, me.mm, (root) => settleLayout(me.k, me.mm, root, 9));
  expect([words[me.mm + MM_MAP_COUNT], me.k.floats[(me.mm + MM_MAPPED_PAGES) >> 1]]).toEqual([2, 7]);
  expect(words[me.mm + MM_SEQUENCE]).toBe(sequence + 1);
});
