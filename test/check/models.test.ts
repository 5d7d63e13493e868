/** Every model of the library is exhausted within its bound, and every hazard is found and exhausted. */
import { describe, expect, it } from 'vitest';
import { rows } from '../../check/models/hazards/index.ts';
import { models } from '../../check/models/index.ts';
import { mutants } from '../../check/mutants/index.ts';
import { checker } from './support.ts';

describe('models', async () => {
  const { check } = await checker();
  const url = new URL('../../dist/check/models.js', import.meta.url).href;

  it.each(models.map(({ name, title }) => [name, title]))('%s: %s', { timeout: 900_000 }, async (name) => {
    const result = await check({ url, name, transform: false }, { jobs: 1 });
    expect(result.failure?.text).toBe(undefined);
    expect(result.verdict).toBe('exhausted');
  });

  it('have names of their own, and a mutant each', () => {
    const names = models.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    const caught = new Set(mutants.map(({ model }) => model));
    expect(names.filter((name) => !caught.has(name))).toEqual([]);
    expect(mutants.map(({ model }) => model).filter((model) => !names.includes(model))).toEqual([]);
  });
});

describe('hazards', async () => {
  const { check } = await checker();
  const url = new URL('../../dist/check/hazards.js', import.meta.url).href;
  const parts = rows.flatMap(({ id, scenarios }) => scenarios.map((scenario) => ({ id, ...scenario })));

  it.each(parts.map((part) => [part.id, part.what, part]))(
    '%s, %s: found and exhausted',
    { timeout: 900_000 },
    async (...row) => {
      const found = await check({ url, name: row[2].found.model, transform: false }, { jobs: 1 });
      expect(found.verdict).toBe('failed');
      const holds = await check({ url, name: row[2].holds.model, transform: false }, { jobs: 1 });
      expect(holds.failure?.text).toBe(undefined);
      expect(holds.verdict).toBe('exhausted');
    },
  );

  it('say who waits for what, and who holds it', async () => {
    const result = await check({ url, name: 'h11-mmap-sem', transform: false }, { jobs: 1 });
    expect(result.failure?.text).toMatch(/^holder waits for the end of fault$/m);
    expect(result.failure?.text).toMatch(
      /^fault sleeps on cpu \d+ \.wake, for space 0 \.mmapLock, held by holder \(cpu \d+\) for writing/m,
    );
  });

  it('are all of the list, in order', () => {
    expect(rows.map(({ id }) => id)).toEqual(Array.from({ length: 15 }, (_, i) => `H${i + 1}`));
    for (const { scenarios, open } of rows) expect(scenarios.length > 0 || open !== undefined).toBe(true);
  });
});
