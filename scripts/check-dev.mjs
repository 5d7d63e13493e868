// For whoever writes models: bundles one file of models (and one mutant) and checks it, without building the package.
//   node scripts/check-dev.mjs FILE.ts[:EXPORT] [MODEL...] [--mutants FILE.ts[:EXPORT]] [--only ID] [--preemptions N] [--seconds S]
//                              [--replay SCHEDULE] [--strategy random|pct] [--no-reduction]
// EXPORT is an array of models (default: `models`) or of mutants (default: the first array exported).
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';
import { modelOptions } from './check-bundle.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    mutants: { type: 'string' },
    only: { type: 'string' },
    preemptions: { type: 'string' },
    seconds: { type: 'string' },
    replay: { type: 'string' },
    strategy: { type: 'string' },
    'no-reduction': { type: 'boolean' },
  },
});
const dir = mkdtempSync(join(tmpdir(), 'check-dev-'));
process.on('exit', () => rmSync(dir, { recursive: true, force: true }));
const [spec, ...names] = positionals;
const [file, exported = 'models'] = spec.split(':');
const entry = join(dir, 'entry.ts');
writeFileSync(
  entry,
  `export { ${exported} as models } from ${JSON.stringify(resolve(file))};\nexport const registered = 1;\n`,
);
const engine = {
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  sourcemap: true,
  external: ['node:*'],
};
await build({
  ...engine,
  entryPoints: [
    { in: 'check/crew.ts', out: 'crew' },
    { in: 'check/engine/thread.worker.ts', out: 'thread.worker' },
    { in: 'check/explore.ts', out: 'explore' },
    { in: 'check/schedule.ts', out: 'schedule' },
    { in: 'check/report.ts', out: 'report' },
  ],
  outdir: dir,
  external: ['node:*', '../transform/*', 'acorn'],
});
const { check, replay } = await import(join(dir, 'explore.js'));
const { formatSchedule, parseSchedule } = await import(join(dir, 'schedule.js'));
const { renderReplay } = await import(join(dir, 'report.js'));

async function bundle(name, edits) {
  const options = modelOptions([{ in: entry, out: name }], dir, edits);
  await build({ ...options, logLevel: 'warning' });
  return join(dir, `${name}.js`);
}

async function namesIn(path) {
  const { models } = await import(path);
  return (typeof models === 'function' ? models() : models).map((model) => model.name);
}

const options = {
  jobs: 2,
  strategy: values.strategy ?? 'exhaustive',
  ...(values.preemptions === undefined ? {} : { preemptions: Number(values.preemptions) }),
  ...(values.seconds === undefined ? {} : { seconds: Number(values.seconds) }),
  ...(values['no-reduction'] ? { reduction: false } : {}),
};
const show = (result) => {
  const rate = Math.round(result.executions / Math.max(0.001, result.seconds));
  console.log(
    `${result.model}: ${result.verdict}, bound ${result.bound}, ${result.executions} executions (${result.redundant} redundant), ${Math.round(result.steps / Math.max(1, result.executions))} steps each, ${result.seconds.toFixed(1)} s, ${rate}/s`,
  );
  if (result.failure === undefined) return;
  console.log(
    `  schedule ${formatSchedule(result.failure.script)} after ${result.foundAfter}\n  ${result.failure.text.replaceAll('\n', '\n  ')}`,
  );
};

if (values.mutants === undefined) {
  const path = await bundle('models', []);
  for (const name of names.length > 0 ? names : await namesIn(path)) {
    const source = { url: `file://${path}`, name, transform: false };
    if (values.replay !== undefined) {
      const replayed = await replay(source, parseSchedule(values.replay));
      console.log(renderReplay(replayed));
    } else show(await check(source, options));
  }
} else {
  const [mutantFile, mutantExport] = values.mutants.split(':');
  await build({ ...engine, entryPoints: [{ in: resolve(mutantFile), out: 'mutants' }], outdir: dir });
  const module = await import(join(dir, 'mutants.js'));
  const mutants = mutantExport === undefined ? Object.values(module).find(Array.isArray) : module[mutantExport];
  let i = 0;
  for (const mutant of mutants) {
    if (values.only !== undefined && !mutant.id.includes(values.only)) continue;
    if (names.length > 0 && !names.includes(mutant.model)) continue;
    const path = await bundle(`mutant${i++}`, mutant.edits);
    const source = { url: `file://${path}`, name: mutant.model, transform: false };
    if (values.replay !== undefined) {
      console.log(renderReplay(await replay(source, parseSchedule(values.replay))));
      continue;
    }
    try {
      const result = await check(
        source,
        mutant.preemptions === undefined ? options : { ...options, preemptions: mutant.preemptions },
      );
      const caught = result.failure !== undefined && mutant.fails.test(result.failure.text);
      console.log(`${caught ? 'CAUGHT ' : result.failure ? 'OTHER  ' : 'MISSED '} ${mutant.id}`);
      show(result);
    } catch (error) {
      console.log(`BROKEN  ${mutant.id}: ${error.message}`);
    }
  }
}
process.exit(0);
