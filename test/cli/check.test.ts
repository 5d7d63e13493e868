/** `vmspace check` and `vmspace hazards` as their users type them. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildCli, runCli, scratch } from './support.ts';

const { folder, remove } = scratch();
beforeAll(buildCli);
afterAll(remove);

describe('vmspace check', () => {
  it('lists its models', async () => {
    const { code, stdout } = await runCli(['check', '--list']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/munmap-fault +munmap of a page against a write fault on it/);
    expect(stdout).toMatch(/h6-vma-ref/);
  });

  it('exhausts a model and says so in a table and as JSON', async () => {
    const table = await runCli(['check', 'munmap-fault']);
    expect(table.code).toBe(0);
    expect(table.stdout).toMatch(/munmap-fault *│ exhausted *│ *<= 4/);
    const { code, stdout } = await runCli(['check', 'munmap-fault', 'litmus-spinlock', '--preemptions', '1', '--json']);
    expect(code).toBe(0);
    const results = JSON.parse(stdout) as {
      model: string;
      verdict: string;
      bound: number;
      executions: number;
      failure: null;
    }[];
    expect(results.map(({ model, verdict, bound, failure }) => [model, verdict, bound, failure])).toEqual([
      ['munmap-fault', 'exhausted', 1, null],
      ['litmus-spinlock', 'exhausted', 1, null],
    ]);
  });

  it('shows the failure of a wrong design, and what it prints replays', async () => {
    const { code, stdout } = await runCli(['check', 'h6-vma-ref']);
    expect(code).toBe(1);
    expect(stdout).toMatch(/must hold: I4, I21/);
    expect(stdout).toMatch(/a: fault +\| b: mapper/);
    expect(stdout).toMatch(/src\/[a-z-]+\/[a-z-]+\.ts:\d+/);
    const schedule = /replay: npx vmspace check h6-vma-ref --replay (\S+)/.exec(stdout)?.[1] ?? '';
    const again = await runCli(['check', 'h6-vma-ref', '--replay', schedule, '--json']);
    expect(again.code).toBe(1);
    expect(JSON.parse(again.stdout)).toMatchObject({
      model: 'h6-vma-ref',
      schedule,
      failure: { kind: 'the check at the end failed' },
    });
    expect(stdout).toMatch(/\.\.\. \d+ more/);
    const full = await runCli(['check', 'h6-vma-ref', '--replay', schedule, '--full']);
    expect(full.code).toBe(1);
    expect(full.stdout).not.toMatch(/\.\.\. \d+ more/);
    expect(full.stdout.split('\n').length).toBeGreaterThan(stdout.split('\n').length);
    const fine = await runCli(['check', 'h6-rcu', '--replay', '-']);
    expect(fine.code).toBe(0);
    expect(fine.stdout).toMatch(/no failure; results/);
  });

  it('goes on from a checkpoint', async () => {
    const file = join(folder, 'point.json');
    const first = await runCli(['check', 'two-faults-file', '--executions', '500', '--checkpoint', file]);
    expect(first.code).toBe(0);
    expect(first.stdout).toMatch(/stopped/);
    expect(existsSync(file)).toBe(true);
    const before = JSON.parse(readFileSync(file, 'utf8')) as { executions: number };
    const rest = await runCli(['check', 'two-faults-file', '--checkpoint', file, '--json']);
    expect(rest.code).toBe(0);
    const [result] = JSON.parse(rest.stdout) as { verdict: string; executions: number }[];
    expect(result?.verdict).toBe('exhausted');
    expect(result?.executions).toBeGreaterThan(before.executions);
    const wrong = await runCli(['check', 'read-munmap', '--checkpoint', file]);
    expect(wrong.code).toBe(2);
    expect(wrong.stderr).toMatch(/it is of the model two-faults-file/);
  });

  it.each([
    [['check', 'nothing'], /there is no model 'nothing'/],
    [['check', '--strategy', 'luck'], /--strategy must be exhaustive, random, pct/],
    [['check', '--preemptions', '-1'], /--preemptions/],
    [['check', '--preemptions', '2.5'], /--preemptions must be a whole number/],
    [['check', '--seconds', '0'], /--seconds must be a number above 0/],
    [['check', '--jobs', '0'], /--jobs must be a whole number from 1/],
    [['check', 'munmap-fault', '--replay', '3z'], /there is no thread z/],
    [['check', 'munmap-fault', '--replay', 'x'], /is not a part of a schedule/],
    [['check', '--replay', '3b'], /--replay needs the name of one model/],
    [['check', '--transform'], /--transform is for a --module/],
    [['check', '--module', '/does/not/exist.mjs'], /there is no module/],
    [['check', '--checkpoint', 'x.json'], /--checkpoint needs the name of one model/],
    [['check', '--bogus'], /unknown option --bogus/],
    [['hazards', 'H99'], /there is no hazard H99; they are H1 to H15/],
    [['hazards', '--bogus'], /unknown option --bogus/],
  ])('refuses %j', async (args, why) => {
    const { code, stdout, stderr } = await runCli(args);
    expect(stderr).toMatch(why);
    expect(code).toBe(2);
    expect(stdout).toBe('');
  });
});

describe('vmspace hazards', () => {
  it('finds each under its design and exhausts the default, as JSON', async () => {
    const { code, stdout } = await runCli(['hazards', '--json']);
    expect(code).toBe(0);
    const rows = JSON.parse(stdout) as {
      id: string;
      title: string;
      found: { design: string; executions: number; schedule: string } | null;
      exhausted: { design: string; executions: number; bound: number } | null;
    }[];
    expect(rows.map(({ id }) => id)).toEqual(Array.from({ length: 15 }, (_, i) => `H${i + 1}`));
    const done = rows.filter(({ found, exhausted }) => found !== null && exhausted !== null).map(({ id }) => id);
    expect(done).toEqual(['H2', 'H3', 'H6', 'H11', 'H12']);
    for (const { found, exhausted } of rows) {
      expect(found === null).toBe(exhausted === null);
      if (found === null || exhausted === null) continue;
      expect(found.executions).toBeGreaterThan(0);
      expect(found.schedule).toMatch(/^(-|\d+[a-z!](\.\d+[a-z!])*)$/);
      expect(exhausted.executions).toBeGreaterThan(found.schedule === '-' ? 0 : found.executions);
    }
  });

  it('prints the table, the open rows and what replays', async () => {
    const { code, stdout } = await runCli(['hazards', 'h2', 'h4', '--schedule']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/rbtree/);
    expect(stdout).toMatch(/open: stacks do not grow yet/);
    expect(stdout).toMatch(/rbtree node \d+ \.right/);
    expect(stdout).toMatch(/replay: npx vmspace check h2-rbtree --replay \d+b/);
  });
});
