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
import { INSPECT, type Inspect, inspected } from '../base/inspect.ts';
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
  /** Byte address of the first byte. */
  readonly start: number;
  /** Byte address behind the last byte. */
  readonly end: number;
  /** PROT_* bits. */
  readonly prot: number;
  /** MAP_SHARED or not. */
  readonly shared: boolean;
  /** Identifies the file within the machine, as `MappedFile.id`; undefined for anonymous memory. */
  readonly file: number | undefined;
  /** Bytes into the file at `start`; 0 for anonymous memory. */
  readonly offset: number;
}

/** Options of `space.mmap`. */
export interface MmapOptions {
  /** Bytes, rounded up to pages. */
  readonly length: number;
  /** PROT_* bits. */
  readonly prot: number;
  /** MAP_* bits: one of MAP_SHARED and MAP_PRIVATE, MAP_ANONYMOUS or a file. */
  readonly flags: number;
  /** Byte address: a hint, or binding with MAP_FIXED or MAP_FIXED_NOREPLACE. */
  readonly addr?: number | undefined;
  /** The file to map, open in this thread. */
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
/** What the compiler says of an async function. */
export type NoPromise = 'the function of run() must not be async: a section cannot outlast the call';

/** What `space.counters` returns. */
export interface SpaceCounters {
  /** Lines of `maps()`. */
  readonly mappings: number;
  /** Bytes mapped, touched or not. */
  readonly mappedBytes: number;
  /** Pages with an entry in the page tables, the shared zero page included. */
  readonly residentPages: number;
}

/**
 * A handle of one thread on an address space. `machine.createSpace` and `attachSpace` make it.
 *
 * Addresses and lengths are bytes. The loads and stores (`load8` to `exchange32`) are those of the `Accessor`, and throw as they do;
 * each is a call of its own and costs some tens of nanoseconds, so loops belong into `run`. After `close` every method throws EBADF.
 */
export class Space implements Closable {
  /** What another thread opens the space with. Cloneable: post it to a Worker and call `attachSpace` there. */
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

  /** @internal Use `machine.createSpace()` or `attachSpace(handle)`. */
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
   * Maps memory, as mmap(2). Nothing is read or allocated until it is touched.
   *
   * @returns the byte address of the first page.
   * @throws EINVAL for options that are not as `MmapOptions` says, EBADF without a file or with a closed one.
   * @throws ENOMEM when no address, no record or none of the space's limit is left, EEXIST with MAP_FIXED_NOREPLACE.
   * @throws EACCES for a shared writable mapping of a file, since files are mapped for reading.
   * @throws EPERM for a fixed address below 65,536, EOVERFLOW beyond 8 TiB of a file.
   * @throws ETIMEDOUT when the lock of a dead thread was waited for in vain; `WouldBlock` where blocking is not allowed.
   *
   * @example
   * ```js
   * import assert from 'node:assert/strict';
   * import * as vm from 'vmspace';
   *
   * const machine = vm.createMachine({ memory: 1 * vm.MiB });
   * const space = machine.createSpace();
   * // More than the machine has memory: only what is touched takes frames.
   * const start = space.mmap({
   *   length: 1 * vm.GiB,
   *   prot: vm.PROT_READ | vm.PROT_WRITE,
   *   flags: vm.MAP_PRIVATE | vm.MAP_ANONYMOUS,
   * });
   * space.store8(start + 512 * vm.MiB, 1);
   * assert.equal(space.counters().residentPages, 1);
   * space.munmap(start, 1 * vm.GiB);
   * assert.throws(() => space.load8(start), vm.SegmentationFault);
   * machine.close();
   * ```
   */
  mmap(options: MmapOptions): number {
    checkObject(options, 'options', 'mmap');
    const { addr = 0, length, prot, flags, file, offset = 0 } = options; // may run the caller's code: before any look at the space
    this._check('mmap');
    const mapping = file === undefined ? NONE : this._mappingOf(file);
    const request = mapRequest({ addr, length, prot, flags, offset, mapping: mapping as never });
    return this._outside('mmap', () => mapPages(this._k, this._mm, request)) * PAGE_SIZE;
  }

  /**
   * Unmaps whole pages, as munmap(2). Holes in the range are allowed.
   *
   * @param address a multiple of the page size.
   * @param length bytes, rounded up to pages.
   * @throws EINVAL for what is no such range, ENOMEM when a mapping must be split and no record is left.
   * @throws ETIMEDOUT when the lock of a dead thread was waited for in vain; `WouldBlock` where blocking is not allowed.
   */
  munmap(address: number, length: number): void {
    this._check('munmap');
    const { start, end } = pageRange(address, length, 'munmap', 'EINVAL');
    this._outside('munmap', () => unmapPages(this._k, this._mm, start as Vpn, end as Vpn));
  }

  /**
   * Changes the rights of whole pages. mprotect(2), except that a range with a hole changes nothing. When it returns no thread
   * can still use a right that it took away.
   *
   * @param address a multiple of the page size.
   * @param length bytes, rounded up to pages.
   * @param prot PROT_* bits.
   * @throws EINVAL for what is no such range or no such rights, ENOMEM for a hole, or when no record is left.
   * @throws EACCES when a shared mapping of a file is to be writable.
   * @throws ETIMEDOUT, or `WouldBlock` where blocking is not allowed, when a thread does not leave its section. The new rights are in
   * force for every translation made from now on; a translation that such a section has made it may use until it leaves.
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

  /** The whole layout at one moment, in the order of addresses. */
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

  /** How much is mapped, and how much of it is there. */
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
   * (faults, mprotect, wait) leaves the section while it does.
   *
   * @returns what `fn` returns.
   * @throws what `fn` throws.
   * @throws EINVAL for what is no function, and for a promise from `fn`, which does not type-check either: a section cannot
   * outlast the call.
   *
   * @example
   * ```js
   * import assert from 'node:assert/strict';
   * import * as vm from 'vmspace';
   *
   * const machine = vm.createMachine({ memory: 1 * vm.MiB });
   * const space = machine.createSpace();
   * const length = 64 * vm.KiB;
   * const start = space.mmap({
   *   length,
   *   prot: vm.PROT_READ | vm.PROT_WRITE,
   *   flags: vm.MAP_PRIVATE | vm.MAP_ANONYMOUS,
   * });
   * space.fill(start, length, 1);
   * const sum = space.run((memory) => {
   *   let sum = 0;
   *   for (let at = start; at < start + length; at++) sum += memory.load8(at);
   *   return sum;
   * });
   * assert.equal(sum, length);
   * machine.close();
   * ```
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

  /** Reads a byte, 0 to 255. */
  load8(address: number): number {
    this._enter('load8');
    try {
      return this._accessor.load8(address);
    } finally {
      this._leave();
    }
  }
  /** Writes the low 8 bits of `value`. */
  store8(address: number, value: number): void {
    this._enter('store8');
    try {
      this._accessor.store8(address, value);
    } finally {
      this._leave();
    }
  }
  /** Reads 16 bits, 0 to 65,535. */
  load16(address: number): number {
    this._enter('load16');
    try {
      return this._accessor.load16(address);
    } finally {
      this._leave();
    }
  }
  /** Writes the low 16 bits of `value`. */
  store16(address: number, value: number): void {
    this._enter('store16');
    try {
      this._accessor.store16(address, value);
    } finally {
      this._leave();
    }
  }
  /** Reads 32 bits, signed. */
  load32(address: number): number {
    this._enter('load32');
    try {
      return this._accessor.load32(address);
    } finally {
      this._leave();
    }
  }
  /** Writes the low 32 bits of `value`. */
  store32(address: number, value: number): void {
    this._enter('store32');
    try {
      this._accessor.store32(address, value);
    } finally {
      this._leave();
    }
  }
  /** Reads 32 bits, 0 to 4,294,967,295. */
  loadU32(address: number): number {
    this._enter('loadU32');
    try {
      return this._accessor.loadU32(address);
    } finally {
      this._leave();
    }
  }
  /** Reads 64 bits, signed: two halves of 32, so another thread's write may come in between. */
  loadI64(address: number): bigint {
    this._enter('loadI64');
    try {
      return this._accessor.loadI64(address);
    } finally {
      this._leave();
    }
  }
  /** Writes the low 64 bits of `value`: two halves of 32, so another thread may see one of them alone. */
  storeI64(address: number, value: bigint): void {
    this._enter('storeI64');
    try {
      this._accessor.storeI64(address, value);
    } finally {
      this._leave();
    }
  }
  /** Reads a 32-bit float. */
  loadF32(address: number): number {
    this._enter('loadF32');
    try {
      return this._accessor.loadF32(address);
    } finally {
      this._leave();
    }
  }
  /** Writes `value`, rounded to a 32-bit float. */
  storeF32(address: number, value: number): void {
    this._enter('storeF32');
    try {
      this._accessor.storeF32(address, value);
    } finally {
      this._leave();
    }
  }
  /** Reads a 64-bit float. */
  loadF64(address: number): number {
    this._enter('loadF64');
    try {
      return this._accessor.loadF64(address);
    } finally {
      this._leave();
    }
  }
  /** Writes a 64-bit float. */
  storeF64(address: number, value: number): void {
    this._enter('storeF64');
    try {
      this._accessor.storeF64(address, value);
    } finally {
      this._leave();
    }
  }
  /** Reads an aligned signed 32-bit word, in one order with all other atomic accesses. */
  atomicLoad32(address: number): number {
    this._enter('atomicLoad32');
    try {
      return this._accessor.atomicLoad32(address);
    } finally {
      this._leave();
    }
  }
  /** Writes an aligned 32-bit word, in one order with all other atomic accesses. */
  atomicStore32(address: number, value: number): void {
    this._enter('atomicStore32');
    try {
      this._accessor.atomicStore32(address, value);
    } finally {
      this._leave();
    }
  }
  /** Writes `value` to an aligned 32-bit word if it holds `expected`. Returns what it held. */
  cas32(address: number, expected: number, value: number): number {
    this._enter('cas32');
    try {
      return this._accessor.cas32(address, expected, value);
    } finally {
      this._leave();
    }
  }
  /** Adds `delta` to an aligned signed 32-bit word, and wraps around. Returns what it held before. */
  add32(address: number, delta: number): number {
    this._enter('add32');
    try {
      return this._accessor.add32(address, delta);
    } finally {
      this._leave();
    }
  }
  /** Writes `value` to an aligned 32-bit word. Returns what it held before. */
  exchange32(address: number, value: number): number {
    this._enter('exchange32');
    try {
      return this._accessor.exchange32(address, value);
    } finally {
      this._leave();
    }
  }
  /** Keeps the bits of an aligned 32-bit word that `bits` has too, atomically. Returns what it held before. */
  and32(address: number, bits: number): number {
    this._enter('and32');
    try {
      return this._accessor.and32(address, bits);
    } finally {
      this._leave();
    }
  }
  /** Sets the bits of `bits` in an aligned 32-bit word, atomically. Returns what it held before. */
  or32(address: number, bits: number): number {
    this._enter('or32');
    try {
      return this._accessor.or32(address, bits);
    } finally {
      this._leave();
    }
  }
  /** Turns the bits of `bits` over in an aligned 32-bit word, atomically. Returns what it held before. */
  xor32(address: number, bits: number): number {
    this._enter('xor32');
    try {
      return this._accessor.xor32(address, bits);
    } finally {
      this._leave();
    }
  }
  /** Reads an aligned signed 64-bit word, in one order with all other atomic accesses. */
  atomicLoad64(address: number): bigint {
    this._enter('atomicLoad64');
    try {
      return this._accessor.atomicLoad64(address);
    } finally {
      this._leave();
    }
  }
  /** Writes an aligned signed 64-bit word, in one order with all other atomic accesses. A value beyond 64 bits keeps its low 64. */
  atomicStore64(address: number, value: bigint): void {
    this._enter('atomicStore64');
    try {
      this._accessor.atomicStore64(address, value);
    } finally {
      this._leave();
    }
  }
  /** Writes `value` to an aligned 64-bit word if it holds `expected`. Returns what it held. */
  cas64(address: number, expected: bigint, value: bigint): bigint {
    this._enter('cas64');
    try {
      return this._accessor.cas64(address, expected, value);
    } finally {
      this._leave();
    }
  }
  /** Adds `delta` to an aligned signed 64-bit word, and wraps around. Returns what it held before. */
  add64(address: number, delta: bigint): bigint {
    this._enter('add64');
    try {
      return this._accessor.add64(address, delta);
    } finally {
      this._leave();
    }
  }
  /** Writes `value` to an aligned 64-bit word. Returns what it held before. */
  exchange64(address: number, value: bigint): bigint {
    this._enter('exchange64');
    try {
      return this._accessor.exchange64(address, value);
    } finally {
      this._leave();
    }
  }

  /**
   * Copies out of the space into `target`.
   *
   * @returns the bytes done: less than asked if a bad address comes in between.
   * @throws `SegmentationFault` or `BusError` (code EFAULT) if the first byte is bad.
   * @throws ENOMEM, ETIMEDOUT, or `WouldBlock`, in the middle too: `done` has the bytes done before, `address` where it had come to.
   * @throws EINVAL for what is no Uint8Array, or a detached one.
   *
   * @example
   * ```js
   * import assert from 'node:assert/strict';
   * import { readFileSync } from 'node:fs';
   * import { fileURLToPath } from 'node:url';
   * import * as vm from 'vmspace/node';
   *
   * const machine = vm.createMachine({ memory: 1 * vm.MiB });
   * const file = await vm.openFile(machine, new URL(import.meta.url));
   * const space = machine.createSpace();
   * const start = space.mmap({ length: file.size, prot: vm.PROT_READ, flags: vm.MAP_PRIVATE, file });
   * const bytes = new Uint8Array(file.size);
   * assert.equal(space.read(start, bytes), file.size);
   * assert.deepEqual(Buffer.from(bytes), readFileSync(fileURLToPath(import.meta.url)));
   * machine.close();
   * ```
   */
  read(address: number, target: Uint8Array): number {
    this._enter('read');
    try {
      return this._bulk.read(address, target);
    } finally {
      this._leave();
    }
  }

  /**
   * Copies `source` into the space.
   *
   * @returns the bytes done, as `read`.
   * @throws as `read`.
   */
  write(address: number, source: Uint8Array): number {
    this._enter('write');
    try {
      return this._bulk.write(address, source);
    } finally {
      this._leave();
    }
  }

  /**
   * Copies `length` bytes within the space. The ranges may overlap. With an overlap that forces backward copying it does all of them
   * or throws EFAULT, and `done` of an error counts from the end.
   *
   * @returns the bytes done, as `read`.
   * @throws as `read`.
   */
  copy(target: number, source: number, length: number): number {
    this._enter('copy');
    try {
      return this._bulk.copy(target, source, length);
    } finally {
      this._leave();
    }
  }

  /**
   * Sets `length` bytes to `value`.
   *
   * @returns the bytes done, as `read`.
   * @throws as `read`, and EINVAL for a value that is no integer.
   */
  fill(address: number, length: number, value: number): number {
    this._enter('fill');
    try {
      return this._bulk.fill(address, length, value);
    } finally {
      this._leave();
    }
  }

  /**
   * Faults `length` bytes from `address` on in for reading. Where a fault would have to block and must not, it reads the file
   * asynchronously (a backing's `readAsync`; Blobs have it), and waits for other threads without blocking; elsewhere it does its work
   * before it returns. Of a range larger than memory only the last pages stay.
   *
   * @returns a promise of the bytes done, as `read`.
   * @throws (as a rejection) as `read`; EBADF when the space is closed meanwhile.
   * @throws ETIMEDOUT when no page could be had for the machine's `ioTimeout`, EAGAIN when a page is reclaimed again and again before
   * it can be mapped.
   *
   * @example
   * ```js
   * import assert from 'node:assert/strict';
   * import * as vm from 'vmspace/node';
   *
   * const machine = vm.createMachine({ memory: 1 * vm.MiB });
   * const file = await vm.openFile(machine, new URL(import.meta.url));
   * const space = machine.createSpace();
   * const start = space.mmap({ length: file.size, prot: vm.PROT_READ, flags: vm.MAP_PRIVATE, file });
   * assert.equal(await space.populate(start, file.size), file.size);
   * const { 'io.reads': reads } = machine.counters();
   * space.load8(start); // finds its page: nothing is read any more
   * assert.equal(machine.counters()['io.reads'], reads);
   * machine.close();
   * ```
   */
  async populate(address: number, length: number): Promise<number> {
    const { translator, faulter } = this._open;
    return populate({ translator, faulter, checkOpen: () => this._check('populate') }, address, length);
  }

  /* Waiting. */

  /**
   * Sleeps while the aligned 32-bit word holds `expected`, until it is notified: futex(2) FUTEX_WAIT. Leaves this thread's sections
   * meanwhile.
   *
   * @param timeout milliseconds. Without it, it waits as long as it takes.
   * @returns `not-equal` when the word held something else, and no sleep was needed.
   * @throws EINVAL for what is no such word or no such value, or for NaN milliseconds.
   * @throws `WouldBlock` where blocking is not allowed, EDEADLK on a machine that is not shared: nobody could notify.
   * @throws EAGAIN when the space changes without a pause; faults as a load does.
   *
   * @example
   * ```js
   * import assert from 'node:assert/strict';
   * import { isMainThread, Worker, workerData } from 'node:worker_threads';
   * import * as vm from 'vmspace';
   *
   * if (isMainThread) {
   *   const machine = vm.createMachine({ memory: 1 * vm.MiB });
   *   const space = machine.createSpace();
   *   const at = space.mmap({
   *     length: 4096,
   *     prot: vm.PROT_READ | vm.PROT_WRITE,
   *     flags: vm.MAP_PRIVATE | vm.MAP_ANONYMOUS,
   *   });
   *   const worker = new Worker(new URL(import.meta.url), { workerData: { handle: space.handle, at } });
   *   machine.watch(worker);
   *   while (space.atomicLoad32(at) === 0) space.wait(at, 0);
   *   assert.equal(space.load32(at + 4), 1234);
   *   worker.once('exit', () => machine.close());
   * } else {
   *   const { handle, at } = workerData;
   *   const space = vm.attachSpace(handle);
   *   space.store32(at + 4, 1234);
   *   space.atomicStore32(at, 1);
   *   space.notify(at);
   *   space.close();
   * }
   * ```
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
   * As `wait`, for a thread that must not block: it is in the word's queue when the call returns, and goes on. It keeps a Node process
   * alive meanwhile. It rides on the protocol of `wait`, with an entry of its own in the thread's slot: a thread may have 8 at once.
   * Where the host has no Atomics.waitAsync, and on a machine that is not shared, it looks every 16 ms at least.
   *
   * @param timeout milliseconds. Without it, until notified.
   * @returns 'not-equal', or 'ok' once notified (`notify` counts it like any other), or 'timed-out'.
   * @throws EINVAL for what is no such word, EAGAIN for more than 8 at once; faults as a load does, with WouldBlock where the word's
   * page cannot be had without blocking (`populate` it first).
   * @throws EBADF when this handle is closed meanwhile, or its thread has left the machine.
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

  /**
   * Wakes threads that wait on the aligned 32-bit word, in any space that maps the same shared page of a file: futex(2) FUTEX_WAKE.
   *
   * @param count how many at most. Without it, all of them.
   * @returns the number of threads woken.
   * @throws EINVAL for what is no such word or no such number; faults as a load does.
   */
  notify(address: number, count: number = Number.POSITIVE_INFINITY): number {
    this._check('notify');
    const parts = this._futexParts();
    return this._call('notify', () => futexNotify(parts, address, count));
  }

  /* Life. */

  /** Whether this handle is closed. */
  get closed(): boolean {
    return this._closed;
  }

  /**
   * Closes this handle; the thread's other handles on the space stay open. With the last one the thread is done with the space, and
   * the last thread to be done tears it down. If `attachSpace` had attached this thread to the machine, its last space takes it
   * off again: its place is free. A second call does nothing.
   *
   * @throws EDEADLK for the last handle inside `run` on the same space.
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

  /** @internal This thread has left the machine, and its spaces with it. */
  machineClosed(): void {
    endAsyncWaits(this._k.cpu, this);
    this._closed = true;
  }

  /** The tree of mappings as text, for people. */
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

  /**
   * Checks the structure of the tree of mappings.
   *
   * @throws an `Oops` that names the broken rule.
   */
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

  /** @internal Looks and does nothing else, so that it never throws: the thread may be in any state. */
  [INSPECT](depth: number, options: object, inspect: Inspect): string {
    const { words, floats } = this._k;
    const mappedBytes = peekF64(floats, (this._mm + MM_MAPPED_PAGES) >> 1) * PAGE_SIZE;
    const open = { mappings: peek(words, this._mm + MM_MAP_COUNT), mappedBytes, closed: false };
    return inspected('Space', this._closed ? { closed: true } : open, depth, options, inspect);
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
