/**
 * A thread that stays in its section and polls is found by whoever waits for a grace period, whatever the thread has done in that
 * section before: else `mprotect` in another thread ends in ETIMEDOUT.
 */
import { afterAll, expect, test } from 'vitest';
import { MAP_FIXED, MAP_SHARED, type Machine, MiB, openFile, PROT_READ, type Space } from '../../src/node.ts';
import { until } from '../hang.ts';
import { closing, DESIGNS, PAGE, PRIVATE, pattern, RW, temporaryFiles, withMachine } from '../support.ts';
import { ended, SEED, startWorker, work } from './crew.ts';
import type { SectionsData } from './sections.worker.ts';

const AT = 0x10000000;
const OWN = 0x20000000;
const FILE_PAGES = 1024;
const OWN_PAGES = 4;
/** Times that each of the three spaces is tightened. */
const ROUNDS = 12;
const MEMORY = 2 * MiB;
const files = temporaryFiles();
afterAll(files.remove);

function mapFixed(space: Space, addr: number, pages: number): void {
  space.mmap({ addr, length: pages * PAGE, prot: RW, flags: PRIVATE | MAP_FIXED });
}

/** Starts a thread per part; `stop` ends them and says what went wrong. */
async function poll(
  machine: Machine,
  parts: readonly Pick<SectionsData, 'kind' | 'spaces' | 'own' | 'pages'>[],
): Promise<{ words: Int32Array; stop(): Promise<string[]> }> {
  const words = new Int32Array(new SharedArrayBuffer(12));
  const common = { machine: machine.handle, shared: words.buffer, at: AT };
  const workers = parts.map((part, i) =>
    ended<string>(startWorker('sections.worker.js', { ...common, ...part, seed: SEED + i }, machine)),
  );
  await until('all threads in their sections', () => Atomics.load(words, 1) === parts.length);
  return {
    words,
    stop: () => {
      Atomics.store(words, 0, 1);
      return Promise.all(workers);
    },
  };
}

/** Takes a right away and gives it back, `rounds` times; counts them in the threads' words. */
function tighten(space: Space, rounds: number, words: Int32Array): void {
  for (let i = 0; i < rounds; i++) {
    space.mprotect(AT, PAGE, PROT_READ);
    Atomics.add(words, 2, 1);
    space.mprotect(AT, PAGE, RW);
  }
}

test.each(['mprotect', 'nested'] as const)('after %s in a section, a loop that polls there is found', async (kind) => {
  await withMachine({ memory: MEMORY }, async ({ machine, space, newSpace }) => {
    const spaces = [space, newSpace()];
    for (const each of spaces) mapFixed(each, AT, 1);
    mapFixed(space, OWN, OWN_PAGES);
    const handles = spaces.map((each) => each.handle);
    const polling = await poll(machine, [{ kind, spaces: handles, own: OWN, pages: OWN_PAGES }]);
    try {
      tighten(space, 3, polling.words);
    } finally {
      expect(await polling.stop()).toEqual(['']);
    }
  });
});

test('after a reclaim in a section, a loop that polls there is found', async () => {
  const path = files.write('large', pattern(FILE_PAGES * PAGE));
  await withMachine({ memory: MEMORY }, async ({ machine, space }) => {
    const file = closing(machine, await openFile(machine, path));
    mapFixed(space, AT, 1);
    const own = space.mmap({ length: file.size, prot: PROT_READ, flags: MAP_SHARED, file });
    const polling = await poll(machine, [{ kind: 'reclaim', spaces: [space.handle], own, pages: FILE_PAGES }]);
    try {
      expect(machine.counters()['reclaim.pages']).toBeGreaterThan(0);
      tighten(space, 3, polling.words);
    } finally {
      expect(await polling.stop()).toEqual(['']);
    }
  });
});

test.each(DESIGNS)('random nestings of three spaces with calls inside hold nobody up, under %s', async (design) => {
  await withMachine({ memory: MEMORY, design }, async ({ machine, space, newSpace }) => {
    const spaces = [space, newSpace(), newSpace()];
    const parts = [OWN, OWN + 64 * PAGE].map((own) => {
      for (const each of spaces) mapFixed(each, own, OWN_PAGES);
      return { kind: 'random' as const, spaces: spaces.map((each) => each.handle), own, pages: OWN_PAGES };
    });
    for (const each of spaces) mapFixed(each, AT, 1);
    const polling = await poll(machine, parts);
    try {
      for (let round = 0; round < work(ROUNDS); round++) for (const each of spaces) tighten(each, 1, polling.words);
    } finally {
      expect(await polling.stop(), `replay with VMSPACE_SEED=${SEED}`).toEqual(parts.map(() => ''));
    }
  });
});
