/** Every wrong version of the library is caught by the model that it names, and its schedule replays. */
import { describe, expect, it } from 'vitest';
import { mutants } from '../../check/mutants/index.ts';
import { bundleModels, checker } from './support.ts';

describe('mutants', async () => {
  const { check, replay } = await checker();

  it.each(mutants.map((mutant) => [mutant.id, mutant]))('%s', { timeout: 1_200_000 }, async (id, mutant) => {
    const url = await bundleModels('check/models/index.ts', `mutants/${id.replace('/', '-')}`, mutant.edits);
    const source = { url, name: mutant.model, transform: false };
    const bound = mutant.preemptions === undefined ? {} : { preemptions: mutant.preemptions };
    const result = await check(source, { jobs: 1, ...bound });
    const { failure } = result;
    if (failure === undefined) throw new Error(`${result.verdict} within ${result.bound} preemptions: not caught`);
    expect(failure.text).toMatch(mutant.fails);
    const replayed = await replay(source, failure.script);
    expect(replayed.ended.failure?.kind).toBe(failure.kind);
  });
});
