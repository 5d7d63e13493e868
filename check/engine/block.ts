/** What stops a thread, and what lets it go on: waits and notifies, pauses of a spin, the ends of others. */
import * as B from './board/header.ts';
import { threadAt } from './board/places.ts';
import * as T from './board/thread.ts';
import {
  FAILURE_MODEL,
  LAST_TIME,
  MODE_TRACK,
  STATUS_DEAD,
  STATUS_DONE,
  STATUS_JOINING,
  STATUS_PAUSED,
  STATUS_WAITING,
  WOKEN_BY_NOTIFY,
  WOKEN_BY_TIME,
} from './board/values.ts';
import { orderAfter } from './clocks.ts';
import type { Decider } from './decide.ts';
import type { Recorder } from './recorder.ts';
import { allEnded, forgetReads, makeReady, makeUnable } from './threads.ts';
import { Killed, type Turn } from './turn.ts';

/** Microseconds: longer time limits count as this one. */
const LONGEST_WAIT = 1e9;

export class Blocker {
  private readonly _turn: Turn;
  private readonly _board: Int32Array;
  private readonly _decider: Decider;
  private readonly _recorder: Recorder;

  constructor(turn: Turn, decider: Decider, recorder: Recorder) {
    this._turn = turn;
    this._board = turn.board;
    this._decider = decider;
    this._recorder = recorder;
  }

  /** The thread spins. Returns when somebody has written what it reads, or when it is let go on all the same. */
  pause(): void {
    const board = this._board;
    const { me, at } = this._turn;
    const stubborn = board[at + T.STUBBORN] as number;
    if (stubborn > 0) {
      board[at + T.STUBBORN] = stubborn - 1;
      return;
    }
    makeUnable(board, me, STATUS_PAUSED);
    board[B.PAUSED] = (board[B.PAUSED] as number) | (1 << me);
    if (board[B.RECORDING] === 1) this._note('pause', 0);
    this._decider.yield();
    forgetReads(board, me);
  }

  /** Sleeps on a word, for at most `timeout` milliseconds. */
  sleep(address: number, timeout: number): 'ok' | 'timed-out' {
    const board = this._board;
    const { me, at } = this._turn;
    const limit = Math.min(timeout * 1000, LONGEST_WAIT);
    board[at + T.WAIT] = address;
    board[at + T.DEADLINE] =
      timeout === Number.POSITIVE_INFINITY ? T.FOREVER : Math.min(LAST_TIME, (board[B.CLOCK] as number) + limit);
    board[at + T.TICKET] = board[B.TICKET] = (board[B.TICKET] as number) + 1;
    makeUnable(board, me, STATUS_WAITING);
    this._decider.yield();
    const outcome = board[at + T.OUTCOME] === WOKEN_BY_TIME ? 'timed-out' : 'ok';
    if (board[B.RECORDING] === 1) this._note(outcome === 'ok' ? 'woken' : 'timed-out', address);
    return outcome;
  }

  /** Wakes up to `count` threads that sleep on a word, in the order of their arrival. Returns how many. */
  wake(address: number, count: number): number {
    const board = this._board;
    const { me } = this._turn;
    let woken = 0;
    for (; woken < count; woken++) {
      const first = this._firstWaiter(address);
      if (first === -1) break;
      board[threadAt(first) + T.OUTCOME] = WOKEN_BY_NOTIFY;
      makeReady(board, first);
      orderAfter(board, first, me);
      orderAfter(board, me, first);
    }
    return woken;
  }

  /** Waits for another thread's end. Returns true if it has died. */
  join(name: string): boolean {
    const board = this._board;
    const { me, at, names } = this._turn;
    const target = names.indexOf(name);
    if (target === -1 || target === me)
      this._turn.fail(FAILURE_MODEL, `join: there is no other thread called '${name}'`);
    if (this._turn.dead) throw new Killed();
    board[B.JOINED] = (board[B.JOINED] as number) | (1 << me);
    const status = threadAt(target) + T.STATUS;
    if ((board[status] as number) < STATUS_DONE) {
      board[at + T.JOIN] = target;
      makeUnable(board, me, STATUS_JOINING);
      this._decider.yield();
    }
    orderAfter(board, target, me);
    return board[status] === STATUS_DEAD;
  }

  /**
   * The thread's `run` has ended: somebody else goes on. Returns true when it was the last one, and no turn was
   * handed on.
   */
  ended(status: number): boolean {
    const board = this._board;
    const { me, at } = this._turn;
    this._turn.mode = MODE_TRACK;
    board[at + T.STARTED] = 0;
    makeUnable(board, me, status);
    for (let t = 0; t < (board[B.THREADS] as number); t++) {
      const other = threadAt(t);
      if (board[other + T.STATUS] === STATUS_JOINING && board[other + T.JOIN] === me) makeReady(board, t);
    }
    if (allEnded(board)) return true;
    this._turn.give(this._decider.choose());
    return false;
  }

  private _firstWaiter(address: number): number {
    const board = this._board;
    let first = -1;
    for (let t = 0; t < (board[B.THREADS] as number); t++) {
      const at = threadAt(t);
      if (board[at + T.STATUS] !== STATUS_WAITING || board[at + T.WAIT] !== address) continue;
      if (first === -1 || (board[at + T.TICKET] as number) < (board[threadAt(first) + T.TICKET] as number)) first = t;
    }
    return first;
  }

  private _note(kind: string, address: number): void {
    this._recorder.note(this._board[B.TRACE] as number, this._board[B.STEP] as number, kind, address);
  }
}
