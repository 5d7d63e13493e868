/**
 * Each allocation and each sleep of each call fails once: see kill/inject.ts. Replay: VMSPACE_SEED=<seed> VMSPACE_ONLY=<injection>
 * npx vitest run test/stress/injections.test.ts -t '<name>', with the VMSPACE_STRESS_SECONDS of the failure.
 * VMSPACE_STRESS_SECONDS tries more; a large number tries all.
 */
import { expect, test } from 'vitest';
import { EFFORT, ONLY, runInjections, SEED } from './kill/requests.ts';
import { SUBJECTS } from './kill/subjects.ts';

const MOST = Math.ceil(5 * EFFORT);

test.each(SUBJECTS.map(({ name }) => name))(
  '%s, when an allocation or a sleep of it fails, leaves nothing behind',
  async (subject) => {
    const [report] = await runInjections([{ subject, most: MOST, seed: SEED, only: ONLY }]);
    expect(report?.failures, `replay with VMSPACE_SEED=${SEED} VMSPACE_ONLY=<injection>`).toEqual([]);
    expect(report?.worlds).toBeGreaterThan(0);
  },
  Math.min(120_000 * EFFORT, 2_000_000_000),
);
