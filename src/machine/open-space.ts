/**
 * One address space as one thread has it open: what all of the thread's handles on it (`Space`) share. It is let go with the last
 * of them.
 */
import { peek } from '#atomics';
import { Accessor } from '../access/accessor.ts';
import { BulkAccess } from '../access/bulk.ts';
import { Translator } from '../access/translate.ts';
import { oops } from '../base/assert.ts';
import type { MmRef } from '../base/brands.ts';
import { designById } from '../design/designs.ts';
import { Faulter } from '../fault/faulter.ts';
import type { FrameViews } from '../memory/frame-views.ts';
import { Tlb } from '../paging/tlb.ts';
import { View } from '../paging/view.ts';
import type { Kernel } from '../space/kernel.ts';
import { H_DESIGN } from '../sync/control.layout.ts';
import type { SpaceHandle } from './handles.ts';

/** A handle of this thread on the space. */
export interface Holder {
  /** Its machine is closed: it is of no use any more. */
  machineClosed(): void;
}

/** What a space needs of its machine. */
export interface SpaceHost {
  readonly kernel: Kernel;
  readonly views: FrameViews;
  readonly shared: boolean;
  checkOpen(syscall: string): void;
  spaceClosed(open: OpenSpace): void;
}

export class OpenSpace {
  readonly host: SpaceHost;
  readonly handle: SpaceHandle;
  readonly mm: MmRef;
  readonly view: View;
  readonly faulter: Faulter;
  readonly translator: Translator;
  readonly accessor: Accessor;
  readonly bulk: BulkAccess;
  /** The handles that are not closed. */
  readonly holders: Set<Holder> = new Set();

  constructor(host: SpaceHost, handle: SpaceHandle) {
    const k = host.kernel;
    const protocol = designById(peek(k.words, H_DESIGN));
    if (protocol === undefined) oops('machine', 'its design is not in this build');
    this.host = host;
    this.handle = handle;
    this.mm = handle.space as MmRef;
    this.view = new View(k.cpu, this.mm, new Tlb(host.views.mayMove ? 'blind' : 'seeing'));
    this.faulter = new Faulter(k, this.mm, this.view, protocol);
    this.translator = new Translator(k, this.view, this.faulter);
    this.accessor = new Accessor(k.words, k.rcu, this.translator, host.views);
    this.bulk = new BulkAccess(this.translator, host.views);
  }
}
