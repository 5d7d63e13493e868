/**
 * Workers that are terminated where it hurts, beside one that goes on meanwhile and one that comes and goes: inside a section,
 * holding each kind of lock, asleep, and between two accesses of a layout operation. Seeded: VMSPACE_SEED.
 */
import { once } from 'node:events';
import { resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MAX_CPUS } from '../../src/base/limits.ts';
import type { SpaceHandle } from '../../src/node.ts';
import { C_FUTEX, cpuSlot } from '../../src/sync/control.layout.ts';
import { inTime, until } from '../hang.ts';
import { SEED } from './kill/requests.ts';

const FILE = resolve(import.meta.dirname, '../../dist-test/test/stress/terminated.checked.worker.js');
const STOP = 0;
const STANDS = 1;
const ROUNDS = 2;
const VISITS = 4;
const shared = new SharedArrayBuffer(64);
const words = new Int32Array(shared);

const FIXED_PLACES = [
  'inside run()',
  'in wait()',
  'in the read of a file',
  'holding mmap_lock',
  'holding a page lock',
  'holding a tree lock',
  'holding a leaf lock',
  'holding a reverse-map lock',
  'holding the lock of a slab',
  'holding the lock of the arena',
  'holding the lock of the frame pool',
  'holding its retire lock',
  'holding a lock of the page cache',
  'holding a futex bucket',
  'holding the queue of mmap_lock',
  'holding the lock of a file',
  'holding the list of spaces',
];
/** Calls and about how many accesses they make. */
const CALLS: readonly (readonly [string, number])[] = [
  ['in munmap', 700],
  ['in MAP_FIXED', 700],
  ['in mprotect', 500],
  ['in faults on a file', 1500],
  ['closing everything', 500],
  ['attaching', 60],
];
const cases: readonly (readonly [string, number])[] = [
  ...FIXED_PLACES.map((place) => [place, 0] as const),
  ...CALLS.flatMap(([place, about], which) =>
    [0, 1, 2, 3].map((i) => [place, Math.floor(((i + fraction(which * 4 + i)) * about) / 4)] as const),
  ),
];

function fraction(index: number): number {
  const hash = Math.imul(SEED ^ Math.imul(index + 1, 0x9e3779b1), 0x85ebca6b);
  return ((hash ^ (hash >>> 15)) >>> 0) / 2 ** 32;
}

let host: Worker;
let workers: Worker[];
let common: { readonly space: SpaceHandle };
let control: Int32Array;
let reports: Promise<unknown[]>[];

const thread = (data: object): Worker => new Worker(FILE, { workerData: { shared, common, seed: SEED, ...data } });

/** Rejects if the host fails over it. */
async function ask<T>(question: unknown): Promise<T> {
  const answer = once(host, 'message');
  host.postMessage(question);
  return (await answer)[0] as T;
}

/** Whether some thread is in the queue of a futex. */
function somebodyWaits(): boolean {
  return Array.from({ length: MAX_CPUS }, (_, id) => Atomics.load(control, cpuSlot(id) + C_FUTEX)).some(
    (at) => at !== 0,
  );
}

beforeAll(async () => {
  host = thread({ role: 'host' });
  [common] = await once(host, 'message');
  control = new Int32Array(common.space.control);
  workers = [thread({ role: 'worker' }), thread({ role: 'visitor' })];
  reports = workers.map((worker) => once(worker, 'message'));
  await until('the first round of work', () => Atomics.load(words, ROUNDS) > 0);
  await until('the first visit', () => Atomics.load(words, VISITS) > 0);
});

afterAll(async () => {
  for (const worker of workers) await worker.terminate();
  await host.terminate();
});

describe('while another thread works in the same space', () => {
  test.each(cases)('one is terminated %s (access %i)', async (place, accesses) => {
    Atomics.store(words, STANDS, 0);
    const victim = thread({ role: 'victim', place, accesses });
    const id = victim.threadId;
    const trouble = once(victim, 'error').then(([error]) => error as Error);
    await until(`the victim's arrival ${place}`, () => Atomics.load(words, STANDS) === 1);
    if (place === 'in wait()') await until('the victim in the queue', somebodyWaits);
    const error = await Promise.race([trouble, victim.terminate()]);
    expect(error).not.toBeInstanceOf(Error);
    const { kept, reaped } = await inTime('the reaping', ask<{ kept: number[]; reaped: number }>(id));
    expect(kept).toEqual([1000, 1001, 1002, 1003]);
    expect(reaped).toBeLessThanOrEqual(1);
    const [rounds, visits] = [Atomics.load(words, ROUNDS), Atomics.load(words, VISITS)];
    await until(`the next rounds of work (VMSPACE_SEED=${SEED})`, () => Atomics.load(words, ROUNDS) > rounds + 1);
    await until(`the next visits (VMSPACE_SEED=${SEED})`, () => Atomics.load(words, VISITS) > visits + 1);
  });
});

test('in the end nothing is left, and what the others read was right', async () => {
  Atomics.store(words, STOP, 1);
  const exits = workers.map((worker) => once(worker, 'exit'));
  for (const report of reports) expect((await inTime('the reports', report))[0]).toEqual({ failures: [] });
  await inTime('the end of the workers', Promise.all(exits));
  expect(await inTime('the count', ask('end'))).toEqual({ problems: [] });
});
