/**
 * One fault (Linux's `struct vm_fault`): what was asked, which nobody changes while it lasts, beside what the attempts have found out
 * and have in hand. Each part of the fault gets it as its argument. A thread has one record per space, and begins it anew for
 * each fault: a fault does not happen inside another one's, since what runs while it sleeps must not touch mapped memory (H1).
 */
import type { LockedLeaf, MappingRef, MmRef, PageRef, Pfn, VmaRef, Vpn } from '../base/brands.ts';
import { NONE } from '../base/brands.ts';
import type { View } from '../paging/view.ts';
import type { Kernel } from '../space/kernel.ts';
import type { FaultProtocol } from './protocol.ts';

/** Where faults happen: the same for all faults of a thread in a space. */
export interface FaultContext {
  readonly k: Kernel;
  readonly mm: MmRef;
  readonly view: View;
  readonly protocol: FaultProtocol;
}

export interface Asked {
  readonly vpn: Vpn;
  readonly write: boolean;
  /** The address in bytes, for messages. */
  readonly address: number;
  /** The caller's name, for messages. */
  readonly access: string;
}

export interface Fault extends FaultContext, Asked {
  /** The VMA of the last attempt. Good in the section in which it was looked up, or while it is named in the slot. */
  vma: VmaRef;
  /** The tree in which it was found. */
  root: number;
  /** The leaf in which the page's entry is, locked since `lockForCommit` has said DONE; nothing at any other time. */
  leaf: LockedLeaf;
  /** The file and the page in it, for mappings of files. */
  mapping: MappingRef;
  index: number;
  /** A frame kept from one attempt to the next, its bytes undefined; back to the pool if nobody needs it. 0 for none. */
  spare: Pfn;
  /** A page that `fetch` has left locked for us, 0 for none. It may be of a mapping that is gone since. */
  held: PageRef;
  /** So many attempts have lost against writers that this one looks up and commits under the tree lock. */
  pessimistic: boolean;
}

/** The record, for who begins a fault. Everybody else sees a `Fault`. */
export class FaultRecord implements Fault {
  readonly k: Kernel;
  readonly mm: MmRef;
  readonly view: View;
  readonly protocol: FaultProtocol;
  vpn: Vpn = 0 as Vpn;
  write = false;
  address = 0;
  access = '';
  vma: VmaRef = NONE as VmaRef;
  root = 0;
  leaf: LockedLeaf = NONE as LockedLeaf;
  mapping: MappingRef = NONE as MappingRef;
  index = 0;
  spare: Pfn = 0 as Pfn;
  held: PageRef = NONE as PageRef;
  pessimistic = false;

  constructor({ k, mm, view, protocol }: FaultContext) {
    this.k = k;
    this.mm = mm;
    this.view = view;
    this.protocol = protocol;
  }

  /** Requires: nothing in hand from the fault before. */
  begin(vpn: Vpn, write: boolean, address: number, access: string): Fault {
    this.vpn = vpn;
    this.write = write;
    this.address = address;
    this.access = access;
    this.pessimistic = false;
    return this;
  }
}
