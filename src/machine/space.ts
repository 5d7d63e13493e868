/**
 * The public `Space`: a handle of one thread on an address space that it has open. Layout calls, `run`, and every access as a call
 * of its own.
 */
import { load, peek, peekF64 } from '#atomics';
import { CHECKED, DEV } from '#dev';
import type { Accessor } from '../access/accessor.ts';
import { AsyncWait, endAsyncWaits } from '../access/async-wait.ts';
import type { BulkAccess } from '../access/bulk.ts';
import { populate } from '../access/populate.ts';
import { checkWait, type FutexParts, futexEnter, futexNotify, futexWait } from '../access/virtual-futex.ts';
import { byteCount, checkObject, checkProt, pageRange, show } from '../base/arguments.ts';
import { oops } from '../base/assert.ts';
import type { MmRef, Vpn } from '../base/brands.ts';
import { NONE } from '../base/brands.ts';
import { type Closable, makeDisposable } from '../base/disposable.ts';
import { VmError } from '../base/errors.ts';
import { PAGE_SIZE, VPN_LIMIT } from '../base/limits.ts';
import { MM_MAP_COUNT, MM_MAPPED_PAGES, MM_SEQUENCE } from '../paging/mm.layout.ts';
import type { View } from '../paging/view.ts';
import { checkNoCallback, publicCall } from '../recovery/public-call.ts';
import type { Kernel } from '../space/kernel.ts';
import { rootOf } from '../space/layout.ts';
import { mapPages } from '../space/map.ts';
import { protectRange } from '../space/protect.ts';
import { unmapPages } from '../space/unmap.ts';
import { VM_PROT, VM_SHARED } from '../vma/vma.layout.ts';
import type { SpaceHandle } from './handles.ts';
import { mapRequest } from './map-request.ts';
import { MappedFile } from './mapped-file.ts';
import type { OpenSpace, SpaceHost } from './open-space.ts';

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

/**
 * What the function of `run` may return: anything but a promise, since a section cannot outlast the call. A wrapper of `run` that is
 * generic itself says the same of its function: `<T>(fn: (memory: Accessor) => Synchronous<T>): T`.
 */
export type Synchronous<T> = T &
  (unknown extends T ? unknown : [Extract<T, PromiseLike<unknown>>] extends [never] ? unknown : NoPromise);
type NoPromise = 'the function of run() must not be async: a section cannot outlast the call';

export interface SpaceCounters {
  readonly mappings: number;
  readonly mappedBytes: number;
  /** Pages with an entry in the page tables, the shared zero page included. */
  readonly residentPages: number;
}

export class Space implements Closable {
  /** Cloneable: post it to a Worker and call `attachSpace` there. */
  readonly handle: SpaceHandle;
  /** The same as `close`, for `using`. Where the host has no Symbol.dispose it is missing. */
  declare readonly [Symbol.dispose]: () => void;
  private readonly _open: OpenSpace;
  private readonly _host: SpaceHost;
  private readonly _k: Kernel;
  private readonly _mm: MmRef;
  private readonly _view: View;
  private readonly _accessor: Accessor;
  private readonly _bulk: BulkAccess;
  private _closed = false;

  /** Internal: use `machine.createSpace()` or `attachSpace(handle)`. */
  constructor(open: OpenSpace) {
    this.handle = open.handle;
    this._open = open;
    this._host = open.host;
    this._k = open.host.kernel;
    this._mm = open.mm;
    this._view = open.view;
    this._accessor = open.accessor;
    this._bulk = open.bulk;
    open.holders.add(this);
  }

  /* Layout. */

  /**
   * Maps memory; the byte address of its first page. mmap(2). Throws EINVAL, ENOMEM, EEXIST (MAP_FIXED_NOREPLACE), EACCES
   * (shared and writable, but the file is not), EBADF (no file, or a closed one), EPERM (below the lowest address), EOVERFLOW.
   */
  mmap(options: MmapOptions): number {
    checkObject(options, 'options', 'mmap');
    const { addr = 0, length, prot, flags, file, offset = 0 } = options; // may run the caller's code: before any look at the space
    this._check('mmap');
    const mapping = file === undefined ? NONE : this._mappingOf(file);
    const request = mapRequest({ addr, length, prot, flags, offset, mapping: mapping as never });
    return this._outside('mmap', () => mapPages(this._k, this._mm, request)) * PAGE_SIZE;
  }

  /** Unmaps whole pages; holes in the range are allowed. munmap(2). Throws EINVAL, ENOMEM (a split needs a record). */
  munmap(address: number, length: number): void {
    this._check('munmap');
    const { start, end } = pageRange(address, length, 'munmap', 'EINVAL');
    this._outside('munmap', () => unmapPages(this._k, this._mm, start as Vpn, end as Vpn));
  }

  /**
   * Changes the rights of whole pages. mprotect(2), except that a range with a hole changes nothing. When it returns no thread
   * can still use a right that it took away. Throws EINVAL, ENOMEM (a hole), EACCES; ETIMEDOUT, or WouldBlock where blocking is not
   * allowed: a thread does not leave its section. The new rights are in force for every translation made from now on; a
   * translation that such a section has made it may use until it leaves.
   */
  mprotect(address: number, length: number, prot: number): void {
    this._check('mprotect');
    const rights = checkProt(prot, 'mprotect');
    if (byteCount(length, 'length', 'mprotect') === 0) {
      pageRange(address, PAGE_SIZE, 'mprotect', 'ENOMEM');
      return;
    }
    const { start, end } = pageRange(address, length, 'mprotect', 'ENOMEM');
    const request = { start: start as Vpn, end: end as Vpn, prot: rights, tightens: false };
    this._outside('mprotect', () => protectRange(this._k, this._mm, request));
  }

  /** One consistent view of the whole layout, in address order. */
  maps(): Mapping[] {
    this._check('maps');
    const { vmas, tree, rcu } = this._k;
    const out: Mapping[] = [];
    rcu.enter(this._view);
    try {
      tree.forEach(rootOf(this._k, this._mm), 0, VPN_LIMIT, (v) => {
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
      rcu.leave(this._view);
    }
    return out;
  }

  /** Changes whenever the layout does: equal before and after means that nothing was mapped, unmapped or protected between. */
  sequence(): number {
    this._check('sequence');
    return load(this._k.words, this._mm + MM_SEQUENCE);
  }

  counters(): SpaceCounters {
    this._check('counters');
    const { words, floats, tables, rcu } = this._k;
    let residentPages = 0;
    rcu.enter(this._view);
    try {
      tables.forEachLeaf(this._mm, 0 as Vpn, VPN_LIMIT as Vpn, (leaf) => {
        residentPages += tables.used(leaf);
      });
    } finally {
      rcu.leave(this._view);
    }
    return {
      mappings: peek(words, this._mm + MM_MAP_COUNT),
      mappedBytes: peekF64(floats, (this._mm + MM_MAPPED_PAGES) >> 1) * PAGE_SIZE,
      residentPages,
    };
  }

  /* Access. */

  /**
   * Runs `fn` in one section, in which an access costs a few nanoseconds. Nests, and leaves on a throw. What can sleep
   * (faults, mprotect, wait) leaves the section while it does. A promise from `fn` does not
   * type-check and is EINVAL: a section cannot outlast the call.
   */
  run<T>(fn: (memory: Accessor) => Synchronous<T>): T {
    this._check('run');
    if (typeof fn !== 'function') throw new VmError('EINVAL', 'run', `a function is needed, got ${show(fn)}`);
    const { rcu } = this._k;
    if (DEV && !CHECKED && rcu.depth === 0) rcu.noteStack(callersStack());
    let result: T;
    rcu.endStale();
    rcu.enter(this._view);
    rcu.runs++; // a statement of its own, as below: where nothing is called, the engine cannot run out of stack
    try {
      result = fn(this._accessor);
    } finally {
      rcu.runs--;
      rcu.leaveRun(this._view);
      if (DEV && !CHECKED && rcu.depth === 0) rcu.noteStack(''); // another section's stall is not this call's
    }
    refusePromise(result);
    return result;
  }

  load8(address: number): number {
    this._enter('load8');
    try {
      return this._accessor.load8(address);
    } finally {
      this._leave();
    }
  }
  store8(address: number, value: number): void {
    this._enter('store8');
    try {
      this._accessor.store8(address, value);
    } finally {
      this._leave();
    }
  }
  load16(address: number): number {
    this._enter('load16');
    try {
      return this._accessor.load16(address);
    } finally {
      this._leave();
    }
  }
  store16(address: number, value: number): void {
    this._enter('store16');
    try {
      this._accessor.store16(address, value);
    } finally {
      this._leave();
    }
  }
  load32(address: number): number {
    this._enter('load32');
    try {
      return this._accessor.load32(address);
    } finally {
      this._leave();
    }
  }
  store32(address: number, value: number): void {
    this._enter('store32');
    try {
      this._accessor.store32(address, value);
    } finally {
      this._leave();
    }
  }
  loadU32(address: number): number {
    this._enter('loadU32');
    try {
      return this._accessor.loadU32(address);
    } finally {
      this._leave();
    }
  }
  loadI64(address: number): bigint {
    this._enter('loadI64');
    try {
      return this._accessor.loadI64(address);
    } finally {
      this._leave();
    }
  }
  storeI64(address: number, value: bigint): void {
    this._enter('storeI64');
    try {
      this._accessor.storeI64(address, value);
    } finally {
      this._leave();
    }
  }
  loadF32(address: number): number {
    this._enter('loadF32');
    try {
      return this._accessor.loadF32(address);
    } finally {
      this._leave();
    }
  }
  storeF32(address: number, value: number): void {
    this._enter('storeF32');
    try {
      this._accessor.storeF32(address, value);
    } finally {
      this._leave();
    }
  }
  loadF64(address: number): number {
    this._enter('loadF64');
    try {
      return this._accessor.loadF64(address);
    } finally {
      this._leave();
    }
  }
  storeF64(address: number, value: number): void {
    this._enter('storeF64');
    try {
      this._accessor.storeF64(address, value);
    } finally {
      this._leave();
    }
  }
  atomicLoad32(address: number): number {
    this._enter('atomicLoad32');
    try {
      return this._accessor.atomicLoad32(address);
    } finally {
      this._leave();
    }
  }
  atomicStore32(address: number, value: number): void {
    this._enter('atomicStore32');
    try {
      this._accessor.atomicStore32(address, value);
    } finally {
      this._leave();
    }
  }
  cas32(address: number, expected: number, value: number): number {
    this._enter('cas32');
    try {
      return this._accessor.cas32(address, expected, value);
    } finally {
      this._leave();
    }
  }
  add32(address: number, delta: number): number {
    this._enter('add32');
    try {
      return this._accessor.add32(address, delta);
    } finally {
      this._leave();
    }
  }
  exchange32(address: number, value: number): number {
    this._enter('exchange32');
    try {
      return this._accessor.exchange32(address, value);
    } finally {
      this._leave();
    }
  }
  and32(address: number, bits: number): number {
    this._enter('and32');
    try {
      return this._accessor.and32(address, bits);
    } finally {
      this._leave();
    }
  }
  or32(address: number, bits: number): number {
    this._enter('or32');
    try {
      return this._accessor.or32(address, bits);
    } finally {
      this._leave();
    }
  }
  xor32(address: number, bits: number): number {
    this._enter('xor32');
    try {
      return this._accessor.xor32(address, bits);
    } finally {
      this._leave();
    }
  }
  atomicLoad64(address: number): bigint {
    this._enter('atomicLoad64');
    try {
      return this._accessor.atomicLoad64(address);
    } finally {
      this._leave();
    }
  }
  atomicStore64(address: number, value: bigint): void {
    this._enter('atomicStore64');
    try {
      this._accessor.atomicStore64(address, value);
    } finally {
      this._leave();
    }
  }
  cas64(address: number, expected: bigint, value: bigint): bigint {
    this._enter('cas64');
    try {
      return this._accessor.cas64(address, expected, value);
    } finally {
      this._leave();
    }
  }
  add64(address: number, delta: bigint): bigint {
    this._enter('add64');
    try {
      return this._accessor.add64(address, delta);
    } finally {
      this._leave();
    }
  }
  exchange64(address: number, value: bigint): bigint {
    this._enter('exchange64');
    try {
      return this._accessor.exchange64(address, value);
    } finally {
      this._leave();
    }
  }

  /**
   * Copies out of the space into `target`. Returns the bytes done: less than asked if a bad address comes in between; throws
   * (SegmentationFault, BusError: code EFAULT) if it is the first byte. What else may end it in the middle (ENOMEM, ETIMEDOUT,
   * EWOULDBLOCK) is thrown, with the bytes done before it (`done`) and the address it had come to. Throws EINVAL for what is no
   * Uint8Array, or is detached.
   */
  read(address: number, target: Uint8Array): number {
    this._enter('read');
    try {
      return this._bulk.read(address, target);
    } finally {
      this._leave();
    }
  }

  /** Copies `source` into the space. As `read`. */
  write(address: number, source: Uint8Array): number {
    this._enter('write');
    try {
      return this._bulk.write(address, source);
    } finally {
      this._leave();
    }
  }

  /**
   * Copies within the space; the ranges may overlap. As `read`; with an overlap that forces backward copying, all or EFAULT, and
   * `done` of an error counts from the end.
   */
  copy(target: number, source: number, length: number): number {
    this._enter('copy');
    try {
      return this._bulk.copy(target, source, length);
    } finally {
      this._leave();
    }
  }

  /** Sets `length` bytes to `value`. As `write`. */
  fill(address: number, length: number, value: number): number {
    this._enter('fill');
    try {
      return this._bulk.fill(address, length, value);
    } finally {
      this._leave();
    }
  }

  /**
   * Faults [address, address + length) in for reading. Resolves to the bytes done, as `read`. Where a fault would have to block and
   * must not, it reads the file asynchronously (a backing's `readAsync`; Blobs have it), and waits for other threads without blocking;
   * elsewhere it does its work before it returns. Of a range larger than memory only the last pages stay. Rejects as `read` throws;
   * with EBADF when the space is closed meanwhile, ETIMEDOUT when no page could be had for the machine's `ioTimeout`, EAGAIN
   * when a page is reclaimed again and again before it can be mapped.
   */
  async populate(address: number, length: number): Promise<number> {
    const { translator, faulter } = this._open;
    return populate({ translator, faulter, checkOpen: () => this._check('populate') }, address, length);
  }

  /* Waiting. */

  /**
   * futex(2) FUTEX_WAIT: sleeps while the aligned 32-bit word holds `expected`, until notified or for `timeout` milliseconds.
   * Leaves this thread's sections meanwhile. Throws WouldBlock where blocking is not allowed, EDEADLK on a machine that is
   * not shared.
   */
  wait(
    address: number,
    expected: number,
    timeout: number = Number.POSITIVE_INFINITY,
  ): 'ok' | 'not-equal' | 'timed-out' {
    this._check('wait');
    const parts = this._futexParts();
    return this._call('wait', () => futexWait(parts, this._host.shared, address, expected, timeout));
  }

  /**
   * As `wait`, for a thread that must not block: it is in the word's queue when the call returns, and goes on. Resolves to 'not-equal', or
   * to 'ok' once notified (`notify` counts it like any other), or to 'timed-out' after `timeout` milliseconds. It keeps a Node process
   * alive meanwhile. It rides on the protocol of `wait`, with an entry of its own in the thread's slot: a thread may have 8 at once.
   * Where the host has no Atomics.waitAsync, and on a machine that is not shared, it looks every 16 ms at least.
   * Rejects with EINVAL, SegmentationFault, WouldBlock (the word's page cannot be had without blocking: `populate` it first), EAGAIN (more than
   * 8); with EBADF when this handle is closed meanwhile, or its thread has left the machine.
   */
  async waitAsync(
    address: number,
    expected: number,
    timeout: number = Number.POSITIVE_INFINITY,
  ): Promise<'ok' | 'not-equal' | 'timed-out'> {
    this._check('waitAsync');
    checkWait(address, expected, timeout, 'waitAsync');
    const wait = this._call('waitAsync', () => this._queueAsync(address, expected));
    return wait === undefined ? 'not-equal' : wait.sleep(timeout);
  }

  /** Undefined when the word has another value. */
  private _queueAsync(address: number, expected: number): AsyncWait | undefined {
    const wait = new AsyncWait(this._k.cpu, this);
    let queued = false;
    try {
      queued = futexEnter(this._futexParts(), wait.index, address, expected);
    } finally {
      if (!queued) wait.end();
    }
    return queued ? wait : undefined;
  }

  private _futexParts(): FutexParts {
    return { k: this._k, view: this._view, translator: this._open.translator, views: this._host.views };
  }

  /** FUTEX_WAKE: wakes up to `count` threads that wait on the word, in any space that maps the same shared page. */
  notify(address: number, count: number = Number.POSITIVE_INFINITY): number {
    this._check('notify');
    const parts = this._futexParts();
    return this._call('notify', () => futexNotify(parts, address, count));
  }

  /* Life. */

  get closed(): boolean {
    return this._closed;
  }

  /**
   * Closes this handle; the thread's other handles on the space stay open. With the last one the thread is done with the space, and
   * the last thread to be done tears it down. If `attachSpace` had attached this thread to the machine, its last space takes it
   * off again: its place is free. Idempotent. Throws EDEADLK for the last handle inside `run` on the same space.
   */
  close(): void {
    if (this._closed) return;
    const { holders } = this._open;
    checkNoCallback(this._k, 'close');
    this._k.rcu.endStale();
    if (holders.size === 1 && this._view.sectionDepth > 0) {
      throw new VmError('EDEADLK', 'close', 'the space is closed inside its own run()');
    }
    endAsyncWaits(this._k.cpu, this); // before the thread may leave the machine: its slot is another one's then
    if (holders.size === 1) this._host.spaceClosed(this._open);
    holders.delete(this);
    this._closed = true;
  }

  /** Internal: this thread has left the machine, and its spaces with it. */
  machineClosed(): void {
    endAsyncWaits(this._k.cpu, this);
    this._closed = true;
  }

  /** The tree of VMAs, for people. */
  dump(): string {
    this._check('dump');
    const { rcu, tree } = this._k;
    rcu.enter(this._view);
    try {
      return tree.dump(rootOf(this._k, this._mm));
    } finally {
      rcu.leave(this._view);
    }
  }

  /** Checks the structure of the tree; throws an Oops that names the broken rule. */
  validate(): void {
    this._check('validate');
    const { rcu, tree } = this._k;
    rcu.enter(this._view);
    try {
      tree.validate(rootOf(this._k, this._mm), { allowDetached: true, allowRetired: true });
    } finally {
      rcu.leave(this._view);
    }
  }

  /** Layout calls may sleep: they leave every section of this thread first. */
  private _outside<T>(syscall: string, call: () => T): T {
    return this._call(syscall, () => this._k.rcu.outside(call));
  }

  private _call<T>(syscall: string, call: () => T): T {
    const { rcu } = this._k;
    rcu.endStale();
    if (rcu.suspendedDepth !== 0) oops('H1', `a callback called ${syscall} while its thread was serving a fault`);
    return publicCall(this._k, syscall, call);
  }

  private _mappingOf(file: MappedFile): number {
    const mapping = MappedFile.mappingOf(file, this._k);
    if (mapping === undefined) throw new VmError('EINVAL', 'mmap', 'file must be a MappedFile of this machine');
    return mapping;
  }

  private _enter(syscall: string): void {
    if (this._closed) this._check(syscall);
    const { rcu } = this._k;
    if (rcu.depth !== 0 && rcu.runs === 0) rcu.endStale();
    rcu.enter(this._view);
  }

  private _leave(): void {
    this._k.rcu.leave(this._view);
  }

  private _check(syscall: string): void {
    if (this._closed) throw new VmError('EBADF', syscall, 'the space is closed');
    this._host.checkOpen(syscall);
    this._k.rcu.endStale();
  }
}

makeDisposable(Space.prototype);

/** Requires: outside of the section, since `then` may be the caller's code. */
function refusePromise(result: unknown): void {
  if ((typeof result !== 'object' || result === null) && typeof result !== 'function') return;
  const { then } = result as { then?: unknown };
  if (typeof then !== 'function') return;
  try {
    Reflect.apply(then, result, [undefined, () => undefined]); // a rejection is nobody's: we say what is wrong
  } catch {
    // As little is what it throws.
  }
  throw new VmError('EINVAL', 'run', 'the function returned a promise; sections are synchronous');
}

/** Where `run` was called from, for stall reports. V8 puts a line with the error's name first. */
function callersStack(): string {
  const lines = (new Error('run').stack ?? '').split('\n');
  return lines.slice(lines[0]?.startsWith('Error') ? 3 : 2).join('\n');
}
