/**
 * Several cpus on one thread, one call after the other, each call cut off where the test says. The clock is virtual: a sleep takes
 * no time and moves it on, so that a wait for a dead thread comes to its limit at once, and a wait without one is seen as a hang.
 */
import { type AccessKind, observePort, type PortObserver } from '../../../src/sync/atomics.checked.ts';
import { CONTROL_END, LOCKDEP } from '../../../src/sync/control.layout.ts';
import { Hang, Killed, placeOf } from './world.ts';

export type Outcome =
  | { readonly kind: 'done' }
  /** The thread was killed; `place` says where. */
  | { readonly kind: 'died'; readonly place: string }
  | { readonly kind: 'failed'; readonly error: unknown };

export type Meddler = (kind: AccessKind, index: number, value: number, expected: number) => void;

/** Accesses after which a call is taken to hang: many times what the longest needs. */
const FUEL = 3_000_000;
/** What a look at the clock costs, so that a loop that only looks at it ends. */
const LOOK_MS = 0.001;
/** No host sleeps for less, about; loops that sleep for moments come to their limits in fewer rounds. */
const SHORTEST_SLEEP_MS = 1;
/** What a pause takes, so that whoever spins sees others let go. */
const PAUSE_MS = 0.01;

export class Stage implements PortObserver {
  /** Milliseconds since the beginning. */
  clock = 0;
  /** Accesses of the last call. */
  count = 0;
  /** Called before each access of a call to the control memory, for tests that change what the call finds. */
  meddle: Meddler | undefined;
  #mode: 'off' | 'acting' | 'dead' = 'off';
  #fatal = Number.POSITIVE_INFINITY;
  #fuel = 0;
  #place = '';
  /** Nobody touches anything any more: the world is given up. */
  #hang: Hang | undefined;

  install(): void {
    observePort(this);
  }

  /** Runs a call of a thread that dies before access `fatal`, if it comes so far. Throws Hang. */
  act(call: () => unknown, fatal: number = Number.POSITIVE_INFINITY): Outcome {
    this.#mode = 'acting';
    this.#fatal = fatal;
    this.#fuel = FUEL;
    this.#hang = undefined;
    this.count = 0;
    let outcome: Outcome = { kind: 'done' };
    try {
      call();
    } catch (error) {
      outcome = { kind: 'failed', error };
    }
    const died = (this.#mode as string) === 'dead';
    this.#mode = 'off';
    if (this.#hang !== undefined) throw this.#hang;
    return died ? { kind: 'died', place: this.#place } : outcome;
  }

  access(kind: AccessKind, array: ArrayBufferView | undefined, index: number, value: number, expected: number): void {
    if (this.#mode === 'off') return;
    if (this.#mode === 'dead') throw new Killed();
    if (kind === 'pause') this.clock += PAUSE_MS;
    if (--this.#fuel < 0) this.#giveUp('does not come to an end');
    if (index >= LOCKDEP && index < CONTROL_END && array instanceof Int32Array) return; // notes of the development build
    if (this.count === this.#fatal) {
      this.#mode = 'dead';
      const killed = new Killed();
      this.#place = placeOf(killed);
      throw killed;
    }
    this.count++;
    if (this.meddle !== undefined && array instanceof Int32Array)
      this.aside(() => this.meddle?.(kind, index, value, expected));
  }

  /** What another thread does in the middle of a call: nothing of it counts. */
  aside(act: () => void): void {
    const mode = this.#mode;
    this.#mode = 'off';
    act();
    this.#mode = mode;
  }

  wait(words: Int32Array, index: number, expected: number, timeout: number): 'timed-out' | 'not-equal' {
    if (words[index] !== expected) return 'not-equal';
    if (!Number.isFinite(timeout)) this.#giveUp('sleeps without a limit, and there is nobody to wake it');
    this.clock += Math.max(timeout, SHORTEST_SLEEP_MS);
    return 'timed-out';
  }

  now(): number {
    this.clock += LOOK_MS;
    return this.clock;
  }

  #giveUp(why: string): never {
    this.#mode = 'dead';
    this.#hang = new Hang(`the call ${why}`);
    throw this.#hang;
  }
}
