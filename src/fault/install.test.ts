import { describe, expect, test } from 'vitest';
import { cached, faultBench, justBefore, numberedFile, type Thread, takeAllFrames } from '../../test/faulting.ts';
import { meeting } from '../../test/kernel.ts';
import type { Pfn } from '../base/brands.ts';
import { LIVE, OWNED, stateKind } from '../memory/ownership.ts';
import { P_FLAGS, P_INDEX, P_MM, P_REFS, P_RMAP_SLOT, P_STATE, PG_ANON, PG_EXCLUSIVE } from '../memory/page.layout.ts';
import { MM_GENERATION } from '../paging/mm.layout.ts';
import { ptePfn } from '../paging/pte.ts';
import { installPrivate, takeFrame } from './install.ts';
import { CHANGED, DETACHED, DONE } from './outcome.ts';

const PAGE = 100;

/** A thread with one file page mapped for reading, and the bench it is in. */
function readFromFile() {
  const bench = faultBench();
  const file = numberedFile(bench, 4096);
  bench.me.map(PAGE, 1, { mapping: file });
  const page = cached(bench.me.k, file, 0);
  bench.me.fault(PAGE, 'read');
  bench.other.fault(PAGE, 'read');
  return { ...bench, page };
}

/** Installs `pfn` over `seen` in a fault that has just looked up its VMA. */
function install(me: Thread, seen: number, pfn: Pfn) {
  const f = me.begin(PAGE, 'write');
  f.vma = me.vmaAt(PAGE);
  return { f, outcome: me.inSection(() => installPrivate(f, me.leafOf(PAGE), seen, pfn)) };
}

describe('a frame for a fault', () => {
  test('is the one that it has in hand, which is then nobody’s spare', () => {
    const { me } = faultBench();
    const f = me.begin(PAGE, 'write');
    f.spare = me.k.frames.alloc();
    const { spare } = f;
    expect([takeFrame(f), f.spare]).toEqual([spare, 0]);
    expect(takeFrame(f)).not.toBe(spare);
  });

  test('is 0 when it would have to be waited for', () => {
    const { me } = faultBench();
    takeAllFrames(me.k);
    expect(takeFrame(me.begin(PAGE, 'write'))).toBe(0);
  });
});

describe('a page that replaces another', () => {
  test('is put there in this order: clear, bump, set, drop the old slot (I11), all under the leaf lock', () => {
    const { me, words, cpu, page } = readFromFile();
    const entry = me.entryOf(PAGE);
    const seen = me.pte(PAGE);
    const pfn = me.k.frames.alloc();
    const lock = me.lockOf(PAGE);
    const leaf = me.leafOf(PAGE);
    const generation = words[me.mm + MM_GENERATION] as number;
    const states: string[] = [];
    const f = me.begin(PAGE, 'write');
    f.vma = me.vmaAt(PAGE);
    // What other threads can see, each time that it is another thing.
    const look = () => {
      const pte = words[entry] === 0 ? 'none' : words[entry] === seen ? 'old' : 'new';
      const bumped = words[me.mm + MM_GENERATION] === generation ? '' : ' bumped';
      const slot = words[page + P_RMAP_SLOT] === entry ? ' slot' : '';
      const state = `${pte}${bumped}${slot}`;
      if (states.at(-1) === state) return;
      states.push(state);
      if (states.length > 1) expect(words[lock]).toBe(cpu.tag);
    };
    me.inSection(() => {
      meeting(() => expect(installPrivate(f, leaf, seen, pfn)).toBe(DONE), look);
    });
    expect(ptePfn(me.pte(PAGE))).toBe(pfn);
    expect(states).toEqual(['old slot', 'none slot', 'none bumped slot', 'new bumped slot', 'new bumped']);
  });

  test('makes others look again: their translation of the old one is gone at their next section', () => {
    const { me, other } = readFromFile();
    const seen = me.pte(PAGE);
    expect(other.mayRead(PAGE)).toBe(true);
    install(me, seen, me.k.frames.alloc());
    other.inSection(() => expect(other.mayRead(PAGE)).toBe(false));
    expect([me.mayRead(PAGE), me.mayWrite(PAGE)]).toEqual([true, true]);
  });

  test('flushes that page and no other', () => {
    const { me, other } = readFromFile();
    me.map(PAGE - 1, 1);
    me.map(PAGE + 1, 1);
    for (const page of [PAGE - 1, PAGE + 1]) other.fault(page, 'write');
    install(me, me.pte(PAGE), me.k.frames.alloc());
    other.inSection(() => {
      expect([PAGE - 1, PAGE, PAGE + 1].map((page) => other.mayRead(page))).toEqual([true, false, true]);
    });
  });

  test('leaves one entry where one was: the leaf’s count is right', () => {
    const { me } = readFromFile();
    install(me, me.pte(PAGE), me.k.frames.alloc());
    expect(me.k.tables.used(me.leafOf(PAGE))).toBe(1);
  });
});

describe('a page where nothing was', () => {
  test('needs no flush: no thread has a translation', () => {
    const { me, words } = faultBench();
    me.map(PAGE, 1);
    me.inSection(() => me.k.tables.ensureLeaf(me.mm, me.begin(PAGE, 'write').vpn));
    const generation = words[me.mm + MM_GENERATION];
    expect(install(me, 0, me.k.frames.alloc()).outcome).toBe(DONE);
    expect(words[me.mm + MM_GENERATION]).toBe(generation);
    expect(me.k.tables.used(me.leafOf(PAGE))).toBe(1);
  });

  test('is described before its entry is set: whoever reaps finds by the record whether it was', () => {
    const { me, words } = faultBench();
    me.map(PAGE, 1);
    me.inSection(() => me.k.tables.ensureLeaf(me.mm, me.begin(PAGE, 'write').vpn));
    const pfn = me.k.frames.alloc();
    const page = me.k.frames.pageOf(pfn);
    const entry = me.entryOf(PAGE);
    let described: unknown;
    const look = justBefore('store', entry, () => {
      const record = [P_REFS, P_FLAGS, P_MM, P_INDEX, P_RMAP_SLOT].map((word) => words[page + word]);
      described = { record, state: stateKind(words[page + P_STATE] as number) };
    });
    meeting(() => install(me, 0, pfn), look);
    expect(described).toEqual({ record: [1, PG_ANON | PG_EXCLUSIVE, me.mm, PAGE, entry], state: OWNED });
    expect(stateKind(words[page + P_STATE] as number)).toBe(LIVE);
  });

  test('far up has the low 31 bits of its number in the record', () => {
    const { me, words } = faultBench();
    const far = 2 ** 34 + 2 ** 31 + 5;
    me.map(far, 1);
    me.fault(far, 'write');
    expect(words[me.pageOf(far) + P_INDEX]).toBe(5);
  });
});

test.each([
  ['the entry is another', CHANGED],
  ['the mapping is detached', DETACHED],
])('a frame that cannot be installed since %s is the spare, and nothing else has changed', (_why, outcome) => {
  const { me, page, words } = readFromFile();
  const seen = me.pte(PAGE);
  const pfn = me.k.frames.alloc();
  const generation = words[me.mm + MM_GENERATION];
  if (outcome === DETACHED) me.k.vmas.markDetached(me.vmaAt(PAGE), 1);
  const done = install(me, outcome === CHANGED ? 0 : seen, pfn);
  expect([done.outcome, done.f.spare, me.pte(PAGE)]).toEqual([outcome, pfn, seen]);
  expect([words[page + P_RMAP_SLOT], words[me.mm + MM_GENERATION]]).toEqual([me.entryOf(PAGE), generation]);
  expect(stateKind(words[me.k.frames.pageOf(pfn) + P_STATE] as number)).toBe(OWNED);
});
