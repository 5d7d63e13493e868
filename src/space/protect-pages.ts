/** Fitting existing PTEs to new rights, under their leaf locks, by cas: accessed and dirty bits are not lost (I10). */
import type { MmRef, Vpn } from '../base/brands.ts';
import { NONE } from '../base/brands.ts';
import { RangeCursor } from '../paging/cursor.ts';
import { isZapped, restrictedPte } from '../paging/pte.ts';
import { VM_PROT, VM_WRITE } from '../vma/vma.layout.ts';
import type { Kernel } from './kernel.ts';

/** Takes away what `prot` forbids and gives back readability. Write permission comes with the next write fault. */
export function protectPages(k: Kernel, mm: MmRef, start: Vpn, end: Vpn, prot: number): void {
  // In a section: a leaf that reclaim tears down meanwhile is empty, but stays this space's until we are through.
  k.rcu.walking(() => {
    const cursor = new RangeCursor(k.tables, k.words, mm, start, end);
    while (cursor.nextLeaf()) {
      for (let entry = cursor.first(); entry !== NONE; entry = cursor.after(entry)) restrict(k, cursor, entry, prot);
    }
  });
}

function restrict(k: Kernel, cursor: RangeCursor, entry: number, prot: number): void {
  for (let { pte } = cursor; pte !== 0 && !isZapped(pte); ) {
    const wanted = restrictedPte(pte, (prot & VM_PROT) !== 0, (prot & VM_WRITE) !== 0);
    if (wanted === pte) return;
    const found = k.tables.casEntry(cursor.leaf, entry, pte, wanted);
    if (found === pte) return;
    pte = found; // a thread has set a bit meanwhile
  }
}
