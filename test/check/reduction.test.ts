/** What the search leaves out loses no outcome: compared with the search that leaves out nothing, under the same bound. */
import { describe, expect, it } from 'vitest';
import { PROGRAMS, programOf } from './programs.ts';
import { bundleModels, checker } from './support.ts';

describe('reduction', async () => {
  const { check } = await checker();
  const url = await bundleModels('test/check/programs.ts', 'programs');

  it.each([0, 1, 2, 3])('finds the outcomes of the whole search within %i preemptions', async (preemptions) => {
    let reduced = 0;
    let whole = 0;
    for (let seed = preemptions % 2; seed < PROGRAMS; seed += 2) {
      const source = { url, name: `program-${seed}`, transform: false };
      const some = await check(source, { preemptions, jobs: 1 });
      const all = await check(source, { preemptions, jobs: 1, reduction: false });
      const outcomes = (result: typeof some): string[] => result.outcomes.map(([outcome]) => outcome);
      expect(some.verdict).toBe('exhausted');
      expect(all.verdict).toBe('exhausted');
      expect(outcomes(some), JSON.stringify(programOf(seed))).toEqual(outcomes(all));
      reduced += some.executions;
      whole += all.executions;
    }
    expect(whole).toBeGreaterThan(reduced * (preemptions > 1 ? 1.2 : 0.5));
  });
});
