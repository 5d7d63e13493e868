/** What is said of threads that cannot go on. */

import * as B from './board/header.ts';
import { threadAt } from './board/places.ts';
import * as T from './board/thread.ts';
import { STATUS_DEAD, STATUS_DONE, STATUS_JOINING, STATUS_PAUSED, STATUS_WAITING } from './board/values.ts';
import type { Region } from './regions.ts';

/** What each thread waits for, one line each; `@123` is a byte address, for the report to name. `held` tells of the word there. */
export function standing(board: Int32Array, names: readonly string[], held: (address: number) => string): string {
  const lines: string[] = [];
  for (let t = 0; t < (board[B.THREADS] as number); t++) {
    const at = threadAt(t);
    const name = names[t];
    const status = board[at + T.STATUS];
    if (status === STATUS_WAITING) {
      const address = board[at + T.WAIT] as number;
      const until = board[at + T.DEADLINE] === T.FOREVER ? '' : ', with a time limit';
      lines.push(`${name} sleeps on @${address} ${held(address)}${until}`);
    } else if (status === STATUS_PAUSED) lines.push(`${name} spins on @${board[at + T.LAST_READ]}`);
    else if (status === STATUS_JOINING)
      lines.push(`${name} waits for the end of ${names[board[at + T.JOIN] as number]}`);
    else if (status === STATUS_DONE) lines.push(`${name} has ended`);
    else if (status === STATUS_DEAD) lines.push(`${name} is dead`);
    else lines.push(`${name} could run`);
  }
  return lines.join('\n');
}

/** The value of a word, and who wrote it: for a lock that is its owner. */
export function heldText(region: Region, byte: number, writer: string | undefined): string {
  const [b0 = 0, b1 = 0, b2 = 0, b3 = 0] = [0, 1, 2, 3].map((i) => region.bytes[byte + i]);
  const value = b0 | (b1 << 8) | (b2 << 16) | (b3 << 24);
  return `(${value}, ${writer === undefined ? 'as in the beginning' : `written last by ${writer}`})`;
}
