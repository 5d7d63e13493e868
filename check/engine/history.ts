/**
 * What a marked plain read may return. The memory model of JavaScript lets a plain load that races return any write that is not
 * ordered after it and that no other write hides: W is hidden if W happens before W', and W' before the read (ECMAScript,
 * *valid happens-before reads*). So the writes to the words that marked reads look at are kept, each with the value it overwrote
 * and its writer's clock. Two reads of one thread may find the values in the wrong order: the standard does not promise
 * coherence to plain loads.
 */

import * as B from './board/header.ts';
import * as N from './board/note.ts';
import { CLOCKS, MAX_THREADS } from './board/places.ts';
import * as H from './board/write.ts';

export class History {
  private readonly _board: Int32Array;
  private readonly _notes: Int32Array;
  private readonly _writes: Int32Array;
  private readonly _me: number;
  private readonly _found: number[] = [];

  constructor(board: Int32Array, notes: Int32Array, writes: Int32Array, me: number) {
    this._board = board;
    this._notes = notes;
    this._writes = writes;
    this._me = me;
  }

  /** Before a write, with the value that it overwrites. The location's note must be of this execution (see `Clocks.wrote`). */
  wrote(location: number, overwritten: number): void {
    const board = this._board;
    const writes = this._writes;
    const number = board[B.HISTORY] as number;
    board[B.HISTORY] = number + 1;
    const at = number * H.WORDS;
    const last = location * N.WORDS + N.LAST;
    writes[at + H.PREVIOUS] = this._notes[last] as number;
    writes[at + H.VALUE] = overwritten;
    writes[at + H.WRITER] = this._me;
    const clock = CLOCKS + this._me * MAX_THREADS;
    for (let t = 0; t < (board[B.THREADS] as number); t++) writes[at + H.CLOCK + t] = board[clock + t] as number;
    this._notes[last] = number + 1;
  }

  /** The old values that a read by this thread may return instead of `newest`, each once, newest first. Valid until the next call. */
  olderValues(location: number, newest: number): readonly number[] {
    const found = this._found;
    found.length = 0;
    const note = location * N.WORDS;
    if (this._notes[note + N.EXECUTION] !== this._board[B.EXECUTION]) return found;
    const last = this._notes[note + N.LAST] as number;
    for (let later = last; later !== 0; ) {
      const at = (later - 1) * H.WORDS;
      const value = this._writes[at + H.VALUE] as number;
      const earlier = this._writes[at + H.PREVIOUS] as number; // the write of that value, 0 if it was there in the beginning
      if (value !== newest && !found.includes(value) && !this._hidden(earlier, last)) found.push(value);
      later = earlier;
    }
    return found;
  }

  /** Whether a write that comes after write `hidden` happens before this thread's next access. */
  private _hidden(hidden: number, last: number): boolean {
    const writes = this._writes;
    const mine = CLOCKS + this._me * MAX_THREADS;
    for (let by = last; by !== hidden; by = writes[(by - 1) * H.WORDS + H.PREVIOUS] as number) {
      const at = (by - 1) * H.WORDS;
      const writer = writes[at + H.WRITER] as number;
      if ((writes[at + H.CLOCK + writer] as number) > (this._board[mine + writer] as number)) continue;
      if (hidden === 0 || this._precedes(hidden, at)) return true;
    }
    return false;
  }

  private _precedes(write: number, at: number): boolean {
    const from = (write - 1) * H.WORDS;
    const writer = this._writes[from + H.WRITER] as number;
    return (this._writes[from + H.CLOCK + writer] as number) <= (this._writes[at + H.CLOCK + writer] as number);
  }
}
