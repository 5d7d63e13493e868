/** Whose turn it is. The running thread hands it on and sleeps until it comes back, or gives the whole execution up. */
import * as B from './board/header.ts';
import type { BoardMemory } from './board/memory.ts';
import { FAILURE_AT, FAILURE_BYTES, threadAt } from './board/places.ts';
import * as T from './board/thread.ts';
import { COMMAND_RUN, FAILURE_NONE, MODE_ABORT, MODE_IDLE, MODE_RUN, MODE_TRACK } from './board/values.ts';

/** The host's own: the transform replaces the thread's. */
const host = Atomics;

/** Unwinds a thread whose execution is given up. */
export class Aborted extends Error {}

/** Unwinds a thread that dies: every later access of its throws it again. */
export class Killed extends Error {}

export class Turn {
  readonly me: number;
  readonly board: Int32Array;
  readonly names: readonly string[];
  /** Where this thread's words are. */
  readonly at: number;
  /** MODE_*: B.MODE as it was when this thread got its turn, or as it has set it since. */
  mode = MODE_IDLE;
  /** This thread has died in this execution. */
  dead = false;
  private readonly _text: Uint8Array;

  constructor(memory: BoardMemory, me: number, names: readonly string[]) {
    this.me = me;
    this.names = names;
    this.board = new Int32Array(memory.board);
    this.at = threadAt(me);
    this._text = new Uint8Array(memory.text);
  }

  /** What accesses mean from here on, until somebody else has had a turn. */
  setMode(mode: number): void {
    this.mode = mode;
    this.board[B.MODE] = mode;
  }

  /** Hands the turn to a thread, which begins or goes on. */
  give(next: number): void {
    const at = threadAt(next);
    if (this.board[at + T.STARTED] === 0 && this.board[B.MODE] === MODE_RUN) this.board[at + T.COMMAND] = COMMAND_RUN;
    this._wake(at);
  }

  /** Hands the turn to a thread's loop, outside any execution. */
  command(thread: number, command: number): void {
    const at = threadAt(thread);
    this.board[at + T.COMMAND] = command;
    this._wake(at);
  }

  /** Sleeps until it is this thread's turn. Returns its command. */
  park(): number {
    const board = this.board;
    const at = this.at + T.PARK;
    while (host.load(board, at) === 0) host.wait(board, at, 0); // pairs with the store in _wake
    host.store(board, at, 0);
    this.mode = board[B.MODE] as number;
    return board[this.at + T.COMMAND] as number;
  }

  /** Hands the turn on, and goes on when it comes back. */
  handOver(next: number): void {
    this.give(next);
    this.park();
    if (this.mode === MODE_ABORT) throw new Aborted();
  }

  /** Gives the execution up: `failure`, said by `text`. Does not return. */
  fail(failure: number, text: string): never {
    this.note(failure, text);
    throw new Aborted();
  }

  /** Notes a failure; only the first counts. */
  note(failure: number, text: string): void {
    const board = this.board;
    if (board[B.FAILURE] === FAILURE_NONE) {
      board[B.FAILURE] = failure;
      board[B.FAILED_THREAD] = this.me;
      const bytes = new TextEncoder().encode(text).subarray(0, FAILURE_BYTES);
      this._text.set(bytes, FAILURE_AT);
      board[B.TEXT] = bytes.length;
    }
    this.setMode(MODE_ABORT);
  }

  /**
   * In an execution that is given up: hands the turn to the next thread that must unwind. Returns true if none is
   * left.
   */
  unwound(): boolean {
    const board = this.board;
    board[this.at + T.STARTED] = 0;
    this.mode = MODE_TRACK;
    for (let t = (board[B.THREADS] as number) - 1; t >= 0; t--) {
      if (board[threadAt(t) + T.STARTED] !== 1) continue;
      this.give(t);
      return false;
    }
    return true;
  }

  private _wake(at: number): void {
    host.store(this.board, at + T.PARK, 1); // pairs with the load in park
    host.notify(this.board, at + T.PARK, 1);
  }
}
