/**
 * What one thread keeps of one space: its TLB and the generation the TLB is good for. A `SectionClient`: entering a section (and
 * every quiescent point inside one) makes it look at the generation again.
 */
import { load } from '#atomics';
import type { MmRef, TableRef, Vpn } from '../base/brands.ts';
import { NONE } from '../base/brands.ts';
import type { Cpu } from '../sync/cpu.ts';
import type { SectionClient } from '../sync/rcu.ts';
import { catchUp } from './generation.ts';
import { MM_GENERATION } from './mm.layout.ts';
import { LEAF_PAGES, LEAF_SHIFT } from './table.layout.ts';
import type { Tables } from './tables.ts';
import { Tlb } from './tlb.ts';

const PAGES_PER_REGION = 0x40000;
/** No generation: outside sections nothing that the TLB says may be used. */
const INACTIVE = -0x80000000;

export class View implements SectionClient {
  readonly mm: MmRef;
  readonly sectionMm: number;
  readonly tlb: Tlb;
  readonly generationIndex: number;
  /** What the hit path compares with the space's generation: that of the TLB's contents inside sections, else none. */
  generation: number = INACTIVE;
  sectionDepth = 0;
  /** The last 1 GiB region walked, and the first entry of the table that names its leaves. */
  private _region = -1;
  private _leaves = 0;
  private readonly _cpu: Cpu;
  /** The generation that the TLB's contents are good for. */
  private _filled: number;

  constructor(cpu: Cpu, mm: MmRef, tlb: Tlb = new Tlb()) {
    this._cpu = cpu;
    this.mm = mm;
    this.tlb = tlb;
    this.sectionMm = mm;
    this.generationIndex = mm + MM_GENERATION;
    this._filled = load(cpu.words, this.generationIndex);
  }

  revalidate(): void {
    const generation = load(this._cpu.words, this.generationIndex); // after the slot's store: see Rcu
    if (generation !== this._filled) {
      catchUp(this._cpu, this.mm, this.tlb, this._filled, generation);
      this._filled = generation;
    }
    this.generation = generation;
  }

  /** As `Tables.leafFor`, with the way there remembered. Requires: a section. */
  leafFor(tables: Tables, vpn: Vpn): TableRef {
    const region = Math.floor(vpn / PAGES_PER_REGION);
    if (region !== this._region) {
      const leaves = tables.leavesAround(this.mm, vpn);
      if (leaves === 0) return NONE as TableRef;
      this._region = region;
      this._leaves = leaves;
    }
    return load(this._cpu.words, this._leaves + ((vpn >>> LEAF_SHIFT) & (LEAF_PAGES - 1))) as TableRef;
  }

  deactivate(): void {
    this.generation = INACTIVE;
  }
}
