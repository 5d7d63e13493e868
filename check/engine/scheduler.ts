/**
 * One modelled thread's side of the schedule: the observer of its accesses. The running thread decides at each access whether it
 * goes on or hands its turn to another one; a thread that goes on pays no hand-over. All scheduling state is on the board.
 */

import * as B from './board/header.ts';
import * as L from './board/location.ts';
import type { BoardMemory } from './board/memory.ts';
import {
  ALL_WORDS,
  FAILURE_BYTES,
  MAX_THREADS,
  READS,
  READS_WORDS,
  RESULT_BYTES,
  SCRIPT,
  SCRIPT_ENTRIES,
  TRACE,
  threadAt,
} from './board/places.ts';
import * as R from './board/record.ts';
import * as T from './board/thread.ts';
import {
  COMMAND_RUN,
  FAILURE_DEADLOCK,
  FAILURE_LIVELOCK,
  FAILURE_LOST_WAKEUP,
  FAILURE_MODEL,
  FAILURE_RACE,
  FAILURE_SCRIPT,
  KILL,
  MODE_ABORT,
  MODE_RUN,
  MODE_TRACK,
  NEVER,
  OLDER,
  STATUS_DEAD,
  STATUS_DONE,
  STATUS_JOINING,
  STATUS_PAUSED,
  STATUS_READY,
  STATUS_WAITING,
  STRATEGY_SCRIPT,
} from './board/values.ts';
import { chooseByChance, nextByChance, olderByChance } from './chance.ts';
import { Clocks, orderAfter } from './clocks.ts';
import { History } from './history.ts';
import { Recorder } from './recorder.ts';
import { markDirty, numberLocation, Region, type RegionMemory } from './regions.ts';
import { SpinWatch } from './spin.ts';
import { heldText, standing } from './standing.ts';

/** Unwinds a thread whose execution is given up. */
export class Aborted extends Error {}

/** An address of no region, for the events of histories. */
const TIMES = 1;

/** Unwinds a thread that dies: every later access of its throws it again. */
export class Killed extends Error {}

/* Classes of access, with what each does. */
const WRITE = 1;
const ATOMIC = 2;
const PLAIN = 4;
const USER = 8;
const BULK = 16;

/** The host's own: the transform replaces the thread's. */
const host = Atomics;
const NOTHING: readonly number[] = [];
/** How long a spin may go on in vain, as a deviation: spins with a smaller limit give up then. */
const STUBBORN_ROUNDS = 64;
/** How often all spinning threads look before a time limit ends, where that may end. */
const PATIENCE = 3;
const LONGEST_TICK = 1_000_000;

/** Whether an Atomics operation leaves the word as it is: a lock that is tried and found taken, a look in the shape of an addition. */
function keeps(kind: string, old: number | bigint, value: number): boolean {
  if (typeof old === 'bigint') return false;
  switch (kind) {
    case 'store':
    case 'exchange':
      return old === value;
    case 'add':
    case 'sub':
    case 'xor':
      return value === 0;
    case 'or':
      return (old | value) === (old | 0);
    case 'and':
      return (old & value) === (old | 0);
    default:
      return false;
  }
}

type Outcome = 'ok' | 'not-equal' | 'timed-out';

export interface SchedulerOptions {
  readonly me: number;
  readonly granule: number;
  readonly names: readonly string[];
  /** Whether this thread may die. */
  readonly mortal: boolean;
}

export class Scheduler {
  readonly me: number;
  readonly board: Int32Array;
  readonly names: readonly string[];
  readonly recorder: Recorder;
  private readonly _at: number;
  private readonly _text: Uint8Array;
  private readonly _locations: Int32Array;
  private readonly _dirty: Int32Array;
  private readonly _clocks: Clocks;
  private readonly _history: History;
  private readonly _shift: number;
  private readonly _mortal: boolean;
  private _regions: Region[] = [];
  private readonly _byBuffer = new Map<ArrayBufferLike, Region | undefined>();
  private _mode = 0;
  private _dead = false;
  /* The views used last: what they are a view of, where they begin, how wide their elements are. */
  private _array0: ArrayBufferView | undefined;
  private _region0: Region | undefined;
  private _offset0 = 0;
  private _bytes0 = 4;
  private _array1: ArrayBufferView | undefined;
  private _region1: Region | undefined;
  private _offset1 = 0;
  private _bytes1 = 4;
  /* What `_locate` found. */
  private _region: Region | undefined;
  private _byte = 0;
  private _width = 4;
  private readonly _spin = new SpinWatch();
  /** It pauses before its next access. */
  private _spinning = false;
  /** What a marked read is to return, if not the newest value. */
  private _old: number | undefined;

  constructor(memory: BoardMemory, options: SchedulerOptions) {
    this.me = options.me;
    this.recorder = new Recorder(options.me);
    this.names = options.names;
    this._mortal = options.mortal;
    this.board = new Int32Array(memory.board);
    this._text = new Uint8Array(memory.text);
    this._locations = new Int32Array(memory.locations);
    this._dirty = new Int32Array(memory.dirty);
    const notes = new Int32Array(memory.notes);
    this._clocks = new Clocks(this.board, notes, options.me);
    this._history = new History(this.board, notes, new Int32Array(memory.history), options.me);
    this._at = threadAt(options.me);
    this._shift = options.granule === 4 ? 2 : options.granule === 2 ? 1 : 0;
  }

  watch(regions: readonly RegionMemory[]): void {
    // What setup has touched was not watched yet.
    this._array0 = undefined;
    this._array1 = undefined;
    this._regions = regions.map((memory) => new Region(memory));
    regions.forEach((memory, i) => {
      this._byBuffer.set(memory.buffer, this._regions[i]);
    });
  }

  watches(buffer: SharedArrayBuffer): boolean {
    return this._byBuffer.has(buffer);
  }

  get dead(): boolean {
    return this._dead;
  }

  get mode(): number {
    return this._mode;
  }

  /** What accesses mean from here on, until somebody else has had a turn. */
  setMode(mode: number): void {
    this._mode = mode;
    this.board[B.MODE] = mode;
  }

  /** Before a thread's `run`. */
  begin(): void {
    this._mode = MODE_RUN;
    this._dead = false;
    this._spin.clear();
    this.board[READS + this.me * READS_WORDS] = 0;
    this._spinning = false;
    this.recorder.recorded = [];
    this.board[this._at + T.STARTED] = 1;
    if (this.board[B.ASLEEP] !== 0) this._awake();
  }

  /* The observer. */

  access(asked: string, array: ArrayBufferView | undefined, index: number, value: number, expected: number): void {
    let kind = asked;
    if (this._mode !== MODE_RUN) {
      this._outside(kind, array, index, value);
      return;
    }
    if (this._dead) throw new Killed();
    const board = this.board;
    board[B.REPORTED] = ((board[B.REPORTED] as number) + 1) | 0;
    if (kind === 'pause' || this._spinning) {
      this._spinning = false;
      this._pause();
      if (kind === 'pause') return;
    }
    if (kind === 'wait') return; // all of it is in wait()
    if (array === undefined || !this._locate(array, index)) return;
    if ((kind === 'peek' || kind === 'poke') && this._meantToRace()) kind = kind === 'peek' ? 'racyPeek' : 'racyPoke';
    let what: number;
    switch (kind) {
      case 'peek':
        what = PLAIN;
        break;
      case 'poke':
        what = PLAIN | WRITE;
        break;
      case 'load':
        what = ATOMIC;
        break;
      case 'cas':
        what = (array as Int32Array)[index] === expected ? ATOMIC | WRITE : ATOMIC;
        break;
      case 'store':
      case 'add':
      case 'sub':
      case 'and':
      case 'or':
      case 'xor':
      case 'exchange':
        what = ATOMIC | WRITE;
        break;
      case 'notify':
        what = WRITE;
        break;
      case 'data':
        what = USER;
        break;
      case 'setData':
        what = USER | WRITE;
        break;
      case 'bulk':
        what = PLAIN | BULK;
        break;
      case 'setBulk':
        what = PLAIN | BULK | WRITE;
        break;
      case 'racyPeek':
        what = 0;
        break;
      case 'racyPoke':
        what = WRITE;
        break;
      default:
        throw new Error(`the port announced an unknown access: ${kind}`);
    }
    const region = this._region as Region;
    const page = what & (USER | BULK);
    if (page === 0 && this._width < 1 << this._shift) this._tooNarrow();
    const byte = page ? this._byte & ~4095 : this._byte;
    const from = region.base + byte;
    const to = page ? from + 4096 : from + this._width;
    const point = (what & PLAIN) === 0 || (what & BULK) !== 0 || board[B.POINTS] === 1;
    const position = this._decide(from, to, what, point);
    if (kind === 'cas') {
      // Somebody else may have had a turn.
      if (((what & WRITE) !== 0) !== ((array as Int32Array)[index] === expected)) what ^= WRITE;
    }
    this._old = kind === 'racyPeek' ? this._chooseOlder(region, byte, array, index) : undefined;
    if (board[B.RECORDING] === 1) this._record(kind, position, from, to - from, array, index, value, expected);
    const unchanged =
      what === (ATOMIC | WRITE) && keeps(kind, (array as unknown as Int32Array)[index] as number, value);
    this._perform(kind, region, byte, to - from, what, point, position, array, index, unchanged);
  }

  /** What the marked read that was announced last returns; undefined: what is there. */
  racyValue(): number | undefined {
    return this._mode === MODE_RUN ? this._old : undefined;
  }

  wait(words: Int32Array, index: number, expected: number, timeout: number): Outcome | undefined {
    if (this._mode !== MODE_RUN) {
      if (this._mode === MODE_TRACK) return words[index] === expected ? 'timed-out' : 'not-equal';
      return undefined;
    }
    if (!this._locate(words, index)) return undefined;
    const board = this.board;
    const region = this._region as Region;
    const byte = this._byte;
    const address = region.base + byte;
    const width = this._width;
    // For others like a write: who comes first is woken first.
    const position = this._decide(address, address + width, ATOMIC | WRITE, true);
    this._old = undefined;
    if (board[B.RECORDING] === 1) this._record('wait', position, address, width, words, index, timeout, expected);
    this._perform('wait', region, byte, width, ATOMIC, true, position, words, index);
    if (words[index] !== expected) return 'not-equal';
    if (!(timeout > 0)) return 'timed-out';
    const at = this._at;
    const limit = Math.min(timeout * 1000, 1e9);
    board[at + T.STATUS] = STATUS_WAITING;
    board[at + T.WAIT] = address;
    board[at + T.DEADLINE] =
      timeout === Number.POSITIVE_INFINITY ? -1 : Math.min(2e9, (board[B.CLOCK] as number) + limit);
    board[at + T.TICKET] = board[B.TICKET] = (board[B.TICKET] as number) + 1;
    board[B.ENABLED] = (board[B.ENABLED] as number) & ~(1 << this.me);
    this._yield();
    const outcome = board[at + T.OUTCOME] === 1 ? 'timed-out' : 'ok';
    if (board[B.RECORDING] === 1) this._note(outcome === 'ok' ? 'woken' : 'timed-out', address);
    return outcome;
  }

  notify(words: Int32Array, index: number, count: number): number | undefined {
    if (this._mode !== MODE_RUN) return 0;
    if (!this._locate(words, index)) return undefined;
    const board = this.board;
    const address = (this._region as Region).base + this._byte;
    let woken = 0;
    for (; woken < count; woken++) {
      let first = -1;
      for (let t = 0; t < (board[B.THREADS] as number); t++) {
        const at = threadAt(t);
        if (board[at + T.STATUS] !== STATUS_WAITING || board[at + T.WAIT] !== address) continue;
        if (first === -1 || (board[at + T.TICKET] as number) < (board[threadAt(first) + T.TICKET] as number)) first = t;
      }
      if (first === -1) break;
      board[threadAt(first) + T.OUTCOME] = 0;
      this._ready(first);
      orderAfter(board, first, this.me);
      orderAfter(board, this.me, first);
    }
    return woken;
  }

  now(): number | undefined {
    return this._mode === MODE_RUN || this._mode === MODE_TRACK ? (this.board[B.CLOCK] as number) / 1000 : undefined;
  }

  /* For the model. */

  /** An event that others of its kind do not pass: which call returned before which one began is part of what is explored. */
  time(): number {
    const board = this.board;
    if (this._mode !== MODE_RUN) return board[B.STEP] as number;
    if (this._dead) throw new Killed();
    const position = this._decide(TIMES, TIMES + 1, WRITE, true);
    const asleep = board[B.ASLEEP] as number;
    if (asleep !== 0) this._wakeSleepers(asleep, TIMES, TIMES + 1, true);
    this._trace(position, R.WHAT_WRITE | R.WHAT_POINT, 0);
    // A number of its own, also if others went first.
    const time = board[B.STEP] as number;
    board[B.STEP] = time + 1;
    return time;
  }

  join(name: string): boolean {
    const target = this.names.indexOf(name);
    if (target === -1 || target === this.me)
      this.fail(FAILURE_MODEL, `join: there is no other thread called '${name}'`);
    if (this._dead) throw new Killed();
    const board = this.board;
    board[B.JOINED] = (board[B.JOINED] as number) | (1 << this.me);
    const at = threadAt(target);
    if ((board[at + T.STATUS] as number) < STATUS_DONE) {
      board[this._at + T.STATUS] = STATUS_JOINING;
      board[this._at + T.JOIN] = target;
      board[B.ENABLED] = (board[B.ENABLED] as number) & ~(1 << this.me);
      this._yield();
    }
    orderAfter(board, target, this.me);
    return board[at + T.STATUS] === STATUS_DEAD;
  }

  yieldPoint(): void {
    if (this._mode !== MODE_RUN) return;
    if (this._dead) throw new Killed();
    // An access that conflicts with everything: nothing is passed over by moving it.
    const position = this._decide(0, NEVER, WRITE, true);
    this._trace(position, R.WHAT_WRITE | R.WHAT_POINT, 0);
  }

  /** The thread's `run` has ended: somebody else goes on. Returns true when it was the last one, and no turn was handed on. */
  ended(status: number): boolean {
    const board = this.board;
    this._mode = MODE_TRACK;
    board[this._at + T.STATUS] = status;
    board[this._at + T.STARTED] = 0;
    board[B.ENABLED] = (board[B.ENABLED] as number) & ~(1 << this.me);
    for (let t = 0; t < (board[B.THREADS] as number); t++) {
      const at = threadAt(t);
      if (board[at + T.STATUS] === STATUS_JOINING && board[at + T.JOIN] === this.me) this._ready(t);
    }
    if (this._allEnded()) return true;
    const next = this._choose();
    this._give(next);
    return false;
  }

  /** Gives the execution up: `failure`, said by `text`. Does not return. */
  fail(failure: number, text: string): never {
    this.note(failure, text);
    throw new Aborted();
  }

  /** Notes a failure; only the first counts. */
  note(failure: number, text: string): void {
    const board = this.board;
    if (board[B.FAILURE] === 0) {
      board[B.FAILURE] = failure;
      board[B.FAILED_THREAD] = this.me;
      const bytes = new TextEncoder().encode(text).subarray(0, FAILURE_BYTES);
      this._text.set(bytes, MAX_THREADS * RESULT_BYTES);
      board[B.TEXT] = bytes.length;
    }
    this._mode = MODE_ABORT;
    board[B.MODE] = MODE_ABORT;
  }

  /** In an aborted execution: hands the turn to the next thread that must unwind. True if none is left. */
  unwound(): boolean {
    const board = this.board;
    board[this._at + T.STARTED] = 0;
    this._mode = MODE_TRACK;
    for (let t = (board[B.THREADS] as number) - 1; t >= 0; t--) {
      if (board[threadAt(t) + T.STARTED] !== 1) continue;
      this._give(t);
      return false;
    }
    return true;
  }

  /** The first decision of an execution: who begins. */
  start(): number {
    return this._choose();
  }

  /** Hands the turn to a thread's loop, outside any execution. */
  command(thread: number, command: number): void {
    this.board[threadAt(thread) + T.COMMAND] = command;
    this._turn(thread);
  }

  /** Sleeps until it is this thread's turn. Returns its command. */
  park(): number {
    const board = this.board;
    const at = this._at + T.PARK;
    while (host.load(board, at) === 0) host.wait(board, at, 0);
    host.store(board, at, 0);
    this._mode = board[B.MODE] as number;
    return board[this._at + T.COMMAND] as number;
  }

  /* Decisions. */

  /** Where the schedule may change before an access to bytes [from, to). Returns the decision's position. */
  private _decide(from: number, to: number, what: number, point: boolean): number {
    const board = this.board;
    const position = board[B.STEP] as number;
    if (position >= (board[B.LIMIT] as number)) this._endless();
    board[B.STEP] = position + 1;
    if (position === board[B.NEXT]) {
      const action = board[SCRIPT + (board[B.SCRIPT_AT] as number) * 2 + 1] as number;
      this._advance();
      if (action === KILL && !this._mortal && board[B.TOLERANT] === 0)
        this.fail(
          FAILURE_SCRIPT,
          `the schedule ends thread ${this.names[this.me]} at ${position}, which is not mortal`,
        );
      if (action === KILL && this._mortal) {
        this._dead = true;
        throw new Killed();
      }
      const able =
        action >= 0 && action !== this.me && (((board[B.ENABLED] as number) | this._reluctant()) & (1 << action)) !== 0;
      if (!able && board[B.TOLERANT] === 0) {
        const wanted = action < 0 ? 'an old value' : `thread ${this.names[action]}`;
        this.fail(
          FAILURE_SCRIPT,
          `the schedule asks for ${wanted} at ${position}, which cannot ${action < 0 ? 'be had' : 'run'} there`,
        );
      }
      if (able) this._preempt(action, from, to, what);
    } else if (point && board[B.STRATEGY] !== STRATEGY_SCRIPT) {
      const next = nextByChance(board, this.me, position, this._reluctant());
      if (next !== this.me) {
        this._log(position, next);
        this._preempt(next, from, to, what);
      }
    }
    return position;
  }

  /** Which value a marked read returns: a decision of its own, that counts like a preemption. Undefined for the newest. */
  private _chooseOlder(region: Region, byte: number, array: ArrayBufferView, index: number): number | undefined {
    const board = this.board;
    const position = board[B.STEP] as number;
    if (position >= (board[B.LIMIT] as number)) this._endless();
    board[B.STEP] = position + 1;
    const number = region.numbers[byte >> this._shift] as number;
    // A word that is wider than a location could be read in halves; those return what is there.
    const older =
      number === 0 || this._width !== 1 << this._shift
        ? NOTHING
        : this._history.olderValues(number, (array as Int32Array)[index] as number);
    let which = 0;
    if (position === board[B.NEXT]) {
      which = OLDER - (board[SCRIPT + (board[B.SCRIPT_AT] as number) * 2 + 1] as number);
      this._advance();
      if (which < 1 || which > older.length) {
        if (board[B.TOLERANT] === 0)
          this.fail(
            FAILURE_SCRIPT,
            `the schedule asks at ${position} for something else than one of ${older.length} old values`,
          );
        which = 0;
      }
    } else if (older.length > 0 && board[B.STRATEGY] !== STRATEGY_SCRIPT) {
      which = olderByChance(board, older.length);
      if (which > 0) this._log(position, OLDER - which);
    }
    if (older.length > 0) this._trace(position, R.WHAT_VALUE, older.length);
    return which === 0 ? undefined : older[which - 1];
  }

  private _preempt(next: number, from: number, to: number, what: number): void {
    const board = this.board;
    const at = this._at;
    board[at + T.FROM] = from;
    board[at + T.TO] = to;
    board[at + T.WRITES] = what & WRITE;
    if (board[B.REDUCE] === 1) board[B.ASLEEP] = (board[B.ASLEEP] as number) | (1 << this.me);
    this._rouse(next);
    if (board[B.RECORDING] === 1) this._noteChoice(next, (board[B.STEP] as number) - 1);
    this._handOver(next);
  }

  /** This thread cannot go on: somebody else must. */
  private _yield(): void {
    const next = this._choose();
    if (next === this.me) return;
    this._handOver(next);
  }

  private _handOver(next: number): void {
    this._give(next);
    this.park();
    if (this._mode === MODE_ABORT) throw new Aborted();
    this._awake();
  }

  /** It is this thread's turn. If it is still asleep, this execution is one that moved its last preemption in vain. */
  private _awake(): void {
    const board = this.board;
    const bit = 1 << this.me;
    if (((board[B.ASLEEP] as number) & bit) === 0) return;
    board[B.ASLEEP] = (board[B.ASLEEP] as number) & ~bit;
    this._redundant();
  }

  /** From here on, the execution repeats another one. */
  private _redundant(): void {
    if (this.board[B.REDUNDANT] === 0) this.board[B.REDUNDANT] = (this.board[B.TRACE] as number) + 1;
  }

  private _give(next: number): void {
    const board = this.board;
    const at = threadAt(next);
    if (board[at + T.STARTED] === 0 && board[B.MODE] === MODE_RUN) board[at + T.COMMAND] = COMMAND_RUN;
    this._turn(next);
  }

  private _turn(next: number): void {
    const board = this.board;
    const at = threadAt(next);
    host.store(board, at + T.PARK, 1);
    host.notify(board, at + T.PARK, 1);
  }

  /** Who goes on when the running thread cannot: a decision without a preemption. */
  private _choose(): number {
    const board = this.board;
    const position = board[B.STEP] as number;
    if (position >= (board[B.LIMIT] as number)) this._endless();
    board[B.STEP] = position + 1;
    let enabled = board[B.ENABLED] as number;
    if (enabled === 0) enabled = this._stuck();
    const overdue = board[B.ENABLED] === 0; // all sleep: any one's time may be up first
    let awake = enabled & ~(board[B.ASLEEP] as number);
    // Only those are left whose preemption would have been in vain; or a reluctant one goes on, as a deviation.
    const inVain = awake === 0;
    if (inVain) awake = enabled;
    let next = this._after(awake);
    if (overdue) next = this._earliest(awake);
    const usual = next;
    // What it would be if nobody slept: a failing schedule is told in these terms.
    let plain = usual;
    if (board[B.ASLEEP] !== 0) {
      plain = overdue ? this._earliest(enabled) : this._after(enabled);
    }
    const reluctant = this._reluctant() & ~enabled;
    if (position === board[B.NEXT]) {
      next = board[SCRIPT + (board[B.SCRIPT_AT] as number) * 2 + 1] as number;
      this._advance();
      if (next < 0 || ((enabled | reluctant) & (1 << next)) === 0) {
        if (board[B.TOLERANT] === 0) {
          this.fail(FAILURE_SCRIPT, `the schedule asks at ${position} for a thread which cannot run there`);
        }
        next = usual;
      }
      if (board[B.RECORDING] === 1) this._noteChoice(next, position);
    } else if (board[B.STRATEGY] !== STRATEGY_SCRIPT) next = chooseByChance(board, awake, reluctant);
    if (next !== usual && board[B.STRATEGY] !== STRATEGY_SCRIPT) this._log(position, next);
    this._trace(position, R.WHAT_FREE | next, ((inVain ? 0 : awake) | (reluctant << 8)) & ~(0x101 << next), plain);
    if (inVain && (enabled & (1 << next)) !== 0) this._redundant();
    this._rouse(next);
    return next;
  }

  /** The next of some threads, in turn. */
  private _after(mask: number): number {
    const threads = this.board[B.THREADS] as number;
    let next = this.me;
    for (let i = 1; i <= threads; i++) {
      next = (this.me + i) % threads;
      if ((mask & (1 << next)) !== 0) break;
    }
    return next;
  }

  /** Threads that are not enabled, but could go on: they spin, or sleep with a time limit where that may end. */
  private _reluctant(): number {
    const board = this.board;
    let mask = board[B.PAUSED] as number;
    if (board[B.TIMEOUTS] === 0) return mask;
    for (let t = 0; t < (board[B.THREADS] as number); t++) {
      const at = threadAt(t);
      if (board[at + T.STATUS] === STATUS_WAITING && board[at + T.DEADLINE] !== -1) mask |= 1 << t;
    }
    return mask;
  }

  /** Makes a reluctant thread able to run: its spin goes on for a while, or its wait is over. */
  private _rouse(thread: number): void {
    const board = this.board;
    const bit = 1 << thread;
    if (((board[B.ENABLED] as number) & bit) !== 0) return;
    const at = threadAt(thread);
    if (board[at + T.STATUS] === STATUS_WAITING) {
      // Its leaving the queue conflicts with a notify that somebody is just about to make.
      const asleep = board[B.ASLEEP] as number;
      const address = board[at + T.WAIT] as number;
      if (asleep !== 0) this._wakeSleepers(asleep, address, address + 4, true);
      board[B.CLOCK] = Math.max(board[B.CLOCK] as number, board[at + T.DEADLINE] as number);
      board[at + T.OUTCOME] = 1;
    } else {
      board[B.PAUSED] = (board[B.PAUSED] as number) & ~bit;
      board[at + T.STUBBORN] = STUBBORN_ROUNDS;
    }
    this._ready(thread);
  }

  /** Nobody is enabled. Returns who may go on after all: spinning threads, or those whose time limit may be up. Or gives up. */
  private _stuck(): number {
    const board = this.board;
    const paused = board[B.PAUSED] as number;
    const threads = board[B.THREADS] as number;
    let sleepers = 0;
    for (let t = 0; t < threads; t++) {
      const at = threadAt(t);
      if (board[at + T.STATUS] === STATUS_WAITING && board[at + T.DEADLINE] !== -1) sleepers |= 1 << t;
    }
    const round = board[B.IDLE] as number;
    const timesOut = sleepers !== 0 && board[B.TIMEOUTS] === 1;
    const patient = timesOut ? round < PATIENCE : (board[B.STEP] as number) * 2 < (board[B.LIMIT] as number);
    if (paused !== 0 && patient) {
      // They spin, and nobody has written. A spin may have a limit, or a loop that only looks like one an end: let each look once more.
      board[B.IDLE] = round + 1;
      const tick = round < PATIENCE ? 1 : Math.min(2 ** round, LONGEST_TICK);
      board[B.CLOCK] = Math.min(2e9, (board[B.CLOCK] as number) + tick);
      board[B.PAUSED] = 0;
      for (let t = 0; t < threads; t++) if ((paused & (1 << t)) !== 0) board[threadAt(t) + T.STATUS] = STATUS_READY;
      board[B.ENABLED] = paused;
      return paused;
    }
    if (sleepers !== 0) {
      if (board[B.TIMEOUTS] === 0) {
        this.fail(
          FAILURE_LOST_WAKEUP,
          `nobody can go on but by a time limit: a wake-up was lost, or there is none\n${this.standing()}`,
        );
      }
      board[B.IDLE] = 0;
      return sleepers;
    }
    if (paused !== 0) this.fail(FAILURE_LIVELOCK, `threads spin and nobody writes\n${this.standing()}`);
    this.fail(FAILURE_DEADLOCK, `nobody can go on\n${this.standing()}`);
  }

  /** Of some sleeping threads, that whose time is up first. */
  private _earliest(sleepers: number): number {
    const board = this.board;
    let first = -1;
    for (let t = 0; t < (board[B.THREADS] as number); t++) {
      if ((sleepers & (1 << t)) === 0) continue;
      if (first === -1 || (board[threadAt(t) + T.DEADLINE] as number) < (board[threadAt(first) + T.DEADLINE] as number))
        first = t;
    }
    return first;
  }

  private _endless(): never {
    this.fail(
      FAILURE_LIVELOCK,
      `no end after ${this.board[B.LIMIT]} steps (a model with more has to say so: \`steps\`)\n${this.standing()}`,
    );
  }

  /** What each thread waits for. */
  standing(): string {
    return standing(this.board, this.names, (address) => this._held(address));
  }

  /** What the word at an address holds, and by whose hand. */
  private _held(address: number): string {
    const region = this._regions.find(({ base, bytes }) => address >= base && address < base + bytes.length);
    if (region === undefined) return '';
    const byte = address - region.base;
    const writer = this._clocks.writerOf(region.numbers[byte >> this._shift] as number);
    return heldText(region, byte, this.names[writer]);
  }

  private _advance(): void {
    const board = this.board;
    const at = (board[B.SCRIPT_AT] as number) + 1;
    board[B.SCRIPT_AT] = at;
    board[B.NEXT] = board[SCRIPT + at * 2] as number;
  }

  private _ready(thread: number): void {
    const board = this.board;
    board[threadAt(thread) + T.STATUS] = STATUS_READY;
    board[B.ENABLED] = (board[B.ENABLED] as number) | (1 << thread);
  }

  private _allEnded(): boolean {
    const board = this.board;
    for (let t = 0; t < (board[B.THREADS] as number); t++) {
      if ((board[threadAt(t) + T.STATUS] as number) < STATUS_DONE) return false;
    }
    return true;
  }

  private _pause(): void {
    const board = this.board;
    const stubborn = board[this._at + T.STUBBORN] as number;
    if (stubborn > 0) {
      board[this._at + T.STUBBORN] = stubborn - 1;
      this._spin.reset();
      return;
    }
    board[this._at + T.STATUS] = STATUS_PAUSED;
    board[B.PAUSED] = (board[B.PAUSED] as number) | (1 << this.me);
    board[B.ENABLED] = (board[B.ENABLED] as number) & ~(1 << this.me);
    this._spin.reset();
    if (board[B.RECORDING] === 1) this._note('pause', 0);
    this._yield();
    board[READS + this.me * READS_WORDS] = 0;
  }

  /** Under the other strategies the script is written, so that it can be replayed. */
  private _log(position: number, next: number): void {
    const board = this.board;
    const at = board[B.SCRIPT_AT] as number;
    if (at >= SCRIPT_ENTRIES) return;
    board[SCRIPT + at * 2] = position;
    board[SCRIPT + at * 2 + 1] = next;
    board[B.SCRIPT_AT] = at + 1;
  }

  /* Performing. */

  private _perform(
    kind: string,
    region: Region,
    byte: number,
    width: number,
    what: number,
    point: boolean,
    position: number,
    array: ArrayBufferView,
    index: number,
    unchanged = false,
  ): void {
    const board = this.board;
    const me = this.me;
    const write = (what & WRITE) !== 0;
    const conflicts = write || kind === 'wait';
    const asleep = board[B.ASLEEP] as number;
    if (asleep !== 0) this._wakeSleepers(asleep, region.base + byte, region.base + byte + width, conflicts);
    const wide = (what & (USER | BULK)) !== 0;
    // One location for an element, or for a whole page of frame data; more where elements are wider than a granule.
    let number = 0;
    let shared = 0;
    const last = wide ? byte : byte + width - 1;
    const step = 1 << this._shift;
    for (let at = byte; at <= last; at += step) {
      const granule = at >> this._shift;
      number = region.numbers[granule] as number;
      if (number === 0) {
        number = numberLocation(board, this._locations, region, granule);
        this._locations[number * 2] = region.base + at;
      }
      const bit = conflicts ? 0x100 << me : kind === 'racyPeek' ? L.MARKED | (1 << me) : 1 << me;
      const touched = this._locations[number * 2 + 1] as number;
      if ((touched & bit) !== bit) {
        this._locations[number * 2 + 1] = touched | bit;
        board[B.GREW] = 1;
      }
      const rivals = (conflicts ? touched | (touched >> 8) : touched >> 8) & 0xff & ~(1 << me);
      if (rivals !== 0) shared = number;
      if (kind === 'notify') continue;
      if (write) this._clocks.wrote(number);
      // A read that is marked as racing takes any value; a marked write is still a write to everybody else.
      if (board[B.RACES] === 1 && what !== 0) {
        const rival = this._clocks.access(number, write, (what & PLAIN) !== 0);
        if (rival !== -1) this._race(kind, rival, region.base + at, position);
      }
      if ((what & ATOMIC) !== 0 && kind !== 'store') this._clocks.acquire(number, width);
      if (!write) continue;
      const remembered = ((touched & L.MARKED) !== 0 || board[B.REMEMBER] === 1) && !wide && width === step;
      if (remembered) this._history.wrote(number, (array as unknown as Int32Array)[index] as number);
      if ((what & ATOMIC) !== 0) this._clocks.release(number, width);
      else this._clocks.forget(number);
    }
    // Of several locations, one in which others meet this access.
    const several = last >= ((byte >> this._shift) + 1) << this._shift ? R.WHAT_SEVERAL : 0;
    this._trace(position, several | (conflicts ? R.WHAT_WRITE : 0) | (point ? R.WHAT_POINT : 0), shared || number);
    if (!write || unchanged) {
      board[this._at + T.LAST_READ] = region.base + byte;
      this._hasRead(region.base + byte, wide);
      const value = this._old ?? ((array as unknown as Int32Array)[index] as number);
      // It pauses before its next access: this one must be what it was announced as.
      if (this._spin.read(kind, region.base + byte, value)) this._spinning = true;
      if (write) this._markWritten(region, byte, width, wide);
      return;
    }
    if (kind === 'notify') return;
    this._spin.reset();
    if (what !== WRITE) board[this._at + T.STUBBORN] = 0;
    board[B.IDLE] = 0;
    if (board[B.PAUSED] !== 0) this._wakeSpinners(region.base + byte, region.base + byte + width);
    this._markWritten(region, byte, width, wide);
  }

  private _markWritten(region: Region, byte: number, width: number, wide: boolean): void {
    if (wide) markDirty(this.board, this._dirty, region, byte, byte + 4096);
    else if (region.dirty[byte >> 8] === 0) markDirty(this.board, this._dirty, region, byte, byte + width);
  }

  /** Notes a word read, for the case that this thread turns out to spin on it. */
  private _hasRead(address: number, wide: boolean): void {
    const board = this.board;
    const at = READS + this.me * READS_WORDS;
    const count = board[at] as number;
    if (count === ALL_WORDS) return;
    for (let i = count; i > 0; i--) if (board[at + i] === address) return;
    if (wide || count === READS_WORDS - 1) {
      board[at] = ALL_WORDS;
      return;
    }
    board[at] = count + 1;
    board[at + count + 1] = address;
  }

  /** After a write to bytes [from, to): whoever spins on them looks again. */
  private _wakeSpinners(from: number, to: number): void {
    const board = this.board;
    for (let t = 0; t < (board[B.THREADS] as number); t++) {
      if (((board[B.PAUSED] as number) & (1 << t)) === 0) continue;
      const at = READS + t * READS_WORDS;
      const count = board[at] as number;
      let reads = count === ALL_WORDS;
      for (let i = 1; i <= count && !reads; i++) {
        const address = board[at + i] as number;
        reads = address < to && address + 8 > from;
      }
      if (!reads) continue;
      board[B.PAUSED] = (board[B.PAUSED] as number) & ~(1 << t);
      this._ready(t);
    }
  }

  private _wakeSleepers(asleep: number, from: number, to: number, write: boolean): void {
    const board = this.board;
    for (let t = 0; t < (board[B.THREADS] as number); t++) {
      if ((asleep & (1 << t)) === 0) continue;
      const at = threadAt(t);
      if (from >= (board[at + T.TO] as number) || to <= (board[at + T.FROM] as number)) continue;
      if (!write && board[at + T.WRITES] === 0) continue;
      board[B.ASLEEP] = (board[B.ASLEEP] as number) & ~(1 << t);
    }
  }

  private _trace(position: number, what: number, location: number, usual = 0): void {
    const board = this.board;
    const at = TRACE + (board[B.TRACE] as number) * R.WORDS;
    board[B.TRACE] = (board[B.TRACE] as number) + 1;
    board[at + R.POSITION] = position;
    if ((what & (R.WHAT_FREE | R.WHAT_VALUE)) !== 0) {
      board[at + R.WHAT] = (what & R.WHAT_FREE) !== 0 ? what : what | this.me;
      board[at + R.OTHERS] = location; // the mask, or how many
      board[at + R.LOCATION] = usual; // of a choice: whom a schedule need not name
      return;
    }
    board[at + R.WHAT] = what | this.me;
    board[at + R.LOCATION] = location;
    const others = (board[B.ENABLED] as number) & ~(board[B.ASLEEP] as number) & ~(1 << this.me);
    board[at + R.OTHERS] = (what & R.WHAT_POINT) === 0 ? others : others | (this._reluctant() << 8);
  }

  /** Two elements of one location would seem to be one word. */
  private _tooNarrow(): never {
    const needed = this._width;
    this.fail(FAILURE_MODEL, `the threads touch elements of ${needed} bytes: the model needs \`granule: ${needed}\``);
  }

  private _meantToRace(): boolean {
    const { racy } = this._region as Region;
    for (let i = 0; i < racy.length; i++) {
      const range = racy[i] as readonly [number, number];
      if (this._byte >= range[0] && this._byte < range[1]) return true;
    }
    return false;
  }

  private _race(kind: string, rival: number, address: number, position: number): never {
    this.fail(
      FAILURE_RACE,
      `data race on @${address}: ${this.names[this.me]} (${kind}, step ${position}) and ${this.names[rival]}, not ordered, at least one of them plain`,
    );
  }

  /* Outside an execution. */

  private _outside(kind: string, array: ArrayBufferView | undefined, index: number, value: number): void {
    if (this._mode === MODE_ABORT) throw new Aborted();
    this.board[B.REPORTED] = ((this.board[B.REPORTED] as number) + 1) | 0;
    if (this._mode !== MODE_TRACK || array === undefined) return;
    switch (kind) {
      case 'peek':
      case 'load':
      case 'data':
      case 'bulk':
      case 'racyPeek':
      case 'wait':
      case 'notify':
        return;
    }
    if (!this._locate(array, index, true)) return;
    const region = this._region as Region;
    const width = kind === 'setBulk' ? Math.max(1, value) * this._width : this._width;
    markDirty(this.board, this._dirty, region, this._byte, Math.min(region.bytes.length, this._byte + width));
  }

  /** Finds the bytes of an element. False if it is not in watched memory. */
  private _locate(array: ArrayBufferView, index: number, all = false): boolean {
    if (array !== this._array0 && array !== this._array1) this._learn(array);
    let region: Region | undefined;
    if (array === this._array0) {
      region = this._region0;
      this._width = this._bytes0;
      this._byte = this._offset0 + index * this._bytes0;
    } else {
      region = this._region1;
      this._width = this._bytes1;
      this._byte = this._offset1 + index * this._bytes1;
    }
    if (region === undefined) return false;
    this._region = region;
    if (all) return true;
    const ignored = region.ignored;
    for (let i = 0; i < ignored.length; i++) {
      const range = ignored[i] as readonly [number, number];
      if (this._byte >= range[0] && this._byte < range[1]) return false;
    }
    return true;
  }

  private _learn(array: ArrayBufferView): void {
    const region = this._byBuffer.get(array.buffer);
    const bytes = (array as { BYTES_PER_ELEMENT?: number }).BYTES_PER_ELEMENT ?? 1;
    if (array instanceof Int32Array) {
      this._array0 = array;
      this._region0 = region;
      this._offset0 = array.byteOffset;
      this._bytes0 = bytes;
    } else {
      this._array1 = array;
      this._region1 = region;
      this._offset1 = array.byteOffset;
      this._bytes1 = bytes;
    }
  }

  /* Recording, for reports. */

  private _record(
    kind: string,
    position: number,
    address: number,
    bytes: number,
    array: ArrayBufferView,
    index: number,
    value: number,
    expected: number,
  ): void {
    const before = Number((array as unknown as Int32Array)[index]);
    const trace = this.board[B.TRACE] as number;
    if (this._old === undefined)
      this.recorder.access(trace, position, kind, address, bytes, before, value, Number(expected));
    else this.recorder.access(trace, position + 1, 'oldPeek', address, bytes, this._old, value, before);
  }

  /** Another thread than the usual one goes on, at a decision. */
  private _noteChoice(next: number, position: number): void {
    this.recorder.note(this.board[B.TRACE] as number, position, `chosen:${next}`, 0);
  }

  private _note(kind: string, address: number): void {
    this.recorder.note(this.board[B.TRACE] as number, this.board[B.STEP] as number, kind, address);
  }
}
