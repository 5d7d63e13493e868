/**
 * I27: a thread killed at any access to shared memory. Replay: VMSPACE_SEED=<seed> VMSPACE_ONLY=<access> npx vitest run
 * test/stress/deaths.test.ts -t '<name>'. VMSPACE_STRESS_SECONDS tries more; a large number tries all.
 */
import { describe, expect, test } from 'vitest';
import { EFFORT, ONLY, runKills, SEED } from './kill/requests.ts';
import { SCENARIOS } from './kill/scenarios.ts';

const SCENARIO_NAMES = SCENARIOS.map(({ name }) => name);
const LIMIT_MS = Math.min(600_000 * EFFORT, 2_000_000_000);
const replay = `replay with VMSPACE_SEED=${SEED} VMSPACE_ONLY=<access>`;

describe('a thread that dies', () => {
  test.each(SCENARIO_NAMES)(
    'in %s leaves a machine that works on',
    async (scenario) => {
      const [report] = await runKills([{ scenario, deaths: Math.ceil(60 * EFFORT), seed: SEED, only: ONLY }]);
      expect(report?.failures, replay).toEqual([]);
      expect(report?.worlds).toBeGreaterThan(0);
    },
    LIMIT_MS,
  );
});

describe('a thread that dies while it finishes the work of another one that died', () => {
  test.each(SCENARIO_NAMES)(
    'in %s leaves a machine that works on',
    async (scenario) => {
      const deaths = Math.ceil(25 * EFFORT);
      const [report] = await runKills([{ scenario, deaths, seed: SEED, reaperDies: true, only: ONLY }]);
      expect(report?.failures, replay).toEqual([]);
      expect(report?.worlds).toBeGreaterThan(0);
    },
    LIMIT_MS,
  );
});

/** Calls in which the designs differ. */
const FAULTS = SCENARIO_NAMES.filter((name) => /fault|copy|reclaim|a write after/.test(name));

describe.each(['retry', 'mmap-sem'] as const)('a thread that dies under %s', (design) => {
  test.each(FAULTS)(
    'in %s leaves a machine that works on',
    async (scenario) => {
      const deaths = Math.ceil(15 * EFFORT);
      const [report] = await runKills([{ scenario, deaths, seed: SEED, design, only: ONLY }]);
      expect(report?.failures, replay).toEqual([]);
      expect(report?.worlds).toBeGreaterThan(0);
    },
    LIMIT_MS,
  );
});
