/** wait and notify between real Workers: no wake-up is lost, and none is counted that woke nobody. Nothing depends on time. */
import { expect, test } from 'vitest';
import { MAP_ANONYMOUS, MAP_PRIVATE, type Machine, PROT_READ, PROT_WRITE, type Space } from '../../src/index.ts';
import { withMachine } from '../support.ts';
import { ended, SEED, startWorker } from './crew.ts';
import type { FutexData, FutexReport } from './futexes.worker.ts';

const PAGE = 4096;
const ROUNDS = 3000;
/** A limit for hangs: what waits for a lock on a busy machine is not one. */
const HANG_MS = 40_000;
type Role = FutexData['role'];

async function play(machine: Machine, space: Space, at: number, words: number, roles: readonly Role[]) {
  const left = new SharedArrayBuffer(4);
  new Int32Array(left)[0] = roles.length;
  const reports = await Promise.all(
    roles.map((role, i) => {
      const data: FutexData = { role, space: space.handle, seed: SEED + i, rounds: ROUNDS, at, words, left };
      return ended<FutexReport>(startWorker('futexes.worker.js', data, machine));
    }),
  );
  for (const { failures } of reports) expect(failures, `replay with VMSPACE_SEED=${SEED}`).toEqual([]);
  const sum = (of: (report: FutexReport) => number): number => reports.reduce((all, report) => all + of(report), 0);
  return { woken: sum(({ woken }) => woken), counted: sum(({ counted }) => counted) };
}

const map = (space: Space, pages: number): number =>
  space.mmap({ length: pages * PAGE, prot: PROT_READ | PROT_WRITE, flags: MAP_PRIVATE | MAP_ANONYMOUS });

test.each([1, 3, 200])('four threads count under futex locks on %s words of a page', async (words) => {
  await withMachine({ stallTimeout: HANG_MS }, async ({ machine, space }) => {
    const at = map(space, 2);
    await play(machine, space, at, words, ['locker', 'locker', 'locker', 'locker']);
    let counted = 0;
    for (let word = 0; word < words; word++) {
      expect(space.load32(at + word * 4)).toBe(0);
      counted += space.load32(at + PAGE + word * 4);
    }
    expect(counted).toBe(4 * ROUNDS);
  });
});

test.each([
  ['', []],
  [', while their page is replaced', ['replacer']],
] as const)('as many are woken as are counted, with time limits that end at any moment%s', async (_, more) => {
  await withMachine({ stallTimeout: HANG_MS }, async ({ machine, space }) => {
    const { woken, counted } = await play(machine, space, map(space, 1), 2, [
      'counter',
      'counter',
      'counter',
      'counter',
      ...more,
    ]);
    expect(woken).toBe(counted);
    expect(machine.counters()['futex.waits']).toBeGreaterThan(0);
  });
});
