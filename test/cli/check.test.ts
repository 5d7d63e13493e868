/** `vmspace check` and `vmspace hazards` as their users type them. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
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
    expect(table.stdout).toMatch(/munmap-fault *│ exhausted *│ *<= \d+/);
    expect(table.stdout).toMatch(
      /munmap-fault: passed\. Every interleaving with at most \d+ preemptions? was explored/,
    );
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
    const first = await runCli([
      'check',
      'two-faults-file',
      '--executions',
      '500',
      '--jobs',
      '1',
      '--checkpoint',
      file,
    ]);
    expect(first.code).toBe(0);
    expect(first.stdout).toMatch(/stopped/);
    expect(existsSync(file)).toBe(true);
    const before = JSON.parse(readFileSync(file, 'utf8')) as { executions: number };
    const rest = await runCli(['check', 'two-faults-file', '--checkpoint', file, '--json']);
    expect(rest.code).toBe(0);
    const [result] = JSON.parse(rest.stdout) as { verdict: string; executions: number }[];
    expect(result?.verdict).toBe('exhausted');
    expect(result?.executions).toBeGreaterThan(before.executions);
    expect(before.executions).toBe(500);
    expect(existsSync(file)).toBe(false); // there is nothing left to go on with
    const again = await runCli([
      'check',
      'two-faults-file',
      '--executions',
      '500',
      '--jobs',
      '1',
      '--checkpoint',
      file,
    ]);
    expect(again.code).toBe(0);
    const wrong = await runCli(['check', 'read-munmap', '--checkpoint', file]);
    expect(wrong.code).toBe(1);
    expect(wrong.stderr).toMatch(/it is of the model two-faults-file/);
    const text = readFileSync(file, 'utf8');
    const damage = async (edit: (point: Record<string, unknown>) => void, why: RegExp): Promise<void> => {
      const point = JSON.parse(text) as Record<string, unknown>;
      edit(point);
      writeFileSync(file, JSON.stringify(point));
      const { code, stderr } = await runCli(['check', 'two-faults-file', '--checkpoint', file]);
      expect(stderr).toMatch(why);
      expect(code).toBe(1);
    };
    await damage((point) => Object.assign(point, { program: 'x' }), /the program has changed/);
    await damage((point) => Object.assign(point, { version: 1 }), /it is of version 1/);
    await damage((point) => Object.assign(point, { frontier: [{ script: [3], preemptions: 0 }] }), /a bad schedule/);
    await damage((point) => Object.assign(point, { frontier: 7 }), /a bad schedule/);
    await damage((point) => Object.assign(point, { known: [1, 2] }), /address 1 is of no region/);
    await damage((point) => Object.assign(point, { bound: 9 }), /bad bounds/);
    writeFileSync(file, 'null');
    const none = await runCli(['check', 'two-faults-file', '--checkpoint', file]);
    expect(none.code).toBe(2);
    expect(none.stderr).toMatch(/is not a checkpoint to go on from/);
  });

  it('keeps what models print out of its result, goes on after one that cannot be checked, quotes what it prints', async () => {
    const file = join(folder, "it's mine.mjs");
    const model = (name: string, run: string): string =>
      `{ name: '${name}', title: 't', invariant: 'i', preemptions: 1, setup: () => ({ words: new Int32Array(new SharedArrayBuffer(8)) }),
         threads: ['a', 'b'].map((name) => ({ name, run({ words }) { ${run} } })) }`;
    writeFileSync(
      file,
      `console.log('loading');
       export const models = [
         ${model('broken', '')},
         ${model('fine', "console.log('hello'); Atomics.add(words, 0, 1);")},
         ${model('racing', 'words[1]++')},
       ];`,
    );
    const { code, stdout, stderr } = await runCli(['check', '--module', file, '--transform', '--json']);
    expect(code).toBe(1);
    expect(stderr).toMatch(/hello/);
    expect(stderr).toMatch(/vmspace: broken: an execution reported no access/);
    const results = JSON.parse(stdout) as {
      model: string;
      verdict: string;
      error?: string;
      failure?: { command: string };
    }[];
    expect(results.map(({ model, verdict }) => [model, verdict])).toEqual([
      ['broken', 'broken'],
      ['fine', 'exhausted'],
      ['racing', 'failed'],
    ]);
    expect(results[0]?.error).toMatch(/an execution reported no access/);
    expect(results[2]?.failure?.command).toMatch(/--module '.*it'\\''s mine\.mjs' --transform --replay/);
  });

  it('knows the threads of the model it replays', async () => {
    const { code, stderr } = await runCli(['check', 'munmap-fault', '--replay', '5c']);
    expect(code).toBe(2);
    expect(stderr).toMatch(/there is no thread c; the threads are a \(\w+\), b \(\w+\)/);
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
    [['check', '--strategy', 'random', '--preemptions', '2'], /--preemptions is a bound of the exhaustive strategy/],
    [['check', '--strategy', 'random', '--depth', '2'], /--depth is for the strategy pct, and this is random/],
    [['check', '--seed', '2'], /--seed is for the strategies random and pct/],
    [['check', '--long', '--preemptions', '2'], /--long and --preemptions are both bounds/],
    [['check', 'munmap-fault', '--replay', '-', '--seconds', '3'], /--seconds means nothing beside --replay/],
    [['check', '--list', 'munmap-fault'], /--list takes no names/],
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

  it('a limit that comes first is told, and is no failure', async () => {
    const { code, stdout, stderr } = await runCli(['hazards', 'H3', '--seconds', '0.001', '--jobs', '1']);
    expect(stderr).toMatch(/H3: h3-rcu: stopped after \d+ executions? under rcu, before the bound was exhausted/);
    expect(stdout).toMatch(/stopped/);
    expect(code).toBe(0);
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
