/** Writes the trace: a record for each decision that the leader may take in another way. */
import * as B from './board/header.ts';
import { TRACE } from './board/places.ts';
import * as R from './board/record.ts';
import { reluctant } from './threads.ts';

/** Before an access: who could go on instead. `what` is WHAT_* but for the thread. */
export function traceAccess(board: Int32Array, me: number, position: number, what: number, location: number): void {
  const others = (board[B.ENABLED] as number) & ~(board[B.ASLEEP] as number) & ~(1 << me);
  const unwilling = (what & R.WHAT_POINT) === 0 ? 0 : reluctant(board) << R.RELUCTANT_SHIFT;
  add(board, position, what | me, location, others | unwilling);
}

/** At a marked read: how many older values it could return. */
export function traceValue(board: Int32Array, me: number, position: number, older: number): void {
  add(board, position, R.WHAT_VALUE | me, 0, older);
}

/**
 * Where the running thread could not go on: thread `next` does, instead of which `others` could. `usual` need not be
 * named by a schedule.
 */
export function traceChoice(board: Int32Array, position: number, next: number, others: number, usual: number): void {
  add(board, position, R.WHAT_FREE | next, usual, others);
}

function add(board: Int32Array, position: number, what: number, location: number, others: number): void {
  const count = board[B.TRACE] as number;
  const at = TRACE + count * R.WORDS;
  board[B.TRACE] = count + 1;
  board[at + R.POSITION] = position;
  board[at + R.WHAT] = what;
  board[at + R.LOCATION] = location;
  board[at + R.OTHERS] = others;
}
