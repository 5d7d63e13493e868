/**
 * The public `Space`: one address space as one thread has it open. Layout calls, `run`, and every access as a call of its own.
 */
import { load, peek, peekF64 } from '#atomics';
import { mapRequest, byteCount, checkProt, pageRange } from './arguments.ts';
import { Accessor } from './accessor.ts';
import { BulkAccess } from './bulk.ts';
import { DEV } from '#dev';
import type { MmRef, Vpn } from './base/brands.ts';
import { NONE } from './base/brands.ts';
import { VmError, WouldBlock } from './base/errors.ts';
import { PAGE_SIZE, VPN_LIMIT } from './base/limits.ts';
import { designById } from './design/designs.ts';
import { oops } from './base/assert.ts';
import { Faulter } from './fault/faulter.ts';
import type { MappedFile } from './mapped-file.ts';
import { MM_MAP_COUNT, MM_MAPPED_PAGES, MM_SEQUENCE } from './paging/mm.layout.ts';
import { View } from './paging/view.ts';
import type { Kernel } from './space/kernel.ts';
import { rootOf } from './space/layout.ts';
import { mapPages } from './space/map.ts';
import { protectRange } from './space/protect.ts';
import { unmapPages } from './space/unmap.ts';
import { H_DESIGN } from './sync/control.layout.ts';
import { Translator } from './translate.ts';
import { VM_PROT, VM_SHARED } from './vma/vma.layout.ts';
import type { FrameViews } from './views.ts';
import { futexNotify, futexWait } from './virtual-futex.ts';

const POPULATE_RETRY_MS = 1;

/** One line of `maps()`. */
export interface Mapping {
  /** Byte addresses, `[start, end)`. */
  readonly start: number;
  readonly end: number;
  /** PROT_* bits. */
  readonly prot: number;
  readonly shared: boolean;
  /** Identifies the file within the machine, as `MappedFile.id`; undefined for anonymous memory. */
  readonly file: number | undefined;
  /** Bytes into the file at `start`; 0 for anonymous memory. */
  readonly offset: number;
}

export interface MmapOptions {
  /** Bytes, rounded up to pages. */
  readonly length: number;
  /** PROT_* bits. */
  readonly prot: number;
  /** MAP_* bits: one of MAP_SHARED and MAP_PRIVATE, MAP_ANONYMOUS or a file. */
  readonly flags: number;
  /** Byte address: a hint, or binding with MAP_FIXED or MAP_FIXED_NOREPLACE. */
  readonly addr?: number | undefined;
  readonly file?: MappedFile | undefined;
  /** Bytes into the file, a multiple of the page size. */
  readonly offset?: number | undefined;
}

export interface SpaceCounters {
  readonly mappings: number;
  readonly mappedBytes: number;
  /** Pages with an entry in the page tables, the shared zero page included. */
  readonly residentPages: number;
}

/** What a Space needs of its machine. */
export interface SpaceHost {
  readonly kernel: Kernel;
  readonly views: FrameViews;
  readonly shared: boolean;
  checkOpen(syscall: string): void;
  spaceClosed(space: Space): void;
}

export class Space {
  /** Cloneable: post it to a Worker and call `attachSpace` there. */
  readonly handle: SpaceHandle;
  readonly #host: SpaceHost;
  readonly #k: Kernel;
  readonly #mm: MmRef;
  readonly #view: View;
  readonly #faulter: Faulter;
  readonly #translator: Translator;
  readonly #accessor: Accessor;
  readonly #bulk: BulkAccess;
  #closed = false;

  /** Internal: use `machine.createSpace()` or `attachSpace(handle)`. */
  constructor(host: SpaceHost, handle: SpaceHandle) {
    const k = host.kernel;
    const protocol = designById(peek(k.words, H_DESIGN));
    if (protocol === undefined) oops('machine', 'its design is not in this build');
    this.handle = handle;
    this.#host = host;
    this.#k = k;
    this.#mm = handle.space as MmRef;
    this.#view = new View(k.cpu, this.#mm);
    this.#faulter = new Faulter(k, this.#mm, this.#view, protocol);
    this.#translator = new Translator(k, this.#view, this.#faulter);
    this.#accessor = new Accessor(k.words, k.rcu, this.#translator, host.views);
    this.#bulk = new BulkAccess(this.#translator, host.views);
  }

  /* Layout. */

  /**
   * Maps memory; the byte address of its first page. mmap(2). Throws EINVAL, ENOMEM, EEXIST (MAP_FIXED_NOREPLACE), EACCES
   * (shared and writable, but the file is not), EBADF (no file, or a closed one), EPERM (below the lowest address), EOVERFLOW.
   */
  mmap(options: MmapOptions): number {
    this.#check('mmap');
    if (typeof options !== 'object' || options === null) throw new VmError('EINVAL', 'mmap', 'options must be an object');
    const { addr = 0, length, prot, flags, file, offset = 0 } = options;
    const mapping = file === undefined ? NONE : this.#mappingOf(file);
    const request = mapRequest({ addr, length, prot, flags, offset, mapping: mapping as never });
    return this.#outside(() => mapPages(this.#k, this.#mm, request)) * PAGE_SIZE;
  }

  /** Unmaps whole pages; holes in the range are allowed. munmap(2). Throws EINVAL, ENOMEM (a split needs a record). */
  munmap(address: number, length: number): void {
    this.#check('munmap');
    const { start, end } = pageRange(address, length, 'munmap', 'EINVAL');
    this.#outside(() => unmapPages(this.#k, this.#mm, start as Vpn, end as Vpn));
  }

  /**
   * Changes the rights of whole pages. mprotect(2), except that a range with a hole changes nothing. When it returns no thread
   * can still use a right that it took away. Throws EINVAL, ENOMEM (a hole), EACCES, ETIMEDOUT (a thread does not leave its
   * section: the new rights are in force for every translation made from now on).
   */
  mprotect(address: number, length: number, prot: number): void {
    this.#check('mprotect');
    const rights = checkProt(prot, 'mprotect');
    if (byteCount(length, 'length', 'mprotect') === 0) {
      pageRange(address, PAGE_SIZE, 'mprotect', 'ENOMEM');
      return;
    }
    const { start, end } = pageRange(address, length, 'mprotect', 'ENOMEM');
    this.#outside(() => protectRange(this.#k, this.#mm, start as Vpn, end as Vpn, rights));
  }

  /** One consistent view of the whole layout, in address order. */
  maps(): Mapping[] {
    this.#check('maps');
    const { vmas, tree, rcu } = this.#k;
    const out: Mapping[] = [];
    rcu.enter(this.#view);
    try {
      tree.forEach(rootOf(this.#k, this.#mm), 0, VPN_LIMIT, (v) => {
        const mapping = vmas.mapping(v);
        const flags = vmas.flags(v);
        out.push({
          start: vmas.start(v) * PAGE_SIZE,
          end: vmas.end(v) * PAGE_SIZE,
          prot: flags & VM_PROT,
          shared: (flags & VM_SHARED) !== 0,
          file: mapping === NONE ? undefined : mapping,
          offset: mapping === NONE ? 0 : vmas.offset(v) * PAGE_SIZE,
        });
      });
    } finally {
      rcu.leave(this.#view);
    }
    return out;
  }

  /** Changes whenever the layout does: equal before and after means that nothing was mapped, unmapped or protected between. */
  sequence(): number {
    this.#check('sequence');
    return load(this.#k.words, this.#mm + MM_SEQUENCE);
  }

  counters(): SpaceCounters {
    this.#check('counters');
    const { words, floats, tables, rcu } = this.#k;
    let residentPages = 0;
    rcu.enter(this.#view);
    try {
      tables.forEachLeaf(this.#mm, 0 as Vpn, VPN_LIMIT as Vpn, (leaf) => {
        residentPages += tables.used(leaf);
      });
    } finally {
      rcu.leave(this.#view);
    }
    return {
      mappings: peek(words, this.#mm + MM_MAP_COUNT),
      mappedBytes: peekF64(floats, (this.#mm + MM_MAPPED_PAGES) >> 1) * PAGE_SIZE,
      residentPages,
    };
  }

  /* Access. */

  /**
   * Runs `fn` in one section, in which an access costs a few nanoseconds. Nests, and leaves on a throw. What can sleep
   * (faults, mprotect, wait) leaves the section while it does. A promise from `fn` is EINVAL: a section cannot outlast the call.
   */
  run<T>(fn: (memory: Accessor) => T): T {
    this.#check('run');
    const { rcu } = this.#k;
    if (DEV && rcu.depth === 0) rcu.noteStack(new Error('run').stack ?? '');
    rcu.enter(this.#view);
    try {
      const result = fn(this.#accessor);
      if (isPromise(result)) {
        result.then(undefined, () => undefined);
        throw new VmError('EINVAL', 'run', 'the function returned a promise; sections are synchronous');
      }
      return result;
    } finally {
      rcu.leave(this.#view);
    }
  }

  load8(address: number): number {
    this.#enter('load8');
    try {
      return this.#accessor.load8(address);
    } finally {
      this.#leave();
    }
  }
  store8(address: number, value: number): void {
    this.#enter('store8');
    try {
      this.#accessor.store8(address, value);
    } finally {
      this.#leave();
    }
  }
  load16(address: number): number {
    this.#enter('load16');
    try {
      return this.#accessor.load16(address);
    } finally {
      this.#leave();
    }
  }
  store16(address: number, value: number): void {
    this.#enter('store16');
    try {
      this.#accessor.store16(address, value);
    } finally {
      this.#leave();
    }
  }
  load32(address: number): number {
    this.#enter('load32');
    try {
      return this.#accessor.load32(address);
    } finally {
      this.#leave();
    }
  }
  store32(address: number, value: number): void {
    this.#enter('store32');
    try {
      this.#accessor.store32(address, value);
    } finally {
      this.#leave();
    }
  }
  loadU32(address: number): number {
    return this.load32(address) >>> 0;
  }
  loadI64(address: number): bigint {
    this.#enter('loadI64');
    try {
      return this.#accessor.loadI64(address);
    } finally {
      this.#leave();
    }
  }
  storeI64(address: number, value: bigint): void {
    this.#enter('storeI64');
    try {
      this.#accessor.storeI64(address, value);
    } finally {
      this.#leave();
    }
  }
  loadF32(address: number): number {
    this.#enter('loadF32');
    try {
      return this.#accessor.loadF32(address);
    } finally {
      this.#leave();
    }
  }
  storeF32(address: number, value: number): void {
    this.#enter('storeF32');
    try {
      this.#accessor.storeF32(address, value);
    } finally {
      this.#leave();
    }
  }
  loadF64(address: number): number {
    this.#enter('loadF64');
    try {
      return this.#accessor.loadF64(address);
    } finally {
      this.#leave();
    }
  }
  storeF64(address: number, value: number): void {
    this.#enter('storeF64');
    try {
      this.#accessor.storeF64(address, value);
    } finally {
      this.#leave();
    }
  }
  atomicLoad32(address: number): number {
    return this.run((memory) => memory.atomicLoad32(address));
  }
  atomicStore32(address: number, value: number): void {
    this.run((memory) => memory.atomicStore32(address, value));
  }
  cas32(address: number, expected: number, value: number): number {
    return this.run((memory) => memory.cas32(address, expected, value));
  }
  add32(address: number, delta: number): number {
    return this.run((memory) => memory.add32(address, delta));
  }
  exchange32(address: number, value: number): number {
    return this.run((memory) => memory.exchange32(address, value));
  }

  /**
   * Copies out of the space into `target`. Returns the bytes done: less than asked if a bad address comes in between; throws
   * (SegmentationFault, BusError: code EFAULT) if it is the first byte.
   */
  read(address: number, target: Uint8Array): number {
    this.#enter('read');
    try {
      return this.#bulk.read(address, target);
    } finally {
      this.#leave();
    }
  }

  /** Copies `source` into the space. As `read`. */
  write(address: number, source: Uint8Array): number {
    this.#enter('write');
    try {
      return this.#bulk.write(address, source);
    } finally {
      this.#leave();
    }
  }

  /** Copies within the space; the ranges may overlap. As `read`; with an overlap that forces backward copying, all or EFAULT. */
  copy(target: number, source: number, length: number): number {
    this.#enter('copy');
    try {
      return this.#bulk.copy(target, source, length);
    } finally {
      this.#leave();
    }
  }

  /** Sets `length` bytes to `value`. As `write`. */
  fill(address: number, length: number, value: number): number {
    this.#enter('fill');
    try {
      return this.#bulk.fill(address, length, value);
    } finally {
      this.#leave();
    }
  }

  /**
   * Faults [address, address + length) in for reading. Resolves to the bytes done, as `read`. On a thread that must not block
   * it waits for other threads' reads without blocking; elsewhere it does its work before it returns.
   */
  async populate(address: number, length: number): Promise<number> {
    byteCount(length, 'length', 'populate');
    for (let done = 0; ; ) {
      this.#enter('populate');
      try {
        done += this.#bulk.prefault(address + done, length - done);
        return done;
      } catch (error) {
        if (!(error instanceof WouldBlock)) throw error;
      } finally {
        this.#leave();
      }
      await new Promise((resolve) => setTimeout(resolve, POPULATE_RETRY_MS));
    }
  }

  /* Waiting. */

  /**
   * futex(2) FUTEX_WAIT: sleeps while the aligned 32-bit word holds `expected`, until notified or for `timeout` milliseconds.
   * Leaves this thread's sections meanwhile. Throws WouldBlock where blocking is not allowed, EDEADLK on a machine that is
   * not shared.
   */
  wait(address: number, expected: number, timeout: number = Number.POSITIVE_INFINITY): 'ok' | 'not-equal' | 'timed-out' {
    this.#check('wait');
    const parts = { k: this.#k, view: this.#view, translator: this.#translator, words: this.#host.views.i32 };
    return futexWait(parts, this.#host.shared, address, expected, timeout);
  }

  /** FUTEX_WAKE: wakes up to `count` threads that wait on the word, in any space that maps the same shared page. */
  notify(address: number, count: number = Number.POSITIVE_INFINITY): number {
    this.#check('notify');
    const parts = { k: this.#k, view: this.#view, translator: this.#translator, words: this.#host.views.i32 };
    return futexNotify(parts, address, count);
  }

  /* Life. */

  get closed(): boolean {
    return this.#closed;
  }

  /**
   * This thread is done with the space; the last thread to close it tears it down. Idempotent. Throws EDEADLK inside `run`
   * on the same space, EBUSY while the thread is in another section.
   */
  close(): void {
    if (this.#closed) return;
    if (this.#view.sectionDepth > 0) throw new VmError('EDEADLK', 'close', 'the space is closed inside its own run()');
    this.#closed = true;
    this.#host.spaceClosed(this);
  }

  /** The tree of VMAs, for people. */
  dump(): string {
    this.#check('dump');
    const { rcu, tree } = this.#k;
    rcu.enter(this.#view);
    try {
      return tree.dump(rootOf(this.#k, this.#mm));
    } finally {
      rcu.leave(this.#view);
    }
  }

  /** Checks the structure of the tree; throws an Oops that names the broken rule. */
  validate(): void {
    this.#check('validate');
    const { rcu, tree } = this.#k;
    rcu.enter(this.#view);
    try {
      tree.validate(rootOf(this.#k, this.#mm), { allowDetached: true });
    } finally {
      rcu.leave(this.#view);
    }
  }

  /** Layout calls may sleep: they leave every section of this thread first. */
  #outside<T>(call: () => T): T {
    const { rcu } = this.#k;
    if (rcu.suspendedDepth !== 0) oops('H1', 'a callback changed the layout while its thread was serving a fault');
    return rcu.outside(call);
  }

  #mappingOf(file: MappedFile): number {
    const mapping = file?.mappingFor?.(this.#k);
    if (mapping === undefined) throw new VmError('EINVAL', 'mmap', 'file must be a MappedFile of this machine');
    return mapping;
  }

  #enter(syscall: string): void {
    if (this.#closed) this.#check(syscall);
    this.#k.rcu.enter(this.#view);
  }

  #leave(): void {
    this.#k.rcu.leave(this.#view);
  }

  #check(syscall: string): void {
    if (this.#closed) throw new VmError('EBADF', syscall, 'the space is closed');
    this.#host.checkOpen(syscall);
  }
}

/** What `attachSpace` takes. Survives structured cloning. */
export interface SpaceHandle {
  readonly kind: 'vmspace.space';
  readonly version: number;
  readonly control: SharedArrayBuffer | ArrayBuffer;
  readonly frames: SharedArrayBuffer | ArrayBuffer;
  readonly frameBytes: number;
  readonly space: number;
  readonly serial: number;
}

function isPromise(value: unknown): value is Promise<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}
