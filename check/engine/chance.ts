/** Decisions by chance: random walks and PCT. All state is on the board, so a seed gives the same schedule again. */

import * as B from './board/header.ts';
import { threadAt } from './board/places.ts';
import * as T from './board/thread.ts';
import { STRATEGY_PCT } from './board/values.ts';

/** Who performs the next access, where thread `me` would. */
export function nextByChance(board: Int32Array, me: number, position: number, reluctant: number): number {
  if (board[B.STRATEGY] === STRATEGY_PCT) return byPriority(board, me, position);
  const others = ((board[B.ENABLED] as number) | reluctant) & ~(1 << me);
  if (others === 0 || (next(board) & 0xffff) >= (board[B.CHANCE] as number)) return me;
  return pick(board, others);
}

/** Who goes on when the running thread cannot. */
export function chooseByChance(board: Int32Array, enabled: number, reluctant: number): number {
  if (board[B.STRATEGY] === STRATEGY_PCT) return highest(board, enabled);
  return pick(board, reluctant !== 0 && (next(board) & 0xffff) < (board[B.CHANCE] as number) ? reluctant : enabled);
}

/** Which value a marked read returns: 0 for the newest, or one of `older`. */
export function olderByChance(board: Int32Array, older: number): number {
  if ((next(board) & 0xffff) >= (board[B.CHANCE] as number)) return 0;
  return 1 + (next(board) % older);
}

/** xorshift32 (Marsaglia 2003). */
function next(board: Int32Array): number {
  let x = board[B.RANDOM] as number;
  x ^= x << 13;
  x ^= x >>> 17;
  x ^= x << 5;
  board[B.RANDOM] = x;
  return x >>> 0;
}

function pick(board: Int32Array, mask: number): number {
  let count = 0;
  for (let bits = mask; bits !== 0; bits &= bits - 1) count++;
  let skip = next(board) % count;
  for (let t = 0; ; t++) if ((mask & (1 << t)) !== 0 && skip-- === 0) return t;
}

/**
 * PCT (Burckhardt, Kothari, Musuvathi, Nagarakatte 2010): the highest priority runs; at each of d - 1 random positions the running
 * thread's falls below all others.
 */
function byPriority(board: Int32Array, me: number, position: number): number {
  for (let i = 0; i < (board[B.CHANGE_COUNT] as number); i++) {
    if (board[B.CHANGES + i] === position) board[threadAt(me) + T.PRIORITY] = -1 - i;
  }
  return highest(board, (board[B.ENABLED] as number) | (1 << me));
}

function highest(board: Int32Array, mask: number): number {
  let best = -1;
  for (let t = 0; t < (board[B.THREADS] as number); t++) {
    if ((mask & (1 << t)) === 0) continue;
    if (best === -1 || (board[threadAt(t) + T.PRIORITY] as number) > (board[threadAt(best) + T.PRIORITY] as number))
      best = t;
  }
  return best;
}
