/**
 * Mappers against readers on real Workers, after LTP's mtest06 and mmap1: whoever stays within one mapped period must see that
 * period's value and no fault, whatever the others do. Seeded (VMSPACE_SEED), longer with VMSPACE_STRESS_SECONDS.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createMachine, MAP_SHARED, MiB, openFile, PROT_READ } from '../../src/node.ts';
import { DESIGNS, expectNothingLeft, PAGE, PRIVATE, RW } from '../support.ts';
import { play, SECONDS } from './crew.ts';

const AT = 0x10000000;
const FILE_PAGES = 4096;
const FILE_MEMORY = 4 * MiB;
let folder = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'vmspace-threads-'));
  const words = new Int32Array(FILE_PAGES * 1024).map((_, i) => i >> 10);
  writeFileSync(join(folder, 'numbered'), new Uint8Array(words.buffer));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.each(DESIGNS)('under %s', (design) => {
  test('a reader within one mapped period sees that period and no fault', async () => {
    const machine = createMachine({ memory: 8 * MiB, design });
    const space = machine.createSpace();
    const part = { at: AT, pages: 24 };
    await play(
      machine,
      space,
      [
        { role: 'mapper', ...part },
        { role: 'reader', ...part },
      ],
      SECONDS,
    );
    space.validate();
    space.close();
    expectNothingLeft(machine);
    machine.close();
  });

  test('memory that MAP_FIXED replaces in place never faults, and never shows what was not written (I3)', async () => {
    const machine = createMachine({ memory: 8 * MiB, design });
    const space = machine.createSpace();
    const part = { at: space.mmap({ length: 24 * PAGE, prot: RW, flags: PRIVATE }), pages: 24 };
    await play(
      machine,
      space,
      [
        { role: 'replacer', ...part },
        { role: 'watcher', ...part },
      ],
      SECONDS,
    );
    space.validate();
    space.close();
    expectNothingLeft(machine);
    machine.close();
  });

  test('splitting and merging beside a page disturbs neither the page nor who uses it (H3)', async () => {
    const machine = createMachine({ memory: 8 * MiB, design });
    const space = machine.createSpace();
    const part = { at: space.mmap({ length: 32 * PAGE, prot: RW, flags: PRIVATE }), pages: 32 };
    await play(
      machine,
      space,
      [
        { role: 'splitter', ...part },
        { role: 'neighbour', ...part },
      ],
      SECONDS,
    );
    expect(space.counters().mappings).toBe(1);
    space.close();
    expectNothingLeft(machine);
    machine.close();
  });

  test('nobody writes any more once mprotect(PROT_READ) has returned (I14)', async () => {
    const machine = createMachine({ memory: 8 * MiB, design });
    const space = machine.createSpace();
    const part = { at: space.mmap({ length: PAGE, prot: RW, flags: PRIVATE }), pages: 1 };
    const reports = await play(
      machine,
      space,
      [
        { role: 'guard', ...part },
        { role: 'writer', ...part },
      ],
      SECONDS,
    );
    expect(reports.length).toBe(2);
    space.close();
    expectNothingLeft(machine);
    machine.close();
  });

  test('threads that fault on the same fresh pages end up with one page each (I9)', async () => {
    const machine = createMachine({ memory: 16 * MiB, design });
    const space = machine.createSpace();
    for (let round = 0; round < 8; round++) {
      const part = { at: space.mmap({ length: 512 * PAGE, prot: RW, flags: PRIVATE }), pages: 512 };
      await play(
        machine,
        space,
        [
          { role: 'adder', ...part },
          { role: 'adder', ...part },
        ],
        30,
      );
      for (let i = 0; i < part.pages; i++) expect(space.load32(part.at + i * PAGE)).toBe(2);
      space.munmap(part.at, 512 * PAGE);
    }
    space.close();
    expectNothingLeft(machine);
    machine.close();
  });

  test('a file of four times the memory reads right from two threads while a third maps and unmaps', async () => {
    const machine = createMachine({ memory: FILE_MEMORY, design });
    const space = machine.createSpace();
    const file = await openFile(machine, join(folder, 'numbered'));
    const at = space.mmap({ length: file.size, prot: PROT_READ, flags: MAP_SHARED, file });
    const part = { role: 'fileReader', at, pages: FILE_PAGES };
    await play(machine, space, [part, part, { role: 'mapper', at: AT, pages: 8 }], SECONDS);
    expect(machine.counters()['reclaim.pages']).toBeGreaterThan(0);
    file.close();
    space.close();
    expectNothingLeft(machine);
    machine.close();
  });

  test('a notify is never lost', async () => {
    const machine = createMachine({ memory: MiB, design });
    const space = machine.createSpace();
    const at = space.mmap({ length: 2 * PAGE, prot: RW, flags: PRIVATE });
    const parts = [0, 1].map((other) => ({ role: 'pinger', at: at + 64, pages: 3000, other }));
    await play(machine, space, parts, 60);
    space.close();
    expectNothingLeft(machine);
    machine.close();
  });
});
