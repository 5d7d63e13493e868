/**
 * Which threads are gone, and telling the machine. A thread is reaped when the host has said that it runs no more: the `exit` of a
 * watched Worker, a life lock that was released, or the caller's word. Reaping a thread that lives breaks everything, so the caller's
 * word is tried on signs of life.
 */
import { load } from '#atomics';
import { checkObject, show } from '../base/arguments.ts';
import { VmError } from '../base/errors.ts';
import { MAX_CPUS } from '../base/limits.ts';
import { HELP_PATIENCE_MS } from '../recovery/reap.ts';
import type { Kernel } from '../space/kernel.ts';
import {
  C_SERIAL,
  C_STATE,
  C_THREAD,
  CPU_ATTACHED,
  CPU_ATTACHING,
  CPU_DEAD,
  CPU_GAVE_UP,
  CPUS_USED,
  cpuSlot,
} from '../sync/control.layout.ts';
import { type CpuIdentity, type LifeLocks, LifeWatcher } from './life-lock.ts';

/** What `watch` needs of a Worker of node:worker_threads. */
export interface WatchedWorker {
  /** The host's number of the thread. */
  readonly threadId: number;
  /** Calls `listener` when the thread has ended. */
  once(event: 'exit', listener: () => void): unknown;
}

/** What `watch` needs of a browser's Worker. */
export interface BrowserWorker {
  /** `watch` does not call it: a browser's Worker is known by it. */
  terminate(): unknown;
}

/** Options of `machine.reap`. */
export interface ReapOptions {
  /** The caller knows that the thread runs no more. Default false. */
  readonly confirmed?: boolean | undefined;
}

/** @internal What this needs of its machine. */
export interface Mortuary {
  readonly kernel: Kernel;
  readonly closed: boolean;
  checkOpen(syscall: string): void;
  reapNow(cpu: number, serial?: number, patience?: number): boolean;
  reapThread(thread: number, patience?: number): number;
}

/** All cpus of a thread of the host, or one cpu. */
type Death = { readonly thread: number } | CpuIdentity;

/** Milliseconds until a death that could not be dealt with is tried again, at first and at most. */
const RETRY_MS = 50;
const LONGEST_RETRY_MS = 1000;
/** How long a thread that is said to be dead is looked at: this part of the time after which a live one is given up. */
const LOOK_PART = 0.01;
/** The same where we must not block. */
const SPIN_MS = 20;
/** The state's low byte; the rest says who reaps. */
const STATE_MASK = 0xff;

/** @internal */
export class Deaths {
  readonly #machine: Mortuary;
  /** Identifies the machine. */
  readonly #key: string;
  readonly #locks: LifeLocks | undefined;
  readonly #workers = new WeakSet<object>();
  /** The host's numbers of watched threads that have not ended. */
  readonly #running = new Set<number>();
  /** Ended, and not reaped yet. */
  readonly #dead = new Set<Death>();
  #watcher: LifeWatcher | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #pause = RETRY_MS;

  constructor(machine: Mortuary, key: string, locks: LifeLocks | undefined) {
    this.#machine = machine;
    this.#key = key;
    this.#locks = locks;
  }

  close(): void {
    this.#watcher?.close();
    clearTimeout(this.#timer);
  }

  /* Watching. */

  watch(worker: WatchedWorker | BrowserWorker): void {
    // Each property once, before anything is looked at: reading it may run the caller's code.
    const { threadId, once, terminate } = (worker ?? {}) as Partial<WatchedWorker & BrowserWorker>;
    this.#machine.checkOpen('watch');
    const locks = this.#locks;
    if (typeof threadId === 'number') {
      this.#watchThread(worker, threadId, once);
    } else if (locks !== undefined && typeof terminate === 'function') {
      this.#watcher ??= new LifeWatcher(this.#machine.kernel.cpu, this.#key, locks, (who) => this.#note(who));
    } else {
      throw new VmError('EINVAL', 'watch', 'not a running Worker, or one of whose end this host does not tell');
    }
  }

  #watchThread(worker: object, thread: number, once: unknown): void {
    if (this.#workers.has(worker)) return;
    const { words, base } = this.#machine.kernel.cpu;
    if (thread === load(words, base + C_THREAD)) {
      throw new VmError('EINVAL', 'watch', 'a thread cannot watch itself: this is its own number');
    }
    if (!Number.isSafeInteger(thread) || thread < 0 || typeof once !== 'function') {
      const what =
        'not a running Worker of node:worker_threads; one that has ended has no number any more: watch it before';
      throw new VmError('EINVAL', 'watch', what);
    }
    Reflect.apply(once, worker, ['exit', () => this.#ended(thread)]);
    this.#workers.add(worker);
    this.#running.add(thread);
  }

  #ended(thread: number): void {
    this.#running.delete(thread);
    this.#note({ thread });
  }

  #note(death: Death): void {
    this.#dead.add(death);
    this.#pause = RETRY_MS;
    this.#reapAll();
  }

  /** One death may need another to be reaped first (its locks): those that fail are tried again, also after the next. */
  #reapAll(): void {
    clearTimeout(this.#timer);
    if (this.#machine.closed) {
      for (const each of this.#dead) if ('thread' in each) this.#machine.reapThread(each.thread);
      return;
    }
    for (let before = 0; before !== this.#dead.size; ) {
      before = this.#dead.size;
      for (const each of [...this.#dead]) if (this.#reap(each)) this.#dead.delete(each);
    }
    if (this.#dead.size === 0) return;
    this.#timer = setTimeout(() => this.#reapAll(), this.#pause);
    this.#pause = Math.min(LONGEST_RETRY_MS, this.#pause * 2);
  }

  #reap(death: Death): boolean {
    try {
      if ('thread' in death) this.#machine.reapThread(death.thread, HELP_PATIENCE_MS);
      else if (this.#isThere(death.cpu, death.serial)) this.#machine.reapNow(death.cpu, death.serial, HELP_PATIENCE_MS);
      return true;
    } catch (error) {
      if (!(error instanceof VmError)) throw error;
      return false;
    }
  }

  /* Reaping by hand. */

  reap(who: number | CpuIdentity, options: ReapOptions): boolean {
    const { cpu, serial } = identityOf(who);
    checkObject(options, 'options', 'reap');
    const { confirmed = false } = options;
    this.#machine.checkOpen('reap'); // what was read may have run the caller's code
    if (typeof confirmed !== 'boolean') throw new VmError('EINVAL', 'reap', 'confirmed must be true or false');
    const own = this.#machine.kernel.cpu;
    if (cpu === own.id && (serial === undefined || serial === own.serial)) {
      throw new VmError('EINVAL', 'reap', 'a thread cannot reap itself');
    }
    if (!this.#isThere(cpu, serial)) return false;
    this.#checkDead(cpu, confirmed);
    return this.#machine.reapNow(cpu, serial);
  }

  #isThere(cpu: number, serial: number | undefined): boolean {
    const { words } = this.#machine.kernel;
    const state = load(words, cpuSlot(cpu) + C_STATE) & STATE_MASK;
    const between = state === CPU_ATTACHING && serial === undefined; // a thread may have died while it came or went
    const inUse = state === CPU_ATTACHED || state === CPU_GAVE_UP || state === CPU_DEAD || between;
    if (cpu >= load(words, CPUS_USED) || !inUse) return false;
    return serial === undefined || load(words, cpuSlot(cpu) + C_SERIAL) === serial;
  }

  /** Throws EBUSY for a thread that lives, EPERM for one of which nothing is known. */
  #checkDead(cpu: number, confirmed: boolean): void {
    const { words, rcu } = this.#machine.kernel;
    const slot = cpuSlot(cpu);
    const thread = load(words, slot + C_THREAD);
    const serial = load(words, slot + C_SERIAL);
    const name = `cpu ${cpu} (thread ${thread})`;
    if ((load(words, slot + C_STATE) & STATE_MASK) === CPU_DEAD) return; // somebody has made sure, and began to reap it
    if (this.#running.has(thread)) throw new VmError('EBUSY', 'reap', `the watched Worker of ${name} has not exited`);
    if (this.#watcher?.sees(serial)) throw new VmError('EBUSY', 'reap', `the thread of ${name} holds its life lock`);
    for (const dead of this.#dead) if ('thread' in dead ? dead.thread === thread : dead.serial === serial) return;
    if (!confirmed) {
      const how = 'call machine.watch(worker) right after new Worker, and it is reaped when it ends';
      const or = "or pass { confirmed: true }, once its 'exit' has come or terminate() has resolved";
      throw new VmError('EPERM', 'reap', `nothing tells that the thread of ${name} is gone: ${how}; ${or}`);
    }
    const { canBlock, stallLimit } = this.#machine.kernel.cpu;
    if (rcu.outside(() => rcu.stirs(cpu, canBlock ? stallLimit * LOOK_PART : SPIN_MS))) {
      throw new VmError('EBUSY', 'reap', `the thread of ${name} lives: it still enters sections`);
    }
  }
}

function identityOf(who: number | CpuIdentity): { cpu: number; serial: number | undefined } {
  const byName = typeof who === 'object' && who !== null;
  const { cpu, serial } = byName ? who : { cpu: who, serial: undefined };
  const valid = Number.isInteger(cpu) && cpu >= 0 && cpu < MAX_CPUS && (!byName || Number.isInteger(serial));
  if (!valid) throw new VmError('EINVAL', 'reap', `${show(byName ? cpu : who)} is not a cpu`);
  return { cpu, serial };
}
