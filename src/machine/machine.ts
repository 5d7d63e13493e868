/**
 * The public `Machine`: one simulated computer as one thread (a cpu) has it. A thread has one Machine object per machine, whatever
 * number of handles it is given, and a handle of its own (`Space`) for each time that it opens a space.
 */
import { load, peek } from '#atomics';
import { CHECKED } from '#dev';
import { lockdepReports } from '#lockdep';
import { type Backing, checkBacking } from '../backing/backing.ts';
import { descriptorText } from '../backing/descriptor.ts';
import { byteCount, checkObject, fileSize, show } from '../base/arguments.ts';
import type { MappingRef, MmRef } from '../base/brands.ts';
import { type Closable, makeDisposable } from '../base/disposable.ts';
import { calledAs, Oops, VmError } from '../base/errors.ts';
import { isMemory, isSharedMemory, type MemoryBuffer, mayShrink, memoryBytes, openMemory } from '../base/foreign.ts';
import { INSPECT, type Inspect, inspected } from '../base/inspect.ts';
import { MAX_CPUS, PAGE_SIZE } from '../base/limits.ts';
import { DESIGN_NAMES, type DesignName, designById, designByName } from '../design/designs.ts';
import { FrameViews } from '../memory/frame-views.ts';
import { MM_SERIAL } from '../paging/mm.layout.ts';
import { callFailed, checkNoCallback, lastCall, publicCall, settleLast } from '../recovery/public-call.ts';
import { finishOthers, HELP_PATIENCE_MS, leaveUnfinished, noteDeath, reapCpu, reapThread } from '../recovery/reap.ts';
import type { Kernel } from '../space/kernel.ts';
import { attachMm, createMm, forEachMm, leaveMm, usesMm } from '../space/mm.ts';
import {
  C_STATE,
  C_THREAD,
  CPU_DEAD,
  CPU_FREE,
  CPU_LEFT,
  CPUS_USED,
  cpuSlot,
  H_DESIGN,
  H_SHARED,
  LAYOUT_VERSION,
} from '../sync/control.layout.ts';
import { attachCpu, detachCpu, leaveCpu, readCounter } from '../sync/cpu.ts';
import { type Counters, type HistogramName, sumCounters, sumHistograms } from '../trace/counters.ts';
import { allocate, checkMemory, makeControl, makeKernel } from './boot.ts';
import { type Census, takeCensus } from './census.ts';
import { type BrowserWorker, Deaths, type ReapOptions, type WatchedWorker } from './deaths.ts';
import {
  checkKind,
  type MachineHandle,
  machineKey,
  readMachineHandle,
  readSpaceHandle,
  type SpaceHandle,
} from './handles.ts';
import { type CpuIdentity, type LifeLock, lifeLocks, takeLifeLock, tellsOfExit } from './life-lock.ts';
import { type FileHandle, MappedFile } from './mapped-file.ts';
import { OpenSpace } from './open-space.ts';
import { Space } from './space.ts';

export type { MachineHandle } from './handles.ts';

/** A WebAssembly.Memory, without its type: not every consumer's compiler knows it. */
export interface FrameMemory {
  /** The memory's buffer as it is now. */
  readonly buffer: SharedArrayBuffer | ArrayBuffer;
}

/** Options of `createMachine`. */
export interface MachineOptions {
  /**
   * Frames: a number of bytes (256 KiB to 4 GiB, rounded down to pages), or a WebAssembly.Memory whose bytes become the frames, so
   * that wasm code reaches them; shared unless `shared` is false. It may grow; the machine keeps the size that it had. Where it is
   * not shared, growing moves it, so that every access must look: some 80 ns each, in `run` too.
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

/** Options of `machine.createSpace`. */
export interface SpaceOptions {
  /** Most bytes that may be mapped at a time (RLIMIT_AS), a page at least. Default: no limit. */
  readonly limit?: number | undefined;
}

/** What `machine.counters` returns. */
export interface MachineCounters extends Counters {
  /**
   * How long threads waited for locks: numbers of waits in powers of two of microseconds. Place k counts waits of 2^k to 2^(k+1)
   * microseconds, the first one everything below 2, the last one everything above.
   */
  readonly histograms: Record<HistogramName, number[]>;
}

const DEFAULT_STALL_MS = 10_000;
const DEFAULT_IO_MS = 60_000;
const machines = new Map<string, Machine>();
/** By their control memory, machines whose frames lie in memory that may move: where it is now. */
const moving = new WeakMap<MemoryBuffer, () => MemoryBuffer>();
/** Of each space that this thread has opened. */
const machineBehind = new WeakMap<object, Machine>();

// The checker puts memory back before each execution. What this thread remembers of a machine is of another past then: it is told to
// forget here, as ports are found (sync/atomics.checked.ts). Only the checked build has this.
if (CHECKED) {
  const registry = globalThis as { [objects: symbol]: (() => void)[] | undefined };
  const OBJECTS = Symbol.for('vmspace.checked-objects');
  registry[OBJECTS] = [...(registry[OBJECTS] ?? []), forgetMachines];
}

/** The host's number for the calling thread: worker_threads' threadId in Node, 0 elsewhere. No import: browsers have none. */
function threadNumber(): number {
  const host = (globalThis as { process?: { getBuiltinModule?: (name: string) => unknown } }).process;
  const threads = host?.getBuiltinModule?.('node:worker_threads') as { threadId?: number } | undefined;
  return threads?.threadId ?? 0;
}

/**
 * A machine as one thread has it: memory, a page cache, and the spaces and files in it. `createMachine` makes it, `attachMachine`
 * gives it to another thread. A thread has one object per machine.
 *
 * After `close` its methods throw EBADF, but for those that only look (`counters`, `census`, `cpus`). When a rule of the library was
 * broken in this thread, every later call throws the `Oops` that says which.
 */
export class Machine implements Closable {
  /** What another thread attaches with. Cloneable: post it to a Worker and call `attachMachine` there. */
  readonly handle: MachineHandle;
  /** Bytes of frames. */
  readonly memory: number;
  /** The fault protocol, as given to `createMachine`. */
  readonly design: DesignName;
  /** Whether other threads can attach. */
  readonly shared: boolean;
  /** @internal */
  readonly kernel: Kernel;
  /** @internal */
  readonly views: FrameViews;
  /** @internal `attachSpace` has attached this thread, and nobody has asked for the machine: it is left with the last space. */
  forSpacesOnly = false;
  /** The same as `close`, for `using`. Where the host has no Symbol.dispose it is missing. */
  declare readonly [Symbol.dispose]: () => void;
  readonly #key: string;
  readonly #spaces = new Map<number, OpenSpace>();
  /** By record and serial: records are used again. */
  readonly #files = new Map<string, Set<MappedFile>>();
  readonly #deaths: Deaths;
  readonly #life: LifeLock | undefined;
  #closed = false;
  /** `close` is under way: a backing's own may call it. */
  #leaving = false;
  /** ... and has come to its end. */
  #left = false;

  /** @internal Use `createMachine` or `attachMachine`. */
  constructor(handle: MachineHandle, key: string) {
    const words = new Int32Array(handle.control);
    const floats = new Float64Array(handle.control, 0, words.length >> 1);
    const design = designById(peek(words, H_DESIGN));
    if (design === undefined)
      throw new VmError('EPROTO', 'attach', 'this build does not have the design of the machine');
    const current = moving.get(handle.control);
    this.#key = key;
    this.handle = following(handle, current);
    this.memory = handle.frameBytes;
    this.design = design.name as DesignName;
    this.shared = peek(words, H_SHARED) === 1;
    const views = new FrameViews(handle.frames, handle.frameBytes, current);
    this.views = views;
    const locks = this.shared ? lifeLocks() : undefined;
    const cpu = attachCpu(words, floats, threadNumber());
    try {
      this.kernel = makeKernel(cpu, views.u8);
      const { frames } = this.kernel;
      if (views.mayMove) {
        frames.follow = () => {
          const moved = views.follow();
          frames.bytes = views.u8;
          return moved;
        };
      }
      this.#deaths = new Deaths(this, key, locks);
      if (locks !== undefined) this.#life = takeLifeLock(cpu, key, locks);
    } catch (error) {
      detachCpu(words, cpu.id); // nobody would ever give the place back
      throw error;
    }
  }

  /** This thread's place in the machine: 0 to 63. Another thread gets it after `close`. */
  get cpu(): number {
    return this.kernel.cpu.id;
  }

  /** This thread, as `reap` in another one takes it. Cloneable; unlike the cpu's number it is never another thread's. */
  get identity(): CpuIdentity {
    const { id, serial } = this.kernel.cpu;
    return { cpu: id, serial };
  }

  /** Whether this thread has closed the machine. */
  get closed(): boolean {
    return this.#closed;
  }

  /* Spaces. */

  /**
   * Makes an empty address space, and opens it in this thread.
   *
   * @throws EINVAL for a limit that is no number of bytes, or less than a page.
   * @throws EAGAIN when the machine has 64 spaces, ENOMEM when it has no record left.
   */
  createSpace(options: SpaceOptions = {}): Space {
    checkObject(options, 'options', 'createSpace');
    const { limit } = options;
    if (limit !== undefined && byteCount(limit, 'limit', 'createSpace') < PAGE_SIZE) {
      throw new VmError('EINVAL', 'createSpace', 'the limit must be at least a page');
    }
    this.checkOpen('createSpace');
    const pages = Math.floor((limit ?? 0) / PAGE_SIZE);
    return publicCall(this.kernel, 'createSpace', () => this.#open(createMm(this.kernel, pages)));
  }

  /**
   * Opens a space by its handle, another thread's or this one's: a `Space` of its own each time, each to be closed.
   *
   * @throws ESTALE when the space is gone.
   * @throws EINVAL for what is no handle of a space of this machine, EPROTO for a handle of another version.
   */
  attachSpace(handle: SpaceHandle): Space {
    const { control, space, serial } = readSpaceHandle(handle);
    this.checkOpen('attachSpace');
    checkNoCallback(this.kernel, 'attachSpace');
    if (machineKey(new Int32Array(control)) !== this.#key) {
      throw new VmError('EINVAL', 'attachSpace', 'the handle belongs to another machine');
    }
    byteCount(space, 'the record of the space', 'attachSpace');
    const known = this.#spaces.get(space);
    if (known !== undefined && known.handle.serial === serial) return this.#handleOn(known);
    publicCall(this.kernel, 'attachSpace', () => attachMm(this.kernel, space as MmRef, serial));
    return this.#open(space as MmRef);
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
    const open = new OpenSpace(this, following(handle, moving.get(control)));
    this.#spaces.set(mm, open);
    return this.#handleOn(open);
  }

  #handleOn(open: OpenSpace): Space {
    const space = new Space(open);
    machineBehind.set(space, this);
    return space;
  }

  /** @internal The last of this thread's handles on the space was closed. */
  spaceClosed(open: OpenSpace): void {
    const { mm } = open;
    const { rcu, cpu, files } = this.kernel;
    const leave = (): void => {
      if (usesMm(this.kernel, cpu.id, mm)) rcu.outside(() => leaveMm(this.kernel, mm, cpu.id));
      if (this.#spaces.get(mm) === open) this.#spaces.delete(mm); // before a backing's function runs
      // Also what threads that have left could not free while somebody was in a section: their places are taken until then.
      rcu.freeAllRetired();
      files.sweepLocal('closed');
    };
    try {
      if (!cpu.poisoned) publicCall(this.kernel, 'close', leave); // nobody works on with wrong memory
    } catch (error) {
      // If this thread has left the space, whoever finishes the call takes it down.
      if (error instanceof Oops || usesMm(this.kernel, cpu.id, mm)) throw error;
    }
    if (this.#spaces.get(mm) === open) this.#spaces.delete(mm);
    this.leaveIfUnused();
  }

  /** @internal A thread in a section or in a callback of ours has a space open. */
  leaveIfUnused(): void {
    if (this.forSpacesOnly && this.#spaces.size === 0) this.close();
  }

  /* Files. */

  /**
   * Makes a file of a registered kind known to the machine. Every thread makes its own backing from `options`, this one at once: what
   * JSON does not give back as it was is EINVAL (properties that are undefined may vanish).
   *
   * @param kind a name given to `registerBacking`.
   * @param options plain JSON, which the factory gets in every thread.
   * @param size bytes. It does not change.
   * @param own the backing of this thread, where it is there already. Then no factory is called here.
   * @throws EINVAL for arguments of another kind, EOVERFLOW for more than 8 TiB.
   * @throws ENODEV for a kind that this thread has not registered.
   * @throws EIO when the factory throws: `cause` has its error.
   * @throws ENOMEM when the machine has no record left.
   */
  createFile(kind: string, options: unknown, size: number, own?: Backing): MappedFile {
    this.checkOpen('createFile');
    if (typeof kind !== 'string' || kind === '') throw new VmError('EINVAL', 'createFile', 'kind must be a name');
    fileSize(size, 'createFile');
    if (own !== undefined) checkBacking(own, 'createFile');
    const { rcu, files } = this.kernel;
    checkNoCallback(this.kernel, 'createFile');
    const text = rcu.outside(() => descriptorText(kind, options)); // runs the caller's code: getters of the options
    this.checkOpen('createFile');
    return this.#opened(publicCall(this.kernel, 'createFile', () => rcu.outside(() => files.create(text, size, own))));
  }

  /**
   * Opens another thread's file.
   *
   * @param handle the `handle` of that thread's file.
   * @param own the backing of this thread, where it is there already. Then no factory is called here.
   * @throws ESTALE when the file is gone.
   * @throws EINVAL for what is no handle of a file of this machine, EPROTO for a handle of another version.
   */
  attachFile(handle: FileHandle, own?: Backing): MappedFile {
    checkObject(handle, 'the handle', 'attachFile');
    const { kind, version, machine, file, serial } = handle;
    if (own !== undefined) checkBacking(own, 'attachFile');
    this.checkOpen('attachFile');
    checkKind(kind, version, 'vmspace.file', 'attachFile');
    if (machine !== this.#key) throw new VmError('EINVAL', 'attachFile', 'the handle belongs to another machine');
    const mapping = byteCount(file, 'the record of the file', 'attachFile') as MappingRef;
    publicCall(this.kernel, 'attachFile', () => this.kernel.files.open(mapping, serial));
    if (own !== undefined) this.kernel.rcu.outside(() => this.kernel.files.adopt(mapping, own));
    return this.#opened(mapping);
  }

  #opened(mapping: MappingRef): MappedFile {
    const file = new MappedFile(this.kernel, mapping, this.#key, (closed) => this.#fileClosed(closed, mapping));
    const key = openKey(mapping, file.handle.serial);
    const opened = this.#files.get(key) ?? new Set();
    this.#files.set(key, opened.add(file));
    return file;
  }

  #fileClosed(file: MappedFile, mapping: MappingRef): void {
    const { serial } = file.handle;
    const { files, cpu } = this.kernel;
    const opened = this.#files.get(openKey(mapping, serial));
    if (opened === undefined || !opened.has(file)) return;
    if (opened.size === 1) {
      try {
        if (!cpu.poisoned) publicCall(this.kernel, 'close', () => files.close(mapping, cpu.id, serial));
      } catch (error) {
        if (!(error instanceof VmError) || files.isOpen(mapping, cpu.id, serial)) throw error; // else it is dropped later
      }
      this.#files.delete(openKey(mapping, serial));
    }
    opened.delete(file);
    files.sweepLocal('closed');
  }

  /* Deaths. */

  /**
   * Tells the machine that a thread is gone: its locks are released, what it was doing is finished or undone, its spaces and files are
   * closed. It takes a thread whose end this thread has seen itself (`watch`), or with `confirmed: true` one of which the caller knows
   * that it runs no more. A thread that is asleep, or that computes without touching the machine, cannot be told from a dead one: do
   * not confirm what you do not know. In a browser a busy worker runs on for seconds after `terminate()`.
   *
   * @param who the thread's `machine.identity`. A cpu's number alone names whoever has it now.
   * @returns false when there is no such thread any more.
   * @throws EPERM when nothing tells that the thread is gone.
   * @throws EBUSY for one that lives: a watched one that has not ended, or one that still enters sections.
   * @throws EINVAL for this thread, and for what is no cpu.
   * @throws ETIMEDOUT when the reaping itself meets a lock of another dead thread: reap that one first.
   */
  reap(who: number | CpuIdentity, options: ReapOptions = {}): boolean {
    this.checkOpen('reap');
    return this.#deaths.reap(who, options);
  }

  /** @internal `reap` without a doubt, for those who know that the thread of cpu `id` is gone. */
  reapNow(id: number, serial?: number, patience?: number): boolean {
    return this.#reaping(() => (reapCpu(this.kernel, id, { serial, patience }) ? 1 : 0)) > 0;
  }

  /**
   * Reaps the worker's cpus when it is gone, however it ends: call it right after `new Worker`. What the worker closed itself is
   * not touched. In Node its `exit` tells: when `await worker.terminate()` goes on, it has been reaped. In a browser the Web Lock
   * does that every attached thread holds: soon after the worker's last step, for all workers of this machine; not for one that ends
   * before the browser has given it the lock (see `watchable`).
   *
   * @throws EINVAL for what is no running Worker, and for this thread itself.
   *
   * @example
   * ```js
   * import assert from 'node:assert/strict';
   * import { once } from 'node:events';
   * import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
   * import { attachSpace, createMachine, MiB } from 'vmspace';
   *
   * if (isMainThread) {
   *   const machine = createMachine({ memory: 1 * MiB });
   *   const space = machine.createSpace();
   *   const worker = new Worker(new URL(import.meta.url), { workerData: space.handle });
   *   machine.watch(worker);
   *   await once(worker, 'message');
   *   assert.equal(machine.cpus().length, 2);
   *   await worker.terminate(); // it had no time to close anything
   *   assert.equal(machine.cpus().length, 1);
   *   machine.close();
   * } else {
   *   attachSpace(workerData);
   *   parentPort.postMessage('attached');
   *   setInterval(() => {}, 1000);
   * }
   * ```
   */
  watch(worker: WatchedWorker | BrowserWorker): void {
    this.checkOpen('watch');
    this.#deaths.watch(worker);
  }

  /**
   * Resolves to true once others can tell when this thread ends. At once in Node. In a browser a thread that is going to work for long
   * without letting its event loop turn awaits it first: until then the browser has not given it its Web Lock. Resolves to false
   * where there are none, or when the machine is closed meanwhile.
   *
   * @throws EBADF (as a rejection) when this thread has closed the machine.
   */
  async watchable(): Promise<boolean> {
    this.checkOpen('watchable');
    return this.#life === undefined ? this.shared && tellsOfExit() : this.#life.held;
  }

  /** @internal Reaps every cpu of the host's thread `thread`; the number reaped. */
  reapThread(thread: number, patience?: number): number {
    if (this.#closed || this.kernel.cpu.poisoned) {
      noteDeath(this.kernel, thread); // this thread can do no more: the next one who comes by may
      return 0;
    }
    return this.#reaping(() => reapThread(this.kernel, thread, patience));
  }

  /** A reaping that this thread could not finish goes on here, so it is no hindrance to another. */
  #reaping(reap: () => number): number {
    const { kernel } = this;
    checkNoCallback(kernel, 'reap');
    settleLast(kernel);
    try {
      return kernel.rcu.outside(reap);
    } catch (error) {
      callFailed(kernel, error);
      throw error;
    }
  }

  /* Looking at it. */

  /** The counters, summed over all threads since the machine was made. While others work it may be a few events behind. */
  counters(): MachineCounters {
    const { words, floats } = this.kernel;
    const cpus = load(words, CPUS_USED);
    const read = (cpu: number, index: number): number => readCounter(words, floats, cpu, index);
    return { ...sumCounters(cpus, read), histograms: sumHistograms(cpus, read) };
  }

  /**
   * The counters of one place: of all threads that ever had it.
   *
   * @param id 0 to 63, as `machine.cpu`.
   * @throws EINVAL for what is no cpu.
   */
  cpuCounters(id: number): Counters {
    if (!Number.isInteger(id) || id < 0 || id >= MAX_CPUS) {
      throw new VmError('EINVAL', 'cpuCounters', `${show(id)} is not a cpu`);
    }
    const { words, floats } = this.kernel;
    return sumCounters(1, (_cpu, index) => readCounter(words, floats, id, index));
  }

  /** What every pool holds. It is exact only while no other thread works. */
  census(): Census {
    return takeCensus(this.kernel);
  }

  /** What the checks of lock order have found in this thread: empty when all is well, and always in the default build. */
  lockdep(): readonly {
    /** The rule that was broken. */
    rule: string;
    /** What broke it. */
    detail: string;
  }[] {
    return lockdepReports(this.kernel.cpu);
  }

  /** The threads that are attached. */
  cpus(): {
    /** The thread's place, 0 to 63: what `reap` takes. */
    cpu: number;
    /** The host's number of the thread: `threadId` in Node, 0 elsewhere. */
    thread: number;
  }[] {
    const { words } = this.kernel;
    const out: { cpu: number; thread: number }[] = [];
    for (let id = 0; id < load(words, CPUS_USED); id++) {
      const thread = load(words, cpuSlot(id) + C_THREAD);
      if (thread >= 0) out.push({ cpu: id, thread });
    }
    return out;
  }

  /**
   * Waits until everything that was unmapped and may still be in some thread's hands is free again. For tests and figures: the machine
   * does it itself when it needs the memory.
   *
   * @throws EDEADLK inside `run`.
   * @throws ETIMEDOUT when a thread stays in its section for the machine's `stallTimeout`; `WouldBlock` where blocking is not allowed.
   */
  drain(): void {
    this.checkOpen('drain');
    this.kernel.rcu.endStale();
    if (this.kernel.rcu.inSection) throw new VmError('EDEADLK', 'drain', 'called inside run()');
    const { kernel } = this;
    publicCall(kernel, 'drain', () => {
      kernel.rcu.outside(() => finishOthers(kernel, HELP_PATIENCE_MS));
      kernel.rcu.drain();
    });
    this.kernel.files.sweepLocal('closed');
  }

  /* Life. */

  /**
   * This thread leaves the machine: all its spaces and files are closed, whoever in it has opened them. A second call does nothing.
   *
   * @throws EDEADLK inside `run`.
   */
  close(): void {
    if (this.#left || this.#leaving) return;
    const { kernel } = this;
    checkNoCallback(kernel, 'close');
    kernel.rcu.endStale();
    if (kernel.rcu.depth > 0 || kernel.rcu.suspendedDepth > 0) {
      throw new VmError('EDEADLK', 'close', 'the machine is closed inside run()');
    }
    this.#closed = true; // first: the backings that are closed now are users' code
    this.#leaving = true;
    try {
      this.#leave();
      this.#left = true;
    } finally {
      this.#leaving = false;
    }
  }

  /** Each step may be done twice: where the engine ends one for want of stack, `close` begins again. */
  #leave(): void {
    const { kernel } = this;
    machines.delete(this.#key);
    for (const files of this.#files.values()) for (const file of files) file.machineClosed();
    for (const { holders } of this.#spaces.values()) for (const space of holders) space.machineClosed();
    kernel.files.sweepLocal('all');
    this.#deaths.close();
    if (!kernel.cpu.poisoned) lastCall(kernel, () => detachKernel(kernel));
    else if (kernel.cpu.hasItsSlot) leaveUnfinished(kernel); // nobody touches what is wrong; but this thread is gone
    this.#life?.giveBack(); // after the slot: whoever gets the lock finds nobody dead
  }

  /** @internal Tells whether `value` is one, and not only looks like one. */
  static is(value: unknown): value is Machine {
    return typeof value === 'object' && value !== null && #key in value;
  }

  /** @internal */
  [INSPECT](depth: number, options: object, inspect: Inspect): string {
    const { memory, design, shared, cpu, closed } = this;
    return inspected('Machine', { memory, design, shared, cpu, closed }, depth, options, inspect);
  }

  /** @internal */
  checkOpen(syscall: string): void {
    if (this.#closed) throw new VmError('EBADF', syscall, 'this thread has closed the machine');
    this.kernel.cpu.checkAlive();
  }
}

makeDisposable(Machine.prototype);

/** @internal Of this instance of the library; a Proxy or an heir of one is none. Runs no code of the caller's. */
export function isMachine(value: unknown): value is Machine {
  return Machine.is(value);
}

/**
 * Makes a machine and attaches this thread to it.
 *
 * @throws EINVAL for options that are not as `MachineOptions` says.
 * @throws ENOMEM when the host has not so much memory.
 * @throws ENOTSUP where there is no SharedArrayBuffer: in a page without cross-origin isolation.
 * @throws EBUSY when another machine has its frames in the same `WebAssembly.Memory`.
 *
 * @example
 * ```js
 * import assert from 'node:assert/strict';
 * import { createMachine, MAP_ANONYMOUS, MAP_PRIVATE, MiB, PROT_READ, PROT_WRITE } from 'vmspace';
 *
 * const machine = createMachine({ memory: 16 * MiB });
 * const space = machine.createSpace();
 * const start = space.mmap({ length: 4096, prot: PROT_READ | PROT_WRITE, flags: MAP_PRIVATE | MAP_ANONYMOUS });
 * space.store32(start, 42);
 * assert.equal(space.load32(start), 42);
 * machine.close();
 * ```
 */
export function createMachine(options: MachineOptions): Machine {
  if (typeof options !== 'object' || options === null) {
    throw new VmError('EINVAL', 'createMachine', 'options must be an object with memory');
  }
  const { memory, shared = true, design: name = 'rcu' } = options;
  const { stallTimeout = DEFAULT_STALL_MS, ioTimeout = DEFAULT_IO_MS } = options;
  const design = designByName(name);
  if (design === undefined) {
    throw new VmError('EINVAL', 'createMachine', `design must be one of ${DESIGN_NAMES.join(', ')}, got ${show(name)}`);
  }
  if (typeof shared !== 'boolean') throw new VmError('EINVAL', 'createMachine', 'shared must be true or false');
  checkMilliseconds(stallTimeout, 'stallTimeout');
  checkMilliseconds(ioTimeout, 'ioTimeout');
  const wanted = wantedFrames(memory, shared);
  checkMemory(wanted.bytes);
  if (typeof memory === 'object' && isInUse(machineOver.get(memory))) {
    const what = 'another machine has its frames in this memory, and a thread has not closed it';
    throw new VmError('EBUSY', 'createMachine', what);
  }
  const frameBytes = Math.floor(wanted.bytes / PAGE_SIZE) * PAGE_SIZE;
  const control = makeControl(frameBytes / PAGE_SIZE, shared, design, { stallTimeout, ioTimeout });
  const frames = wanted.buffer ?? allocate(frameBytes, shared);
  if (wanted.current !== undefined) moving.set(control, wanted.current);
  if (wanted.buffer !== undefined) new Uint8Array(frames, 0, PAGE_SIZE).fill(0); // frame 0 is the zero page
  if (!shared) Object.defineProperty(control, ORIGINAL, { value: true });
  const machine = attachMachine({ kind: 'vmspace.machine', version: LAYOUT_VERSION, control, frames, frameBytes });
  if (typeof memory === 'object') machineOver.set(memory, machine.kernel.words);
  return machine;
}

/** A machine that is not shared is in one thread. Cloning its handle copies its memory, but not this property of it. */
const ORIGINAL = Symbol.for('vmspace.original');

/** By the WebAssembly.Memory that the caller has given: the control memory of the machine that this thread has made over it last. */
const machineOver = new WeakMap<object, Int32Array>();

/** Whether any thread that may be alive has the machine. */
function isInUse(words: Int32Array | undefined): boolean {
  for (let id = 0; words !== undefined && id < load(words, CPUS_USED); id++) {
    const state = load(words, cpuSlot(id) + C_STATE);
    if (state !== CPU_FREE && state !== CPU_LEFT && (state & 0xff) !== CPU_DEAD) return true;
  }
  return false;
}

/**
 * Attaches this thread to a machine, until `machine.close()`. A thread has one Machine object per machine: a second call gives the
 * same one, and its `close` is for the whole thread. So of several parts of a program in one thread one alone asks for the machine
 * and closes it; the others open spaces with `attachSpace`, each its own.
 *
 * @param handle the `handle` of another thread's machine.
 * @throws EINVAL for what is no handle of a machine, EPROTO for a handle of another version.
 * @throws EAGAIN when 64 threads are attached.
 */
export function attachMachine(handle: MachineHandle): Machine {
  const read = readMachineHandle(handle);
  return asked(calledAs('attachMachine', () => machineFor(machineKey(new Int32Array(read.control)), read)));
}

/**
 * Opens a space by its handle: a `Space` of its own at each call, each to be closed. Attaches this thread to the machine if need be,
 * and `close` of the last space opened takes it off again, unless somebody in this thread has asked for the machine itself
 * (`createMachine`, `attachMachine`, `machineOf`): then `machine.close()` does.
 *
 * @param handle the `handle` of another thread's space.
 * @throws ESTALE when the space is gone.
 * @throws EINVAL for what is no handle of a space, EPROTO for a handle of another version.
 * @throws EAGAIN when 64 threads are attached.
 *
 * @example
 * ```js
 * import assert from 'node:assert/strict';
 * import { once } from 'node:events';
 * import { isMainThread, Worker, workerData } from 'node:worker_threads';
 * import { attachSpace, createMachine, MAP_ANONYMOUS, MAP_PRIVATE, MiB, PROT_READ, PROT_WRITE } from 'vmspace';
 *
 * if (isMainThread) {
 *   const machine = createMachine({ memory: 1 * MiB });
 *   const space = machine.createSpace();
 *   const at = space.mmap({ length: 4096, prot: PROT_READ | PROT_WRITE, flags: MAP_PRIVATE | MAP_ANONYMOUS });
 *   const worker = new Worker(new URL(import.meta.url), { workerData: { handle: space.handle, at } });
 *   machine.watch(worker);
 *   await once(worker, 'exit');
 *   assert.equal(space.load32(at), 7);
 *   machine.close();
 * } else {
 *   const space = attachSpace(workerData.handle);
 *   space.store32(workerData.at, 7);
 *   space.close();
 * }
 * ```
 */
export function attachSpace(handle: SpaceHandle): Space {
  const read = readSpaceHandle(handle);
  const { version, control, frames, frameBytes } = read;
  const key = machineKey(new Int32Array(control));
  const known = machines.get(key);
  const machineHandle: MachineHandle = { kind: 'vmspace.machine', version, control, frames, frameBytes };
  const machine = known ?? calledAs('attachSpace', () => machineFor(key, machineHandle));
  if (known === undefined) machine.forSpacesOnly = true;
  try {
    return machine.attachSpace(read);
  } catch (error) {
    machine.leaveIfUnused();
    throw error;
  }
}

/**
 * The machine of a space that this thread has opened. Who asks for it closes it: see `attachMachine`.
 *
 * @throws EINVAL for what is no space, EBADF when this thread has closed the machine.
 */
export function machineOf(space: Space): Machine {
  const machine = machineBehind.get(space);
  if (machine === undefined) throw new VmError('EINVAL', 'machineOf', 'not a space');
  if (machine.closed) throw new VmError('EBADF', 'machineOf', 'this thread has closed the machine');
  return asked(machine);
}

function asked(machine: Machine): Machine {
  machine.forSpacesOnly = false;
  return machine;
}

/** Requires: a handle of our own, checked. */
function machineFor(key: string, handle: MachineHandle): Machine {
  const known = machines.get(key);
  if (known !== undefined) return known;
  if (!isSharedMemory(handle.control) && !Object.hasOwn(handle.control, ORIGINAL)) {
    throw new VmError('EINVAL', 'attach', 'the machine is not shared: this handle holds a copy of its memory');
  }
  const machine = new Machine(handle, key);
  machines.set(key, machine);
  return machine;
}

/** As if this thread had attached to nothing. Nothing is given back in shared memory; descriptors of the host are. */
function forgetMachines(): void {
  for (const machine of machines.values()) machine.kernel.files.sweepLocal('all');
  machines.clear();
}

function checkMilliseconds(value: unknown, what: string): void {
  if (Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= 2 ** 31 - 1) return;
  throw new VmError('EINVAL', 'createMachine', `${what} must be a whole number of milliseconds, 1 at least`);
}

/** What the caller's `memory` is; `current` for memory that may move or go. */
interface WantedFrames {
  readonly bytes: number;
  readonly buffer: MemoryBuffer | undefined;
  readonly current: (() => MemoryBuffer) | undefined;
}

function wantedFrames(memory: unknown, shared: boolean): WantedFrames {
  if (typeof memory === 'number') {
    return { bytes: byteCount(memory, 'memory', 'createMachine'), buffer: undefined, current: undefined };
  }
  const { buffer, current } = openMemory(memory);
  if (!isMemory(buffer)) {
    const what = `memory must be a number of bytes or a WebAssembly.Memory, got ${show(memory)}`;
    throw new VmError('EINVAL', 'createMachine', what);
  }
  const isShared = isSharedMemory(buffer);
  if (isShared !== shared) {
    throw new VmError('EINVAL', 'createMachine', `the WebAssembly.Memory is ${isShared ? '' : 'not '}shared`);
  }
  if (mayShrink(buffer)) throw new VmError('EINVAL', 'createMachine', 'frames cannot lie in memory that may shrink');
  return { bytes: memoryBytes(buffer), buffer, current: isShared ? undefined : current };
}

/** Who looks at the handle after the memory has moved finds the buffer that it has then. */
function following<T extends { readonly frames: MemoryBuffer }>(
  handle: T,
  current: (() => MemoryBuffer) | undefined,
): T {
  if (current === undefined) return handle;
  return Object.defineProperty({ ...handle }, 'frames', { get: current, enumerable: true });
}

function openKey(mapping: MappingRef, serial: number): string {
  return `${mapping} ${serial}`;
}

/** Gives everything back. Can be begun again when it was cut short. */
function detachKernel(k: Kernel): void {
  k.files.closeAll(k.cpu.id);
  forEachMm(k, (mm) => {
    if (usesMm(k, k.cpu.id, mm)) leaveMm(k, mm, k.cpu.id);
  });
  k.rcu.freeRetired(k.cpu.id);
  k.rcu.freeRetired(k.cpu.id);
  for (const slab of Object.values(k.slabs)) slab.flush();
  k.frames.flush();
  leaveCpu(k.cpu);
}
