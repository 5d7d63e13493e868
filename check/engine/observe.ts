/**
 * Observes the accesses of one thread: the port and the transform announce each one before they make it. It is
 * located, decided on, and performed; a thread that goes on pays no hand-over.
 */
import { Access } from './access.ts';
import type { Blocker } from './block.ts';
import * as B from './board/header.ts';
import { FAILURE_MODEL, MODE_ABORT, MODE_RUN, MODE_TRACK } from './board/values.ts';
import type { Decider } from './decide.ts';
import { ATOMIC, BULK, changes, classesOf, keeps, PAGE, PAGE_BYTES, PLAIN, WRITE } from './kinds.ts';
import type { Performer } from './perform.ts';
import type { Recorder } from './recorder.ts';
import type { Region } from './regions.ts';
import type { Sight } from './sight.ts';
import type { SpinWatch } from './spin.ts';
import { Aborted, Killed, type Turn } from './turn.ts';

export interface ObserverParts {
  readonly turn: Turn;
  readonly sight: Sight;
  readonly decider: Decider;
  readonly blocker: Blocker;
  readonly performer: Performer;
  readonly spin: SpinWatch;
  readonly recorder: Recorder;
  /** Of a location's bytes, as a power of two. */
  readonly shift: number;
}

/** What `#atomics` and the transform call: a PortObserver (src/sync/atomics.checked.ts). */
export class Observer {
  private readonly _turn: Turn;
  private readonly _board: Int32Array;
  private readonly _sight: Sight;
  private readonly _decider: Decider;
  private readonly _blocker: Blocker;
  private readonly _performer: Performer;
  private readonly _spin: SpinWatch;
  private readonly _recorder: Recorder;
  private readonly _shift: number;
  private readonly _access = new Access();

  constructor(parts: ObserverParts) {
    this._turn = parts.turn;
    this._board = parts.turn.board;
    this._sight = parts.sight;
    this._decider = parts.decider;
    this._blocker = parts.blocker;
    this._performer = parts.performer;
    this._spin = parts.spin;
    this._recorder = parts.recorder;
    this._shift = parts.shift;
  }

  watches(buffer: SharedArrayBuffer): boolean {
    return this._sight.watches(buffer);
  }

  access(kind: string, array: ArrayBufferView | undefined, index: number, value: number, expected: number): void {
    const turn = this._turn;
    const board = this._board;
    if (turn.mode !== MODE_RUN) {
      this._outside(kind, array, index, value);
      return;
    }
    if (turn.dead) throw new Killed();
    board[B.REPORTED] = ((board[B.REPORTED] as number) + 1) | 0;
    if (kind === 'pause' || this._performer.spinning) this._pause();
    // All of a wait is in wait().
    if (kind === 'pause' || kind === 'wait' || array === undefined || !this._sight.findModelled(array, index)) return;
    const access = this._announce(kind);
    if (kind === 'cas' && (array as Int32Array)[index] === expected) access.classes |= WRITE;
    this._decide(access);
    access.found = (array as Int32Array)[index] as number;
    // Somebody else may have had a turn.
    if (kind === 'cas') access.classes = access.found === expected ? ATOMIC | WRITE : ATOMIC;
    if (access.kind === 'racyPeek') access.old = this._decider.olderValue(access);
    if (board[B.RECORDING] === 1) this._record(access, value, expected);
    const unchanged = access.classes === (ATOMIC | WRITE) && keeps(kind, access.found, value);
    this._performer.perform(access, unchanged);
  }

  /** What the marked read that was announced last returns; undefined: what is there. */
  racyValue(): number | undefined {
    return this._turn.mode === MODE_RUN ? this._access.old : undefined;
  }

  wait(
    words: Int32Array,
    index: number,
    expected: number,
    timeout: number,
  ): 'ok' | 'not-equal' | 'timed-out' | undefined {
    const { mode } = this._turn;
    if (mode === MODE_TRACK) return words[index] === expected ? 'timed-out' : 'not-equal';
    if (mode !== MODE_RUN || !this._sight.findModelled(words, index)) return undefined;
    const access = this._locate('wait', ATOMIC | WRITE);
    access.point = true;
    this._decide(access);
    access.classes = ATOMIC;
    access.found = words[index] as number;
    if (this._board[B.RECORDING] === 1) this._record(access, timeout, expected);
    const { address } = access;
    this._performer.perform(access, false);
    if (access.found !== expected) return 'not-equal';
    return timeout > 0 ? this._blocker.sleep(address, timeout) : 'timed-out';
  }

  notify(words: Int32Array, index: number, count: number): number | undefined {
    if (this._turn.mode !== MODE_RUN) return 0;
    if (!this._sight.findModelled(words, index)) return undefined;
    return this._blocker.wake((this._sight.region as Region).base + this._sight.byte, count);
  }

  /** The modelled clock, milliseconds. */
  now(): number | undefined {
    const { mode } = this._turn;
    return mode === MODE_RUN || mode === MODE_TRACK ? (this._board[B.CLOCK] as number) / 1000 : undefined;
  }

  /** A new execution begins for this thread. */
  begin(): void {
    this._spin.clear();
    this._performer.spinning = false;
  }

  private _pause(): void {
    this._performer.spinning = false;
    this._spin.reset();
    this._blocker.pause();
  }

  /** The access that was found, with what it does. */
  private _announce(kind: string): Access {
    const plain = kind === 'peek' || kind === 'poke';
    const named = plain && this._sight.racy ? (kind === 'peek' ? 'racyPeek' : 'racyPoke') : kind;
    const classes = classesOf(named);
    if ((classes & PAGE) === 0 && this._sight.width < 1 << this._shift) this._tooNarrow();
    const access = this._locate(named, classes);
    access.point = (classes & PLAIN) === 0 || (classes & BULK) !== 0 || this._board[B.POINTS] === 1;
    return access;
  }

  private _locate(kind: string, classes: number): Access {
    const { region, byte, width } = this._sight;
    const access = this._access;
    const page = (classes & PAGE) !== 0;
    access.kind = kind;
    access.classes = classes;
    access.region = region;
    access.byte = page ? byte & -PAGE_BYTES : byte;
    access.bytes = page ? PAGE_BYTES : width;
    access.old = undefined;
    return access;
  }

  private _decide(access: Access): void {
    const { address, bytes, classes, point } = access;
    access.position = this._decider.before(address, address + bytes, classes, point);
  }

  /** Outside an execution: what changes must be put back. */
  private _outside(kind: string, array: ArrayBufferView | undefined, index: number, value: number): void {
    const { mode } = this._turn;
    if (mode === MODE_ABORT) throw new Aborted();
    this._board[B.REPORTED] = ((this._board[B.REPORTED] as number) + 1) | 0;
    const sight = this._sight;
    if (mode !== MODE_TRACK || array === undefined || !changes(kind) || !sight.find(array, index)) return;
    const region = sight.region as Region;
    const bytes = kind === 'setBulk' ? Math.max(1, value) * sight.width : sight.width;
    this._performer.markWritten(region, sight.byte, Math.min(region.bytes.length, sight.byte + bytes));
  }

  /** Two elements of one location would seem to be one word. */
  private _tooNarrow(): never {
    const needed = this._sight.width;
    this._turn.fail(
      FAILURE_MODEL,
      `the threads touch elements of ${needed} bytes: the model needs \`granule: ${needed}\``,
    );
  }

  private _record(access: Access, value: number, expected: number): void {
    const trace = this._board[B.TRACE] as number;
    const { kind, position, address, bytes, old } = access;
    const found = Number(access.found);
    if (old === undefined) this._recorder.access(trace, position, kind, address, bytes, found, value, Number(expected));
    else this._recorder.access(trace, position + 1, 'oldPeek', address, bytes, old, value, found);
  }
}
