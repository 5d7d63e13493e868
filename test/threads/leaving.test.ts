/** Threads that come, touch a byte and go: none keeps one of the machine's places, watched or not. */
import { resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { until } from '../hang.ts';
import { map, withMachine } from '../support.ts';
import { ended, startWorker } from './crew.ts';

const THREADS = 200;
const WORKER = 'leaving.worker.js';
const UNWATCHED = resolve(import.meta.dirname, '../../dist-test/test/threads', WORKER);

test(`${THREADS} threads, one after another, every second one watched`, async () => {
  await withMachine({}, async ({ machine, space }) => {
    const at = map(space, 1);
    space.store8(at, 77);
    for (let i = 0; i < THREADS; i++) {
      const workerData = { handle: space.handle, at, role: i % 3 === 0 ? 'writes' : 'reads' };
      const watched = i % 2 === 0;
      const worker = watched ? startWorker(WORKER, workerData, machine) : new Worker(UNWATCHED, { workerData });
      expect(await ended<number>(worker)).toBe(77);
    }
    expect(machine.cpus()).toHaveLength(1);
    expect(machine.counters()['reaped.cpus']).toBe(0); // they left by themselves
  });
}, 240_000);

test('threads that leave retired pages behind, more than there are places, beside one that stays in a section', async () => {
  await withMachine({}, async ({ machine, space }) => {
    const at = map(space, 1);
    space.store8(at, 77);
    const data = { handle: space.handle, at };
    const staying = ended<number>(startWorker(WORKER, { ...data, role: 'stays' }, machine));
    await until('the thread’s word', () => space.atomicLoad32(at + 4) === 1);
    for (let i = 0; i < 80; i++) {
      expect(await ended<number>(startWorker(WORKER, { ...data, role: 'writes' }, machine))).toBe(77);
    }
    space.atomicStore32(at + 4, 2);
    expect(await staying).toBe(77);
    expect(machine.counters()['reaped.cpus']).toBe(0);
  });
}, 240_000);
