/** The states of the threads, as the board has them: who could run, who could be let run, who is woken by a write. */
import * as B from './board/header.ts';
import { ALL_WORDS, READS, READS_WORDS, threadAt } from './board/places.ts';
import * as T from './board/thread.ts';
import { STATUS_DONE, STATUS_READY, STATUS_WAITING } from './board/values.ts';

/** Bytes of the widest element: a word that was read may reach so far behind its address. */
const WIDEST = 8;

export function makeReady(board: Int32Array, thread: number): void {
  board[threadAt(thread) + T.STATUS] = STATUS_READY;
  board[B.ENABLED] = (board[B.ENABLED] as number) | (1 << thread);
}

/** The thread cannot go on: STATUS_* says why. */
export function makeUnable(board: Int32Array, thread: number, status: number): void {
  board[threadAt(thread) + T.STATUS] = status;
  board[B.ENABLED] = (board[B.ENABLED] as number) & ~(1 << thread);
}

export function allEnded(board: Int32Array): boolean {
  for (let t = 0; t < (board[B.THREADS] as number); t++) {
    if ((board[threadAt(t) + T.STATUS] as number) < STATUS_DONE) return false;
  }
  return true;
}

/** The next of some threads, in turn. */
export function nextAfter(board: Int32Array, me: number, mask: number): number {
  const threads = board[B.THREADS] as number;
  let next = me;
  for (let i = 1; i <= threads; i++) {
    next = (me + i) % threads;
    if ((mask & (1 << next)) !== 0) break;
  }
  return next;
}

/** Of some sleeping threads, that whose time is up first. */
export function earliest(board: Int32Array, sleepers: number): number {
  let first = -1;
  for (let t = 0; t < (board[B.THREADS] as number); t++) {
    if ((sleepers & (1 << t)) === 0) continue;
    if (first === -1 || (board[threadAt(t) + T.DEADLINE] as number) < (board[threadAt(first) + T.DEADLINE] as number))
      first = t;
  }
  return first;
}

/** Threads that sleep with a time limit. */
export function limitedSleepers(board: Int32Array): number {
  let mask = 0;
  for (let t = 0; t < (board[B.THREADS] as number); t++) {
    const at = threadAt(t);
    if (board[at + T.STATUS] === STATUS_WAITING && board[at + T.DEADLINE] !== T.FOREVER) mask |= 1 << t;
  }
  return mask;
}

/** Threads that are not enabled, but could go on: they spin, or sleep with a time limit where that may end. */
export function reluctant(board: Int32Array): number {
  const spinning = board[B.PAUSED] as number;
  return board[B.TIMEOUTS] === 0 ? spinning : spinning | limitedSleepers(board);
}

/* Spins. */

/** Notes a word read, for the case that the thread turns out to spin on it. */
export function noteRead(board: Int32Array, thread: number, address: number, wide: boolean): void {
  const at = READS + thread * READS_WORDS;
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

export function forgetReads(board: Int32Array, thread: number): void {
  board[READS + thread * READS_WORDS] = 0;
}

/** After a write to bytes [from, to): whoever spins on them looks again. */
export function wakeSpinners(board: Int32Array, from: number, to: number): void {
  if (board[B.PAUSED] === 0) return;
  for (let t = 0; t < (board[B.THREADS] as number); t++) {
    if (((board[B.PAUSED] as number) & (1 << t)) === 0) continue;
    if (!hasRead(board, t, from, to)) continue;
    board[B.PAUSED] = (board[B.PAUSED] as number) & ~(1 << t);
    makeReady(board, t);
  }
}

function hasRead(board: Int32Array, thread: number, from: number, to: number): boolean {
  const at = READS + thread * READS_WORDS;
  const count = board[at] as number;
  if (count === ALL_WORDS) return true;
  for (let i = 1; i <= count; i++) {
    const address = board[at + i] as number;
    if (address < to && address + WIDEST > from) return true;
  }
  return false;
}

/* Sleep sets: threads whose next access was passed over. See README.md, "The search". */

/** The thread is preempted before an access to bytes [from, to). */
export function fallAsleep(board: Int32Array, thread: number, from: number, to: number, writes: number): void {
  const at = threadAt(thread);
  board[at + T.FROM] = from;
  board[at + T.TO] = to;
  board[at + T.WRITES] = writes;
  if (board[B.REDUCE] === 1) board[B.ASLEEP] = (board[B.ASLEEP] as number) | (1 << thread);
}

/** After an access to bytes [from, to): threads whose next access conflicts with it are awake again. */
export function wakeSleepers(board: Int32Array, from: number, to: number, writes: boolean): void {
  const asleep = board[B.ASLEEP] as number;
  if (asleep === 0) return;
  for (let t = 0; t < (board[B.THREADS] as number); t++) {
    if ((asleep & (1 << t)) === 0) continue;
    const at = threadAt(t);
    if (from >= (board[at + T.TO] as number) || to <= (board[at + T.FROM] as number)) continue;
    if (!writes && board[at + T.WRITES] === 0) continue;
    board[B.ASLEEP] = (board[B.ASLEEP] as number) & ~(1 << t);
  }
}
