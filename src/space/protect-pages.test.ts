import { describe, expect, test } from 'vitest';
import { faultBench, justBefore, type Thread } from '../../test/faulting.ts';
import { meeting, vpn } from '../../test/kernel.ts';
import { PTE_ACCESSED, PTE_DIRTY, PTE_NONE, PTE_PRESENT, PTE_WRITE, ptePfn, zappedPte } from '../paging/pte.ts';
import { VM_EXEC, VM_READ, VM_WRITE } from '../vma/vma.layout.ts';
import { protectPages } from './protect-pages.ts';

const BITS = 0xfff;

function protect(me: Thread, start: number, end: number, prot: number): void {
  protectPages(me.k, me.mm, vpn(start), vpn(end), prot);
}

describe('fitting entries to rights', () => {
  const used = PTE_PRESENT | PTE_WRITE | PTE_DIRTY | PTE_ACCESSED;

  test.each([
    ['none leaves page and bits, and takes the right to touch it', 0, PTE_NONE | PTE_DIRTY | PTE_ACCESSED],
    ['reading takes the right to write', VM_READ, PTE_PRESENT | PTE_DIRTY | PTE_ACCESSED],
    ['running takes it too', VM_EXEC, PTE_PRESENT | PTE_DIRTY | PTE_ACCESSED],
    ['reading and writing takes nothing', VM_READ | VM_WRITE, used],
  ])('%s (I10)', (_what, prot, bits) => {
    const { me } = faultBench();
    me.map(100, 1);
    me.fault(100, 'write');
    const pfn = ptePfn(me.pte(100));
    expect(me.pte(100) & BITS).toBe(used);
    protect(me, 100, 101, prot);
    expect([me.pte(100) & BITS, ptePfn(me.pte(100))]).toEqual([bits, pfn]);
    expect(me.k.tables.used(me.leafOf(100))).toBe(1);
  });

  test('gives readability back, but not the right to write: the next write fault does', () => {
    const { me } = faultBench();
    me.map(100, 1);
    me.fault(100, 'write');
    protect(me, 100, 101, 0);
    protect(me, 100, 101, VM_READ | VM_WRITE);
    expect(me.pte(100) & BITS).toBe(PTE_PRESENT | PTE_DIRTY | PTE_ACCESSED);
  });

  test('is for the pages of the range alone, on every leaf of it', () => {
    const { me } = faultBench();
    me.map(500, 600);
    const pages = [510, 511, 512, 1023, 1024, 1025];
    for (const page of pages) me.fault(page, 'write');
    protect(me, 511, 1025, VM_READ);
    expect(pages.filter((page) => (me.pte(page) & PTE_WRITE) !== 0)).toEqual([510, 1025]);
  });

  test('leaves an entry alone that is on its way out: its mark must stay', () => {
    const { me, words } = faultBench();
    me.map(100, 1);
    me.fault(100, 'write');
    const zapped = zappedPte(me.pte(100));
    words[me.entryOf(100)] = zapped;
    protect(me, 100, 101, 0);
    protect(me, 100, 101, VM_READ);
    expect(me.pte(100)).toBe(zapped);
  });

  test('loses no bit that a thread sets between look and store (I10)', () => {
    const { me, words } = faultBench();
    me.map(100, 1);
    me.fault(100, 'write');
    const entry = me.entryOf(100);
    const pte = me.pte(100) & ~PTE_ACCESSED;
    words[entry] = pte;
    const set = justBefore('compareExchange', entry, () => {
      words[entry] = pte | PTE_ACCESSED;
    });
    meeting(() => protect(me, 100, 101, VM_READ), set);
    expect(me.pte(100)).toBe((pte | PTE_ACCESSED) & ~PTE_WRITE);
  });

  test('locks every leaf of the range, empty ones too (I5): a fault may be about to install there', () => {
    const { me, words, cpu } = faultBench();
    me.map(500, 600);
    me.inSection(() => [500, 600].map((page) => me.k.tables.ensureLeaf(me.mm, vpn(page))));
    me.fault(600, 'write');
    const locks = [me.lockOf(500), me.lockOf(600)];
    const taken: number[] = [];
    meeting(
      () => protect(me, 500, 1000, VM_READ),
      (kind, index) => {
        if (kind !== 'exchange' || !locks.includes(index)) return;
        expect(words[index]).toBe(cpu.tag);
        taken.push(index);
      },
    );
    expect(taken).toEqual(locks);
  });
});
