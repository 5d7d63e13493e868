/** The shared memory of a board: made by the leader, given to all threads of the crew. */
import * as L from './location.ts';
import * as N from './note.ts';
import { FAILURE_AT, FAILURE_BYTES, TRACE } from './places.ts';
import * as R from './record.ts';
import * as H from './write.ts';

const DIRTY_BYTES = 1_048_576;

/** Decisions that an execution may still write down behind its limit. */
const SLACK = 64;

/** Everything that the crew's threads are given. Survives structured cloning. */
export interface BoardMemory {
  readonly board: SharedArrayBuffer;
  /** The results of the threads, UTF-16, then the failure's text, UTF-8. */
  readonly text: SharedArrayBuffer;
  readonly locations: SharedArrayBuffer;
  readonly notes: SharedArrayBuffer;
  readonly history: SharedArrayBuffer;
  /** Numbers of the chunks that must be put back; B.DIRTY counts them. */
  readonly dirty: SharedArrayBuffer;
}

export function makeBoard(maxSteps: number): BoardMemory {
  return {
    board: new SharedArrayBuffer((TRACE + (maxSteps + SLACK) * R.WORDS) * 4),
    text: new SharedArrayBuffer(FAILURE_AT + FAILURE_BYTES),
    locations: new SharedArrayBuffer(L.MOST * L.WORDS * 4),
    notes: new SharedArrayBuffer(L.MOST * N.WORDS * 4),
    history: new SharedArrayBuffer((maxSteps + SLACK) * H.WORDS * 4),
    dirty: new SharedArrayBuffer(DIRTY_BYTES),
  };
}
