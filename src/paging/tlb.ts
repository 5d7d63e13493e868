/**
 * The software TLB of one thread for one space: direct mapped, private arrays. Read and write translations have tags of their
 * own, so that an access is one compare. A tag is the page's first byte address; -1 matches nothing.
 */
import type { Pfn, Vpn } from '../base/brands.ts';
import { PAGE_SIZE, PAGE_WORDS } from '../base/limits.ts';
import { TLB_ENTRIES, TLB_MASK } from '../base/tunables.ts';

const EMPTY = -1;

export class Tlb {
  /** A blind TLB never matches: every access takes the slow path, which sees whether the machine's memory has moved. */
  readonly blind: boolean;
  readonly readTags: Float64Array = new Float64Array(TLB_ENTRIES).fill(EMPTY);
  readonly writeTags: Float64Array = new Float64Array(TLB_ENTRIES).fill(EMPTY);
  /** First 32-bit word of the frame. */
  readonly frames: Int32Array = new Int32Array(TLB_ENTRIES);

  constructor(kind: 'seeing' | 'blind' = 'seeing') {
    this.blind = kind === 'blind';
  }

  /** `writable` only for a PTE that is writable and dirty (I13). */
  fill(vpn: Vpn, pfn: Pfn, writable: boolean): void {
    const slot = vpn & TLB_MASK;
    const tag = this.blind ? EMPTY : vpn * PAGE_SIZE;
    this.readTags[slot] = tag;
    this.writeTags[slot] = writable ? tag : EMPTY;
    this.frames[slot] = pfn * PAGE_WORDS;
  }

  flush(): void {
    this.readTags.fill(EMPTY);
    this.writeTags.fill(EMPTY);
  }

  /** Drops the translations of `pages` pages from `first` on, of whose numbers the low 32 bits count; EMPTY may match page 0. */
  flushRange(first: number, pages: number): void {
    if (pages >= TLB_ENTRIES) {
      this.flush();
      return;
    }
    for (let i = 0; i < pages; i++) {
      const low = (first + i) | 0;
      const slot = low & TLB_MASK;
      if ((((this.readTags[slot] as number) / PAGE_SIZE) | 0) !== low) continue;
      this.readTags[slot] = EMPTY;
      this.writeTags[slot] = EMPTY;
    }
  }
}
