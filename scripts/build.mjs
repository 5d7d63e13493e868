// Builds the package with esbuild and tsc. Usage: node scripts/build.mjs [targets] [--if-stale] [--quiet]
// Targets: --lib --check --cli --types (these four when none is named), --test, --bench.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, posix, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { modelOptions, smallTunables } from './check-bundle.mjs';
import { importsOf, parse, walkFiles } from './imports.mjs';
import { inlinePort } from './inline-port.mjs';

export const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const cache = 'node_modules/.cache/vmspace';
const entries = ['index', 'node', 'browser', 'conformance'];
const bundlable = new Set(['MIT', 'ISC', 'BSD-2-Clause', 'BSD-3-Clause', '0BSD']);

const abs = (path) => resolve(root, path);
const readJson = (path) => JSON.parse(readFileSync(abs(path), 'utf8'));
const files = (dir, pattern) =>
  walkFiles(abs(dir))
    .map((file) => posix.relative(root, file))
    .filter((file) => pattern.test(file));
const libraryEntries = (prefix) =>
  entries
    .filter((name) => existsSync(abs(`src/${name}.ts`)))
    .map((name) => ({ in: `src/${name}.ts`, out: `${prefix}${name}` }));
const asEntry = (file, base) => ({ in: file, out: posix.relative(base, file).replace(/\.ts$/, '') });

// ---- the targets: each returns a Map of output path -> contents -----------------------------------------------------

async function lib() {
  if (!existsSync(abs('src/index.ts'))) throw new Error('src/index.ts is missing');
  const outputs = new Map();
  // The checker's transform leaves alone what begins so (check/transform/load-hooks.ts).
  const marked = { banner: { js: '// vmspace: announces its own accesses' }, ...linesOnly };
  for (const [outdir, conditions, more] of [
    ['dist', [], {}],
    ['dist/dev', ['dev'], {}],
    ['dist/checked', ['checked'], marked],
  ]) {
    const result = await bundle(outputs, { entryPoints: libraryEntries(''), outdir, conditions, ...more });
    for (const name of ['index', 'browser', 'conformance'])
      refuseNodeImports(result.metafile.outputs, `${outdir}/${name}.js`);
  }
  return outputs;
}

async function cli() {
  const outputs = new Map();
  const workers = files('cli', /\.worker\.ts$/);
  const main = existsSync(abs('cli/main.ts')) ? ['cli/main.ts'] : [];
  const entryPoints = [...main, ...workers].map((file) => asEntry(file, 'cli'));
  const result = await bundle(outputs, { entryPoints, outdir: 'dist/cli', ...forNode, sourcemap: false });
  if (main.length > 0) {
    addShebang(outputs, 'dist/cli/main.js');
    outputs.set('dist/cli/THIRD_PARTY_LICENSES.txt', thirdPartyLicenses(Object.keys(result.metafile.inputs)));
  }
  return outputs;
}

async function test() {
  const outputs = new Map();
  const workers = [...files('test', /\.worker\.ts$/), ...files('src', /\.worker\.ts$/)];
  // All threads of a machine use one build: the checked one has smaller tables.
  const checked = workers.filter((file) => file.endsWith('.checked.worker.ts'));
  const plain = workers.filter((file) => !checked.includes(file));
  const entryPoints = [...plain.map((file) => asEntry(file, '.')), ...libraryEntries('dev/')];
  await bundle(outputs, { entryPoints, outdir: 'dist-test', ...forNode, conditions: ['dev'] });
  if (checked.length > 0) {
    const entryPoints = checked.map((file) => asEntry(file, '.'));
    await bundle(outputs, { entryPoints, outdir: 'dist-test', ...forNode, conditions: ['checked'] });
  }
  return outputs;
}

async function bench() {
  const outputs = new Map();
  const main = existsSync(abs('bench/main.ts')) ? ['bench/main.ts'] : [];
  const workers = files('bench', /\.worker\.ts$/);
  // The worker that counts has the shipped library, batch sizes and all, over the port that can be observed.
  const counted = workers.filter((file) => file === 'bench/counted.worker.ts');
  const plain = workers.filter((file) => !counted.includes(file));
  const entryPoints = [...main, ...plain].map((file) => asEntry(file, 'bench'));
  await bundle(outputs, { entryPoints, outdir: 'dist-bench', ...forNode });
  if (counted.length > 0) {
    const entryPoints = counted.map((file) => asEntry(file, 'bench'));
    const alias = { '#atomics': abs('src/sync/atomics.checked.ts') };
    await bundle(outputs, { entryPoints, outdir: 'dist-bench', ...forNode, alias });
  }
  return outputs;
}

/**
 * The checker (native: it is the observer) and its models (checked: they are what is observed). Each bundle of models has everything
 * it needs, so that all its threads use one build.
 */
async function check() {
  const outputs = new Map();
  const engine = [
    { in: 'check/index.ts', out: 'index' },
    { in: 'check/crew.ts', out: 'crew' },
    { in: 'check/engine/thread.worker.ts', out: 'thread.worker' },
    { in: 'check/transform/load-hooks.ts', out: 'load-hooks' },
  ].filter(({ in: file }) => existsSync(abs(file)));
  const result = await bundle(outputs, {
    entryPoints: engine,
    outdir: 'dist/check',
    ...forNode,
    ...linesOnly,
    external: ['./transform.js'],
  });
  const inputs = Object.keys(result.metafile.inputs).filter((file) => file.includes('node_modules'));
  if (inputs.length > 0) outputs.set('dist/check/THIRD_PARTY_LICENSES.txt', thirdPartyLicenses(inputs));
  const { build: esbuild } = await import('esbuild');
  const entries = [
    { in: 'check/models/index.ts', out: 'models' },
    { in: 'check/models/hazards/index.ts', out: 'hazards' },
    { in: 'check/litmus/index.ts', out: 'litmus' },
  ].filter(({ in: file }) => existsSync(abs(file)));
  const options = { ...modelOptions(entries, 'dist/check'), ...linesOnly };
  const models = await esbuild({ ...options, write: false, logLevel: 'warning' });
  for (const file of models.outputFiles) outputs.set(posix.relative(root, file.path), file.text);
  return outputs;
}

/** Declarations: only the files the entries reach, with import paths which are valid outside this repository. */
async function types() {
  const outputs = new Map();
  declare(outputs, 'tsconfig.build.json', 'src', entries);
  declare(outputs, 'tsconfig.check.json', '.', ['check/index']);
  return outputs;
}

/** Adds the declarations of some entries to the outputs; `base` is the folder that becomes dist/types. */
function declare(outputs, project, base, names) {
  mkdirSync(abs(cache), { recursive: true });
  const temp = mkdtempSync(abs(`${cache}/types-`));
  try {
    const tsc = abs('node_modules/typescript/bin/tsc');
    execFileSync(process.execPath, [tsc, '-p', project, '--outDir', temp], { cwd: root, stdio: 'inherit' });
    const { imports } = readJson('package.json');
    const todo = names.filter((name) => existsSync(`${temp}/${name}.d.ts`)).map((name) => `${name}.ts`);
    for (const source of todo) {
      const declaration = source.replace(/\.ts$/, '.d.ts');
      let text = readFileSync(`${temp}/${declaration}`, 'utf8');
      for (const { specifier, start, end } of importsOf(parse(declaration, text)).sort((a, b) => b.start - a.start)) {
        let target;
        if (specifier.startsWith('.')) target = posix.join(posix.dirname(source), specifier);
        else if (specifier.startsWith('#')) target = posix.relative(base, imports[specifier].default);
        else continue;
        if (target.startsWith('src/'))
          throw new Error(`${source}: the checker's public types may not need the library's`);
        if (!todo.includes(target)) todo.push(target);
        const path = posix.relative(posix.dirname(source), target).replace(/\.ts$/, '.js');
        text = `${text.slice(0, start)}'${path.startsWith('.') ? path : `./${path}`}'${text.slice(end)}`;
      }
      outputs.set(`dist/types/${declaration}`, text);
    }
  } finally {
    rmSync(temp, { recursive: true, force: true });
  }
}

const configuration = [
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'tsconfig.build.json',
  'tsconfig.check.json',
  'scripts/build.mjs',
];
const targets = {
  lib: { make: lib, inputs: ['src'], owns: /^dist\/(?!check\/|cli\/|types\/)/ },
  check: { make: check, inputs: ['src', 'check'], owns: /^dist\/check\// },
  cli: { make: cli, inputs: ['src', 'check', 'cli'], owns: /^dist\/cli\// },
  types: { make: types, inputs: ['src', 'check'], owns: /^dist\/types\// },
  test: { make: test, inputs: ['src', 'check', 'cli', 'bench', 'test'], owns: /^dist-test\// },
  bench: { make: bench, inputs: ['src', 'bench'], owns: /^dist-bench\// },
};

// ---- bundling -------------------------------------------------------------------------------------------------------

// Bundled CommonJS dependencies call require() for Node's own modules.
const forNode = {
  platform: 'node',
  // playwright-core only drives a browser from the benchmarks; mitata probes for the others when they exist.
  external: ['playwright-core', '@mitata/counters', 'bun:*'],
  banner: {
    js: "import { createRequire as vmspaceCreateRequire } from 'node:module';\nconst require = vmspaceCreateRequire(import.meta.url);",
  },
};

/** For source maps that only name lines, in the checker's reports. Nobody steps through these bundles. */
const linesOnly = { sourcesContent: false };

async function bundle(outputs, options) {
  const { build: esbuild } = await import('esbuild');
  const result = await esbuild({
    absWorkingDir: root,
    bundle: true,
    write: false,
    metafile: true,
    format: 'esm',
    platform: 'neutral',
    target: ['es2022', 'node20.19'],
    // One class, one identity: code which two entries share goes to a chunk, flat beside them for import.meta.url.
    splitting: true,
    chunkNames: 'chunk-[hash]',
    // Smaller syntax, but readable names in stack traces. (Not keepNames: it slows every function creation.)
    minifySyntax: true,
    sourcemap: true,
    charset: 'utf8',
    legalComments: 'none',
    logLevel: 'warning',
    ...options,
    external: ['node:*', ...(options.external ?? [])],
    plugins: options.conditions?.includes('checked') ? [smallTunables] : [inlinePort],
  });
  for (const file of result.outputFiles) outputs.set(posix.relative(root, file.path), file.text);
  return result;
}

/** The neutral and browser entries must load where there is no Node: no static import of node: anywhere below them. */
function refuseNodeImports(outputs, entry, seen = new Set()) {
  if (seen.has(entry) || !outputs[entry]) return;
  seen.add(entry);
  for (const { path, kind, external } of outputs[entry].imports) {
    if (kind !== 'import-statement') continue;
    if (!external) refuseNodeImports(outputs, path, seen);
    else throw new Error(`${[...seen][0]} must run without Node, but it imports ${path}`);
  }
}

function addShebang(outputs, path) {
  const text = outputs.get(path);
  if (text.startsWith('#!')) return;
  outputs.set(path, `#!/usr/bin/env node\n${text}`);
}

/** The licence texts of all bundled packages. Throws if one may not be bundled under these simple terms. */
function thirdPartyLicenses(inputs) {
  const packages = new Set(inputs.map((file) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0]).filter(Boolean));
  const sections = [...packages].sort().map((dir) => {
    const { name, version, license } = readJson(`${dir}/package.json`);
    if (!bundlable.has(license)) throw new Error(`${name}: licence ${license} is not on the list of bundled licences`);
    const file = walkFiles(abs(dir)).find((path) => /^licen[cs]e/i.test(path.slice(abs(dir).length + 1)));
    return `${name} ${version} (${license})\n\n${file ? readFileSync(file, 'utf8').trim() : ''}\n`;
  });
  return `This part of vmspace includes these packages:\n\n${sections.join(`\n${'-'.repeat(80)}\n\n`)}`;
}

// ---- writing, staleness, reporting ----------------------------------------------------------------------------------

/** Writes changed files atomically (another process may be reading them) and removes what the target left behind. */
function writeOutputs(outputs, owns) {
  for (const [path, text] of outputs) {
    const file = abs(path);
    if (existsSync(file) && readFileSync(file, 'utf8') === text) continue;
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(`${file}.${process.pid}`, text);
    if (text.startsWith('#!')) chmodSync(`${file}.${process.pid}`, 0o755);
    renameSync(`${file}.${process.pid}`, file);
  }
  for (const dir of ['dist', 'dist-test', 'dist-bench']) {
    for (const path of files(dir, owns)) if (!outputs.has(path)) rmSync(abs(path), { force: true });
  }
}

function fingerprint(inputs) {
  const hash = createHash('sha256');
  const sources = inputs.flatMap((dir) => files(dir, /(?<!\.test)\.ts$/));
  for (const path of [...configuration, ...sources]) {
    const { mtimeMs, size } = statSync(abs(path), { throwIfNoEntry: false }) ?? {};
    hash.update(`${path} ${mtimeMs} ${size}\n`);
  }
  return hash.digest('hex');
}

function isFresh(name, current) {
  try {
    const stamp = readJson(`${cache}/${name}.json`);
    return stamp.fingerprint === current && stamp.outputs.every((path) => existsSync(abs(path)));
  } catch {
    return false;
  }
}

function reportSizes(outputs) {
  const kib = (bytes) => `${(bytes / 1024).toFixed(1)} KiB`.padStart(10);
  for (const [path, text] of outputs) {
    if (!path.endsWith('.js')) continue;
    const bytes = Buffer.from(text);
    console.log(`  ${path.padEnd(40)} ${kib(bytes.length)} ${kib(gzipSync(bytes).length)} gzip`);
  }
}

export async function build(names, { ifStale = false, quiet = false } = {}) {
  for (const name of names) {
    const { make, inputs, owns } = targets[name];
    const current = fingerprint(inputs);
    if (ifStale && isFresh(name, current)) continue;
    const outputs = await make();
    writeOutputs(outputs, owns);
    mkdirSync(abs(cache), { recursive: true });
    writeFileSync(abs(`${cache}/${name}.json`), JSON.stringify({ fingerprint: current, outputs: [...outputs.keys()] }));
    if (quiet) continue;
    console.log(`${name}: ${outputs.size} files`);
    if (name === 'lib' || name === 'cli') reportSizes(outputs);
  }
}

/** As build(), for the scripts: a failure ends the process with a short message. */
export async function buildOrExit(names, options) {
  try {
    await build(names, options);
  } catch (error) {
    console.error(`build failed: ${error.message}`);
    process.exit(1);
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const flags = process.argv.slice(2);
  const names = Object.keys(targets).filter((name) => flags.includes(`--${name}`));
  const known = ['--if-stale', '--quiet', ...Object.keys(targets).map((name) => `--${name}`)];
  const unknown = flags.filter((flag) => !known.includes(flag));
  if (unknown.length > 0) {
    console.error(`unknown option ${unknown.join(' ')}`);
    process.exit(2);
  }
  const options = { ifStale: flags.includes('--if-stale'), quiet: flags.includes('--quiet') };
  await buildOrExit(names.length > 0 ? names : ['lib', 'check', 'cli', 'types'], options);
}
