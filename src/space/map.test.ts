import { describe, expect, test } from 'vitest';
import { counted, faultBench, R, RW, type Thread, takeAllFrames } from '../../test/faulting.ts';
import { meeting } from '../../test/kernel.ts';
import type { MappingRef } from '../base/brands.ts';
import { VmError } from '../base/errors.ts';
import { MIN_VPN, SMALL_VPN_LIMIT, VPN_LIMIT } from '../base/limits.ts';
import { MM_LIMIT_PAGES, MM_MMAP_LOCK, MM_REPLACED, MM_ROOT } from '../paging/mm.layout.ts';
import { DETACHED_REMAPPED, V_DETACHED } from '../vma/vma.layout.ts';
import { INTENT_NONE, INTENT_UNMAP, readIntent } from './intent.ts';
import { mapPages, type Placement } from './map.ts';

function place(me: Thread, placement: Placement, start: number, pages: number): number {
  return mapPages(me.k, me.mm, { pages, placement, start, flags: RW, mapping: 0 as MappingRef, offset: 0 });
}

describe('the place of a mapping', () => {
  test('is below the limit of small addresses, from the top down', () => {
    const { me } = faultBench();
    expect(place(me, 'anywhere', 0, 3)).toBe(SMALL_VPN_LIMIT - 3);
    expect(place(me, 'anywhere', 0, 2)).toBe(SMALL_VPN_LIMIT - 5);
    expect(place(me, 'anywhere', 0, SMALL_VPN_LIMIT - 5 - MIN_VPN)).toBe(MIN_VPN);
    expect(place(me, 'anywhere', 0, 1)).toBe(VPN_LIMIT - 1);
  });

  test('is above when it is too large for below, also if it needs nearly everything', () => {
    const { me } = faultBench();
    expect(place(me, 'anywhere', 0, SMALL_VPN_LIMIT)).toBe(VPN_LIMIT - SMALL_VPN_LIMIT);
    const { me: alone } = faultBench();
    expect(place(alone, 'anywhere', 0, VPN_LIMIT - MIN_VPN)).toBe(MIN_VPN);
    expect(() => place(alone, 'anywhere', 0, 1)).toThrow(/^ENOMEM: no gap of 1 pages/);
    expect(alone.layout()).toHaveLength(1);
  });

  test.each<[string, number, number, boolean]>([
    ['free', 100, 2, true],
    ['free up to its neighbour', 198, 2, true],
    ['occupied at its end', 199, 2, false],
    ['occupied at its start', 201, 2, false],
    ['free behind a neighbour', 202, 1, true],
    ['at the lowest page', MIN_VPN, 1, true],
    ['below the lowest page', MIN_VPN - 1, 1, false],
    ['up to the last page', VPN_LIMIT - 2, 2, true],
    ['behind the last page', VPN_LIMIT - 2, 3, false],
  ])('is where the hint says if that is %s', (_what, start, pages, taken) => {
    const { me } = faultBench();
    me.map(200, 2);
    const found = place(me, 'hint', start, pages);
    expect(found).toBe(taken ? start : SMALL_VPN_LIMIT - pages);
  });

  test('of MAP_FIXED_NOREPLACE must be free: else EEXIST, and nothing has changed', () => {
    const { me } = faultBench();
    me.map(200, 2);
    expect(() => place(me, 'fixed-noreplace', 201, 5)).toThrow(/^EEXIST: .* 0xc9000$/);
    expect(me.layout()).toEqual(['200-202 rw']);
    expect(place(me, 'fixed-noreplace', 202, 5)).toBe(202);
  });
});

test('a mapping into a hole merges with its likes on both sides, in one step', () => {
  const { me } = faultBench();
  me.map(100, 1);
  me.map(102, 1);
  expect(counted(me.k, () => me.map(101, 1))).toEqual({ 'call.mmap': 1, 'vma.merged': 2 });
  expect(me.layout()).toEqual(['100-103 rw']);
  me.map(103, 1, { flags: R });
  expect(me.layout()).toEqual(['100-103 rw', '103-104 r-']);
});

describe('MAP_FIXED over mappings', () => {
  test('leaves what lies around, and nothing of the pages inside', () => {
    const { me, words } = faultBench();
    me.map(100, 6);
    for (let page = 100; page < 106; page++) me.fault(page, 'write');
    const replaced = words[me.mm + MM_REPLACED] as number;
    const counts = counted(me.k, () => me.map(102, 2, { flags: R }));
    expect(counts).toMatchObject({ 'call.mmap': 1, 'pages.zapped': 2 });
    expect(me.layout()).toEqual(['100-102 rw', '102-104 r-', '104-106 rw']);
    expect([101, 102, 103, 104].map((page) => me.pte(page) !== 0)).toEqual([true, false, false, true]);
    expect(words[me.mm + MM_REPLACED]).toBe(replaced + 1);
  });

  test('marks the old ones, empties the range, puts the new one there, and only then calls who waits (I3, I5)', () => {
    const { me, words, cpu } = faultBench();
    me.map(100, 1);
    me.fault(100, 'write');
    const old = me.vmaAt(100);
    const entry = me.entryOf(100);
    const root = words[me.mm + MM_ROOT];
    const replaced = words[me.mm + MM_REPLACED];
    const states: string[] = [];
    const look = () => {
      const mark = words[old + V_DETACHED] === DETACHED_REMAPPED ? 'marked' : 'attached';
      const page = words[entry] === 0 ? 'empty' : 'page';
      const tree = words[me.mm + MM_ROOT] === root ? 'old' : 'new';
      const called = words[me.mm + MM_REPLACED] === replaced ? '' : ', called';
      const intent = readIntent(words, me.k.floats, cpu.id).kind === INTENT_UNMAP ? ', intent' : '';
      const state = `${mark}, ${page}, ${tree}${called}${intent}`;
      if (states.at(-1) !== state) states.push(state);
    };
    meeting(() => me.map(100, 1, { flags: R }), look);
    look();
    expect(states).toEqual([
      'attached, page, old',
      'attached, page, old, intent',
      'marked, page, old, intent',
      'marked, empty, old, intent',
      'marked, empty, new, intent',
      'marked, empty, new, called, intent',
      'marked, empty, new, called',
    ]);
  });

  test('names the new VMA in its intent (I27): a reaper sees by it whether it is there', () => {
    const { me, words, cpu } = faultBench();
    me.map(100, 1);
    let intended = 0;
    meeting(
      () => me.map(100, 1, { flags: R }),
      (kind, index) => {
        if (kind === 'add' && index === me.mm + MM_REPLACED) intended = readIntent(words, me.k.floats, cpu.id).vma;
      },
    );
    expect(intended).toBe(me.vmaAt(100));
    expect(readIntent(words, me.k.floats, cpu.id).kind).toBe(INTENT_NONE);
  });

  test.each([
    ['the limit on pages', 6],
    ['no memory for the tree', 0],
  ])('that fails (%s) changes nothing: the boundaries that it has cut are gone again', (_why, limit) => {
    const { me, words } = faultBench();
    me.map(100, 6);
    me.fault(101, 'write');
    const pte = me.pte(101);
    me.k.floats[(me.mm + MM_LIMIT_PAGES) >> 1] = limit;
    if (limit === 0) {
      const { replace } = me.k.tree;
      let calls = 0;
      me.k.tree.replace = (...given) => {
        if (++calls === 2) throw new VmError('ENOMEM', 'alloc', 'no tree node'); // after the isolation
        return replace.apply(me.k.tree, given);
      };
    }
    const pages = limit === 0 ? 2 : 6;
    expect(() => me.map(101, pages, { flags: R })).toThrow(/ENOMEM/);
    expect([me.layout(), me.pte(101)]).toEqual([['100-106 rw'], pte]);
    expect([words[me.mm + MM_MMAP_LOCK], me.k.cpu.heldDepth]).toEqual([0, 0]);
    expect(readIntent(words, me.k.floats, me.k.cpu.id).kind).toBe(INTENT_NONE);
  });

  test('needs no frame: the memory that it takes away is free afterwards', () => {
    const { me } = faultBench();
    me.map(100, 1);
    me.fault(100, 'write');
    takeAllFrames(me.k);
    me.map(100, 1);
    me.k.rcu.drain();
    expect(me.k.frames.census().free).toBe(1);
  });
});
