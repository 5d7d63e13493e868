/**
 * Life locks. In a browser nothing tells a thread that another one has ended, and a busy worker that was terminated runs on for seconds.
 * But a Web Lock is released when its holder can run no more script. So each thread holds one for as long as it is attached, and
 * who watches asks for the same: if it gets it while the slot is still that thread's, the thread is gone.
 *
 * The host gives the lock some time after the thread has attached, and to a thread that never lets its event loop turn not at all. So
 * nobody is called dead whose lock was not held before: the thread itself says so in its slot, or the host's list does.
 */
import { load, store } from '#atomics';
import {
  C_LIFE,
  C_SERIAL,
  C_STATE,
  CPU_ATTACHED,
  CPU_DEAD,
  CPU_GAVE_UP,
  CPUS_USED,
  cpuSlot,
  LIFE_ASKED,
  LIFE_HELD,
  LIFE_NONE,
} from '../sync/control.layout.ts';
import type { Cpu } from '../sync/cpu.ts';

/** @internal What is used of the host's `navigator.locks`. `signal` is an AbortSignal: not every consumer's compiler knows it. */
export interface LifeLocks {
  request(name: string, options: { signal?: unknown }, given: () => unknown): Promise<unknown>;
  query(): Promise<{ readonly held?: readonly { readonly name?: string }[] }>;
}

/** A thread as the machine knows it: no two threads that ever attached have the same serial. Cloneable, and survives JSON. */
export interface CpuIdentity {
  /** The thread's place in the machine, 0 to 63. Another thread gets it afterwards. */
  readonly cpu: number;
  /** Never used again. */
  readonly serial: number;
}

/** Milliseconds between two looks for threads that have attached. An end is noticed at once. */
const LOOK_MS = 100;

/** @internal Node and its like: a Worker's `exit` says more than a lock. */
export function tellsOfExit(): boolean {
  const host = globalThis as { process?: { getBuiltinModule?: unknown } };
  return host.process?.getBuiltinModule !== undefined;
}

/** @internal Undefined where the host has none, or a better way. */
export function lifeLocks(): LifeLocks | undefined {
  const host = globalThis as { navigator?: { locks?: LifeLocks } };
  return tellsOfExit() ? undefined : host.navigator?.locks;
}

/** @internal */
export function lifeLockName(machine: string, serial: number): string {
  return `vmspace ${machine} ${serial}`;
}

/** @internal This thread's life lock. */
export interface LifeLock {
  /** Whether the host has given it, once that is decided. */
  readonly held: Promise<boolean>;
  /** Gives it back. Call it once the cpu has left its slot. */
  giveBack(): void;
}

/** @internal Asks for this thread's life lock. Never waits, never throws. */
export function takeLifeLock(cpu: Cpu, machine: string, locks: LifeLocks): LifeLock {
  const word = cpu.base + C_LIFE;
  let left = false;
  let release: () => void = () => undefined;
  let decided: (held: boolean) => void = () => undefined;
  const held = new Promise<boolean>((done) => {
    decided = done;
  });
  const say = (state: number): void => {
    if (!left) store(cpu.words, word, state); // afterwards the slot may be another thread's
  };
  const given = (): unknown => {
    decided(!left);
    if (left) return undefined;
    say(LIFE_HELD);
    return new Promise<void>((done) => {
      release = done;
    });
  };
  say(LIFE_ASKED);
  request(locks, lifeLockName(machine, cpu.serial), {}, given).catch(() => {
    say(LIFE_NONE);
    decided(false);
  });
  const giveBack = (): void => {
    left = true;
    decided(false);
    release();
  };
  return { held, giveBack };
}

/** @internal Tells of each thread of the machine whose life lock was held and is released while its slot is still its own. */
export class LifeWatcher {
  readonly #words: Int32Array;
  readonly #machine: string;
  readonly #locks: LifeLocks;
  readonly #self: CpuIdentity;
  readonly #died: (who: CpuIdentity) => void;
  /** Serials of the threads whose lock we wait for. */
  readonly #awaited = new Set<number>();
  readonly #stop = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(cpu: Cpu, machine: string, locks: LifeLocks, died: (who: CpuIdentity) => void) {
    this.#words = cpu.words;
    this.#machine = machine;
    this.#locks = locks;
    this.#self = { cpu: cpu.id, serial: cpu.serial };
    this.#died = died;
    void this.#look();
  }

  /** Whether the thread's lock was held, and has not been released as far as we know. */
  sees(serial: number): boolean {
    return this.#awaited.has(serial);
  }

  close(): void {
    this.#stop.abort();
    clearTimeout(this.#timer);
  }

  async #look(): Promise<void> {
    const asked: CpuIdentity[] = [];
    for (const { who, life } of this.#others()) {
      if (life === LIFE_HELD) this.#await(who);
      else if (life === LIFE_ASKED) asked.push(who);
    }
    if (asked.length > 0) await this.#lookAtList(asked);
    if (!this.#stop.signal.aborted) this.#timer = setTimeout(() => void this.#look(), LOOK_MS);
  }

  /** A thread that works without a pause since the host has given it the lock cannot say so itself. */
  async #lookAtList(asked: readonly CpuIdentity[]): Promise<void> {
    try {
      const { held = [] } = await this.#locks.query();
      const names = new Set(held.map(({ name }) => name));
      for (const who of asked) if (names.has(lifeLockName(this.#machine, who.serial))) this.#await(who);
    } catch {
      // The next look asks again.
    }
  }

  #others(): { who: CpuIdentity; life: number }[] {
    const words = this.#words;
    const out: { who: CpuIdentity; life: number }[] = [];
    for (let cpu = 0; cpu < load(words, CPUS_USED); cpu++) {
      const who = { cpu, serial: load(words, cpuSlot(cpu) + C_SERIAL) };
      if (cpu !== this.#self.cpu && this.#isThere(who)) out.push({ who, life: load(words, cpuSlot(cpu) + C_LIFE) });
    }
    return out;
  }

  #isThere({ cpu, serial }: CpuIdentity): boolean {
    const slot = cpuSlot(cpu);
    const kind = load(this.#words, slot + C_STATE) & 0xff;
    return (
      (kind === CPU_ATTACHED || kind === CPU_GAVE_UP || kind === CPU_DEAD) &&
      load(this.#words, slot + C_SERIAL) === serial
    );
  }

  #await(who: CpuIdentity): void {
    if (this.#awaited.has(who.serial) || this.#stop.signal.aborted) return;
    this.#awaited.add(who.serial);
    const { signal } = this.#stop;
    const given = (): void => {
      this.#awaited.delete(who.serial);
      // A thread that closes the machine leaves its slot first, then its lock.
      if (!signal.aborted && this.#isThere(who)) this.#died(who);
    };
    request(this.#locks, lifeLockName(this.#machine, who.serial), { signal }, given).catch(() => {
      this.#awaited.delete(who.serial); // the next look asks again
    });
  }
}

async function request(
  locks: LifeLocks,
  name: string,
  options: { signal?: unknown },
  given: () => unknown,
): Promise<void> {
  await locks.request(name, options, given);
}
