import { describe, expect, test } from 'vitest';
import { counted, faultBench, type Thread, takeAllFrames } from '../../test/faulting.ts';
import { vpn } from '../../test/kernel.ts';
import { MM_GENERATION } from '../paging/mm.layout.ts';
import { PTE_ACCESSED, PTE_DIRTY, PTE_NONE, PTE_PRESENT, PTE_WRITE, ptePfn, readablePte } from '../paging/pte.ts';
import { VM_MAYWRITE, VM_READ } from '../vma/vma.layout.ts';
import { installAnonymous, installZeroPage, restoreAccess } from './anon.ts';
import type { Fault } from './fault.ts';
import { CHANGED, DONE, NEED_FRAME, type Outcome } from './outcome.ts';

const PAGE = 100;

/** A fault that has looked up its VMA, in a space whose leaf is there. */
function lookedUp(me: Thread, access: 'read' | 'write'): Fault {
  const f = me.begin(PAGE, access);
  f.vma = me.vmaAt(PAGE);
  me.inSection(() => me.k.tables.ensureLeaf(me.mm, vpn(PAGE)));
  return f;
}

function counting(me: Thread, attempt: () => Outcome): { outcome: Outcome; counts: Record<string, number> } {
  let outcome: Outcome = DONE;
  const counts = counted(me.k, () => {
    outcome = me.inSection(attempt);
  });
  return { outcome, counts };
}

describe('the first read of memory', () => {
  test('maps the zero page for reading alone, and takes no frame', () => {
    const { me, other } = faultBench();
    me.map(PAGE, 1);
    const f = lookedUp(me, 'read');
    const done = counting(me, () => installZeroPage(f, me.leafOf(PAGE)));
    expect(done).toEqual({ outcome: DONE, counts: { 'fault.anon.read': 1 } });
    expect(me.pte(PAGE)).toBe(readablePte(0 as never));
    expect([me.mayRead(PAGE), me.mayWrite(PAGE)]).toEqual([true, false]);
    expect(me.k.tables.used(me.leafOf(PAGE))).toBe(1);
    expect(me.k.frames.census()).toMatchObject({ live: 0, owned: 0 });
    expect(me.k.cpu.heldDepth + other.k.cpu.heldDepth).toBe(0);
  });

  test('is CHANGED when another was first, whose entry stays (I9)', () => {
    const { me, other } = faultBench();
    me.map(PAGE, 1);
    const f = lookedUp(me, 'read');
    other.fault(PAGE, 'write');
    const pte = me.pte(PAGE);
    const done = counting(me, () => installZeroPage(f, me.leafOf(PAGE)));
    expect([done, me.pte(PAGE), me.mayRead(PAGE)]).toEqual([{ outcome: CHANGED, counts: {} }, pte, false]);
  });
});

describe('the first write to memory', () => {
  test('maps a frame of its own that is all zero, whatever was in it', () => {
    const { me } = faultBench();
    me.k.frames.bytes.fill(0xee, 4096);
    me.map(PAGE, 1);
    const f = lookedUp(me, 'write');
    const done = counting(me, () => installAnonymous(f, me.leafOf(PAGE), 0));
    expect(done).toEqual({ outcome: DONE, counts: { 'fault.anon.write': 1 } });
    const from = ptePfn(me.pte(PAGE)) * 4096;
    expect(me.k.frames.bytes.subarray(from, from + 4096).every((byte) => byte === 0)).toBe(true);
    expect(me.k.frames.bytes[from + 4096]).toBe(0xee);
    expect([me.mayRead(PAGE), me.mayWrite(PAGE)]).toEqual([true, true]);
  });

  test('replaces the zero page, of which no thread has a translation afterwards', () => {
    const { me, other, words } = faultBench();
    me.map(PAGE, 1);
    other.fault(PAGE, 'read');
    const f = lookedUp(me, 'write');
    const generation = words[me.mm + MM_GENERATION] as number;
    expect(me.inSection(() => installAnonymous(f, me.leafOf(PAGE), me.pte(PAGE)))).toBe(DONE);
    expect(words[me.mm + MM_GENERATION]).toBe(generation + 1);
    other.inSection(() => expect(other.mayRead(PAGE)).toBe(false));
  });

  test('is NEED_FRAME without one, and DONE with the one that a sleep has brought', () => {
    const { me } = faultBench();
    me.map(PAGE, 1);
    const [first] = takeAllFrames(me.k);
    const f = lookedUp(me, 'write');
    expect(counting(me, () => installAnonymous(f, me.leafOf(PAGE), 0))).toEqual({ outcome: NEED_FRAME, counts: {} });
    f.spare = first as never;
    me.k.frames.bytes.fill(7, 4096);
    expect(me.inSection(() => installAnonymous(f, me.leafOf(PAGE), 0))).toBe(DONE);
    expect([f.spare, ptePfn(me.pte(PAGE)), me.byteAt(PAGE)]).toEqual([0, first, 0]);
  });

  test('keeps its frame when another was first, and does not count (I9)', () => {
    const { me, other } = faultBench();
    me.map(PAGE, 1);
    const f = lookedUp(me, 'write');
    other.fault(PAGE, 'write');
    expect(counting(me, () => installAnonymous(f, me.leafOf(PAGE), 0))).toEqual({ outcome: CHANGED, counts: {} });
    expect([f.spare > 0, f.spare === ptePfn(me.pte(PAGE))]).toEqual([true, false]);
  });
});

describe('rights that have come back', () => {
  const kept = PTE_NONE | PTE_DIRTY;

  test.each([
    ['a write makes the entry writable and dirty', 'write', VM_READ | 2, PTE_PRESENT | PTE_WRITE | PTE_DIRTY],
    ['a read does not', 'read', VM_READ | 2, PTE_PRESENT | PTE_DIRTY],
    ['nor does a write where the mapping forbids it', 'write', VM_READ | VM_MAYWRITE, PTE_PRESENT | PTE_DIRTY],
  ] as const)('%s, and both keep the page and its dirty bit (I10)', (_what, access, flags, bits) => {
    const { me, words } = faultBench();
    me.map(PAGE, 1);
    me.fault(PAGE, 'write');
    me.view.tlb.flush();
    me.map(PAGE + 1, 1, { flags });
    const pfn = ptePfn(me.pte(PAGE));
    const seen = (pfn << 12) | kept;
    words[me.entryOf(PAGE)] = seen;
    const f = lookedUp(me, access);
    f.vma = me.vmaAt(PAGE + 1);
    const done = counting(me, () => restoreAccess(f, me.leafOf(PAGE), seen));
    expect(done).toEqual({ outcome: DONE, counts: { 'fault.write.upgrade': 1 } });
    expect(me.pte(PAGE)).toBe((pfn << 12) | bits | PTE_ACCESSED);
    expect([me.mayRead(PAGE), me.mayWrite(PAGE)]).toEqual([true, (bits & PTE_WRITE) !== 0]);
    expect(me.k.tables.used(me.leafOf(PAGE))).toBe(1);
  });

  test('are CHANGED when the entry is another (I9)', () => {
    const { me } = faultBench();
    me.map(PAGE, 1);
    me.fault(PAGE, 'write');
    const pte = me.pte(PAGE);
    const f = lookedUp(me, 'write');
    expect(me.inSection(() => restoreAccess(f, me.leafOf(PAGE), pte ^ PTE_DIRTY))).toBe(CHANGED);
    expect(me.pte(PAGE)).toBe(pte);
  });
});
