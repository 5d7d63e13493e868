/** Bundles models for the tests, as the checker needs them, into dist-test/models; the checker itself is the built one. */
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import type * as Checker from '../../check/index.ts';
import type { Mutant } from '../../check/mutants/mutant.ts';
import { modelOptions } from '../../scripts/check-bundle.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** The built checker: its threads are bundles beside it. */
export async function checker(): Promise<typeof Checker> {
  return (await import(pathToFileURL(join(root, 'dist/check/index.js')).href)) as typeof Checker;
}

/** URL of a bundle of the models in `file`, with a mutant's edits. */
export async function bundleModels(file: string, name: string, edits: Mutant['edits'] = []): Promise<string> {
  const outdir = join(root, 'dist-test/models');
  await build(modelOptions([{ in: file, out: name }], outdir, edits));
  return pathToFileURL(join(outdir, `${name}.js`)).href;
}
