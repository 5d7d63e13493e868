/** `vmspace run` on small files. Nothing here depends on how fast the host is. */
import { randomBytes } from 'node:crypto';
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildCli, runCli, scratch, startCli } from './support.ts';

interface Document {
  readonly file: { readonly path: string; readonly size: number; readonly generated: boolean };
  readonly memory: number;
  readonly threads: number;
  readonly interrupted: boolean;
  readonly conclusion: string;
  readonly designs: readonly Result[];
}

interface Result {
  readonly design: string;
  readonly measuredSeconds: number;
  readonly faults: number;
  readonly pagesRead: number;
  readonly verifiedBytes: number;
  readonly mismatches: number;
  readonly mmapLockInFaults: number;
  readonly sleptReads: number;
  readonly mapping: { readonly count: number; readonly p50: number; readonly p99: number; readonly max: number };
  readonly failures: readonly unknown[];
}

const { folder, remove } = scratch();
const file = join(folder, 'file.bin');

beforeAll(() => {
  buildCli();
  writeFileSync(file, randomBytes(4 * 1024 * 1024 + 4097));
});
afterAll(remove);

/** The longest that a read can be told to sleep. */
const DELAY_MS = 60_000;
/** How long a run takes at most until it has done what a test wants to see. */
const MOST_SECONDS = 120;

/** Runs the command for longer and longer until every design has done enough. */
async function runUntil(enough: (result: Result) => boolean, ...args: readonly string[]): Promise<Document> {
  for (let seconds = 0.5; ; seconds *= 2) {
    const all = ['run', '--json', '--threads', '1', ...args, '--seconds', String(seconds)];
    const { code, stdout, stderr } = await runCli(all);
    expect(code, stderr).toBe(0);
    const document = JSON.parse(stdout) as Document;
    if (document.designs.every(enough) || seconds > MOST_SECONDS) return document;
  }
}

describe('vmspace run', () => {
  it('reads, verifies and maps under every design', async () => {
    const document = await runUntil((result) => result.verifiedBytes > 0 && result.mapping.count > 0, file);
    expect(document).toMatchObject({ threads: 1, memory: 16 * 2 ** 20, interrupted: false });
    expect(document.file).toEqual({ path: file, size: 4 * 1024 * 1024 + 4097, generated: false });
    expect(document.designs.map((result) => result.design)).toEqual(['rcu', 'mmap-sem', 'retry']);
    for (const result of document.designs) {
      expect(result.failures).toEqual([]);
      expect(result.mismatches).toBe(0);
      expect(result.verifiedBytes).toBeGreaterThan(0);
      expect(result.pagesRead).toBeGreaterThan(0);
      expect(result.measuredSeconds).toBeGreaterThan(0);
      const { count, p50, p99, max } = result.mapping;
      expect(count).toBeGreaterThan(0);
      expect(p50).toBeLessThanOrEqual(p99);
      expect(p99).toBeLessThanOrEqual(max);
    }
  });

  it('takes mmap_lock in faults under the designs that do so only', async () => {
    const locks = ({ design, mmapLockInFaults }: Result): boolean => design === 'rcu' || mmapLockInFaults > 0;
    const { designs } = await runUntil(locks, file, '--io-delay', '0');
    const taken = designs.map((result) => [result.design, result.mmapLockInFaults > 0, result.sleptReads]);
    expect(taken).toEqual([
      ['rcu', false, 0],
      ['mmap-sem', true, 0],
      ['retry', true, 0],
    ]);
  });

  it('goes on with far less memory than the file has', async () => {
    const args = [file, '--memory', '1.25M', '--design', 'rcu', '--io-delay', '1'];
    const document = await runUntil((result) => result.pagesRead > 0, ...args);
    expect(document.memory).toBe(1.25 * 2 ** 20);
    expect(document.designs).toHaveLength(1);
    expect(document.designs[0]?.pagesRead).toBeGreaterThan(0);
    expect(document.designs[0]?.mismatches).toBe(0);
  });

  it.each([1, 3, 4095, 4097])('maps a file of %i bytes', async (size) => {
    const small = join(folder, `${size}.bin`);
    writeFileSync(small, randomBytes(size));
    const { designs } = await runUntil((result) => result.verifiedBytes > 0, small, '--design', 'retry');
    expect(designs[0]?.verifiedBytes).toBeGreaterThan(0);
  });

  it('ends with one table and one line for people', async () => {
    const line = /mmap\+munmap took .* under rcu, .* under mmap-sem, .* under retry\.$/;
    let last = { code: null as number | null, stdout: '' };
    for (let seconds = 0.9; seconds < MOST_SECONDS && !line.test(last.stdout.trimEnd()); seconds *= 2) {
      last = await runCli(['run', file, '--seconds', String(seconds), '--threads', '1']);
    }
    const { code, stdout } = last;
    expect(code).toBe(0);
    for (const row of [
      'faults/s',
      'pages read',
      'I/O waits',
      'p50',
      'p99',
      'max',
      'restarts',
      'mmap_lock',
      'verified',
    ]) {
      expect(stdout).toContain(row);
    }
    expect(stdout.trimEnd().split('\n').at(-1)).toMatch(line);
  });

  it('finds that the file was changed behind its back', async () => {
    const changed = join(folder, 'changed.bin');
    writeFileSync(changed, randomBytes(2 * 1024 * 1024));
    const running = startCli([
      'run',
      changed,
      '--seconds',
      '600',
      '--threads',
      '1',
      '--design',
      'rcu',
      '--io-delay',
      '0',
    ]);
    await running.said('rcu ...');
    const writing = setInterval(() => writeFileSync(changed, randomBytes(2 * 1024 * 1024), { flag: 'r+' }), 200);
    const { code, stdout } = await running.outcome;
    clearInterval(writing);
    expect(stdout).toMatch(
      /MISMATCH: reader 1 under rcu: .* of '.*changed\.bin'.*the file was changed while it was mapped/,
    );
    expect(code).toBe(1);
  });

  it.each([
    ['that fits into memory', '16M'],
    ['that does not', '1.25M'],
  ])('says of a file %s that it was truncated behind its back, and counts no mismatch', async (_name, memory) => {
    const truncated = join(folder, 'truncated.bin');
    writeFileSync(truncated, randomBytes(8 * 1024 * 1024));
    const args = ['run', truncated, '--seconds', '60', '--threads', '1', '--design', 'rcu', '--io-delay', '0'];
    const running = startCli([...args, '--memory', memory, '--json']);
    await running.said('rcu ...');
    await new Promise((resolve) => setTimeout(resolve, 500));
    truncateSync(truncated, 2 * 1024 * 1024 + 5);
    const { code, stdout } = await running.outcome;
    expect(code).toBe(1);
    const { designs } = JSON.parse(stdout) as Document;
    expect(designs[0]?.mismatches).toBe(0);
    expect(designs[0]?.failures).toMatchObject([{ worker: 'reader 1', what: 'changed' }]);
    expect(JSON.stringify(designs[0]?.failures)).toContain(
      'was changed while it was mapped: it had 8388608 bytes and has 2097157',
    );
  });
});

describe.skipIf(process.platform === 'win32')('Ctrl-C', () => {
  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('%s ends a run with its figures', async (signal, expected) => {
    const running = startCli(['run', file, '--seconds', '600', '--json']);
    await running.said('rcu ...');
    running.kill(signal);
    running.kill(signal); // npm passes on what the terminal has sent already
    const { code, stdout, stderr } = await running.outcome;
    expect(code).toBe(expected);
    // Not after the ten minutes: such a command is killed before.
    expect(stderr).not.toContain('    at ');
    expect(JSON.parse(stdout)).toMatchObject({ interrupted: true });
  });

  it('does not wait for a read that sleeps for a minute', async () => {
    for (let wait = 1000; ; wait *= 2) {
      const args = ['run', file, '--seconds', '600', '--io-delay', String(DELAY_MS), '--memory', '1.5M', '--json'];
      const running = startCli(args);
      await running.said('rcu ...');
      await new Promise((resolve) => setTimeout(resolve, wait));
      running.kill('SIGINT');
      let timer: NodeJS.Timeout | undefined;
      const awake = new Promise<string>((resolve) => {
        timer = setTimeout(resolve, DELAY_MS, 'a read that fell asleep before is awake');
      });
      const first = await Promise.race([running.outcome, awake]);
      clearTimeout(timer);
      expect(first).toMatchObject({ code: 130 });
      const { interrupted, designs } = JSON.parse((await running.outcome).stdout) as Document;
      expect(interrupted).toBe(true);
      if (designs[0] !== undefined && designs[0].sleptReads > 0) break; // else there was nothing to wait for
      expect(wait, 'milliseconds in which no read fell asleep').toBeLessThan(MOST_SECONDS * 1000);
    }
  });
});
