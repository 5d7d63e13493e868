/** Fitting existing PTEs to new rights, under their leaf locks, by cas: accessed and dirty bits are not lost (I10). */
import { cas, load } from '#atomics';
import type { MmRef, TableRef, Vpn } from '../base/brands.ts';
import { PTE_NONE, PTE_PRESENT, PTE_WRITE, PTE_ZAPPED } from '../paging/pte.ts';
import { LEAF_PAGES } from '../paging/table.layout.ts';
import { VM_PROT, VM_WRITE } from '../vma/vma.layout.ts';
import type { Kernel } from './kernel.ts';

/** Takes away what `prot` forbids and gives back readability. Write permission comes with the next write fault. */
export function protectPages(k: Kernel, mm: MmRef, start: Vpn, end: Vpn, prot: number): void {
  // In a section: a leaf that reclaim tears down meanwhile is empty, but stays this space's until we are through.
  k.rcu.walking(() => k.tables.forEachLeaf(mm, start, end, (leaf, from, to) => protectLeaf(k, leaf, from, to, prot)));
}

function protectLeaf(k: Kernel, leaf: TableRef, from: Vpn, to: Vpn, prot: number): void {
  const base = k.tables.entries(leaf);
  const last = base + ((to - 1) % LEAF_PAGES);
  // Even an empty leaf is locked: a fault that saw the old VMA attached may be about to install and count its page.
  k.tables.lockLeaf(leaf);
  const used = k.tables.used(leaf) > 0;
  for (let entry = base + (from % LEAF_PAGES); used && entry <= last; entry++) {
    for (let pte = load(k.words, entry); pte !== 0 && (pte & PTE_ZAPPED) === 0; ) {
      const wanted = restricted(pte, prot);
      if (wanted === pte) break;
      const found = cas(k.words, entry, pte, wanted);
      if (found === pte) break;
      pte = found;
    }
  }
  k.tables.unlockLeaf(leaf);
}

function restricted(pte: number, prot: number): number {
  if ((prot & VM_PROT) === 0) return (pte & ~(PTE_PRESENT | PTE_WRITE)) | PTE_NONE;
  const readable = (pte & ~PTE_NONE) | PTE_PRESENT;
  return (prot & VM_WRITE) === 0 ? readable & ~PTE_WRITE : readable;
}
