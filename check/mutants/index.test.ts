/** The mutants still fit the sources: which of them are caught is test/check's to say, and takes minutes. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { mutants } from './index.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

test('each edit of a mutant finds its text once in its file', () => {
  const astray = mutants.flatMap(({ id, edits }) =>
    edits
      .filter(({ file, find }) => readFileSync(root + file, 'utf8').split(find).length !== 2)
      .map(({ file }) => `${id}: ${file}`),
  );
  expect(astray).toEqual([]);
});
