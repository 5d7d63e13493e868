/** Starting the harness in a Worker of its own: the checked build is not the one that vitest has loaded. */
import { resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { KillReport, KillRequest } from './kill.ts';
import type { PreemptReport, PreemptRequest } from './preempt.ts';

const DIST = resolve(import.meta.dirname, '../../../dist-test/test/stress/kill');

/** Seconds that this folder's tests may take together. */
export const SECONDS: number = Number(process.env.VMSPACE_STRESS_SECONDS ?? 40);
export const SEED: number = Number(process.env.VMSPACE_SEED ?? 20261121);

export function runKills(requests: readonly KillRequest[]): Promise<KillReport[]> {
  return run('kill.checked.worker.js', requests);
}

export function runPreemptions(requests: readonly PreemptRequest[]): Promise<PreemptReport[]> {
  return run('preempt.checked.worker.js', requests);
}

function run<T>(file: string, workerData: unknown): Promise<T> {
  return new Promise((done, failed) => {
    const worker = new Worker(resolve(DIST, file), { workerData });
    worker.once('message', done);
    worker.once('error', failed);
    worker.once('exit', (code) => failed(new Error(`the worker ended without a report, exit ${code}`)));
  });
}
