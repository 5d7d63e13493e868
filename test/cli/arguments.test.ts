/** What `vmspace` refuses, and how: exit code 2, one clear line on standard error, nothing on standard output. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildCli, runCli, scratch } from './support.ts';

const { folder, remove } = scratch();
const inFolder = (name: string): string => join(folder, name);

beforeAll(() => {
  buildCli();
  writeFileSync(inFolder('small'), 'some bytes');
  writeFileSync(inFolder('empty'), '');
  writeFileSync(inFolder('huge'), '');
  truncateSync(inFolder('huge'), 2 ** 33);
  mkdirSync(inFolder('folder'));
});
afterAll(remove);

const refused: readonly (readonly [args: readonly string[], message: string])[] = [
  [['--threads', '0'], "--threads must be a whole number from 1 to 32, got '0'"],
  [['--threads', '33'], "got '33'"],
  [['--threads', '2.5'], "got '2.5'"],
  [['--threads', 'two'], "got 'two'"],
  [['--threads', '-1'], "got '-1'"],
  [['--threads='], '--threads needs a value'],
  [['--threads'], '--threads needs a value'],
  [['--no-threads'], '--threads cannot be negated'],
  [['--memory', '12Q'], "--memory must be a size like 67108864, 64M, 64MiB or 1G, got '12Q'"],
  [['--memory', 'much'], "got 'much'"],
  [['--memory', '-1M'], "got '-1M'"],
  [['--memory', '0.3'], "got '0.3'"],
  [['--memory', '0'], '--memory 0 bytes is too little for 2 threads; the least is 2 MiB'],
  [['--memory', '64K'], '--memory 64 KiB is too little'],
  [['--memory', '5G'], '--memory is 5 GiB; a machine has 4 GiB at most'],
  [['--memory', '8M', '--threads', '32'], 'too little for 32 threads; the least is 9 MiB'],
  [[inFolder('huge'), '--memory', '8M'], 'too little for 2 threads and a file of 8 GiB; the least is'],
  [['--io-delay', '-5'], "--io-delay must be a number of milliseconds from 0 to 60000, got '-5'"],
  [['--io-delay', 'slow'], "got 'slow'"],
  [['--seconds', '0'], "--seconds must be a number above 0, 86400 at most, got '0'"],
  [['--seconds', '-3'], "got '-3'"],
  [['--seconds', 'Infinity'], "got 'Infinity'"],
  [['--design', 'best'], "--design must be rcu, mmap-sem, retry or all, got 'best'"],
  [['--fast'], 'unknown option --fast'],
  [['-q'], 'unknown option -q'],
  [['--no-table'], 'unknown option --table'],
  [[inFolder('small'), inFolder('small')], 'one file at most, got 2'],
  [[''], 'the name of the file is empty'],
  [[inFolder('none')], 'there is no file'],
  [[inFolder('small/below')], 'there is no file'],
  [[inFolder('empty')], 'is empty: there is nothing to map'],
  [[inFolder('folder')], 'is a directory'],
];

describe('vmspace run refuses', () => {
  it.each(refused)('%j', async (args, message) => {
    const { code, stdout, stderr } = await runCli(['run', ...args]);
    expect(stderr).toContain(message);
    expect(stderr).not.toContain('    at ');
    expect(stdout).toBe('');
    expect(code).toBe(2);
  });

  it.skipIf(process.platform === 'win32')('what is no regular file, without opening it', async () => {
    execFileSync('mkfifo', [inFolder('fifo')]);
    const { code, stderr } = await runCli(['run', inFolder('fifo')]);
    expect(stderr).toContain('is not a regular file');
    expect(code).toBe(2);
  });

  // root may read everything
  it.skipIf(process.platform === 'win32' || process.getuid?.() === 0)('a file that cannot be read', async () => {
    writeFileSync(inFolder('secret'), 'bytes');
    chmodSync(inFolder('secret'), 0);
    const { code, stderr } = await runCli(['run', inFolder('secret')]);
    expect(stderr).toContain('cannot be read');
    expect(code).toBe(2);
  });
});

describe('vmspace', () => {
  it.each([[[]], [['walk']], [['--fast', 'run']]])('refuses %j', async (args) => {
    const { code, stdout, stderr } = await runCli(args);
    expect(stderr).toMatch(/^vmspace: (no command given|unknown (command|option) )/);
    expect(stdout).toBe('');
    expect(code).toBe(2);
  });

  it('explains itself', async () => {
    const { code, stdout, stderr } = await runCli(['--help']);
    expect(stdout).toContain('Virtual memory for JavaScript threads');
    expect(stderr).toBe('');
    expect(code).toBe(0);
  });

  it.each([['--help'], ['-h']])('explains the options of run: %s', async (flag) => {
    const { code, stdout } = await runCli(['run', flag, '--threads', 'nonsense']);
    for (const name of ['threads', 'memory', 'io-delay', 'design', 'seconds', 'json']) {
      expect(stdout).toContain(`--${name}`);
    }
    expect(stdout).not.toContain('\u001B');
    expect(code).toBe(0);
  });

  it.each([[['--version']], [['run', '--version']]])('tells its version: %j', async (args) => {
    const { code, stdout } = await runCli(args);
    expect(stdout).toMatch(/^\d+\.\d+\.\d+\S*\n$/);
    expect(code).toBe(0);
  });
});
