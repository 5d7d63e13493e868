/**
 * Mappers against readers on real Workers, after LTP's mtest06 and mmap1: whoever stays within one mapped period must see that
 * period's value and no fault, whatever the others do. Each play ends when all have done so much work. Seeded (VMSPACE_SEED); more work
 * with VMSPACE_STRESS_SECONDS.
 */
import { rmSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { type DesignName, MAP_SHARED, type Machine, MiB, openFile, PROT_READ, type Space } from '../../src/node.ts';
import { DESIGNS, expectNothingLeft, PAGE, PRIVATE, RW } from '../support.ts';
import { FILE_PAGES, numberedFile, playAlone, playBesideComers } from './comers.ts';
import { makeMachine, work } from './crew.ts';

const AT = 0x10000000;
const FILE_MEMORY = 4 * MiB;
const { folder, path } = numberedFile();
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A machine and a space of it, closed and counted in the end. */
async function withSpace(
  design: DesignName,
  memory: number,
  run: (space: Space, machine: Machine) => Promise<void>,
): Promise<void> {
  const machine = makeMachine(memory, design);
  const space = machine.createSpace();
  await run(space, machine);
  space.validate();
  space.close();
  expectNothingLeft(machine);
  machine.close();
}

const map = (space: Space, pages: number): { at: number; pages: number } => ({
  at: space.mmap({ length: pages * PAGE, prot: RW, flags: PRIVATE }),
  pages,
});

describe.each(DESIGNS)('while threads come and go, under %s', (design) => {
  test('a reader within one mapped period sees that period and no fault', () =>
    withSpace(design, 8 * MiB, async (space, machine) => {
      const part = { at: AT, pages: 24 };
      await playBesideComers(machine, space, [
        { role: 'mapper', ...part, peer: 1, enough: work(1000) },
        { role: 'reader', ...part, enough: work(1000) },
      ]);
    }));

  test('memory that MAP_FIXED replaces in place never faults, and never shows what was not written (I3)', () =>
    withSpace(design, 8 * MiB, async (space, machine) => {
      const part = map(space, 24);
      await playBesideComers(machine, space, [
        { role: 'replacer', ...part, enough: work(2000) },
        { role: 'watcher', ...part, enough: work(100_000) },
      ]);
    }));

  test('splitting and merging beside a page disturbs neither the page nor who uses it (H3)', () =>
    withSpace(design, 8 * MiB, async (space, machine) => {
      const part = map(space, 32);
      await playBesideComers(machine, space, [
        { role: 'splitter', ...part, enough: work(5000) },
        { role: 'neighbour', ...part, enough: work(30_000) },
      ]);
      const there = space.maps().filter(({ start, end }) => end > part.at && start < part.at + part.pages * PAGE);
      expect(there).toHaveLength(1);
    }));

  test('nobody writes any more once mprotect(PROT_READ) has returned (I14)', () =>
    withSpace(design, 8 * MiB, async (space, machine) => {
      const part = map(space, 1);
      await playBesideComers(machine, space, [
        { role: 'guard', ...part, enough: work(300) },
        { role: 'writer', ...part, enough: work(1) },
      ]);
    }));

  test('threads that fault on the same fresh pages end up with one page each (I9)', () =>
    withSpace(design, 16 * MiB, async (space, machine) => {
      for (let round = 0; round < work(8); round++) {
        const part = map(space, 512);
        const adder = { role: 'adder', ...part, enough: 512 };
        if (round % 4 === 0) await playBesideComers(machine, space, [adder, adder], { visits: 10, deaths: 1 });
        else await playAlone(machine, space, [adder, adder]);
        for (let i = 0; i < part.pages; i++) expect(space.load32(part.at + i * PAGE)).toBe(2);
        space.munmap(part.at, 512 * PAGE);
      }
    }));

  test('a file of four times the memory reads right from two threads while a third maps and unmaps', () =>
    withSpace(design, FILE_MEMORY, async (space, machine) => {
      const file = await openFile(machine, path);
      const at = space.mmap({ length: file.size, prot: PROT_READ, flags: MAP_SHARED, file });
      const part = { role: 'fileReader', at, pages: FILE_PAGES, enough: work(10_000) };
      const mapper = { role: 'mapper', at: AT, pages: 8, enough: work(1000) };
      await playBesideComers(machine, space, [part, part, mapper], { file: at, visits: 200 });
      expect(machine.counters()['reclaim.pages']).toBeGreaterThan(0);
      file.close();
    }));

  test('a notify is never lost', () =>
    withSpace(design, MiB, async (space, machine) => {
      const { at } = map(space, 2);
      const parts = [0, 1].map((other) => ({ role: 'pinger', at: at + 64, pages: 1000, other, enough: 1000 }));
      await playBesideComers(machine, space, parts);
    }));
});
