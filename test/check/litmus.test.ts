/** The checker's own litmus tests: the complete set of outcomes, or the failure that it must report. */
import { describe, expect, it } from 'vitest';
import { litmus } from '../../check/litmus/index.ts';
import { checker } from './support.ts';

describe('litmus', async () => {
  const { check, replay } = await checker();
  const url = new URL('../../dist/check/litmus.js', import.meta.url).href;

  it.each(litmus.map(({ model, fails }) => [model.name, fails] as const))('%s', async (name, fails) => {
    const source = { url, name, transform: false };
    const result = await check(source, { jobs: 1 });
    if (fails === undefined) {
      expect(result.failure).toBe(undefined);
      expect(result.verdict).toBe('exhausted');
      const declared = result.facts.outcomes;
      if (declared !== undefined) expect(result.outcomes.map(([outcome]) => outcome)).toEqual([...declared].sort());
      return;
    }
    expect(result.verdict).toBe('failed');
    expect(result.failure?.text).toMatch(fails);
    const replayed = await replay(source, result.failure?.script ?? []);
    expect(replayed.ended.failure?.text).toMatch(fails);
  });
});
