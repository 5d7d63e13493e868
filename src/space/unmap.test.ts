import { describe, expect, test } from 'vitest';
import { counted, faultBench, R, type Thread } from '../../test/faulting.ts';
import { meeting, vpn } from '../../test/kernel.ts';
import { VmError } from '../base/errors.ts';
import { MAX_MAP_COUNT } from '../base/limits.ts';
import { MM_MAP_COUNT, MM_MMAP_LOCK, MM_ROOT, MM_SEQUENCE } from '../paging/mm.layout.ts';
import { DETACHED_UNMAPPED, V_DETACHED } from '../vma/vma.layout.ts';
import { INTENT_NONE, readIntent } from './intent.ts';
import { isolate, undoIsolationOnError, unmapPages } from './unmap.ts';

function unmap(me: Thread, start: number, end: number): void {
  unmapPages(me.k, me.mm, vpn(start), vpn(end));
}

function touch(me: Thread, ...pages: number[]): void {
  for (const page of pages) me.fault(page, 'write');
}

describe('munmap', () => {
  test.each<[string, number, number, string[]]>([
    ['a whole mapping', 200, 204, ['100-104 rw', '204-206 r-']],
    ['its start', 200, 202, ['100-104 rw', '202-204 rw', '204-206 r-']],
    ['its end', 202, 204, ['100-104 rw', '200-202 rw', '204-206 r-']],
    ['its middle', 201, 203, ['100-104 rw', '200-201 rw', '203-204 rw', '204-206 r-']],
    ['parts of several, with a hole', 102, 205, ['100-102 rw', '205-206 r-']],
    ['nothing', 300, 310, ['100-104 rw', '200-204 rw', '204-206 r-']],
  ])('takes away %s, and the pages there alone', (_what, start, end, left) => {
    const { me } = faultBench();
    me.map(100, 4);
    me.map(200, 4);
    me.map(204, 2, { flags: R });
    touch(me, 100, 101, 102, 103, 200, 201, 202, 203);
    me.fault(204, 'read');
    unmap(me, start, end);
    expect(me.layout()).toEqual(left);
    for (const page of [100, 101, 102, 103, 200, 201, 202, 203, 204]) {
      expect([page, me.pte(page) !== 0]).toEqual([page, page < start || page >= end]);
    }
    expect(me.k.words[me.mm + MM_MMAP_LOCK]).toBe(0);
  });

  test('of a range where nothing is changes nothing, not even the sequence', () => {
    const { me, words } = faultBench();
    me.map(100, 1);
    const sequence = words[me.mm + MM_SEQUENCE];
    expect(counted(me.k, () => unmap(me, 101, 500))).toEqual({ 'call.munmap': 1 });
    expect(words[me.mm + MM_SEQUENCE]).toBe(sequence);
  });

  test.each([
    ['a whole mapping', 100, 102],
    ['a part of one', 101, 102],
  ])(
    'of %s marks it, empties the range, and only then removes it (I5): till then the range is occupied',
    (_what, start, end) => {
      const { me, words, cpu } = faultBench();
      me.map(100, 2);
      touch(me, 101);
      const entry = me.entryOf(101);
      const states: string[] = [];
      const look = () => {
        const vma = me.k.tree.find(words[me.mm + MM_ROOT] as never, 101);
        const mark = vma === 0 ? 'removed' : words[vma + V_DETACHED] === DETACHED_UNMAPPED ? 'marked' : 'attached';
        const intent = readIntent(words, me.k.floats, cpu.id).kind === INTENT_NONE ? '' : ', intent';
        const state = `${mark}, ${words[entry] === 0 ? 'empty' : 'page'}${intent}`;
        if (states.at(-1) !== state) states.push(state);
      };
      // A split replaces the mapping by parts of it: their records are looked up anew each time, under a root that is whole.
      me.k.rcu.walking(() => meeting(() => unmap(me, start, end), look));
      look();
      expect(states).toEqual([
        'attached, page',
        'attached, page, intent',
        'marked, page, intent',
        'marked, empty, intent',
        'removed, empty, intent',
        'removed, empty',
      ]);
    },
  );

  test('gives frames back after a grace period', () => {
    const { me } = faultBench();
    me.map(100, 8);
    touch(me, 100, 103, 107);
    unmap(me, 100, 108);
    me.k.rcu.drain();
    expect(me.k.frames.census()).toMatchObject({ live: 0, owned: 0, retired: 0 });
  });
});

describe('page tables', () => {
  // A leaf covers 512 pages: 512 to 1024, 1024 to 1536.
  test('go when their whole range is a hole, whatever was unmapped before', () => {
    const { me } = faultBench();
    me.map(600, 10);
    touch(me, 600);
    unmap(me, 600, 605);
    expect(me.leafOf(600)).toBeGreaterThan(0);
    unmap(me, 605, 610);
    expect(me.leafOf(600)).toBe(0);
  });

  test.each([
    ['before it', 512, 513],
    ['behind it', 1023, 1024],
  ])('stay when a neighbour lies on the same leaf %s, touched or not', (_where, start, end) => {
    const { me } = faultBench();
    me.map(600, 10);
    me.map(start, end - start);
    touch(me, 600);
    unmap(me, 600, 610);
    expect(me.leafOf(600)).toBeGreaterThan(0);
  });

  test.each([
    ['before it', 511, 512],
    ['behind it', 1024, 1025],
  ])('go when the neighbour is on the next leaf %s', (_where, start, end) => {
    const { me } = faultBench();
    me.map(600, 10);
    me.map(start, end - start);
    touch(me, 600, start);
    unmap(me, 600, 610);
    expect([me.leafOf(600) > 0, me.leafOf(start) > 0]).toEqual([false, true]);
  });
});

describe('a munmap that fails changes nothing:', () => {
  function refused(me: Thread, start: number, end: number): void {
    const before = [me.layout(), me.pte(101), me.k.slabs.vma.census().live, me.k.slabs.node.census().live];
    expect(() => unmap(me, start, end)).toThrow(/^ENOMEM/);
    expect([me.layout(), me.pte(101), me.k.slabs.vma.census().live, me.k.slabs.node.census().live]).toEqual(before);
    expect([me.k.words[me.mm + MM_MMAP_LOCK], me.k.cpu.heldDepth]).toEqual([0, 0]);
    expect(readIntent(me.k.words, me.k.floats, me.k.cpu.id).kind).toBe(INTENT_NONE);
  }

  test('a hole in the middle would be one mapping too many', () => {
    const { me, words } = faultBench();
    me.map(100, 3);
    touch(me, 101);
    words[me.mm + MM_MAP_COUNT] = MAX_MAP_COUNT;
    refused(me, 101, 102);
    words[me.mm + MM_MAP_COUNT] = MAX_MAP_COUNT;
    unmap(me, 100, 103); // as a whole it is one less
    expect(me.layout()).toEqual([]);
  });

  test('the tree has no memory for the removal, after the boundaries were cut: they are merged again', () => {
    const { me } = faultBench();
    me.map(100, 3);
    touch(me, 101);
    const { replace } = me.k.tree;
    let calls = 0;
    me.k.tree.replace = (...given) => {
      if (++calls === 2) throw new VmError('ENOMEM', 'alloc', 'no tree node');
      return replace.apply(me.k.tree, given);
    };
    const live = me.k.slabs.vma.census().live;
    expect(() => unmap(me, 101, 102)).toThrow(/no tree node/);
    me.k.rcu.drain();
    expect([me.layout(), me.k.slabs.vma.census().live]).toEqual([['100-103 rw'], live]);
    expect(me.pte(101)).not.toBe(0);
  });
});

describe('isolating a range', () => {
  test('cuts at both ends and returns what lies inside, in order', () => {
    const { me } = faultBench();
    me.map(100, 4);
    me.map(104, 4, { flags: R });
    const inside = isolate(me.k, me.mm, vpn(102), vpn(106), 'test');
    expect(me.layout()).toEqual(['100-102 rw', '102-104 rw', '104-106 r-', '106-108 r-']);
    expect(inside).toEqual([me.vmaAt(102), me.vmaAt(104)]);
  });

  test('is no change where boundaries are', () => {
    const { me, words } = faultBench();
    me.map(100, 4);
    const sequence = words[me.mm + MM_SEQUENCE];
    expect(isolate(me.k, me.mm, vpn(100), vpn(104), 'test')).toEqual([me.vmaAt(100)]);
    expect(words[me.mm + MM_SEQUENCE]).toBe(sequence);
  });

  test('is undone with the error of what it was for; without memory for that the boundaries stay', () => {
    for (const merges of [true, false]) {
      const { me } = faultBench();
      me.map(100, 4);
      isolate(me.k, me.mm, vpn(101), vpn(103), 'test');
      const error = new VmError('ENOMEM', 'mmap', 'the first one');
      const run = () => {
        if (!merges) {
          me.k.tree.replace = () => {
            throw new VmError('ENOMEM', 'alloc', 'the second one');
          };
        }
        throw error;
      };
      expect(() => undoIsolationOnError(me.k, me.mm, vpn(101), vpn(103), run)).toThrow(error);
      expect(me.layout()).toEqual(merges ? ['100-104 rw'] : ['100-101 rw', '101-103 rw', '103-104 rw']);
    }
  });
});
