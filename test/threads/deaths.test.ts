/**
 * Threads terminated at random moments, in whatever they were doing (I27). The others work on, what they hold is as it was, and
 * when all is closed nothing is missing (I26). Directed deaths, one at each shared access of an operation, are in test/stress.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createMachine, MAP_PRIVATE, MiB, openFile, PROT_READ } from '../../src/node.ts';
import { DESIGNS, expectNothingLeft, PAGE, PRIVATE, RW } from '../support.ts';
import { ended, type Report, SECONDS, SEED, startWorker, until } from './crew.ts';

const DEATHS = Math.ceil(8 * SECONDS);
const LONGEST_LIFE_MS = 30;
const FILE_PAGES = 4096;
let folder = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'vmspace-deaths-'));
  const words = new Int32Array(FILE_PAGES * 1024).map((_, i) => i >> 10);
  writeFileSync(join(folder, 'numbered'), new Uint8Array(words.buffer));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.each(DESIGNS)('under %s', (design) => {
  test(`the others work on beside ${DEATHS} threads that are terminated at random`, async () => {
    const machine = createMachine({ memory: 8 * MiB, design });
    const space = machine.createSpace();
    const file = await openFile(machine, join(folder, 'numbered'));
    const other = space.mmap({ length: file.size, prot: PROT_READ, flags: MAP_PRIVATE, file });
    const window = space.mmap({ length: 64 * PAGE, prot: RW, flags: PRIVATE });
    const quiet = space.mmap({ length: 32 * PAGE, prot: RW, flags: PRIVATE });
    const shared = new SharedArrayBuffer(64 * 4);
    const words = new Int32Array(shared);
    const common = { space: space.handle, shared };
    const survivor = startWorker(
      'roles.worker.js',
      { ...common, role: 'neighbour', at: quiet, pages: 32, other, seed: SEED },
      machine,
    );
    const report = ended<Report>(survivor);
    await until(() => Atomics.load(words, 1) === 1);
    let state = SEED;
    for (let death = 0; death < DEATHS; death++) {
      state = (Math.imul(state, 1664525) + 1013904223) | 0;
      const life = ((state >>> 8) / 2 ** 24) * LONGEST_LIFE_MS;
      const ready = Atomics.load(words, 1);
      const data = { ...common, role: 'mischief', at: window, pages: 64, other, seed: state };
      const victim = startWorker('roles.worker.js', data, machine);
      const gone = new Promise((done) => victim.once('exit', done));
      victim.once('error', (error) => expect.unreachable(`victim ${death}, VMSPACE_SEED=${SEED}: ${error.message}`));
      victim.once('message', (message: Report) => expect(message.failures, `victim ${death}`).toEqual([]));
      await until(() => Atomics.load(words, 1) > ready);
      await new Promise((done) => setTimeout(done, life));
      await victim.terminate();
      await gone;
      space.validate();
      space.mmap({ addr: window, length: 64 * PAGE, prot: RW, flags: PRIVATE | 0x10 });
      expect(space.fill(window, 64 * PAGE, 1)).toBe(64 * PAGE);
    }
    Atomics.store(words, 0, 1);
    const { failures, checks } = await report;
    expect(failures, `VMSPACE_SEED=${SEED}`).toEqual([]);
    expect(checks).toBeGreaterThan(0);
    for (let i = 0; i < FILE_PAGES; i += 61) expect(space.load32(other + i * PAGE)).toBe(i);
    expect(machine.counters()['reaped.cpus']).toBe(DEATHS);
    file.close();
    space.close();
    expectNothingLeft(machine);
    machine.close();
  });
});
