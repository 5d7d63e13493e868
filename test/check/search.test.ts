/** Strategies, limits, checkpoints, minimised schedules and their text. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatSchedule, parseSchedule } from '../../check/schedule.ts';
import { checker } from './support.ts';

describe('schedules as text', () => {
  it('come back as they were', () => {
    const script = fc
      .uniqueArray(fc.tuple(fc.nat(99_999), fc.integer({ min: -1, max: 7 })), {
        selector: ([position]) => position,
        maxLength: 20,
      })
      .map((entries) => entries.sort(([a], [b]) => a - b).flat());
    fc.assert(
      fc.property(script, (entries) => {
        expect(parseSchedule(formatSchedule(entries))).toEqual(entries);
      }),
    );
  });

  it.each(['', 'x', '3', '3z', '3a.2b', '3a..4b', '-1a', '3a b', '99999999a'])('refuses %j', (text) => {
    expect(() => parseSchedule(text)).toThrow(RangeError);
  });
});

describe('searches', async () => {
  const { check, replay } = await checker();
  const litmus = new URL('../../dist/check/litmus.js', import.meta.url).href;
  const hazards = new URL('../../dist/check/hazards.js', import.meta.url).href;
  const models = new URL('../../dist/check/models.js', import.meta.url).href;
  const aba = { url: litmus, name: 'litmus-aba', transform: false };

  it.each(['random', 'pct'] as const)(
    '%s finds a bug, and its minimised schedule is short and replays',
    async (strategy) => {
      const result = await check(aba, { strategy, executions: 20_000, jobs: 1, chance: 0.2 });
      expect(result.failure?.text).toMatch(/two owners/);
      expect(result.failure?.script.length).toBeLessThanOrEqual(6);
      const replayed = await replay(aba, result.failure?.script ?? []);
      expect(replayed.ended.failure?.text).toMatch(/two owners/);
    },
  );

  it('random with the same seed does the same', async () => {
    const run = (seed: number) => check(aba, { strategy: 'random', executions: 5000, jobs: 1, seed });
    const [one, two] = [await run(3), await run(3)];
    expect(two.failure).toEqual(one.failure);
    expect(two.foundAfter).toBe(one.foundAfter);
  });

  it('a schedule that does not fit the program is said to', async () => {
    const replayed = await replay(aba, parseSchedule('1b.2b'));
    expect(replayed.ended.failure?.text).toMatch(/which cannot run there/);
  });

  it('stop at a limit, and go on from a checkpoint to the same end', async () => {
    const source = { url: hazards, name: 'h3-rcu', transform: false };
    const whole = await check(source, { jobs: 1 });
    let result = await check(source, { jobs: 1, executions: 300 });
    expect(result.verdict).toBe('stopped');
    for (let i = 0; i < 50 && result.checkpoint !== undefined; i++) {
      const from = JSON.parse(JSON.stringify(result.checkpoint)) as typeof result.checkpoint;
      result = await check(source, { jobs: 1, from, executions: from.executions + 400 });
    }
    expect(result.verdict).toBe('exhausted');
    expect(result.outcomes.map(([outcome]) => outcome)).toEqual(whole.outcomes.map(([outcome]) => outcome));
    expect(result.executions).toBeGreaterThanOrEqual(whole.executions);
  });

  it('say the same with one crew and with two', async () => {
    const source = { url: models, name: 'two-faults-file', transform: false };
    const one = await check(source, { jobs: 1, preemptions: 3 });
    const two = await check(source, { jobs: 2, preemptions: 3 });
    expect(two.verdict).toBe('exhausted');
    expect(two.outcomes.map(([outcome]) => outcome)).toEqual(one.outcomes.map(([outcome]) => outcome));
    expect(two.crews).toBe(2);
  });

  it('can be called off', async () => {
    const off = new AbortController();
    const onProgress = ({ executions }: { executions: number }): void => {
      if (executions > 0) off.abort();
    };
    const result = await check(
      { url: models, name: 'death-munmap-bystander', transform: false },
      { jobs: 1, preemptions: 2, signal: off.signal, onProgress },
    );
    expect(result.verdict).toBe('stopped');
    expect(result.checkpoint?.frontier.length).toBeGreaterThan(0);
  });
});
