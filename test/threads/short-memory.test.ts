/** Stores that find all memory in other threads' hands: those that will give it back, and those that never do. */
import type { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { createMachine, MAP_PRIVATE, type Machine, PROT_READ, registerBacking, type Space } from '../../src/index.ts';
import { until } from '../hang.ts';
import { expectError, expectNothingLeft, map, PAGE } from '../support.ts';
import { startWorker } from './crew.ts';
import type { SleepyData } from './sleepy.worker.ts';

const FRAMES = 64;
/** Words that the worker sets. */
const READING = 0;
const READ = 1;

interface Stage {
  readonly machine: Machine;
  readonly space: Space;
  readonly words: Int32Array;
  readonly worker: Worker;
  readonly answer: Promise<unknown>;
  readonly gone: Promise<unknown>;
}

/** A worker is reading a page of a file, and sleeps for so long. */
async function stage(milliseconds: number, ioTimeout: number): Promise<Stage> {
  registerBacking('sleepy', () => ({ read: () => 0, close: () => undefined }));
  const machine = createMachine({ memory: FRAMES * PAGE, ioTimeout });
  const space = machine.createSpace();
  const file = machine.createFile('sleepy', {}, PAGE);
  const at = space.mmap({ length: PAGE, prot: PROT_READ, flags: MAP_PRIVATE, file });
  file.close();
  const words = new Int32Array(new SharedArrayBuffer(12));
  const shared = words.buffer as SharedArrayBuffer;
  const workerData: SleepyData = { space: space.handle, at, milliseconds, shared };
  const worker = startWorker('sleepy.worker.js', workerData, machine);
  const answer = new Promise((done) => worker.once('message', done));
  const gone = new Promise((done) => worker.once('exit', done));
  await until('a read', () => Atomics.load(words, READING) === 1);
  return { machine, space, words, worker, answer, gone };
}

/** Stores to fresh pages until one fails: its error's code. */
function storeUntilFailure(space: Space): string {
  const at = map(space, FRAMES);
  for (let page = 0; page < FRAMES; page++) {
    try {
      space.store32(at + page * PAGE, page);
    } catch (error) {
      for (let i = 0; i < page; i++) expect(space.load32(at + i * PAGE)).toBe(i);
      space.munmap(at, FRAMES * PAGE);
      return (error as { code: string }).code;
    }
  }
  throw new Error('more frames than the machine has');
}

test('a store waits for a page that another thread is reading, and says ENOMEM only when that is gone too', async () => {
  const { machine, space, words, answer, gone } = await stage(500, 60_000);
  expect(storeUntilFailure(space)).toBe('ENOMEM');
  expect(Atomics.load(words, READ)).toBe(1);
  await gone;
  expect([77, 'ENOMEM']).toContain(await answer); // its page may have been taken before it was mapped
  space.close();
  expectNothingLeft(machine);
  machine.close();
});

test('a store that waits for a reader which never comes back names it, and all is well when that is reaped', async () => {
  const { machine, space, worker, gone } = await stage(3_600_000, 200);
  expect(storeUntilFailure(space)).toBe('ETIMEDOUT');
  const at = map(space, FRAMES);
  const error = expectError('ETIMEDOUT', () => {
    for (let page = 0; page < FRAMES; page++) space.store32(at + page * PAGE, page);
  });
  expect(error.message).toMatch(/no frame has come free for 200 ms: cpu 1 is reading/);
  space.munmap(at, FRAMES * PAGE);
  await worker.terminate();
  await gone;
  expect(storeUntilFailure(space)).toBe('ENOMEM');
  space.close();
  expectNothingLeft(machine);
  machine.close();
});
