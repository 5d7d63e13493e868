/**
 * Threads terminated at random moments, in whatever they were doing (I27). The others work on, what they hold is as it was, and
 * when all is closed nothing is missing (I26). Directed deaths, one at each shared access of an operation, are in test/stress.
 */
import { rmSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { MAP_PRIVATE, MiB, openFile, PROT_READ } from '../../src/node.ts';
import { DESIGNS, expectNothingLeft, PAGE, PRIVATE, RW } from '../support.ts';
import { FILE_PAGES, numberedFile, playBesideComers } from './comers.ts';
import { makeMachine, work } from './crew.ts';

const DEATHS = work(12);
const { folder, path } = numberedFile();
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.each(DESIGNS)('under %s', (design) => {
  test(`the others work on beside ${DEATHS} threads that are terminated at random`, async () => {
    const machine = makeMachine(8 * MiB, design);
    const space = machine.createSpace();
    const file = await openFile(machine, path);
    const other = space.mmap({ length: file.size, prot: PROT_READ, flags: MAP_PRIVATE, file });
    const quiet = space.mmap({ length: 32 * PAGE, prot: RW, flags: PRIVATE });
    const neighbour = { role: 'neighbour', at: quiet, pages: 32, enough: work(1000) };
    await playBesideComers(machine, space, [neighbour], { file: other, visits: 100, deaths: 12 });
    for (let i = 0; i < FILE_PAGES; i += 61) expect(space.load32(other + i * PAGE)).toBe(i);
    // Every second victim is attached all its life; the others may have died between two visits.
    expect(machine.counters()['reaped.cpus']).toBeGreaterThanOrEqual(DEATHS >> 1);
    expect(machine.cpus()).toHaveLength(1);
    file.close();
    space.close();
    expectNothingLeft(machine);
    machine.close();
  });
});
