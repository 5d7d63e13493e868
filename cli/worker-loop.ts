/** What both kinds of worker do around their work: start together, stop by the flag, tell what went wrong. */
import { parentPort } from 'node:worker_threads';
import { machineOf, Oops, type Space } from '../src/node.ts';
import { GO, STOP, type WorkerMessage } from './protocol.ts';

/** What a worker found that is not as it was written. */
export class Mismatch extends Error {}

/** Calls `step` until the main thread says stop, then leaves the machine. */
export function workUntilStopped(space: Space, buffer: SharedArrayBuffer, step: () => void): void {
  const control = new Int32Array(buffer);
  try {
    post({ kind: 'ready' });
    while (Atomics.load(control, GO) === 0 && Atomics.load(control, STOP) === 0) Atomics.wait(control, GO, 0, 1000);
    while (Atomics.load(control, STOP) === 0) step();
    machineOf(space).close();
  } catch (error) {
    post({ kind: 'failed', what: error instanceof Mismatch ? 'mismatch' : 'error', detail: describe(error) });
  }
}

function post(message: WorkerMessage): void {
  parentPort?.postMessage(message);
}

/** An Oops is a bug of ours: where it came from is what a report needs. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error instanceof Oops && error.stack !== undefined ? error.stack : error.message;
}
