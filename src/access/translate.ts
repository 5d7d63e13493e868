/**
 * From virtual addresses to frames: the slow side of every access. A hit is decided in `Accessor`; what comes here is a TLB miss,
 * a stale generation, an unaligned access or a bad address.
 */
import { cas, load } from '#atomics';
import { show } from '../base/arguments.ts';
import type { Vpn } from '../base/brands.ts';
import { NONE } from '../base/brands.ts';
import { SegmentationFault, seenFrom, VmError } from '../base/errors.ts';
import { ADDRESS_LIMIT, PAGE_MASK, PAGE_SIZE } from '../base/limits.ts';
import { TLB_MASK } from '../base/tunables.ts';
import type { Faulter } from '../fault/faulter.ts';
import { isReadable, isWritable, PTE_ACCESSED, ptePfn } from '../paging/pte.ts';
import { LEAF_PAGES } from '../paging/table.layout.ts';
import type { Tlb } from '../paging/tlb.ts';
import type { View } from '../paging/view.ts';
import { callDone, callFailed, enterCall, helpedOthers } from '../recovery/public-call.ts';
import type { Kernel } from '../space/kernel.ts';
import { COUNTER } from '../trace/counters.ts';

/** Attempts to have two pages translated at the same instant. */
export const MAX_PAIR_ATTEMPTS = 1000;

export class Translator {
  readonly k: Kernel;
  readonly view: View;
  private readonly _faulter: Faulter;
  private readonly _tlb: Tlb;

  constructor(k: Kernel, view: View, faulter: Faulter) {
    this.k = k;
    this.view = view;
    this._faulter = faulter;
    this._tlb = view.tlb;
  }

  /**
   * The byte position in the frames of `address`. Good until the next call that may sleep. Requires: a section. Throws
   * SegmentationFault, BusError, ENOMEM, WouldBlock; EINVAL for what is no address.
   */
  translate(address: number, write: boolean, access: string): number {
    checkAddress(address, access);
    if (this._tlb.blind) this._follow(address, access);
    this._poll();
    const vpn = Math.floor(address / PAGE_SIZE) as Vpn;
    for (let faults = 0; !this._hits(vpn, write) && !this._walk(vpn, write); faults++) {
      // Again after a fault too: it may have left its section when it was done, to finish what it had given up on.
      if (faults > MAX_PAIR_ATTEMPTS) throw new VmError('EAGAIN', access, 'the page is taken away each time', address);
      this._fault(vpn, write, address, access);
    }
    return (this._tlb.frames[vpn & TLB_MASK] as number) * 4 + (address & PAGE_MASK);
  }

  /**
   * Makes both pages of an access that crosses a page boundary available at the same instant, before its first byte: a fault on the
   * second one may sleep, which voids the translation of the first.
   */
  translatePair(address: number, length: number, write: boolean, access: string): void {
    const second = Math.floor((address + length - 1) / PAGE_SIZE) * PAGE_SIZE;
    const { rcu } = this.k;
    for (let attempt = 0; attempt < MAX_PAIR_ATTEMPTS; attempt++) {
      this.translate(address, write, access);
      const serial = rcu.sectionSerial;
      this.translate(second, write, access);
      if (rcu.sectionSerial === serial) return;
    }
    throw new VmError('EAGAIN', access, 'both pages of the access could not be had at the same time', address);
  }

  private _follow(address: number, access: string): void {
    try {
      this.k.frames.follow();
    } catch (error) {
      throw seenFrom(error, access, address);
    }
  }

  private _fault(vpn: Vpn, write: boolean, address: number, access: string): void {
    const { cpu } = this.k;
    enterCall(this.k, access);
    cpu.inFault = true;
    try {
      this._faulter.fault(vpn, write, address, access);
      cpu.inFault = false;
    } catch (error) {
      callFailed(this.k, error);
      cpu.inFault = false;
      if (helpedOthers(this.k, error)) return; // the caller looks again
      throw seenFrom(error, access, address);
    }
    callDone(this.k);
  }

  /** A quiescent point, if the generation has moved on. */
  private _poll(): void {
    if (load(this.k.words, this.view.generationIndex) !== this.view.generation) this.k.rcu.republish();
  }

  private _hits(vpn: Vpn, write: boolean): boolean {
    const slot = vpn & TLB_MASK;
    return (write ? this._tlb.writeTags[slot] : this._tlb.readTags[slot]) === vpn * PAGE_SIZE;
  }

  /** What the hardware does on a TLB miss. */
  private _walk(vpn: Vpn, write: boolean): boolean {
    const { k } = this;
    k.cpu.count(COUNTER['tlb.misses']);
    const leaf = this.view.leafFor(k.tables, vpn);
    if (leaf === NONE) return false;
    const entry = k.tables.entries(leaf) + (vpn & (LEAF_PAGES - 1));
    const pte = load(k.words, entry);
    if (!(write ? isWritable(pte) : isReadable(pte))) return false;
    if ((pte & PTE_ACCESSED) === 0 && cas(k.words, entry, pte, pte | PTE_ACCESSED) !== pte) return false;
    this._tlb.fill(vpn, ptePfn(pte), isWritable(pte));
    return true;
  }
}

function checkAddress(address: number, access: string): void {
  if (!Number.isInteger(address)) throw new VmError('EINVAL', access, `${show(address)} is not an address`);
  if (address < 0 || address >= ADDRESS_LIMIT) throw new SegmentationFault('SEGV_MAPERR', access, address);
}
