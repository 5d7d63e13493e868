/** What a fault holds while it sleeps, and what it needs of the mmap_lock: nothing, under the designs that say so. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MAP_FIXED, MAP_PRIVATE, type Machine, MiB, openFile, PROT_READ, registerBacking } from '../../src/node.ts';
import { MM_MMAP_LOCK } from '../../src/paging/mm.layout.ts';
import { C_RW_WAIT, cpuSlot } from '../../src/sync/control.layout.ts';
import { writeLock, writeUnlock } from '../../src/sync/rwsem.ts';
import { until } from '../hang.ts';
import { DESIGNS, expectNothingLeft, PAGE, PRIVATE, RW } from '../support.ts';
import { placeToVisit, playAlone, visitor } from './comers.ts';
import { makeMachine, startWorker } from './crew.ts';

const FILE_PAGES = 64;
/** Threads that attach, access and close while the others wait. */
const VISITS = 20;
let folder = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'vmspace-io-'));
  const words = new Int32Array(FILE_PAGES * 1024).map((_, i) => i >> 10);
  writeFileSync(join(folder, 'a'), new Uint8Array(words.buffer));
  writeFileSync(join(folder, 'b'), new Uint8Array(words.buffer));
  registerBacking('latched', () => ({
    read: () => {
      throw new Error('the main thread must not read this file');
    },
    close: () => undefined,
  }));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function messages(worker: Worker): unknown[] {
  const got: unknown[] = [];
  worker.on('message', (message) => got.push(message));
  worker.on('error', (error) => got.push(error));
  return got;
}

/** Whether the thread sleeps until it is given the semaphore. */
function queues(machine: Machine, worker: Worker, sem: number): boolean {
  const { words } = machine.kernel;
  const slots = machine.cpus().filter(({ thread }) => thread === worker.threadId);
  return slots.some(({ cpu }) => Atomics.load(words, cpuSlot(cpu) + C_RW_WAIT) === sem);
}

function exited(worker: Worker): Promise<unknown> {
  return new Promise((done) => worker.once('exit', done));
}

describe.each(DESIGNS)('with mmap_lock held for writing throughout, under %s', (design) => {
  const sticks = design !== 'rcu';
  test(sticks ? 'every fault sticks until it is dropped (the control)' : 'every kind of fault completes', async () => {
    const machine = makeMachine(4 * MiB, design);
    const space = machine.createSpace();
    const a = await openFile(machine, join(folder, 'a'));
    const b = await openFile(machine, join(folder, 'b'));
    const anonymous = space.mmap({ length: 8 * PAGE, prot: RW, flags: PRIVATE });
    space.load32(anonymous); // the zero page
    const cached = space.mmap({ length: a.size, prot: PROT_READ, flags: MAP_PRIVATE, file: a });
    space.load32(cached);
    const uncached = space.mmap({ length: b.size, prot: PROT_READ, flags: MAP_PRIVATE, file: b });
    const copied = space.mmap({ length: b.size, prot: RW, flags: MAP_PRIVATE, file: b });
    const place = placeToVisit(space);
    const { cpu } = machine.kernel;
    const sem = space.handle.space + MM_MMAP_LOCK;
    writeLock(cpu, sem);
    const latch = new SharedArrayBuffer(8);
    const workerData = { space: space.handle, mode: 'every-kind', anonymous, cached, uncached, copied, latch };
    const worker = startWorker('faults.worker.js', workerData, machine);
    const got = messages(worker);
    const end = exited(worker);
    let finished = false;
    try {
      await until('the start of the worker', () => got[0] === 'started');
      if (sticks) await until('a fault that waits for mmap_lock', () => queues(machine, worker, sem));
      else await until('the last fault', () => got.length > 1);
      finished = got.length > 1;
      if (!sticks) await playAlone(machine, space, [visitor(place, VISITS)]);
    } finally {
      writeUnlock(cpu, sem);
    }
    await until('the last fault', () => got.length > 1);
    expect(finished).toBe(!sticks);
    expect(got[1]).toEqual({
      'anonymous read': 0,
      'anonymous write': 3,
      'zero page upgrade': 4,
      'file page from the cache': 0,
      'file page with I/O': 9,
      'private copy of a mapped page': 5,
      'private copy with I/O': 6,
      'bulk read with I/O': 8 * PAGE,
    });
    await end;
    a.close();
    b.close();
    space.close();
    expectNothingLeft(machine);
    machine.close();
  });
});

describe.each(DESIGNS.filter((design) => design !== 'mmap-sem'))(
  'beside a backing that never answers, under %s',
  (design) => {
    test.each([
      ['munmap', 'SEGV_MAPERR'],
      ['MAP_FIXED', 55],
      ['nothing done to the range (the control)', 77],
    ])('%s returns, mapping elsewhere too; then nothing is installed where the file was', async (what, expected) => {
      const machine = makeMachine(4 * MiB, design);
      const space = machine.createSpace();
      const file = machine.createFile('latched', {}, 16 * PAGE);
      const uncached = space.mmap({ length: file.size, prot: PROT_READ, flags: MAP_PRIVATE, file });
      file.close();
      const latch = new SharedArrayBuffer(8);
      const words = new Int32Array(latch);
      const workerData = { space: space.handle, mode: 'latched', anonymous: 0, cached: 0, uncached, copied: 0, latch };
      const worker = startWorker('faults.worker.js', workerData, machine);
      const got = messages(worker);
      const end = exited(worker);
      await until('the read', () => Atomics.load(words, 1) === 1);
      // All of this returns while the fault sleeps.
      if (what === 'munmap') space.munmap(uncached, file.size);
      if (what === 'MAP_FIXED') {
        space.mmap({ addr: uncached, length: file.size, prot: RW, flags: PRIVATE | MAP_FIXED });
        space.fill(uncached, file.size, 55);
      }
      const elsewhere = space.mmap({ length: 4 * PAGE, prot: RW, flags: PRIVATE });
      space.store32(elsewhere, 1);
      space.munmap(elsewhere, 4 * PAGE);
      const place = placeToVisit(space);
      await playAlone(machine, space, [visitor(place, VISITS)]);
      space.munmap(place, 2 * PAGE);
      expect(got).toEqual([]);
      Atomics.store(words, 0, 1);
      Atomics.notify(words, 0);
      await end;
      expect(got).toEqual([{ latched: expected }]);
      if (what === 'MAP_FIXED') expect(space.load8(uncached + PAGE)).toBe(55);
      if (what === 'munmap') expect(space.maps()).toEqual([]);
      space.close();
      expectNothingLeft(machine); // the file was released exactly once
      machine.close();
    });
  },
);
