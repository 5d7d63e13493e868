/**
 * What unit tests of faults and layouts stand on, beside kernel.ts: a thread in a space with its view and its fault handler, one attempt
 * at a fault on its own, files that need no disk, and what is counted meanwhile.
 */
import { BulkAccess } from '../src/access/bulk.ts';
import { Translator } from '../src/access/translate.ts';
import type { Backing } from '../src/backing/backing.ts';
import { descriptorText } from '../src/backing/descriptor.ts';
import { pageUnlock } from '../src/backing/page-lock.ts';
import type { MappingRef, MmRef, PageRef, Pfn, TableRef, VmaRef } from '../src/base/brands.ts';
import { rcuProtocol } from '../src/design/rcu.ts';
import { type Fault, FaultRecord } from '../src/fault/fault.ts';
import { Faulter } from '../src/fault/faulter.ts';
import type { FaultProtocol } from '../src/fault/protocol.ts';
import { FrameViews } from '../src/memory/frame-views.ts';
import { MM_SERIAL } from '../src/paging/mm.layout.ts';
import { ptePfn } from '../src/paging/pte.ts';
import { LEAF_PAGES, T_LOCK } from '../src/paging/table.layout.ts';
import { View } from '../src/paging/view.ts';
import type { Kernel } from '../src/space/kernel.ts';
import { rootOf } from '../src/space/layout.ts';
import { type MapRequest, mapPages } from '../src/space/map.ts';
import { attachMm } from '../src/space/mm.ts';
import { COUNTERS } from '../src/trace/counters.ts';
import { VM_MAYREAD, VM_MAYWRITE, VM_READ, VM_WRITE } from '../src/vma/vma.layout.ts';
import { type BareMachine, bareMachine, bareSpace, vpn } from './kernel.ts';

export const R: number = VM_READ | VM_MAYREAD | VM_MAYWRITE;
export const RW: number = R | VM_WRITE;

/** One thread in one space. */
export class Thread {
  readonly k: Kernel;
  readonly mm: MmRef;
  readonly view: View;
  readonly faulter: Faulter;
  readonly translator: Translator;
  readonly bulk: BulkAccess;

  constructor(k: Kernel, mm: MmRef, protocol: FaultProtocol = rcuProtocol) {
    this.k = k;
    this.mm = mm;
    this.view = new View(k.cpu, mm);
    this.faulter = new Faulter(k, mm, this.view, protocol);
    this.translator = new Translator(k, this.view, this.faulter);
    const { buffer, byteLength } = k.frames.bytes;
    this.bulk = new BulkAccess(this.translator, new FrameViews(buffer as SharedArrayBuffer, byteLength, undefined));
  }

  /** Private memory at `start`, or `pages` of a file. */
  map(start: number, pages: number, more: Partial<MapRequest> = {}): void {
    const mapping = 0 as MappingRef;
    mapPages(this.k, this.mm, { pages, placement: 'fixed', start, flags: RW, mapping, offset: 0, ...more });
  }

  inSection<T>(run: () => T): T {
    this.k.rcu.enter(this.view);
    try {
      return run();
    } finally {
      this.k.rcu.leave(this.view);
    }
  }

  fault(page: number, access: 'read' | 'write'): void {
    this.inSection(() => this.faulter.fault(vpn(page), access === 'write', page * 4096, access));
  }

  /** A fault of which a test makes the attempts itself. */
  begin(page: number, access: 'read' | 'write', protocol: FaultProtocol = rcuProtocol): Fault {
    const { k, mm, view } = this;
    return new FaultRecord({ k, mm, view, protocol }).begin(vpn(page), access === 'write', page * 4096, access);
  }

  vmaAt(page: number): VmaRef {
    return this.k.tree.find(rootOf(this.k, this.mm), page);
  }

  /** The layout: `3-5 rw`, in the order of addresses, detached ones with a `!`. */
  layout(): string[] {
    const { tree, vmas } = this.k;
    return tree.toArray(rootOf(this.k, this.mm)).map((v) => {
      const rights = `${vmas.flags(v) & VM_READ ? 'r' : '-'}${vmas.flags(v) & VM_WRITE ? 'w' : '-'}`;
      return `${vmas.start(v)}-${vmas.end(v)} ${rights}${vmas.isDetached(v) ? '!' : ''}`;
    });
  }

  leafOf(page: number): TableRef {
    return this.k.tables.leafFor(this.mm, vpn(page));
  }

  lockOf(page: number): number {
    return this.leafOf(page) + T_LOCK;
  }

  /** Word index of the page's entry. Requires: a leaf. */
  entryOf(page: number): number {
    return this.k.tables.entries(this.leafOf(page)) + (page % LEAF_PAGES);
  }

  /** The page's entry, 0 also where no leaf is. */
  pte(page: number): number {
    return this.leafOf(page) === 0 ? 0 : (this.k.words[this.entryOf(page)] as number);
  }

  /** The record of the frame behind the page. */
  pageOf(page: number): PageRef {
    return this.k.frames.pageOf(ptePfn(this.pte(page)));
  }

  byteAt(page: number): number {
    return this.k.frames.bytes[ptePfn(this.pte(page)) * 4096] as number;
  }

  mayRead(page: number): boolean {
    return this.view.tlb.readTags[page % 1024] === page * 4096;
  }

  mayWrite(page: number): boolean {
    return this.view.tlb.writeTags[page % 1024] === page * 4096;
  }
}

export interface FaultBench extends BareMachine {
  /** The thread under test. */
  readonly me: Thread;
  /** Another thread in the same space: what it does within `meeting` comes between two accesses of the first one. */
  readonly other: Thread;
}

export function faultBench(frames = 128, protocol: FaultProtocol = rcuProtocol): FaultBench {
  const bare = bareMachine(frames);
  const { mm } = bareSpace(bare.kernel);
  const second = bare.another();
  attachMm(second, mm, bare.words[mm + MM_SERIAL] as number);
  return { ...bare, me: new Thread(bare.kernel, mm, protocol), other: new Thread(second, mm, protocol) };
}

/** A file whose page n is full of n + 1. Every thread given can read it. */
export function numberedFile({ me, other }: FaultBench, size: number): MappingRef {
  const backing: Backing = {
    read(position, targets) {
      targets.forEach((target, i) => {
        target.fill(position / 4096 + i + 1);
      });
      return Math.min(targets.length * 4096, size - position);
    },
    close: () => undefined,
  };
  const file = me.k.files.create(descriptorText('numbered', {}), size, backing);
  other.k.files.adopt(file, backing);
  return file;
}

/** Brings the page of the file into the cache. */
export function cached(k: Kernel, file: MappingRef, index: number): PageRef {
  const page = k.files.fetch(file, index);
  pageUnlock(k.cpu, page);
  return page;
}

/** What the thread has counted while `run` ran, without what goes on below a fault or a call: frames, flushes, locks. */
export function counted(k: Kernel, run: () => unknown): Record<string, number> {
  const { floats, counters } = k.cpu;
  const before = floats.slice(counters, counters + COUNTERS.length);
  run();
  const out: Record<string, number> = {};
  COUNTERS.forEach((name, i) => {
    const more = (floats[counters + i] as number) - (before[i] as number);
    if (more !== 0 && !/^(frames|retire|tlb|section|grace|lock|reclaim)\./.test(name)) out[name] = more;
  });
  return out;
}

/** Takes every frame that there is. */
export function takeAllFrames(k: Kernel): Pfn[] {
  const taken: Pfn[] = [];
  for (let pfn = k.frames.alloc(); pfn !== 0; pfn = k.frames.alloc()) taken.push(pfn);
  return taken;
}

type Access = 'load' | 'store' | 'compareExchange' | 'exchange' | 'add';

/** For `meeting`: has `act` done just before the first access of that kind to word `at`. */
export function justBefore(kind: Access, at: number, act: () => void): (met: Access, index: number) => void {
  let isDone = false;
  return (met, index) => {
    if (isDone || met !== kind || index !== at) return;
    isDone = true;
    act();
  };
}
