/** Threads that come, touch a byte and go: none keeps one of the machine's places, watched or not. */
import { resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { map, withMachine } from '../support.ts';
import { ended, startWorker } from './crew.ts';

const THREADS = 200;
const WORKER = 'leaving.worker.js';
const UNWATCHED = resolve(import.meta.dirname, '../../dist-test/test/threads', WORKER);

test(`${THREADS} threads, one after another, every second one watched`, async () => {
  await withMachine({}, async ({ machine, space }) => {
    const at = map(space, 1);
    space.store8(at, 77);
    const workerData = { handle: space.handle, at };
    for (let i = 0; i < THREADS; i++) {
      const watched = i % 2 === 0;
      const worker = watched ? startWorker(WORKER, workerData, machine) : new Worker(UNWATCHED, { workerData });
      expect(await ended<number>(worker)).toBe(77);
    }
    expect(machine.cpus()).toHaveLength(1);
    expect(machine.counters()['reaped.cpus']).toBe(0); // they left by themselves
  });
}, 240_000);
