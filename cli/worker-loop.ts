/** What both kinds of worker do around their work: start together, stop by the flag, tell what went wrong. */
import { parentPort } from 'node:worker_threads';
import { machineOf, Oops, type Space } from '../src/node.ts';
import { type FailureKind, GO, STOP, type WorkerMessage } from './protocol.ts';

/** What a worker found that is not as it was written. */
export class Mismatch extends Error {}

/** Others have changed the file, so that it could not be read to its end. */
export class FileChanged extends Error {}

/** Fills `into` from `address` on. Throws what the access to the first byte throws that cannot be read. */
export function readAll(space: Space, address: number, into: Uint8Array): void {
  for (let done = 0; done < into.length; ) done += space.read(address + done, into.subarray(done));
}

/** Calls `step` until the main thread says stop, then leaves the machine. */
export function workUntilStopped(space: Space, buffer: SharedArrayBuffer, step: () => void): void {
  const control = new Int32Array(buffer);
  try {
    post({ kind: 'ready' });
    while (Atomics.load(control, GO) === 0 && Atomics.load(control, STOP) === 0) Atomics.wait(control, GO, 0, 1000);
    while (Atomics.load(control, STOP) === 0) step();
    machineOf(space).close();
  } catch (error) {
    post({ kind: 'failed', what: kindOf(error), detail: describe(error) });
  }
}

function kindOf(error: unknown): FailureKind {
  if (error instanceof Mismatch) return 'mismatch';
  return error instanceof FileChanged ? 'changed' : 'error';
}

function post(message: WorkerMessage): void {
  parentPort?.postMessage(message);
}

/** An Oops is a bug of ours: where it came from is what a report needs. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error instanceof Oops && error.stack !== undefined ? error.stack : error.message;
}
