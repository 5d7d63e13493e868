/** What the search leaves out loses no outcome: compared with the search that leaves out nothing, under the same bound. */
import { describe, expect, it } from 'vitest';
import { type Family, PROGRAMS, programOf } from './programs.ts';
import { bundleModels, checker } from './support.ts';

describe('reduction', async () => {
  const { check } = await checker();
  const url = await bundleModels('test/check/programs.ts', 'programs');

  const rounds: [Family, number, number][] = [
    ['plain', 0, 1],
    ['plain', 1, 1],
    ['plain', 2, 2],
    ['plain', 3, 4],
    ['sync', 0, 1],
    ['sync', 1, 1],
    ['sync', 2, 2],
    ['sync', 3, 8],
  ];
  // The whole search of a program with three preemptions may have a hundred thousand executions.
  const options = { timeout: 900_000 };
  it.each(rounds)('finds the outcomes of the whole search: %s, %i preemptions', options, async (...round) => {
    const [family, preemptions, every] = round;
    let reduced = 0;
    let whole = 0;
    for (let seed = preemptions % every; seed < PROGRAMS; seed += every) {
      const source = { url, name: `${family}-${seed}`, transform: false };
      const some = await check(source, { preemptions, jobs: 1 });
      const all = await check(source, { preemptions, jobs: 1, reduction: false });
      const outcomes = (result: typeof some): string[] => result.outcomes.map(([outcome]) => outcome);
      expect(some.verdict).toBe('exhausted');
      expect(all.verdict).toBe('exhausted');
      expect(outcomes(some), JSON.stringify(programOf(family, seed))).toEqual(outcomes(all));
      reduced += some.executions;
      whole += all.executions;
    }
    expect(whole).toBeGreaterThan(reduced * (preemptions > 1 ? 1.2 : 0.5));
  });

  const wide = new URL('./wide.programs.mjs', import.meta.url).href;
  it.each([
    [1, 20],
    [2, 8],
  ])('finds the outcomes of programs with accesses of several widths: %i preemptions', options, async (...round) => {
    const [preemptions, programs] = round;
    for (let seed = 0; seed < programs; seed++) {
      const source = { url: wide, name: `wide-${preemptions * 40 + seed}`, transform: true };
      const some = await check(source, { preemptions, jobs: 1 });
      const all = await check(source, { preemptions, jobs: 1, reduction: false });
      expect([some.verdict, all.verdict]).toEqual(['exhausted', 'exhausted']);
      expect(
        some.outcomes.map(([outcome]) => outcome),
        some.facts.title,
      ).toEqual(all.outcomes.map(([outcome]) => outcome));
    }
  });
});
