/** What idle threads keep for themselves is had by one that needs it, before it is told ENOMEM. */
import { expect, test } from 'vitest';
import { type Machine, type Space, VmError } from '../../src/node.ts';
import { until } from '../hang.ts';
import { map, PAGE, withMachine } from '../support.ts';
import { ended, startWorker } from './crew.ts';

const FRAMES = 1024;

/** Starts `count` threads that idle; `stop` has them go on and end. */
async function idlers(
  machine: Machine,
  space: Space,
  count: number,
  pages: number,
): Promise<{ stop(): Promise<number[]> }> {
  const words = new Int32Array(new SharedArrayBuffer(8));
  const workers: Promise<number>[] = [];
  for (let i = 0; i < count; i++) {
    const workerData = { space: space.handle, shared: words.buffer, pages, end: i % 2 === 0 ? 'close' : 'die' };
    workers.push(ended<number>(startWorker('idle.worker.js', workerData, machine)));
    if (i % 4 === 3) await until('a thread’s start', () => Atomics.load(words, 1) === i + 1); // one burst of starts would fill the computer
  }
  await until('all threads’ start', () => Atomics.load(words, 1) === count);
  return {
    stop: () => {
      Atomics.store(words, 0, 1);
      Atomics.notify(words, 0);
      return Promise.all(workers);
    },
  };
}

/** Pages of `at` that can be written before there is no memory. */
function writable(space: Space, at: number, pages: number): number {
  for (let i = 0; i < pages; i++) {
    try {
      space.store32(at + i * PAGE, i + 1);
    } catch (error) {
      if (error instanceof VmError && error.code === 'ENOMEM') return i;
      throw error;
    }
  }
  return pages;
}

test('one thread gets every frame but one beside 32 idle threads, and they go on with what it gives back', async () => {
  await withMachine({ memory: FRAMES * PAGE }, async ({ machine, space }) => {
    const idle = await idlers(machine, space, 32, 24);
    const at = map(space, FRAMES);
    const written = writable(space, at, FRAMES);
    for (let i = 0; i < written; i++) expect(space.load32(at + i * PAGE)).toBe(i + 1);
    space.munmap(at, FRAMES * PAGE);
    machine.drain();
    expect(await idle.stop()).toEqual(new Array(32).fill(7));
    expect(written).toBe(FRAMES - 1); // frame 0 is the zero page
  });
});
