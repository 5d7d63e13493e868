/** Every `@example` of the sources is a program: it is written to a file of a project that has the package, and run. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { HANG_MS } from '../hang.ts';

const ROOT = resolve(import.meta.dirname, '../..');
/** What must have an example. Others may. */
const MAIN = ['createMachine', 'attachSpace', 'mmap', 'run', 'read', 'populate', 'wait', 'watch', 'openFile'];
MAIN.push('registerBacking');

interface Example {
  readonly name: string;
  readonly program: string;
}

/** The examples of a file, named after what their docstrings stand before. */
function examplesIn(file: string): Example[] {
  const source = readFileSync(join(ROOT, 'src', file), 'utf8');
  const out: Example[] = [];
  for (const [, comment = '', name = ''] of source.matchAll(/\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\n[ a-z]*?(\w+)[(<]/g)) {
    const text = comment.replaceAll(/^ *\* ?/gm, '');
    for (const example of text.split('@example').slice(1)) {
      const block = /^\n```js\n([\s\S]*?)\n```\n/.exec(example);
      if (block === null) throw new Error(`${file}: the @example of ${name} is no block of JavaScript`);
      out.push({ name, program: `${block[1]}\n` });
    }
  }
  const marks = source.match(/^ *\* @example$/gm) ?? [];
  if (marks.length !== out.length) throw new Error(`${file}: ${marks.length} examples, ${out.length} of them found`);
  return out;
}

const files = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' });
const examples = files.filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts')).flatMap(examplesIn);
let project = '';

beforeAll(() => {
  execFileSync(process.execPath, ['scripts/build.mjs', '--lib', '--if-stale', '--quiet'], { cwd: ROOT });
  project = mkdtempSync(join(tmpdir(), 'vmspace-examples-'));
  mkdirSync(join(project, 'node_modules'));
  symlinkSync(ROOT, join(project, 'node_modules/vmspace'), 'dir');
});

afterAll(() => rmSync(project, { recursive: true, force: true }));

describe('the example of', () => {
  test.each(examples)('$name runs', ({ name, program }) => {
    const file = `${name}.mjs`;
    writeFileSync(join(project, file), program);
    for (const conditions of [[], ['--conditions=development']]) {
      execFileSync(process.execPath, [...conditions, file], { cwd: project, encoding: 'utf8', timeout: HANG_MS });
    }
  });
});

test('the main calls have examples', () => {
  const names = examples.map(({ name }) => name);
  expect(MAIN.filter((name) => !names.includes(name))).toEqual([]);
});
