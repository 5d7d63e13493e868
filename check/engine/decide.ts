/**
 * Decides who goes on: before each access of the running thread, where it cannot go on, and which value a marked read
 * returns. What the script says comes first, then chance, then the usual.
 */
import type { Access } from './access.ts';
import * as B from './board/header.ts';
import { SCRIPT, SCRIPT_ENTRIES, SCRIPT_WORDS, threadAt } from './board/places.ts';
import * as R from './board/record.ts';
import * as T from './board/thread.ts';
import {
  FAILURE_DEADLOCK,
  FAILURE_LIVELOCK,
  FAILURE_LOST_WAKEUP,
  FAILURE_SCRIPT,
  KILL,
  LAST_TIME,
  OLDER,
  STATUS_READY,
  STATUS_WAITING,
  STRATEGY_SCRIPT,
  WOKEN_BY_TIME,
} from './board/values.ts';
import { chooseByChance, nextByChance, olderByChance } from './chance.ts';
import type { History } from './history.ts';
import { WRITE } from './kinds.ts';
import type { Recorder } from './recorder.ts';
import type { Region } from './regions.ts';
import { earliest, fallAsleep, limitedSleepers, makeReady, nextAfter, reluctant, wakeSleepers } from './threads.ts';
import { traceChoice, traceValue } from './trace.ts';
import { Killed, type Turn } from './turn.ts';

const NOTHING: readonly number[] = [];
/** How long a spin may go on in vain, as a deviation: spins with a smaller limit give up then. */
const STUBBORN_ROUNDS = 64;
/** How often all spinning threads look before a time limit ends, where that may end. */
const PATIENCE = 3;
/** Microseconds: so much faster and faster the clock runs while all spin, and so far. */
const LONGEST_TICK = 1_000_000;
/** Bytes of a word that a thread sleeps on. */
const WAIT_BYTES = 4;

export interface DeciderOptions {
  /** Whether this thread may die. */
  readonly mortal: boolean;
  /** Of a location's bytes, as a power of two. */
  readonly shift: number;
  /** What each thread waits for, for the failures that say so. */
  readonly standing: () => string;
}

export class Decider {
  private readonly _turn: Turn;
  private readonly _board: Int32Array;
  private readonly _history: History;
  private readonly _recorder: Recorder;
  private readonly _mortal: boolean;
  private readonly _shift: number;
  private readonly _standing: () => string;

  constructor(turn: Turn, history: History, recorder: Recorder, options: DeciderOptions) {
    this._turn = turn;
    this._board = turn.board;
    this._history = history;
    this._recorder = recorder;
    this._mortal = options.mortal;
    this._shift = options.shift;
    this._standing = options.standing;
  }

  /** Where the schedule may change before an access to bytes [from, to). Returns the decision's position. */
  before(from: number, to: number, classes: number, point: boolean): number {
    const board = this._board;
    const position = this._next();
    if (position === board[B.NEXT]) {
      const next = this._deviation(position);
      if (next !== this._turn.me) this._preempt(next, from, to, classes, position);
    } else if (point && board[B.STRATEGY] !== STRATEGY_SCRIPT) {
      const next = nextByChance(board, this._turn.me, position, reluctant(board));
      if (next !== this._turn.me) {
        this._log(position, next);
        this._preempt(next, from, to, classes, position);
      }
    }
    return position;
  }

  /**
   * Which value a marked read returns: a decision of its own, that counts like a preemption. Undefined for the
   * newest.
   */
  olderValue(access: Access): number | undefined {
    const board = this._board;
    const position = this._next();
    const number = (access.region as Region).numbers[access.byte >> this._shift] as number;
    // A word that is wider than a location could be read in halves; those return what is there.
    const older =
      number === 0 || access.bytes !== 1 << this._shift
        ? NOTHING
        : this._history.olderValues(number, access.found as number);
    let which = 0;
    if (position === board[B.NEXT]) {
      which = OLDER - this._action();
      if (which < 1 || which > older.length) {
        this._cannot(`the schedule asks at ${position} for something else than one of ${older.length} old values`);
        which = 0;
      }
    } else if (older.length > 0 && board[B.STRATEGY] !== STRATEGY_SCRIPT) {
      which = olderByChance(board, older.length);
      if (which > 0) this._log(position, OLDER - which);
    }
    if (older.length > 0) traceValue(board, this._turn.me, position, older.length);
    return which === 0 ? undefined : older[which - 1];
  }

  /** This thread cannot go on: somebody else must. Returns when it can. */
  yield(): void {
    const next = this.choose();
    if (next === this._turn.me) return;
    this._turn.handOver(next);
    this.begin();
  }

  /** It is this thread's turn. If it is still asleep, this execution is one that moved its last preemption in vain. */
  begin(): void {
    const board = this._board;
    const bit = 1 << this._turn.me;
    if (((board[B.ASLEEP] as number) & bit) === 0) return;
    board[B.ASLEEP] = (board[B.ASLEEP] as number) & ~bit;
    this._redundant();
  }

  /** Who goes on when the running thread cannot, or who begins: a decision without a preemption. */
  choose(): number {
    const board = this._board;
    const position = this._next();
    const enabled = board[B.ENABLED] === 0 ? this._stuck() : (board[B.ENABLED] as number);
    const overdue = board[B.ENABLED] === 0; // all sleep: any one's time may be up first
    const asleep = board[B.ASLEEP] as number;
    // Only those are left whose preemption would have been in vain; or a reluctant one goes on, as a deviation.
    const inVain = (enabled & ~asleep) === 0;
    const awake = inVain ? enabled : enabled & ~asleep;
    const usual = this._usual(awake, overdue);
    // What it would be if nobody slept: a failing schedule is told in these terms.
    const plain = asleep === 0 ? usual : this._usual(enabled, overdue);
    const unwilling = reluctant(board) & ~enabled;
    let next = usual;
    if (position === board[B.NEXT]) {
      next = this._action();
      if (next < 0 || ((enabled | unwilling) & (1 << next)) === 0) {
        this._cannot(`the schedule asks at ${position} for a thread which cannot run there`);
        next = usual;
      }
      if (board[B.RECORDING] === 1) this._recordChoice(next, position);
    } else if (board[B.STRATEGY] !== STRATEGY_SCRIPT) next = chooseByChance(board, awake, unwilling);
    if (next !== usual && board[B.STRATEGY] !== STRATEGY_SCRIPT) this._log(position, next);
    const others =
      ((inVain ? 0 : awake) | (unwilling << R.RELUCTANT_SHIFT)) & ~((1 << next) | (1 << (next + R.RELUCTANT_SHIFT)));
    traceChoice(board, position, next, others, plain);
    if (inVain && (enabled & (1 << next)) !== 0) this._redundant();
    this._rouse(next);
    return next;
  }

  /** The position of a decision that is taken now. */
  private _next(): number {
    const board = this._board;
    const position = board[B.STEP] as number;
    if (position >= (board[B.LIMIT] as number)) this._endless();
    board[B.STEP] = position + 1;
    return position;
  }

  /** What the script has for this decision. */
  private _action(): number {
    const board = this._board;
    const at = board[B.SCRIPT_AT] as number;
    board[B.SCRIPT_AT] = at + 1;
    board[B.NEXT] = board[SCRIPT + (at + 1) * SCRIPT_WORDS] as number;
    return board[SCRIPT + at * SCRIPT_WORDS + 1] as number;
  }

  /**
   * What the script has before an access: the thread that goes on, which is this one if the script cannot be
   * followed. Or it dies.
   */
  private _deviation(position: number): number {
    const board = this._board;
    const { me, names } = this._turn;
    const action = this._action();
    if (action === KILL && this._mortal) {
      this._turn.dead = true;
      throw new Killed();
    }
    if (action === KILL) this._cannot(`the schedule ends thread ${names[me]} at ${position}, which is not mortal`);
    else if (action < 0) this._cannot(`the schedule asks for an old value at ${position}, which cannot be had there`);
    else if (action === me || (((board[B.ENABLED] as number) | reluctant(board)) & (1 << action)) === 0)
      this._cannot(`the schedule asks for thread ${names[action]} at ${position}, which cannot run there`);
    else return action;
    return me;
  }

  /** The schedule cannot be followed: a failure, or passed over while schedules are made smaller. */
  private _cannot(text: string): void {
    if (this._board[B.TOLERANT] === 0) this._turn.fail(FAILURE_SCRIPT, text);
  }

  private _preempt(next: number, from: number, to: number, classes: number, position: number): void {
    const board = this._board;
    fallAsleep(board, this._turn.me, from, to, classes & WRITE);
    this._rouse(next);
    if (board[B.RECORDING] === 1) this._recordChoice(next, position);
    this._turn.handOver(next);
    this.begin();
  }

  /** Whom a schedule need not name. */
  private _usual(mask: number, overdue: boolean): number {
    return overdue ? earliest(this._board, mask) : nextAfter(this._board, this._turn.me, mask);
  }

  /** Makes a reluctant thread able to run: its spin goes on for a while, or its wait is over. */
  private _rouse(thread: number): void {
    const board = this._board;
    const bit = 1 << thread;
    if (((board[B.ENABLED] as number) & bit) !== 0) return;
    const at = threadAt(thread);
    if (board[at + T.STATUS] === STATUS_WAITING) {
      // Its leaving the queue conflicts with a notify that somebody is just about to make.
      const address = board[at + T.WAIT] as number;
      wakeSleepers(board, address, address + WAIT_BYTES, true);
      board[B.CLOCK] = Math.max(board[B.CLOCK] as number, board[at + T.DEADLINE] as number);
      board[at + T.OUTCOME] = WOKEN_BY_TIME;
    } else {
      board[B.PAUSED] = (board[B.PAUSED] as number) & ~bit;
      board[at + T.STUBBORN] = STUBBORN_ROUNDS;
    }
    makeReady(board, thread);
  }

  /**
   * Nobody is enabled. Returns who may go on after all: spinning threads, or those whose time limit may be up. Or
   * gives up.
   */
  private _stuck(): number {
    const board = this._board;
    const spinning = board[B.PAUSED] as number;
    const sleepers = limitedSleepers(board);
    const timesOut = sleepers !== 0 && board[B.TIMEOUTS] === 1;
    const half = (board[B.STEP] as number) * 2 < (board[B.LIMIT] as number);
    if (spinning !== 0 && (timesOut ? (board[B.IDLE] as number) < PATIENCE : half)) return this._lookAgain(spinning);
    if (sleepers !== 0) {
      if (board[B.TIMEOUTS] === 0)
        this._fail(FAILURE_LOST_WAKEUP, 'nobody can go on but by a time limit: a wake-up was lost, or there is none');
      board[B.IDLE] = 0;
      return sleepers;
    }
    if (spinning !== 0) this._fail(FAILURE_LIVELOCK, 'threads spin and nobody writes');
    this._fail(FAILURE_DEADLOCK, 'nobody can go on');
  }

  /**
   * All spin, and nobody has written. A spin may have a limit, or a loop that only looks like one an end: each looks
   * once more.
   */
  private _lookAgain(spinning: number): number {
    const board = this._board;
    const round = board[B.IDLE] as number;
    board[B.IDLE] = round + 1;
    const tick = round < PATIENCE ? 1 : Math.min(2 ** round, LONGEST_TICK);
    board[B.CLOCK] = Math.min(LAST_TIME, (board[B.CLOCK] as number) + tick);
    board[B.PAUSED] = 0;
    for (let t = 0; t < (board[B.THREADS] as number); t++)
      if ((spinning & (1 << t)) !== 0) board[threadAt(t) + T.STATUS] = STATUS_READY;
    board[B.ENABLED] = spinning;
    return spinning;
  }

  /** From here on, the execution repeats another one. */
  private _redundant(): void {
    if (this._board[B.REDUNDANT] === 0) this._board[B.REDUNDANT] = (this._board[B.TRACE] as number) + 1;
  }

  /** Under the other strategies the script is written, so that it can be replayed. */
  private _log(position: number, action: number): void {
    const board = this._board;
    const at = board[B.SCRIPT_AT] as number;
    if (at >= SCRIPT_ENTRIES) return;
    board[SCRIPT + at * SCRIPT_WORDS] = position;
    board[SCRIPT + at * SCRIPT_WORDS + 1] = action;
    board[B.SCRIPT_AT] = at + 1;
  }

  private _endless(): never {
    const limit = this._board[B.LIMIT];
    this._fail(FAILURE_LIVELOCK, `no end after ${limit} steps (a model with more has to say so: \`steps\`)`);
  }

  private _fail(failure: number, text: string): never {
    this._turn.fail(failure, `${text}\n${this._standing()}`);
  }

  /** Another thread than the usual one goes on, at a decision. */
  private _recordChoice(next: number, position: number): void {
    this._recorder.note(this._board[B.TRACE] as number, position, `chosen:${next}`, 0);
  }
}
