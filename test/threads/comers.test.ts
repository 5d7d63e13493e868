/**
 * Threads that attach, make one access and close, task by task, as a pool of workers does, beside one that always needs memory. It
 * looks at every slot that was ever used for something to free, also at those that are just being taken or given back.
 */
import { rmSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { MAX_CPUS } from '../../src/base/limits.ts';
import { Machine } from '../../src/machine/machine.ts';
import { MAP_SHARED, MiB, openFile, PROT_READ } from '../../src/node.ts';
import { H_ID_HIGH, H_ID_LOW } from '../../src/sync/control.layout.ts';
import { DESIGNS, expectNothingLeft, PAGE, PRIVATE, RW } from '../support.ts';
import { FILE_PAGES, numberedFile, placeToVisit, visitor } from './comers.ts';
import { makeMachine, Stage, work } from './crew.ts';

const { path, folder } = numberedFile();
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.each(DESIGNS)('while one thread scans a file of sixteen times the memory, under %s', (design) => {
  test('others attach, read a word and close, task by task', async () => {
    const machine = makeMachine(MiB, design);
    const space = machine.createSpace();
    const file = await openFile(machine, path);
    const other = space.mmap({ length: file.size, prot: PROT_READ, flags: MAP_SHARED, file });
    const stage = new Stage(machine, space);
    const visitors = [0, 1, 2].map(() => visitor(placeToVisit(space), work(1500), other));
    stage.start([{ role: 'scanner', at: other, pages: FILE_PAGES, enough: work(3) }, ...visitors]);
    await stage.end();
    expect(machine.counters()['reclaim.pages']).toBeGreaterThan(FILE_PAGES);
    expect(machine.cpus()).toHaveLength(1);
    file.close();
    space.close();
    expectNothingLeft(machine);
    machine.close();
  });
});

/** What a visitor has unmapped waits for whoever is in a section, and the visitor is long gone: its place must not wait, too. */
test('more threads come and go than there are places while one stays in its section', () => {
  const machine = makeMachine(MiB);
  const space = machine.createSpace();
  const { words } = machine.kernel;
  const key = `${words[H_ID_LOW]}:${words[H_ID_HIGH]}`;
  space.run(() => {
    for (let visit = 0; visit < 2 * MAX_CPUS; visit++) {
      const guest = new Machine(machine.handle, key);
      const theirs = guest.attachSpace(space.handle);
      const at = theirs.mmap({ length: PAGE, prot: RW, flags: PRIVATE });
      theirs.store32(at, visit);
      theirs.munmap(at, PAGE);
      guest.close();
    }
  });
  space.close();
  expectNothingLeft(machine);
  machine.close();
});
