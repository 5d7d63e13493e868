/**
 * Every call preempted by every other: see kill/preempt.ts. Replay: VMSPACE_SEED=<seed> VMSPACE_ONLY=<access> npx vitest run
 * test/stress/preemptions.test.ts -t '<name>'. VMSPACE_STRESS_SECONDS tries more; a large number tries all.
 */
import { expect, test } from 'vitest';
import { INTRUDERS } from './kill/preempt.ts';
import { EFFORT, ONLY, runPreemptions, SEED } from './kill/requests.ts';
import { SCENARIOS } from './kill/scenarios.ts';

const SCENARIO_NAMES = SCENARIOS.map(({ name }) => name);
const INTRUDER_NAMES = INTRUDERS.map(({ name }) => name);
const schedules = Math.ceil(8 * EFFORT);

test.each(SCENARIO_NAMES)(
  '%s, with another call in the middle of it',
  async (scenario) => {
    const requests = INTRUDER_NAMES.map((intruder) => ({ scenario, intruder, schedules, seed: SEED, only: ONLY }));
    const reports = await runPreemptions(requests);
    const failures = reports.flatMap((report, i) => report.failures.map((text) => `${INTRUDER_NAMES[i]}: ${text}`));
    expect(failures, `replay with VMSPACE_SEED=${SEED} VMSPACE_ONLY=<access>`).toEqual([]);
    const possible = reports.reduce((sum, { worlds, impossible }) => sum + worlds - impossible, 0);
    expect(possible).toBeGreaterThan(0);
  },
  Math.min(600_000 * EFFORT, 2_000_000_000),
);
