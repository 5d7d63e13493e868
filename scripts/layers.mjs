// Checks the import table of src/ (which room may use which), import cycles, and the globals only some files may use.
// `--self-test` shows on small made-up sources that every kind of violation is caught.
import { readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { importsOf, parse, walkFiles, walkTree } from './imports.mjs';

const table = {
  base: [],
  trace: ['base'],
  sync: ['base', 'trace'],
  memory: ['base', 'trace', 'sync'],
  vma: ['base', 'trace', 'sync', 'memory'],
  paging: ['base', 'trace', 'sync', 'memory'],
  backing: ['base', 'trace', 'sync', 'memory', 'paging'],
  space: ['base', 'trace', 'sync', 'memory', 'vma', 'paging', 'backing'],
  fault: ['base', 'trace', 'sync', 'memory', 'vma', 'paging', 'backing', 'space'],
  design: ['base', 'trace', 'sync', 'memory', 'vma', 'paging', 'backing', 'space', 'fault'],
  recovery: ['base', 'trace', 'sync', 'memory', 'vma', 'paging', 'backing', 'space'],
  access: ['base', 'trace', 'sync', 'memory', 'vma', 'paging', 'backing', 'space', 'fault', 'recovery'],
  machine: [
    ...['base', 'trace', 'sync', 'memory', 'vma', 'paging', 'backing', 'space', 'fault', 'design', 'recovery'],
    'access',
  ],
};
const top = ''; // the entries of the package, directly in src/: they may import every room
const mayBeEntry = /^src\/(index|node|browser|conformance)\.ts$/;
const switches = new Set(['#atomics', '#lockdep', '#dev']);
const exempt = /\.(test|worker)\.ts$/;
// The kinds of files: one folder of the room backing, behind one interface.
const isDriver = (file) => file.startsWith('src/backing/drivers/');
const drivenBy = 'src/backing/backing.ts';
const mayUseNode = (file) => isDriver(file) || file === 'src/node.ts';
const mayUseAtomics = /^src\/sync\/atomics\.[^/]*\.ts$/;

/** The first folder below src/: a folder in a room belongs to the room. */
const roomOf = (file) => posix.dirname(file).split('/')[1] ?? top;

/** All violations in `sources`, a Map of path ('src/...') -> text. */
export function check(sources) {
  const problems = [];
  const imports = new Map();
  for (const [file, text] of sources) {
    if (exempt.test(file)) continue;
    const report = (offset, message) =>
      problems.push(`${file}:${text.slice(0, offset).split('\n').length}: ${message}`);
    const room = roomOf(file);
    if (room !== top && !table[room]) report(0, `'${room}' is not a room of the import table`);
    if (room === top && !mayBeEntry.test(file)) report(0, 'only the entries of the package are outside the rooms');
    let program;
    try {
      program = parse(file, text);
    } catch (error) {
      report(0, error.message);
      continue;
    }
    const targets = [];
    imports.set(file, targets);
    for (const { specifier, start } of importsOf(program)) {
      if (specifier.startsWith('.')) {
        const target = posix.join(posix.dirname(file), specifier);
        if (!sources.has(target)) {
          const where = target.startsWith('src/') ? 'no such file' : 'src may not import from outside src';
          report(start, `import of '${specifier}': ${where}`);
        } else if (exempt.test(target)) report(start, `import of a test or worker file '${specifier}'`);
        else if (!mayImport(room, roomOf(target))) {
          report(start, `'${room}' may not import '${roomOf(target) || 'the top files of src'}' ('${specifier}')`);
        } else if (isDriver(target) && !isDriver(file) && room !== top) {
          report(start, `import of the driver '${specifier}': only the entries of the package know drivers`);
        } else if (isDriver(file) && !mayDriverImport(target)) {
          report(start, `import of '${specifier}': a driver knows base, other drivers and '${drivenBy}'`);
        } else targets.push(target);
      } else if (specifier.startsWith('node:')) {
        if (!mayUseNode(file)) report(start, `import of '${specifier}': only drivers and src/node.ts may need Node`);
      } else if (!switches.has(specifier)) {
        report(start, `import of '${specifier}': the library has no dependencies`);
      }
    }
    walkTree(program, (node, parent) => {
      const name = forbiddenGlobal(node, parent);
      if (name === 'Atomics' && mayUseAtomics.test(file)) return;
      if (name === 'Atomics') report(node.start, "direct use of Atomics: import from '#atomics' instead");
      else if (name) report(node.start, `${name} is not allowed in src`);
    });
  }
  return [...problems, ...cycles(imports)];
}

function mayImport(from, to) {
  return from === to || from === top || Boolean(table[from]?.includes(to));
}

function mayDriverImport(target) {
  return isDriver(target) || target === drivenBy || roomOf(target) === 'base';
}

const globalObjects = new Set(['globalThis', 'self', 'window', 'global']);

/** The property a member expression names, or undefined: a.b and a['b']. */
function propertyOf(node) {
  if (node.type !== 'MemberExpression') return undefined;
  return node.computed ? node.property.value : node.property.name;
}

/** The global a node names: `X`, `globalThis.X` or `globalThis['X']`. */
function globalName(node) {
  if (node.type === 'Identifier') return node.name;
  if (node.type === 'MemberExpression' && globalObjects.has(node.object.name)) return propertyOf(node);
  return undefined;
}

function forbiddenGlobal(node, parent) {
  for (const [object, property] of [
    ['Math', 'random'],
    ['Date', 'now'],
  ]) {
    const member =
      node.type === 'MemberExpression' && globalName(node.object) === object && propertyOf(node) === property;
    const unpacked =
      node.type === 'VariableDeclarator' &&
      node.init &&
      globalName(node.init) === object &&
      node.id.properties?.some(({ key }) => key?.name === property);
    if (member || unpacked) return `${object}.${property}`;
  }
  if (globalName(node) !== 'Atomics') return undefined;
  const isKey =
    (parent?.property === node && !parent.computed) || // something.Atomics
    (parent?.key === node && !parent.computed && parent.value !== node); // { Atomics: ... }
  return isKey ? undefined : 'Atomics';
}

/** Import cycles between files, also of types alone, each reported once. */
function cycles(graph) {
  const problems = [];
  const state = new Map();
  const path = [];
  const visit = (file) => {
    if (state.get(file) === 'done') return;
    if (state.get(file) === 'open') {
      problems.push(`import cycle: ${[...path.slice(path.indexOf(file)), file].join(' -> ')}`);
      return;
    }
    state.set(file, 'open');
    path.push(file);
    for (const target of graph.get(file) ?? []) visit(target);
    path.pop();
    state.set(file, 'done');
  };
  for (const file of graph.keys()) visit(file);
  return problems;
}

function selfTest() {
  const good = {
    'src/base/a.ts': "import { x } from '#dev';\nexport const a = x;",
    'src/sync/atomics.native.ts': 'export const load = Atomics.load;',
    'src/sync/lock.ts':
      "import { a } from '../base/a.ts';\nimport { load } from '#atomics';\nexport const l = [a, load];",
    'src/vma/t.ts': "import type { U } from './u.ts';\nexport const t = (u: U) => u; // Atomics.load(), Math.random()",
    'src/vma/u.ts': 'export type U = { Atomics: 1 };',
    'src/backing/p.ts': "import { l } from '../sync/lock.ts';\nexport const p = l;",
    'src/backing/backing.ts': "import '../sync/lock.ts';",
    'src/backing/drivers/n.ts':
      "import '../backing.ts';\nimport '../../base/a.ts';\nexport { readFileSync } from 'node:fs';",
    'src/backing/drivers/s.ts': "import { load } from '#atomics';\nexport * from './n.ts';\nload;",
    'src/design/d.ts': "export * from '../backing/p.ts';",
    'src/index.ts': "export * from './design/d.ts';",
    'src/node.ts': "export * from './backing/drivers/n.ts';\nexport { resolve } from 'node:path';",
    'src/base/a.test.ts': "import { l } from '../sync/lock.ts';\nAtomics.load(l, 0);",
  };
  // [what, file, text, the message which must appear]
  const bad = [
    ['upward import', 'src/base/b.ts', "import { l } from '../sync/lock.ts';\nl;", "'base' may not import 'sync'"],
    ['type import', 'src/base/b.ts', "import type { l } from '../sync/lock.ts';\nl;", "'base' may not import 'sync'"],
    ['import() type', 'src/base/b.ts', "type L = import('../sync/lock.ts').L;", "'base' may not import 'sync'"],
    ['dynamic import', 'src/base/b.ts', "await import('../sync/lock.ts');", "'base' may not import 'sync'"],
    ['re-export', 'src/trace/b.ts', "export * from '../sync/lock.ts';", "'trace' may not import 'sync'"],
    ['paging to vma', 'src/paging/b.ts', "import '../vma/u.ts';", "'paging' may not import 'vma'"],
    ['vma to paging', 'src/vma/b.ts', "import '../paging/q.ts';", "'vma' may not import 'paging'"],
    ['backing to vma', 'src/backing/b.ts', "import '../vma/u.ts';", "'backing' may not import 'vma'"],
    ['fault to design', 'src/fault/b.ts', "import '../design/d.ts';", "'fault' may not import 'design'"],
    ['room to entry', 'src/design/b.ts', "import '../index.ts';", "'design' may not import 'the top files"],
    ['out of src', 'src/node.ts', "import '../bench/main.ts';", 'from outside src'],
    ['driver to trace', 'src/backing/drivers/b.ts', "import '../../trace/t.ts';", 'a driver knows base'],
    ['driver to a file', 'src/backing/drivers/b.ts', "import '../p.ts';", 'a driver knows base'],
    ['driver to fault', 'src/backing/drivers/b.ts', "import '../../fault/f.ts';", "'backing' may not import 'fault'"],
    ['room to driver', 'src/backing/b.ts', "import './drivers/n.ts';", 'only the entries of the package know drivers'],
    ['upper room to driver', 'src/design/b.ts', "import '../backing/drivers/n.ts';", 'only the entries of the package'],
    ['node: in a room', 'src/backing/b.ts', "import 'node:fs';", 'only drivers and src/node.ts may need Node'],
    ['node: in an entry', 'src/index.ts', "import type { Stats } from 'node:fs';", 'only drivers and src/node.ts'],
    ['test file', 'src/base/b.ts', "import './a.test.ts';", 'import of a test or worker file'],
    ['dependency', 'src/base/b.ts', "import 'citty';", 'no dependencies'],
    ['outside the rooms', 'src/helpers.ts', 'export {};', 'only the entries'],
    ['unknown room', 'src/misc/b.ts', 'export {};', "'misc' is not a room"],
    ['Atomics', 'src/memory/b.ts', 'export const b = (v: Int32Array) => Atomics.load(v, 0);', 'direct use of Atomics'],
    ['Atomics alias', 'src/memory/b.ts', 'const { load } = Atomics;', 'direct use of Atomics'],
    ['global Atomics', 'src/memory/b.ts', "globalThis['Atomics'].load;", 'direct use of Atomics'],
    ['other sync file', 'src/sync/b.ts', 'Atomics.notify(v, 0);', 'direct use of Atomics'],
    ['Math.random', 'src/node.ts', 'export const b = Math.random();', 'Math.random is not allowed'],
    ['Date.now', 'src/base/b.ts', 'const { now } = Date;', 'Date.now is not allowed'],
    ['cycle', 'src/base/a.ts', "import './c.ts';", 'import cycle: src/base/a.ts -> src/base/c.ts -> src/base/a.ts'],
    [
      'cycle of types',
      'src/base/a.ts',
      "import type { C } from './c.ts';",
      'import cycle: src/base/a.ts -> src/base/c.ts',
    ],
    ['syntax error', 'src/base/b.ts', 'const = ;', 'src/base/b.ts:1:'],
  ];
  const helpers = {
    'src/paging/q.ts': 'export {};',
    'src/trace/t.ts': 'export {};',
    'src/fault/f.ts': 'export {};',
    'src/base/c.ts': "import './a.ts';",
  };
  const failures = check(new Map(Object.entries(good))).map((problem) => `wrongly reported: ${problem}`);
  for (const [what, file, text, expected] of bad) {
    const sources = new Map(Object.entries({ ...good, ...helpers, [file]: text }));
    const problems = check(sources);
    if (problems.length !== 1 || !problems[0].includes(expected)) {
      failures.push(`${what}: expected one problem '${expected}', got ${JSON.stringify(problems)}`);
    }
  }
  return { failures, count: bad.length };
}

if (process.argv.includes('--self-test')) {
  const { failures, count } = selfTest();
  for (const failure of failures) console.error(failure);
  if (failures.length > 0) process.exit(1);
  console.log(`layers self-test: ${count} kinds of violation are caught`);
} else {
  process.chdir(fileURLToPath(new URL('..', import.meta.url)));
  const sources = new Map(
    walkFiles('src')
      .filter((file) => file.endsWith('.ts'))
      .map((file) => [file, readFileSync(file, 'utf8')]),
  );
  const problems = check(sources);
  for (const problem of problems) console.error(problem);
  if (problems.length > 0) process.exit(1);
  console.log(`layers: ${sources.size} files keep to the import table`);
}
