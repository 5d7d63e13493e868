// Checks the package as its users get it: packs it, lints it, installs it in an empty project, compiles and runs
// the sample of test/consumer there (strict, skipLibCheck off, with and without Node and DOM types).
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { build, root } from './build.mjs';
import { checkDeclarations } from './check-declarations.mjs';
import { checkLinks } from './check-links.mjs';

const bin = (path) => join(root, 'node_modules', path);
const run = (command, args, cwd) =>
  execFileSync(command, args, { cwd, stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8' });
const node = (args, cwd) => run(process.execPath, args, cwd);

// Each sample must compile in every one of these worlds, under both ways to resolve modules.
const samples = [
  { file: 'neutral.ts', lib: ['ES2022'], types: [] },
  { file: 'browser.ts', lib: ['ES2022', 'DOM'], types: [] },
  { file: 'node.ts', lib: ['ES2022'], types: ['node'] },
  { file: 'conformance.ts', lib: ['ES2022'], types: [] },
  { file: 'check.ts', lib: ['ES2022', 'ES2017.SharedMemory'], types: ['node'] },
];
const resolutions = [{ module: 'nodenext' }, { module: 'preserve', moduleResolution: 'bundler' }];

async function lintTarball(tarball) {
  const { messages, pkg } = await publint({ pack: { tarball: readFileSync(tarball) }, strict: true });
  for (const message of messages) console.error(`publint: ${formatMessage(message, pkg)}`);
  if (messages.length > 0) throw new Error('publint has complaints');
  console.log('publint: nothing to complain about');
  node([bin('@arethetypeswrong/cli/dist/index.js'), tarball, '--profile', 'esm-only', '--no-emoji'], root);
  console.log('attw (esm-only): types resolve');
}

function checkConsumer(tarball, dir) {
  mkdirSync(dir);
  writeFileSync(join(dir, 'package.json'), JSON.stringify({ name: 'consumer', private: true, type: 'module' }));
  run('npm', ['install', '--offline', '--no-audit', '--no-fund', '--loglevel=error', tarball], dir);
  for (const { file, lib, types } of samples) {
    copyFileSync(join(root, 'test/consumer', file), join(dir, file));
    for (const resolution of resolutions) {
      const compilerOptions = {
        ...resolution,
        target: 'ES2022',
        lib,
        types,
        typeRoots: [bin('@types')],
        strict: true,
        exactOptionalPropertyTypes: true,
        noUncheckedIndexedAccess: true,
        verbatimModuleSyntax: true,
        skipLibCheck: false,
        rootDir: '.',
        outDir: 'out',
      };
      writeFileSync(join(dir, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: [file] }));
      try {
        node([bin('typescript/bin/tsc'), '-p', '.'], dir);
      } catch (error) {
        throw new Error(`consumer ${file} (${resolution.module}) does not compile:\n${error.stdout}`);
      }
    }
    const program = join('out', file.replace(/\.ts$/, '.js'));
    node([program], dir);
    node(['--conditions=development', program], dir);
    console.log(
      `consumer: ${file} compiles (${resolutions.map((r) => r.module).join(', ')}) and runs, in development too`,
    );
  }
  const lines = node([join('node_modules', 'vmspace', 'examples', 'quick-start.mjs')], dir);
  if (!/^\d+ newlines in \d+ bytes/.test(lines)) throw new Error(`the packed quick start says: ${lines}`);
  console.log('consumer: the packed quick start runs');
  run(join(dir, 'node_modules/.bin/vmspace'), ['--help'], dir);
  console.log('consumer: vmspace --help runs');
  run(join(dir, 'node_modules/.bin/vmspace'), ['check', 'munmap-fault', '--preemptions', '1'], dir);
  console.log('consumer: vmspace check runs');
}

const temp = mkdtempSync(join(tmpdir(), 'vmspace-package-'));
try {
  await build(['lib', 'check', 'cli', 'types'], { ifStale: true, quiet: true });
  checkDeclarations(root);
  console.log('declarations: nothing internal');
  const [packed] = JSON.parse(run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', temp], root));
  console.log(
    `${packed.filename}: ${packed.files.length} files, ${packed.size} bytes packed, ${packed.unpackedSize} unpacked`,
  );
  const { documents, links } = checkLinks(
    root,
    packed.files.map(({ path }) => path),
  );
  console.log(`links: each of the ${links} in ${documents} documents leads to something in the package`);
  const tarball = join(temp, packed.filename);
  await lintTarball(tarball);
  checkConsumer(tarball, join(temp, 'consumer'));
} catch (error) {
  console.error(`check-package failed: ${error.message}${error.stdout ? `\n${error.stdout}` : ''}`);
  process.exitCode = 1;
} finally {
  rmSync(temp, { recursive: true, force: true });
}
