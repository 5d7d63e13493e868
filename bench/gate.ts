/**
 * Rounds: the words by which the main thread starts and stops its workers, all within one SharedArrayBuffer. Workers sleep on
 * PHASE between rounds, so that they cost nothing while the other side is measured.
 */
export interface Gate {
  readonly words: Int32Array;
  readonly floats: Float64Array;
}

export const MAX_WORKERS = 4;
/** Most samples that a worker keeps of one round. */
export const MAX_SAMPLES: number = 1 << 20;

/** Bumped to start a round. */
export const PHASE = 0;
/** 1: finish. */
export const STOP = 16;
/** Workers of the round that are done. */
export const DONE = 32;
/** 1: a worker's task has thrown. */
export const FAILED = 33;
/** 1 + the index of the task that worker `i` runs in this round; 0: none; -1: leave. */
const TASK = 48;
const WORKER_FLOATS = 8;
const FLOATS = 64;
const SAMPLES: number = FLOATS + MAX_WORKERS * WORKER_FLOATS;

export function makeGate(): SharedArrayBuffer {
  return new SharedArrayBuffer((SAMPLES + MAX_WORKERS * MAX_SAMPLES) * 8);
}

export function openGate(buffer: SharedArrayBuffer): Gate {
  return { words: new Int32Array(buffer), floats: new Float64Array(buffer) };
}

export function taskWord(worker: number): number {
  return TASK + 16 * worker;
}

/** Operations, milliseconds, number of samples of worker `i`'s last round. */
export function resultAt(worker: number): number {
  return FLOATS + worker * WORKER_FLOATS;
}

/** The samples themselves. */
export function samplesOf(gate: Gate, worker: number): Float64Array {
  const start = SAMPLES + worker * MAX_SAMPLES;
  return gate.floats.subarray(start, start + MAX_SAMPLES);
}
