/** The README's quick start works as pasted: the block is taken out of the README and run. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { HANG_MS } from '../hang.ts';

const ROOT = resolve(import.meta.dirname, '../..');
let project = '';

beforeAll(() => {
  execFileSync(process.execPath, ['scripts/build.mjs', '--lib', '--if-stale', '--quiet'], { cwd: ROOT });
  project = mkdtempSync(join(tmpdir(), 'vmspace-quick-start-'));
  mkdirSync(join(project, 'node_modules'));
  symlinkSync(ROOT, join(project, 'node_modules/vmspace'), 'dir');
});

afterAll(() => rmSync(project, { recursive: true, force: true }));

function quickStart(): string {
  const block = /```js\n\/\/ quick-start\.mjs\n([\s\S]*?)```/.exec(readFileSync(join(ROOT, 'README.md'), 'utf8'));
  return block?.[1] ?? '';
}

test('the quick start of the README counts the newlines of a file that is larger than the machine', () => {
  const text = `${'a line of some length, so that pages hold several\n'.repeat(400_000)}the end`;
  const file = join(project, 'lines.txt');
  writeFileSync(file, text);
  writeFileSync(join(project, 'quick-start.mjs'), quickStart());
  const out = execFileSync(process.execPath, ['quick-start.mjs', file], {
    cwd: project,
    encoding: 'utf8',
    timeout: HANG_MS,
  });
  expect(out).toContain(`400000 newlines in ${text.length} bytes`);
});

test('the quick start of the README is the example in the repository', () => {
  expect(quickStart()).toBe(readFileSync(join(ROOT, 'examples/quick-start.mjs'), 'utf8'));
});
