import { describe, expect, test } from 'vitest';
import { bareMachine, bareSpace, leave, vpn } from '../../test/kernel.ts';
import type { MmRef, Pfn } from '../base/brands.ts';
import { MAX_SPACES } from '../base/limits.ts';
import { FLUSH_RING, TLB_ENTRIES } from '../base/tunables.ts';
import { attachMm, leaveMm, mmAt } from '../space/mm.ts';
import { COUNTER } from '../trace/counters.ts';
import { bumpGeneration, catchUp, nudgeGeneration, nudgeSpacesOf, ringEntry } from './generation.ts';
import { MM_GENERATION, MM_RING, MM_SERIAL, RING_ENTRY_WORDS, RING_STAMP } from './mm.layout.ts';
import { makePte, PTE_ACCESSED, PTE_DIRTY, PTE_PRESENT, PTE_WRITE, ptePfn } from './pte.ts';
import { Tlb } from './tlb.ts';
import { View } from './view.ts';

const has = (tlb: Tlb, page: number): string =>
  `${tlb.readTags[page % TLB_ENTRIES] === page * 4096 ? 'r' : '-'}${tlb.writeTags[page % TLB_ENTRIES] === page * 4096 ? 'w' : '-'}`;

describe('a TLB', () => {
  test('begins empty, and its entries hold one page each, for reading or for both', () => {
    const tlb = new Tlb();
    expect(has(tlb, 0)).toBe('--');
    tlb.fill(vpn(5), 7 as Pfn, false);
    tlb.fill(vpn(6), 8 as Pfn, true);
    expect([has(tlb, 5), has(tlb, 6), tlb.frames[5], tlb.frames[6]]).toEqual(['r-', 'rw', 7 * 1024, 8 * 1024]);
    tlb.fill(vpn(6 + TLB_ENTRIES), 9 as Pfn, false);
    expect([has(tlb, 6), has(tlb, 6 + TLB_ENTRIES)]).toEqual(['--', 'r-']);
    tlb.flush();
    expect([has(tlb, 5), has(tlb, 6 + TLB_ENTRIES)]).toEqual(['--', '--']);
  });

  test('drops the pages of a range and no others, also where entries are shared', () => {
    const tlb = new Tlb();
    for (let page = 0; page < 10; page++) tlb.fill(vpn(page), 1 as Pfn, true);
    tlb.fill(vpn(TLB_ENTRIES + 4), 2 as Pfn, true);
    tlb.flushRange(3, 3);
    expect([2, 3, 5, 6].map((page) => has(tlb, page))).toEqual(['rw', '--', '--', 'rw']);
    expect(has(tlb, TLB_ENTRIES + 4)).toBe('rw');
    tlb.flushRange(0, 0);
    expect(has(tlb, 2)).toBe('rw');
    tlb.flushRange(0, 0x7fffffff);
    expect(has(tlb, 2)).toBe('--');
  });
});

describe('generations', () => {
  function world(): {
    mm: MmRef;
    tlb: Tlb;
    catchUpFrom(from: number): void;
    generation(): number;
    counts(): number[];
    bump(a: number, b: number): void;
    words: Int32Array;
  } {
    const { kernel, cpu, words } = bareMachine();
    const { mm } = bareSpace(kernel);
    const tlb = new Tlb();
    for (let page = 0; page < 64; page++) tlb.fill(vpn(page), 1 as Pfn, true);
    const generation = (): number => words[mm + MM_GENERATION] as number;
    const counter = (index: number): number => cpu.floats[cpu.counters + index] as number;
    return {
      mm,
      tlb,
      words,
      generation,
      bump: (a, b) => bumpGeneration(cpu, mm, vpn(a), vpn(b)),
      catchUpFrom: (from) => catchUp(cpu, mm, tlb, from, generation()),
      counts: () => [counter(COUNTER['tlb.flushes']), counter(COUNTER['tlb.range-flushes'])],
    };
  }

  test('drop the ranges that were changed since, from the ring', () => {
    const w = world();
    const from = w.generation();
    w.bump(3, 5);
    w.bump(10, 11);
    w.catchUpFrom(from);
    expect([2, 3, 4, 5, 9, 10, 11].map((page) => has(w.tlb, page))).toEqual(['rw', '--', '--', 'rw', 'rw', '--', 'rw']);
    expect(w.counts()).toEqual([0, 1]);
  });

  test('drop everything when the ring has moved on', () => {
    const w = world();
    const from = w.generation();
    for (let i = 0; i < FLUSH_RING; i++) w.bump(3, 4);
    w.catchUpFrom(from);
    expect([has(w.tlb, 0), has(w.tlb, 63)]).toEqual(['--', '--']);
    expect(w.counts()).toEqual([1, 0]);
  });

  test('keep what they can as long as the ring is just not full', () => {
    const w = world();
    const from = w.generation();
    for (let i = 0; i < FLUSH_RING - 1; i++) w.bump(i, i + 1);
    w.catchUpFrom(from);
    expect([has(w.tlb, FLUSH_RING - 2), has(w.tlb, FLUSH_RING - 1)]).toEqual(['--', 'rw']);
  });

  test('drop everything when an entry of the ring is another’s or half written', () => {
    const w = world();
    const from = w.generation();
    w.bump(3, 4);
    const entry = w.mm + MM_RING + (w.generation() & (FLUSH_RING - 1)) * RING_ENTRY_WORDS;
    expect(w.words[entry + RING_STAMP]).toBe(w.generation());
    w.words[entry + RING_STAMP] = 0x7777;
    w.catchUpFrom(from);
    expect(w.counts()).toEqual([1, 0]);
  });

  test('wrap around', () => {
    const w = world();
    w.words[w.mm + MM_GENERATION] = 0x7ffffff0 - 1;
    for (let i = 0; i < FLUSH_RING; i++) {
      w.words[ringEntry(w.mm, i) + RING_STAMP] = 0x7fffffe0 + i; // as the bumps before have left them
    }
    for (let i = 0; i < 15; i++) w.bump(20, 21);
    expect(w.generation()).toBe(0x7ffffffe);
    for (let i = 0; i < 4; i++) w.bump(i, i + 1);
    expect(w.generation()).toBe(-0x7ffffffe);
    w.catchUpFrom(0x7ffffffe);
    expect([0, 1, 2, 3].map((page) => has(w.tlb, page))).toEqual(['--', '--', '--', '--']);
    w.tlb.fill(vpn(0), 1 as Pfn, true);
    w.tlb.fill(vpn(1), 1 as Pfn, true);
    const from = w.generation();
    for (let i = 0; i < FLUSH_RING - 1; i++) w.bump(1, 2); // once round: the entry of the wrap is in use again
    w.catchUpFrom(from);
    expect([has(w.tlb, 0), has(w.tlb, 1)]).toEqual(['rw', '--']);
  });

  test('are nudged without dropping anything', () => {
    const { kernel, cpu, words } = bareMachine();
    const { mm, close } = bareSpace(kernel);
    const view = new View(cpu, mm);
    kernel.rcu.enter(view);
    view.tlb.fill(vpn(9), 3 as Pfn, true);
    nudgeGeneration(cpu, mm);
    expect(view.generation).not.toBe(words[mm + MM_GENERATION]);
    kernel.rcu.republish();
    expect([view.generation === words[mm + MM_GENERATION], has(view.tlb, 9)]).toEqual([true, 'rw']);
    kernel.rcu.leave(view);
    expect(view.generation).not.toBe(words[mm + MM_GENERATION]);
    close();
  });

  test('are nudged in every space that the cpu uses, the first and the last, and in no other', () => {
    const { kernel, cpu, words, another } = bareMachine();
    const other = another();
    const spaces = Array.from({ length: MAX_SPACES }, () => bareSpace(kernel));
    const used = [0, 31, 32, MAX_SPACES - 1];
    for (const index of used) attachMm(other, mmAt(kernel, index), words[mmAt(kernel, index) + MM_SERIAL] as number);
    const before = spaces.map(({ mm }) => words[mm + MM_GENERATION]);
    nudgeSpacesOf(cpu, kernel.regions, other.cpu.id);
    const nudged = spaces.flatMap(({ mm }, index) => (words[mm + MM_GENERATION] === before[index] ? [] : [index]));
    expect(nudged).toEqual(used);
    for (const index of used) leaveMm(other, mmAt(kernel, index), other.cpu.id);
    for (const space of spaces) space.close();
    leave(other);
  });

  test('are looked at on every entry: what was changed outside is dropped', () => {
    const { kernel, cpu } = bareMachine();
    const { mm, close } = bareSpace(kernel);
    const view = new View(cpu, mm);
    kernel.rcu.enter(view);
    view.tlb.fill(vpn(9), 3 as Pfn, true);
    view.tlb.fill(vpn(10), 3 as Pfn, true);
    kernel.rcu.leave(view);
    bumpGeneration(cpu, mm, vpn(9), vpn(10));
    kernel.rcu.enter(view);
    expect([has(view.tlb, 9), has(view.tlb, 10)]).toEqual(['--', 'rw']);
    kernel.rcu.leave(view);
    close();
  });
});

test('a page-table entry holds any of 2^20 frames beside its flags', () => {
  const flags = PTE_PRESENT | PTE_WRITE | PTE_ACCESSED | PTE_DIRTY;
  for (const pfn of [0, 1, 2 ** 19 - 1, 2 ** 19, 2 ** 20 - 1] as Pfn[]) {
    expect([ptePfn(makePte(pfn, flags)), makePte(pfn, flags) & 0xfff]).toEqual([pfn, flags]);
  }
});
