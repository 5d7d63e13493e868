/**
 * Finds data races with vector clocks (Mattern; the notes per location are a FastTrack without its compression, as two to four
 * threads need none). Happens-before is that of the ECMAScript memory model: an Atomics read is ordered after the Atomics write
 * that it reads from, a woken `wait` and a `notify` after each other; an overwritten store orders nobody.
 *
 * A conflict is a race if at least one side is plain and not marked as meant to race. Marked and Atomics accesses count the same
 * here, but only Atomics order anything.
 */

import * as B from './board/header.ts';
import * as N from './board/note.ts';
import { CLOCKS, MAX_THREADS } from './board/places.ts';

export class Clocks {
  private readonly _board: Int32Array;
  private readonly _notes: Int32Array;
  private readonly _me: number;
  private readonly _mine: number;

  constructor(board: Int32Array, notes: Int32Array, me: number) {
    this._board = board;
    this._notes = notes;
    this._me = me;
    this._mine = CLOCKS + me * MAX_THREADS;
  }

  /** -1, or the thread whose access races with this one. */
  access(location: number, write: boolean, plain: boolean): number {
    const notes = this._notes;
    const board = this._board;
    const note = location * N.WORDS;
    const me = this._me;
    if (notes[note + N.EXECUTION] !== board[B.EXECUTION]) this._clear(note);
    const threads = board[B.THREADS] as number;
    for (let other = 0; other < threads; other++) {
      if (other === me) continue;
      const seen = board[this._mine + other] as number;
      if ((notes[note + N.PLAIN_WRITES + other] as number) > seen) return other;
      if (plain && (notes[note + N.WRITES + other] as number) > seen) return other;
      if (!write) continue;
      if ((notes[note + N.PLAIN_READS + other] as number) > seen) return other;
      if (plain && (notes[note + N.READS + other] as number) > seen) return other;
    }
    const column = write ? (plain ? N.PLAIN_WRITES : N.WRITES) : plain ? N.PLAIN_READS : N.READS;
    notes[note + column + me] = board[this._mine + me] as number;
    if (write && plain) notes[note + N.RELEASED] = 0;
    return -1;
  }

  /** Remembers who wrote last. */
  wrote(location: number): void {
    const note = location * N.WORDS;
    if (this._notes[note + N.EXECUTION] !== this._board[B.EXECUTION]) this._clear(note);
    this._notes[note + N.WRITER] = this._me + 1;
  }

  /** The thread that wrote last in this execution, or -1. */
  writerOf(location: number): number {
    const note = location * N.WORDS;
    return this._notes[note + N.EXECUTION] === this._board[B.EXECUTION]
      ? (this._notes[note + N.WRITER] as number) - 1
      : -1;
  }

  /** What an Atomics read learns from the write it reads from, if they are of the same width. After `access`. */
  acquire(location: number, width: number): void {
    const notes = this._notes;
    const note = location * N.WORDS;
    if (notes[note + N.RELEASED] !== width) return;
    const board = this._board;
    const threads = board[B.THREADS] as number;
    for (let t = 0; t < threads; t++) {
      const released = notes[note + N.CLOCK + t] as number;
      if (released > (board[this._mine + t] as number)) board[this._mine + t] = released;
    }
  }

  /** An Atomics write publishes all that this thread has done and learnt. After `access`, and after `acquire` if it also reads. */
  release(location: number, width: number): void {
    const notes = this._notes;
    const note = location * N.WORDS;
    const board = this._board;
    const threads = board[B.THREADS] as number;
    for (let t = 0; t < threads; t++) notes[note + N.CLOCK + t] = board[this._mine + t] as number;
    notes[note + N.RELEASED] = width;
    board[this._mine + this._me] = (board[this._mine + this._me] as number) + 1;
  }

  /** A marked write is not synchronising: what was published here before is no longer what a reader finds. */
  forget(location: number): void {
    this._notes[location * N.WORDS + N.RELEASED] = 0;
  }

  private _clear(note: number): void {
    this._notes.fill(0, note, note + N.WORDS);
    this._notes[note + N.EXECUTION] = this._board[B.EXECUTION] as number;
  }
}

/** Thread `to` learns all that thread `from` has done: a join, or a wake-up. */
export function orderAfter(board: Int32Array, from: number, to: number): void {
  for (let t = 0; t < MAX_THREADS; t++) {
    const known = board[CLOCKS + from * MAX_THREADS + t] as number;
    const at = CLOCKS + to * MAX_THREADS + t;
    if (known > (board[at] as number)) board[at] = known;
  }
  const own = CLOCKS + from * MAX_THREADS + from;
  board[own] = (board[own] as number) + 1;
}

export function clearClocks(board: Int32Array): void {
  board.fill(0, CLOCKS, CLOCKS + MAX_THREADS * MAX_THREADS);
  for (let t = 0; t < MAX_THREADS; t++) board[CLOCKS + t * MAX_THREADS + t] = 1;
}
