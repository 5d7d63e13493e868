/**
 * What a marked plain read may return. The memory model of JavaScript lets a plain load that races return any write that is not
 * ordered after it and that no other write hides: W is hidden if W happens before W', and W' before the read (ECMAScript,
 * *valid happens-before reads*). So the writes to the words that marked reads look at are kept, each with the value it overwrote
 * and its writer's clock. Two reads of one thread may find the values in the wrong order: the standard does not promise
 * coherence to plain loads.
 *
 * ```
 * write:  the write before it + 1, or 0 | value overwritten | writer | writer's clock, 8
 *         0                               1                   2        3
 * ```
 */
import { B_EXECUTION, B_HISTORY, B_THREADS, CLOCKS, HISTORY_WORDS, MAX_THREADS, NOTE_WORDS } from './board.ts';

const H_PREVIOUS = 0;
const H_VALUE = 1;
const H_WRITER = 2;
const H_CLOCK = 3;
/* Of a location's note; see clocks.ts. */
const N_EXECUTION = 0;
const N_LAST = 43;

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
    const number = board[B_HISTORY] as number;
    board[B_HISTORY] = number + 1;
    const at = number * HISTORY_WORDS;
    const last = location * NOTE_WORDS + N_LAST;
    writes[at + H_PREVIOUS] = this._notes[last] as number;
    writes[at + H_VALUE] = overwritten;
    writes[at + H_WRITER] = this._me;
    const clock = CLOCKS + this._me * MAX_THREADS;
    for (let t = 0; t < (board[B_THREADS] as number); t++) writes[at + H_CLOCK + t] = board[clock + t] as number;
    this._notes[last] = number + 1;
  }

  /** The old values that a read by this thread may return instead of `newest`, each once, newest first. Valid until the next call. */
  olderValues(location: number, newest: number): readonly number[] {
    const found = this._found;
    found.length = 0;
    const note = location * NOTE_WORDS;
    if (this._notes[note + N_EXECUTION] !== this._board[B_EXECUTION]) return found;
    const last = this._notes[note + N_LAST] as number;
    for (let later = last; later !== 0; ) {
      const at = (later - 1) * HISTORY_WORDS;
      const value = this._writes[at + H_VALUE] as number;
      const earlier = this._writes[at + H_PREVIOUS] as number; // the write of that value, 0 if it was there in the beginning
      if (value !== newest && !found.includes(value) && !this._hidden(earlier, last)) found.push(value);
      later = earlier;
    }
    return found;
  }

  /** Whether a write that comes after write `hidden` happens before this thread's next access. */
  private _hidden(hidden: number, last: number): boolean {
    const writes = this._writes;
    const mine = CLOCKS + this._me * MAX_THREADS;
    for (let by = last; by !== hidden; by = writes[(by - 1) * HISTORY_WORDS + H_PREVIOUS] as number) {
      const at = (by - 1) * HISTORY_WORDS;
      const writer = writes[at + H_WRITER] as number;
      if ((writes[at + H_CLOCK + writer] as number) > (this._board[mine + writer] as number)) continue;
      if (hidden === 0 || this._precedes(hidden, at)) return true;
    }
    return false;
  }

  private _precedes(write: number, at: number): boolean {
    const from = (write - 1) * HISTORY_WORDS;
    const writer = this._writes[from + H_WRITER] as number;
    return (this._writes[from + H_CLOCK + writer] as number) <= (this._writes[at + H_CLOCK + writer] as number);
  }
}
