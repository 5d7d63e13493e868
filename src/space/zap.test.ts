import { describe, expect, test } from 'vitest';
import { cached, counted, faultBench, justBefore, numberedFile, type Thread } from '../../test/faulting.ts';
import { meeting, reader, vpn } from '../../test/kernel.ts';
import { RETIRED, stateKind } from '../memory/ownership.ts';
import { P_FLAGS, P_REFS, P_RMAP_SLOT, P_STATE } from '../memory/page.layout.ts';
import { MM_GENERATION } from '../paging/mm.layout.ts';
import { isZapped, ptePfn, zappedPte } from '../paging/pte.ts';
import { tearDownTables, zapRange } from './zap.ts';

function zap(me: Thread, start: number, end: number): boolean {
  return zapRange(me.k, me.mm, vpn(start), vpn(end));
}

function touch(me: Thread, ...pages: number[]): void {
  for (const page of pages) me.fault(page, 'write');
}

describe('zapping', () => {
  test('is for each page: mark, bump, let go (I11)', () => {
    const bench = faultBench();
    const { me, words } = bench;
    const file = numberedFile(bench, 4096);
    me.map(100, 1);
    me.map(101, 1, { mapping: file });
    touch(me, 100);
    const page = cached(me.k, file, 0);
    me.fault(101, 'read');
    const [own, ofFile] = [me.entryOf(100), me.entryOf(101)];
    const frame = me.pageOf(100);
    const generation = words[me.mm + MM_GENERATION] as number;
    const states: string[] = [];
    const entry = (at: number) => (words[at] === 0 ? 'empty' : isZapped(words[at] as number) ? 'marked' : 'mapped');
    const look = () => {
      const bumped = ((words[me.mm + MM_GENERATION] as number) - generation) | 0;
      const slot = words[page + P_RMAP_SLOT] === ofFile ? 'slot' : 'no slot';
      const state = stateKind(words[frame + P_STATE] as number) === RETIRED ? 'retired' : 'live';
      const now = `${entry(own)} ${entry(ofFile)}, bumped ${bumped}, ${state}, ${slot}`;
      if (states.at(-1) !== now) states.push(now);
    };
    meeting(() => zap(me, 100, 102), look);
    look();
    expect(states).toEqual([
      'mapped mapped, bumped 0, live, slot',
      'marked mapped, bumped 0, live, slot',
      'marked marked, bumped 0, live, slot',
      'marked marked, bumped 1, live, slot',
      'marked marked, bumped 1, retired, slot',
      'empty marked, bumped 1, retired, slot',
      'empty marked, bumped 1, retired, no slot',
      'empty empty, bumped 1, retired, no slot',
    ]);
    expect(me.k.tables.used(me.leafOf(100))).toBe(0);
  });

  test('lets a frame be used again only after a grace period: a section that began before may still read it', () => {
    const { me, other } = faultBench();
    me.map(100, 1);
    touch(me, 100);
    const pfn = ptePfn(me.pte(100));
    const section = reader();
    other.k.rcu.enter(section);
    zap(me, 100, 101);
    me.k.rcu.pollRetired();
    expect(me.k.frames.census()).toMatchObject({ retired: 1 });
    other.k.rcu.leave(section);
    me.k.rcu.drain();
    expect(me.k.frames.census()).toMatchObject({ retired: 0, live: 0 });
    const page = me.k.frames.pageOf(pfn);
    expect([P_REFS, P_FLAGS, P_RMAP_SLOT].map((word) => me.k.words[page + word])).toEqual([0, 0, 0]);
  });

  test('empties the range to the page, over leaves, and counts what was there', () => {
    const { me } = faultBench();
    me.map(500, 1100);
    touch(me, 509, 510, 511, 512, 1400, 1535, 1536, 1537);
    expect(counted(me.k, () => expect(zap(me, 510, 1536)).toBe(true))).toEqual({ 'pages.zapped': 5 });
    const left = [509, 510, 511, 512, 1400, 1535, 1536, 1537].filter((page) => me.pte(page) !== 0);
    expect(left).toEqual([509, 1536, 1537]);
  });

  test('says whether there is a page table, and bumps only if a page was found', () => {
    const { me, words } = faultBench();
    me.map(100, 2000);
    const generation = words[me.mm + MM_GENERATION] as number;
    expect(zap(me, 100, 500)).toBe(false);
    touch(me, 100);
    expect([zap(me, 101, 500), zap(me, 1024, 2000)]).toEqual([true, false]);
    expect(words[me.mm + MM_GENERATION]).toBe(generation);
    zap(me, 100, 101);
    expect(words[me.mm + MM_GENERATION]).toBe(generation + 1);
  });

  test('makes every thread drop its translations of the range, and no other', () => {
    const { me, other } = faultBench();
    me.map(100, 4);
    touch(other, 100, 101, 102, 103);
    zap(me, 101, 103);
    other.inSection(() => {
      expect([100, 101, 102, 103].map((page) => other.mayRead(page))).toEqual([true, false, false, true]);
    });
  });

  test('retires no zero page, and leaves the page of a file in its cache', () => {
    const bench = faultBench();
    const { me } = bench;
    const file = numberedFile(bench, 4096);
    me.map(100, 1);
    me.map(101, 1, { mapping: file });
    const page = cached(me.k, file, 0);
    me.fault(100, 'read');
    me.fault(101, 'read');
    zap(me, 100, 102);
    expect(me.k.frames.census()).toMatchObject({ retired: 0, live: 1 });
    expect([me.k.cache.find(file, 0), me.k.rmap.slots(page), me.pte(100)]).toEqual([page, [], 0]);
  });

  test('does not let go of a page that was installed after the first pass: nobody was told', () => {
    // Requires that the VMAs are detached, so that there is none. What a fault without the second look would do is here by hand.
    const { me, other, words } = faultBench();
    me.map(100, 2);
    touch(me, 100);
    const late = me.entryOf(101);
    meeting(
      () => zap(me, 100, 102),
      justBefore('add', me.mm + MM_GENERATION, () => other.fault(101, 'write')),
    );
    expect([me.pte(100), words[late] !== 0]).toEqual([0, true]);
    expect(me.k.frames.census()).toMatchObject({ live: 1, retired: 1 });
  });

  test('is done again after a death: what is marked is let go, and a retired frame is not retired twice (I27)', () => {
    const { me, words } = faultBench();
    me.map(100, 2);
    touch(me, 100, 101);
    const [first, second] = [me.pageOf(100), me.pageOf(101)];
    words[me.entryOf(100)] = zappedPte(me.pte(100));
    words[me.entryOf(101)] = zappedPte(me.pte(101));
    me.k.frames.markRetired(first); // the death came between this and the entry's store
    const retired: number[] = [];
    const { retireChain } = me.k.rcu;
    me.k.rcu.retireChain = (kind, head, tail, count) => {
      retired.push(head, tail, count);
      retireChain.call(me.k.rcu, kind, head, tail, count);
    };
    zap(me, 100, 102);
    expect(retired).toEqual([second, second, 1]);
    expect([me.pte(100), me.pte(101)]).toEqual([0, 0]);
  });
});

describe('tearing down tables', () => {
  // A leaf covers 512 pages: 512 to 1024.
  test.each([
    [512, 1024, true],
    [513, 1024, false],
    [512, 1023, false],
    [0, 2 ** 35, true],
  ])('takes a leaf if its whole range is in the hole [%i, %i): %s', (low, high, gone) => {
    const { me } = faultBench();
    me.map(600, 1);
    me.fault(600, 'read');
    zap(me, 600, 601);
    tearDownTables(me.k, me.mm, vpn(600), vpn(601), vpn(low), vpn(high));
    expect(me.leafOf(600) === 0).toBe(gone);
  });

  test('leaves a leaf in which a page is', () => {
    const { me } = faultBench();
    me.map(600, 1);
    me.fault(600, 'read');
    tearDownTables(me.k, me.mm, vpn(600), vpn(601), vpn(0), vpn(4096));
    expect(me.leafOf(600)).toBeGreaterThan(0);
  });
});
