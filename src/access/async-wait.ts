/**
 * `waitAsync`: a wait of a thread that goes on meanwhile. Its entry is one of those for `waitAsync` in the cpu's slot, put into the queue
 * under the same lock and with the same comparison as that of a thread that sleeps, and taken out by whoever is first: a
 * notifier, or the waiter itself when its time is up, its space is closed or it fails. So what it resolves to is decided in
 * shared memory (sync/futex.ts); that the host tells of it is only sooner than to look.
 *
 * It looks at its entry when the host's Atomics.waitAsync says that its word was notified, and by a timer: for its time limit, for the poison
 * of the machine, and for a notifier that died between the entry and the notify. Where the host has no Atomics.waitAsync, or the
 * machine is not shared, the timer alone is enough, and looks more often. The timer also keeps a Node process alive while somebody waits.
 */
import { load, notify, now, waitAsync } from '#atomics';
import { inNameOf, VmError } from '../base/errors.ts';
import { FUTEX_ASYNC_ENTRIES } from '../sync/control.layout.ts';
import type { AsyncWaiter, Cpu } from '../sync/cpu.ts';
import { asyncEntry, leaveQueue } from '../sync/futex.ts';
import { COUNTER } from '../trace/counters.ts';

/** Milliseconds between two looks where the host tells of a notify, and where nobody does (first and longest). */
const SELDOM_MS = 100;
const FIRST_NAP_MS = 1;
const LONGEST_NAP_MS = 16;

type Woken = 'ok' | 'timed-out';

export class AsyncWait implements AsyncWaiter {
  /** The number of its entry. */
  readonly index: number;
  readonly #cpu: Cpu;
  readonly #holder: object;
  /** The entry's first word: 0 once it is in no queue. */
  readonly #at: number;
  #until = 0;
  #nap = SELDOM_MS;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #told = false;
  /** Undefined before it sleeps and after its end. */
  #settle: { readonly done: (how: Woken) => void; readonly failed: (error: unknown) => void } | undefined;

  /** Takes an entry for the handle `holder`. Throws EAGAIN when all are in use. */
  constructor(cpu: Cpu, holder: object) {
    this.#cpu = cpu;
    this.#holder = holder;
    this.index = takeEntry(cpu, this);
    this.#at = asyncEntry(cpu.id, this.index);
  }

  get sleeps(): boolean {
    return this.#settle !== undefined;
  }

  /** For `timeout` milliseconds. Requires: the entry was put into a queue. */
  sleep(timeout: number): Promise<Woken> {
    const { words } = this.#cpu;
    this.#cpu.count(COUNTER['futex.waits']);
    this.#until = now() + timeout;
    return new Promise<Woken>((done, failed) => {
      const bucket = load(words, this.#at);
      const notified = bucket === 0 ? undefined : waitAsync(words, this.#at, bucket);
      this.#told = notified !== undefined;
      if (!this.#told) this.#nap = FIRST_NAP_MS;
      notified?.then(this.#look);
      this.#sleepOn();
      this.#settle = { done, failed }; // last: what the engine ends before it does not sleep, and gives its entry back
    });
  }

  /** Whoever waits through the handle is told that it is closed, unless it was woken before. */
  handleClosed(holder: object): void {
    if (holder !== this.#holder) return;
    const settle = this.#settle;
    const how = this.end();
    if (how === 'ok') settle?.done('ok');
    else settle?.failed(new VmError('EBADF', 'waitAsync', 'the space was closed'));
  }

  /** Leaves the queue and gives the entry back. Whether it was woken before. */
  end(): Woken {
    const { words, asyncWaits, hasItsSlot } = this.#cpu;
    clearTimeout(this.#timer);
    this.#settle = undefined;
    if (asyncWaits[this.index] !== this || !hasItsSlot) return 'timed-out'; // the words are nobody's or another thread's
    const how = leaveQueue(this.#cpu, this.#at);
    asyncWaits[this.index] = undefined;
    if (this.#told) notify(words, this.#at, Number.POSITIVE_INFINITY); // the host's own waiter: nobody else waits on this word
    return how;
  }

  readonly #look = (): void => {
    const settle = this.#settle;
    if (settle === undefined) return;
    clearTimeout(this.#timer);
    try {
      this.#cpu.checkIdentity();
      if (load(this.#cpu.words, this.#at) === 0 || now() >= this.#until) {
        settle.done(this.end());
      } else {
        this.#cpu.checkAlive(); // who should have notified may have been stopped by it
        this.#sleepOn();
      }
    } catch (error) {
      this.end();
      settle.failed(inNameOf(error, 'waitAsync'));
    }
  };

  #sleepOn(): void {
    const left = Math.max(0, this.#until - now());
    this.#timer = setTimeout(this.#look, Math.ceil(Math.min(left, this.#nap)));
    if (!this.#told) this.#nap = Math.min(LONGEST_NAP_MS, this.#nap * 2);
  }
}

/** All waits through `holder` end: it is being closed. */
export function endAsyncWaits(cpu: Cpu, holder: object): void {
  for (const waiter of cpu.asyncWaits) waiter?.handleClosed(holder);
}

function takeEntry(cpu: Cpu, waiter: AsyncWait): number {
  for (let index = 0; index < FUTEX_ASYNC_ENTRIES; index++) {
    const other = cpu.asyncWaits[index];
    // One that is there and does not sleep has been left by a call that the engine has ended for want of stack.
    if (other !== undefined && !other.sleeps) other.end();
    if (cpu.asyncWaits[index] !== undefined) continue;
    cpu.asyncWaits[index] = waiter;
    return index;
  }
  throw new VmError('EAGAIN', 'waitAsync', `a thread may wait ${FUTEX_ASYNC_ENTRIES} times at once, and this one does`);
}
