/** Bundles models for the tests, as the checker needs them, into dist-test/models; the checker itself is the built one. */
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import type * as Checker from '../../check/index.ts';
import type { Mutant } from '../../check/mutants/mutant.ts';
import { modelOptions } from '../../scripts/check-bundle.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Test files run at the same time, each on a processor of its own where crews can be pinned. */
const processor = Number(process.env.VITEST_POOL_ID ?? 0) || 0;

/** The built checker: its threads are bundles beside it. */
export async function checker(): Promise<typeof Checker> {
  const built = (await import(pathToFileURL(join(root, 'dist/check/index.js')).href)) as typeof Checker;
  return { ...built, check: (source, options) => built.check(source, { processor, ...options }) };
}

/** URL of a bundle of the models in `file`, with a mutant's edits. */
export async function bundleModels(file: string, name: string, edits: Mutant['edits'] = []): Promise<string> {
  const outdir = join(root, 'dist-test/models');
  await build(modelOptions([{ in: file, out: name }], outdir, edits));
  return pathToFileURL(join(outdir, `${name}.js`)).href;
}
