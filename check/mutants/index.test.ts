/** The mutants still fit the sources: which of them are caught is test/check's to say, and takes minutes. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { mutants } from './index.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

test('each edit of a mutant finds its text once in its file, one edit after the other', () => {
  const astray: string[] = [];
  for (const { id, edits } of mutants) {
    const texts = new Map<string, string>();
    for (const { file, find, replace } of edits) {
      const text = texts.get(file) ?? readFileSync(root + file, 'utf8');
      if (text.split(find).length !== 2) astray.push(`${id}: ${file}`);
      texts.set(
        file,
        text.replace(find, () => replace),
      );
    }
  }
  expect(astray).toEqual([]);
});
