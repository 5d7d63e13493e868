/** Starting the harness in a Worker of its own: the checked build is not the one that vitest has loaded. */
import { resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { InjectRequest } from './inject.ts';
import type { KillRequest, Report } from './kill.ts';
import type { PreemptReport, PreemptRequest } from './preempt.ts';
import type { ProgramReport, ProgramRequest } from './programs.ts';
import type { TwiceRequest } from './twice.ts';

const DIST = resolve(import.meta.dirname, '../../../dist-test/test/stress/kill');

/** How much more to try than by default. By default this folder takes about 40 seconds. */
export const EFFORT: number = Math.max(1, Number(process.env.VMSPACE_STRESS_SECONDS ?? 0) / 4);
export const SEED: number = Number(process.env.VMSPACE_SEED ?? 20261121);
/** A replay: the access at which to die or to be preempted, or the number of the world. */
export const ONLY: number | undefined =
  process.env.VMSPACE_ONLY === undefined ? undefined : Number(process.env.VMSPACE_ONLY);
/** A replay of a random program: where its shrinking has ended. */
export const PATH: string | undefined = process.env.VMSPACE_PATH;

export function runKills(requests: readonly KillRequest[]): Promise<Report[]> {
  return run('kill.checked.worker.js', requests);
}

export function runPreemptions(requests: readonly PreemptRequest[]): Promise<PreemptReport[]> {
  return run('preempt.checked.worker.js', requests);
}

export function runTwice(requests: readonly TwiceRequest[]): Promise<Report[]> {
  return run('twice.checked.worker.js', requests);
}

export function runPrograms(requests: readonly ProgramRequest[]): Promise<ProgramReport[]> {
  return run('programs.checked.worker.js', requests);
}

export function runInjections(requests: readonly InjectRequest[]): Promise<Report[]> {
  return run('inject.checked.worker.js', requests);
}

/** The worker's one message, once it has exited and its memory is given back. */
function run<T>(file: string, workerData: unknown): Promise<T> {
  return new Promise((done, failed) => {
    const worker = new Worker(resolve(DIST, file), { workerData });
    let report: T | undefined;
    worker.once('message', (message: T) => {
      report = message;
    });
    worker.once('error', failed);
    worker.once('exit', (code) => (report === undefined ? failed(new Error(`exit ${code}`)) : done(report)));
  });
}
