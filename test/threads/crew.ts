/** Starting roles on real Workers, stopping them, and what they report. */
import { resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import { expect } from 'vitest';
import type { Machine, Space } from '../../src/index.ts';

export const SECONDS: number = Number(process.env.VMSPACE_STRESS_SECONDS ?? 1.5);
export const SEED: number = Number(process.env.VMSPACE_SEED ?? 20261121);
const DIST = resolve(import.meta.dirname, '../../dist-test/test/threads');

export interface Report {
  readonly role: string;
  readonly checks: number;
  readonly failures: readonly string[];
}

export interface Part {
  readonly role: string;
  readonly at: number;
  readonly pages: number;
  readonly other?: number;
}

export function startWorker(file: string, workerData: object, machine: Machine): Worker {
  const worker = new Worker(resolve(DIST, file), { workerData });
  machine.watch(worker);
  return worker;
}

/** Runs the parts together for `seconds` (or until they end by themselves), and checks that none saw anything illegal. */
export async function play(machine: Machine, space: Space, parts: readonly Part[], seconds: number): Promise<Report[]> {
  const shared = new SharedArrayBuffer(64 * 4);
  const stop = new Int32Array(shared);
  const reports = parts.map((part, i) => {
    const workerData = { other: 0, ...part, space: space.handle, shared, seed: SEED + i };
    return ended<Report>(startWorker('roles.worker.js', workerData, machine));
  });
  const timer = setTimeout(() => {
    Atomics.store(stop, 0, 1);
    Atomics.notify(stop, 0);
  }, seconds * 1000);
  const all = await Promise.all(reports);
  clearTimeout(timer);
  for (const report of all) {
    expect(report.failures, `replay with VMSPACE_SEED=${SEED}`).toEqual([]);
    expect(report.checks, `${report.role} did nothing`).toBeGreaterThan(0);
  }
  return all;
}

/** The worker's one message, once it has exited too: its cpu is given back then. */
export function ended<T>(worker: Worker): Promise<T> {
  return new Promise((done, failed) => {
    let message: T | undefined;
    worker.once('message', (value: T) => {
      message = value;
    });
    worker.once('error', failed);
    worker.once('exit', (code) => (message === undefined ? failed(new Error(`exit ${code}`)) : done(message)));
  });
}

/** Resolves once `reached()` is true; rejects after `limit` milliseconds, a hang limit. */
export async function until(reached: () => boolean, limit = 20_000): Promise<void> {
  for (let waited = 0; !reached(); waited += 5) {
    if (waited > limit) throw new Error(`not reached in ${limit} ms`);
    await new Promise((done) => setTimeout(done, 5));
  }
}
