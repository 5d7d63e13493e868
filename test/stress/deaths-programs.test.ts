/**
 * Random programs in which threads die: see kill/programs.ts. Replay: VMSPACE_SEED=<seed> VMSPACE_PATH=<path> npx vitest run
 * test/stress/deaths-programs.test.ts. VMSPACE_STRESS_SECONDS tries more.
 */
import { expect, test } from 'vitest';
import { EFFORT, PATH, runPrograms, SEED } from './kill/requests.ts';

const PARTS = 4;

test.each(Array.from({ length: PARTS }, (_, i) => i))(
  'whatever three threads do and wherever two of them die, the others work on (part %i)',
  async (part) => {
    if (PATH !== undefined && part > 0) return;
    const seed = PATH === undefined ? SEED + part : SEED;
    const [report] = await runPrograms([{ seed, runs: Math.ceil(60 * EFFORT), path: PATH }]);
    expect(report?.failure).toBe('');
    expect(report?.deaths).toBeGreaterThan(0);
  },
  Math.min(240_000 * EFFORT, 2_000_000_000),
);
