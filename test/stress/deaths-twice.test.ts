/**
 * Two threads die and a third has failed before anybody is reaped: see kill/twice.ts. Replay: VMSPACE_SEED=<seed>
 * VMSPACE_ONLY=<world> npx vitest run test/stress/deaths-twice.test.ts -t '<name>'. VMSPACE_STRESS_SECONDS tries more worlds.
 */
import { describe, expect, test } from 'vitest';
import { EFFORT, ONLY, runTwice, SEED } from './kill/requests.ts';
import { SCENARIOS } from './kill/scenarios.ts';

const WORLDS = Math.ceil(28 * EFFORT);

describe('two threads that die in one run', () => {
  test.each(SCENARIOS.map(({ name }) => name))(
    'the first of them in %s, leave a machine that works on',
    async (scenario) => {
      const [report] = await runTwice([{ scenario, worlds: WORLDS, seed: SEED, only: ONLY }]);
      const replay = `VMSPACE_SEED=${SEED} VMSPACE_ONLY=<world> npx vitest run test/stress/deaths-twice.test.ts -t '${scenario}'`;
      expect(report?.failures, `replay with ${replay}`).toEqual([]);
      expect(report?.worlds).toBeGreaterThan(0);
    },
    Math.min(120_000 * EFFORT, 2_000_000_000),
  );
});
