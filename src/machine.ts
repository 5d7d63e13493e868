/**
 * The public `Machine`: one simulated computer as one thread (a cpu) has it. A thread has one Machine object per machine, whatever
 * number of handles it is given.
 */
import { load, peek } from '#atomics';
import { lockdepReports } from '#lockdep';
import { Space, type SpaceHandle } from './address-space.ts';
import { byteCount, checkObject, show } from './arguments.ts';
import type { Backing } from './backing/backing.ts';
import type { MappingRef, MmRef } from './base/brands.ts';
import { VmError } from './base/errors.ts';
import { MAX_CPUS, PAGE_SIZE } from './base/limits.ts';
import { allocate, checkControl, type MemoryBuffer, makeControl, makeKernel } from './boot.ts';
import { type Census, takeCensus } from './census.ts';
import { type BrowserWorker, Deaths, type ReapOptions, type WatchedWorker } from './deaths.ts';
import { DESIGN_NAMES, type DesignName, designById, designByName } from './design/designs.ts';
import { type CpuIdentity, type LifeLock, lifeLocks, takeLifeLock, tellsOfExit } from './life-lock.ts';
import { type FileHandle, MappedFile } from './mapped-file.ts';
import { MM_SERIAL } from './paging/mm.layout.ts';
import { reapCpu, reapThread } from './reap.ts';
import type { Kernel } from './space/kernel.ts';
import { attachMm, createMm, leaveMm } from './space/mm.ts';
import {
  C_THREAD,
  CPUS_USED,
  cpuSlot,
  H_DESIGN,
  H_FRAMES,
  H_ID_HIGH,
  H_ID_LOW,
  H_SHARED,
  LAYOUT_VERSION,
} from './sync/control.layout.ts';
import { attachCpu, detachCpu, readCounter } from './sync/cpu.ts';
import { type Counters, type HistogramName, sumCounters, sumHistograms } from './trace/counters.ts';
import { type FrameViews, frameViews } from './views.ts';

/** A WebAssembly.Memory, without its type: not every consumer's compiler knows it. */
export interface FrameMemory {
  readonly buffer: MemoryBuffer;
}

export interface MachineOptions {
  /**
   * Frames: a number of bytes (256 KiB to 4 GiB, rounded down to pages), or a WebAssembly.Memory whose bytes become the frames, so
   * that wasm code reaches them; shared unless `shared` is false.
   */
  readonly memory: number | FrameMemory;
  /** False: one thread over an ArrayBuffer, no cross-origin isolation needed. Default true. */
  readonly shared?: boolean | undefined;
  /** The fault protocol. Default `rcu`. */
  readonly design?: DesignName | undefined;
  /** Milliseconds after which waiting for another thread (never for I/O) is an ETIMEDOUT. Default 10,000. */
  readonly stallTimeout?: number | undefined;
  /** Milliseconds after which waiting for another thread's read of a page is an ETIMEDOUT. Default 60,000. */
  readonly ioTimeout?: number | undefined;
}

/** What `attachMachine` takes. Survives structured cloning. */
export interface MachineHandle {
  readonly kind: 'vmspace.machine';
  readonly version: number;
  readonly control: MemoryBuffer;
  readonly frames: MemoryBuffer;
  readonly frameBytes: number;
}

export interface SpaceOptions {
  /** Most bytes that may be mapped (RLIMIT_AS). Default: none. */
  readonly limit?: number | undefined;
}

export interface MachineCounters extends Counters {
  readonly histograms: Record<HistogramName, number[]>;
}

const DEFAULT_STALL_MS = 10_000;
const DEFAULT_IO_MS = 60_000;
const machines = new Map<string, Machine>();
/** The host's number for the calling thread: worker_threads' threadId in Node, 0 elsewhere. No import: browsers have none. */
function threadNumber(): number {
  const host = (globalThis as { process?: { getBuiltinModule?: (name: string) => unknown } }).process;
  const threads = host?.getBuiltinModule?.('node:worker_threads') as { threadId?: number } | undefined;
  return threads?.threadId ?? 0;
}

export class Machine {
  /** Cloneable. */
  readonly handle: MachineHandle;
  /** Bytes of frames. */
  readonly memory: number;
  readonly design: DesignName;
  readonly shared: boolean;
  /** Internal. */
  readonly kernel: Kernel;
  /** Internal. */
  readonly views: FrameViews;
  readonly #key: string;
  readonly #spaces = new Map<number, Space>();
  readonly #files = new Map<number, Set<MappedFile>>();
  readonly #deaths: Deaths;
  readonly #life: LifeLock | undefined;
  #closed = false;

  /** Internal: use `createMachine` or `attachMachine`. */
  constructor(handle: MachineHandle, key: string) {
    const words = new Int32Array(handle.control);
    const floats = new Float64Array(handle.control, 0, words.length >> 1);
    const design = designById(peek(words, H_DESIGN));
    if (design === undefined)
      throw new VmError('EPROTO', 'attach', 'this build does not have the design of the machine');
    this.#key = key;
    this.handle = handle;
    this.memory = handle.frameBytes;
    this.design = design.name as DesignName;
    this.shared = peek(words, H_SHARED) === 1;
    this.views = frameViews(handle.frames, handle.frameBytes);
    this.kernel = makeKernel(attachCpu(words, floats, threadNumber()), this.views.u8);
    const locks = this.shared ? lifeLocks() : undefined;
    this.#deaths = new Deaths(this, key, locks);
    if (locks !== undefined) this.#life = takeLifeLock(this.kernel.cpu, key, locks);
  }

  /** Number of this thread's cpu. */
  get cpu(): number {
    return this.kernel.cpu.id;
  }

  /** This thread, as `reap` in another one takes it. Cloneable; unlike the cpu's number it is never another thread's. */
  get identity(): CpuIdentity {
    const { id, serial } = this.kernel.cpu;
    return { cpu: id, serial };
  }

  get closed(): boolean {
    return this.#closed;
  }

  /* Spaces. */

  /** A new, empty address space, open in this thread. Throws EAGAIN (64 spaces at most), ENOMEM. */
  createSpace(options: SpaceOptions = {}): Space {
    this.checkOpen('createSpace');
    checkObject(options, 'options', 'createSpace');
    const limit = options.limit === undefined ? 0 : byteCount(options.limit, 'limit', 'createSpace');
    if (options.limit !== undefined && limit < PAGE_SIZE) {
      throw new VmError('EINVAL', 'createSpace', 'the limit must be at least a page');
    }
    return this.#open(createMm(this.kernel, Math.floor(limit / PAGE_SIZE)));
  }

  /** Opens another thread's space. Throws ESTALE when it is gone, EINVAL for another machine's. */
  attachSpace(handle: SpaceHandle): Space {
    this.checkOpen('attachSpace');
    checkHandle(handle, 'vmspace.space', 'attachSpace');
    if (machineKey(new Int32Array(handle.control)) !== this.#key) {
      throw new VmError('EINVAL', 'attachSpace', 'the handle belongs to another machine');
    }
    byteCount(handle.space, 'the record of the space', 'attachSpace');
    const known = this.#spaces.get(handle.space);
    if (known !== undefined && known.handle.serial === handle.serial) return known;
    attachMm(this.kernel, handle.space as MmRef, handle.serial);
    return this.#open(handle.space as MmRef);
  }

  #open(mm: MmRef): Space {
    const { control, frames, frameBytes } = this.handle;
    const serial = load(this.kernel.words, mm + MM_SERIAL);
    const handle: SpaceHandle = {
      kind: 'vmspace.space',
      version: LAYOUT_VERSION,
      control,
      frames,
      frameBytes,
      space: mm,
      serial,
    };
    const space = new Space(this, handle);
    this.#spaces.set(mm, space);
    return space;
  }

  /** Internal: this thread's only handle on the space was closed. */
  spaceClosed(space: Space): void {
    const mm = space.handle.space;
    if (this.#spaces.get(mm) === space) this.#spaces.delete(mm);
    const { rcu, cpu } = this.kernel;
    rcu.outside(() => leaveMm(this.kernel, mm as MmRef, cpu.id));
    rcu.freeRetired(cpu.id);
  }

  /* Files. */

  /**
   * Makes a file of a registered kind known to the machine. `options` must survive JSON: every thread makes its own backing from
   * them. `size` is in bytes and does not change. Throws EINVAL, ENOMEM.
   */
  createFile(kind: string, options: unknown, size: number, own?: Backing): MappedFile {
    this.checkOpen('createFile');
    if (typeof kind !== 'string' || kind === '') throw new VmError('EINVAL', 'createFile', 'kind must be a name');
    byteCount(size, 'size', 'createFile');
    const mapping = this.kernel.files.create(kind, options, size);
    if (own !== undefined) this.kernel.files.adopt(mapping, own);
    return this.#opened(mapping);
  }

  /** Opens another thread's file. Throws ESTALE when it is gone, EINVAL for another machine's, EPROTO. */
  attachFile(handle: FileHandle, own?: Backing): MappedFile {
    this.checkOpen('attachFile');
    checkKind(handle, 'vmspace.file', 'attachFile');
    if (handle.machine !== this.#key) {
      throw new VmError('EINVAL', 'attachFile', 'the handle belongs to another machine');
    }
    byteCount(handle.file, 'the record of the file', 'attachFile');
    const mapping = handle.file as MappingRef;
    this.kernel.files.open(mapping, handle.serial);
    if (own !== undefined) this.kernel.files.adopt(mapping, own);
    return this.#opened(mapping);
  }

  #opened(mapping: MappingRef): MappedFile {
    const file = new MappedFile(this.kernel, mapping, this.#key, (closed) => this.#fileClosed(closed, mapping));
    const opened = this.#files.get(mapping) ?? new Set();
    this.#files.set(mapping, opened.add(file));
    return file;
  }

  #fileClosed(file: MappedFile, mapping: MappingRef): void {
    const opened = this.#files.get(mapping);
    opened?.delete(file);
    if (opened === undefined || opened.size > 0) return;
    this.#files.delete(mapping);
    this.kernel.files.close(mapping, this.kernel.cpu.id);
    this.kernel.files.sweepLocal('closed');
  }

  /* Deaths. */

  /**
   * Tells the machine that a thread is gone: its locks are released, what it was doing is finished or undone, its spaces and files are
   * closed. False if there is no such thread any more. `who` is the thread's `machine.identity`; a cpu's number alone names whoever has
   * it now. For a thread whose end this thread has seen itself (`watch`), or with `confirmed: true` for one of which the caller knows
   * that it runs no more: else EPERM. Throws EBUSY for one that lives: a watched one that has not ended, one that still enters sections;
   * EINVAL for this thread. A thread that is asleep, or that computes without touching the machine, cannot be told from a dead one:
   * do not confirm what you do not know. In a browser a busy worker runs on for seconds after `terminate()`.
   */
  reap(who: number | CpuIdentity, options: ReapOptions = {}): boolean {
    this.checkOpen('reap');
    return this.#deaths.reap(who, options);
  }

  /** Internal: `reap` without a doubt, for those who know that the thread of cpu `id` is gone. */
  reapNow(id: number): boolean {
    return this.kernel.rcu.outside(() => reapCpu(this.kernel, id));
  }

  /**
   * Reaps the worker's cpus when it is gone, however it ends: call it right after `new Worker`. What the worker closed itself is
   * not touched. In Node its `exit` tells: when `await worker.terminate()` goes on, it has been reaped. In a browser the Web Lock
   * does that every attached thread holds: soon after the worker's last step, for all workers of this machine; not for one that ends
   * before the browser has given it the lock (see `watchable`). Throws EINVAL for what is no running Worker.
   */
  watch(worker: WatchedWorker | BrowserWorker): void {
    this.checkOpen('watch');
    this.#deaths.watch(worker);
  }

  /**
   * Resolves to true once others can tell when this thread ends. At once in Node. In a browser a thread that is going to work for long
   * without letting its event loop turn awaits it first: until then the browser has not given it its Web Lock. False where there are
   * none, or the machine was closed.
   */
  async watchable(): Promise<boolean> {
    this.checkOpen('watchable');
    return this.#life === undefined ? this.shared && tellsOfExit() : this.#life.held;
  }

  /** Internal: reaps every cpu of the host's thread `thread`; the number reaped. */
  reapThread(thread: number): number {
    if (this.#closed) return 0;
    return this.kernel.rcu.outside(() => reapThread(this.kernel, thread));
  }

  /* Looking at it. */

  /** Sums over all cpus since the machine was made; readable at any time. */
  counters(): MachineCounters {
    const { words, floats } = this.kernel;
    const cpus = load(words, CPUS_USED);
    const read = (cpu: number, index: number): number => readCounter(words, floats, cpu, index);
    return { ...sumCounters(cpus, read), histograms: sumHistograms(cpus, read) };
  }

  /** The counters of one cpu. Throws EINVAL for what is none. */
  cpuCounters(id: number): Counters {
    if (!Number.isInteger(id) || id < 0 || id >= MAX_CPUS) {
      throw new VmError('EINVAL', 'cpuCounters', `${show(id)} is not a cpu`);
    }
    const { words, floats } = this.kernel;
    return sumCounters(1, (_cpu, index) => readCounter(words, floats, id, index));
  }

  /** What every pool holds. Exact only while no other thread works. */
  census(): Census {
    return takeCensus(this.kernel);
  }

  /** What lockdep has to say about this thread (development builds; else empty). */
  lockdep(): readonly { rule: string; detail: string }[] {
    return lockdepReports(this.kernel.cpu);
  }

  /** The cpus in use and the host's thread of each. */
  cpus(): { cpu: number; thread: number }[] {
    const { words } = this.kernel;
    const out: { cpu: number; thread: number }[] = [];
    for (let id = 0; id < load(words, CPUS_USED); id++) {
      const thread = load(words, cpuSlot(id) + C_THREAD);
      if (thread >= 0) out.push({ cpu: id, thread });
    }
    return out;
  }

  /** Waits for grace periods until everything retired is free again. Throws EDEADLK inside `run`, ETIMEDOUT, WouldBlock. */
  drain(): void {
    this.checkOpen('drain');
    if (this.kernel.rcu.inSection) throw new VmError('EDEADLK', 'drain', 'called inside run()');
    this.kernel.rcu.drain();
  }

  /* Life. */

  /** This thread leaves the machine: its spaces and files are closed. Idempotent. Throws EDEADLK inside `run`. */
  close(): void {
    if (this.#closed) return;
    const { kernel } = this;
    if (kernel.rcu.depth > 0 || kernel.rcu.suspendedDepth > 0) {
      throw new VmError('EDEADLK', 'close', 'the machine is closed inside run()');
    }
    for (const files of [...this.#files.values()]) for (const file of [...files]) file.close();
    for (const space of [...this.#spaces.values()]) space.close();
    this.#closed = true;
    machines.delete(this.#key);
    kernel.files.sweepLocal('all');
    this.#deaths.close();
    detachKernel(kernel);
    this.#life?.giveBack(); // after the slot: whoever gets the lock finds nobody dead
  }

  /** Internal. */
  checkOpen(syscall: string): void {
    if (this.#closed) throw new VmError('EBADF', syscall, 'this thread has closed the machine');
    this.kernel.cpu.checkAlive();
  }
}

/** Makes a machine and attaches this thread. Throws EINVAL, ENOMEM, ENOTSUP (no SharedArrayBuffer). */
export function createMachine(options: MachineOptions): Machine {
  if (typeof options !== 'object' || options === null) {
    throw new VmError('EINVAL', 'createMachine', 'options must be an object with memory');
  }
  const { shared = true, stallTimeout = DEFAULT_STALL_MS, ioTimeout = DEFAULT_IO_MS, design: name = 'rcu' } = options;
  const design = designByName(name);
  if (design === undefined) {
    throw new VmError('EINVAL', 'createMachine', `design must be one of ${DESIGN_NAMES.join(', ')}, got ${show(name)}`);
  }
  if (typeof shared !== 'boolean') throw new VmError('EINVAL', 'createMachine', 'shared must be true or false');
  checkMilliseconds(stallTimeout, 'stallTimeout');
  checkMilliseconds(ioTimeout, 'ioTimeout');
  const wanted = frameBuffer(options.memory, shared);
  const frameBytes = Math.floor(wanted.bytes / PAGE_SIZE) * PAGE_SIZE;
  const control = makeControl(frameBytes / PAGE_SIZE, shared, design, { stallTimeout, ioTimeout });
  const frames = wanted.buffer ?? allocate(frameBytes, shared);
  if (wanted.buffer !== undefined) new Uint8Array(frames, 0, PAGE_SIZE).fill(0); // frame 0 is the zero page
  return attachMachine({ kind: 'vmspace.machine', version: LAYOUT_VERSION, control, frames, frameBytes });
}

/** Attaches this thread to a machine; a second call gives the same object. Throws EINVAL, EPROTO (another version), EAGAIN. */
export function attachMachine(handle: MachineHandle): Machine {
  checkHandle(handle, 'vmspace.machine', 'attachMachine');
  checkFrames(handle);
  const words = new Int32Array(handle.control);
  const key = machineKey(words);
  const known = machines.get(key);
  if (known !== undefined) return known;
  const machine = new Machine(handle, key);
  machines.set(key, machine);
  return machine;
}

/** Attaches this thread to the machine of a space, and opens the space. */
export function attachSpace(handle: SpaceHandle): Space {
  checkHandle(handle, 'vmspace.space', 'attachSpace');
  const { version, control, frames, frameBytes } = handle;
  return attachMachine({ kind: 'vmspace.machine', version, control, frames, frameBytes }).attachSpace(handle);
}

/** The machine of a space that is open in this thread. */
export function machineOf(space: Space): Machine {
  if (!(space instanceof Space)) throw new VmError('EINVAL', 'machineOf', 'not a space');
  const machine = machines.get(machineKey(new Int32Array(space.handle.control)));
  if (machine === undefined) throw new VmError('EBADF', 'machineOf', 'this thread has closed the machine');
  return machine;
}

function checkMilliseconds(value: unknown, what: string): void {
  if (Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= 2 ** 31 - 1) return;
  throw new VmError('EINVAL', 'createMachine', `${what} must be a whole number of milliseconds, 1 at least`);
}

function frameBuffer(memory: unknown, shared: boolean): { bytes: number; buffer: MemoryBuffer | undefined } {
  if (typeof memory === 'number') return { bytes: byteCount(memory, 'memory', 'createMachine'), buffer: undefined };
  const buffer = (memory as { buffer?: unknown } | null)?.buffer;
  if (!isMemory(buffer)) {
    throw new VmError('EINVAL', 'createMachine', 'memory must be a number of bytes or a WebAssembly.Memory');
  }
  const isShared = !(buffer instanceof ArrayBuffer);
  if (isShared !== shared) {
    throw new VmError('EINVAL', 'createMachine', `the WebAssembly.Memory is ${isShared ? '' : 'not '}shared`);
  }
  return { bytes: buffer.byteLength, buffer };
}

function checkKind(handle: { kind: string; version: number }, kind: string, syscall: string): void {
  if (typeof handle !== 'object' || handle === null || handle.kind !== kind) {
    throw new VmError('EINVAL', syscall, `not a ${kind} handle`);
  }
  if (handle.version !== LAYOUT_VERSION) {
    const both = `layout version ${show(handle.version)}, this build has ${LAYOUT_VERSION}`;
    throw new VmError('EPROTO', syscall, `the handle was made by another version of vmspace: ${both}`);
  }
}

function checkHandle(handle: { kind: string; version: number; control: unknown }, kind: string, syscall: string): void {
  checkKind(handle, kind, syscall);
  if (!isMemory(handle.control) || handle.control.byteLength % 4 !== 0) {
    throw new VmError('EPROTO', syscall, 'the handle does not hold a machine');
  }
  checkControl(new Int32Array(handle.control));
}

function checkFrames({ control, frames, frameBytes }: MachineHandle): void {
  const whole = frameBytes === peek(new Int32Array(control), H_FRAMES) * PAGE_SIZE;
  if (whole && isMemory(frames) && frames.byteLength >= frameBytes) return;
  throw new VmError('EPROTO', 'attachMachine', 'the handle does not hold the frames of its machine');
}

function isMemory(value: unknown): value is MemoryBuffer {
  if (typeof SharedArrayBuffer !== 'undefined' && value instanceof SharedArrayBuffer) return true;
  return value instanceof ArrayBuffer;
}

function machineKey(words: Int32Array): string {
  return `${peek(words, H_ID_LOW)}:${peek(words, H_ID_HIGH)}`;
}

function detachKernel(k: Kernel): void {
  k.rcu.freeRetired(k.cpu.id);
  k.rcu.freeRetired(k.cpu.id);
  for (const slab of Object.values(k.slabs)) slab.flush();
  k.frames.flush();
  detachCpu(k.words, k.cpu.id);
}
