/** Code that is not ours, unmodified on disk, seen through the load-time transform; and what a user's first model says. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { checker } from './support.ts';

describe('published packages', async () => {
  const { check } = await checker();
  const example = (file: string): string => new URL(`../../check/examples/${file}`, import.meta.url).href;

  it.each([
    ['ringbuf.mjs', 'ringbuf'],
    ['multithreading.mjs', 'multithreading-mutex'],
    ['multithreading.mjs', 'multithreading-channel'],
  ])('%s: %s holds', async (file, name) => {
    const result = await check({ url: example(file), name, transform: true }, { jobs: 1 });
    expect(result.failure?.text).toBe(undefined);
    expect(result.verdict).toBe('exhausted');
    expect(result.executions).toBeGreaterThan(100);
  });

  it('ringbuf.js with two consumers, which it does not promise, gives an element twice', async () => {
    const result = await check(
      { url: example('ringbuf.mjs'), name: 'ringbuf-two-consumers', transform: true },
      { jobs: 1 },
    );
    expect(result.failure?.text).toMatch(/an element came out twice/);
  });
});

describe('a module of a user', async () => {
  const { check, CheckerError, replay, renderFailure } = await checker();
  const dir = mkdtempSync(join(tmpdir(), 'vmspace-check-'));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  const write = (name: string, text: string): string => {
    const file = join(dir, name);
    writeFileSync(file, text);
    return pathToFileURL(file).href;
  };
  const counter = (increment: string): string => `export const models = [{
    name: 'counter', title: 'two increments', invariant: 'no increment is lost', preemptions: 2,
    setup: () => ({ words: new Int32Array(new SharedArrayBuffer(4)) }),
    threads: ['a', 'b'].map((name) => ({ name, run: ({ words }) => { ${increment}; } })),
    check({ shared }) { if (shared.words[0] !== 2) throw new Error('lost'); },
  }];`;

  it('has its race found, with both places', async () => {
    const source = { url: write('race.mjs', counter('words[0]++')), name: 'counter', transform: true };
    const result = await check(source, { jobs: 1 });
    expect(result.failure?.text).toMatch(/data race on buffer 0 \+0/);
    const text = renderFailure(result, await replay(source, result.failure?.script ?? []), { command: 'again' });
    expect(text).toMatch(/must hold: no increment is lost/);
    expect(text).toMatch(/first: [ab], (peek|poke) at step \d+\n {4}at run .*race\.mjs:4/);
    expect(text).toMatch(/second: [ab], (peek|poke) at step \d+\n {4}at run .*race\.mjs:4/);
    expect(text).toMatch(/replay: again/);
  });

  it('may declare words whose accesses are meant to race; their reads may be old', async () => {
    const model = (racy: string): string => `export const models = [{
      name: 'flag', title: 't', invariant: 'i', preemptions: 1, ${racy}
      setup: () => ({ words: new Int32Array(new SharedArrayBuffer(8)) }),
      threads: [
        { name: 'writer', run({ words }) { words[0] = 1; Atomics.store(words, 1, 1); } },
        { name: 'reader', run({ words }) { const seen = words[0]; return [Atomics.load(words, 1), seen]; } },
      ],
    }];`;
    const named = (name: string, racy: string) => ({ url: write(name, model(racy)), name: 'flag', transform: true });
    const racing = await check(named('unsaid.mjs', ''), { jobs: 1 });
    expect(racing.failure?.text).toMatch(/data race on buffer 0 \+0/);
    const said = await check(named('said.mjs', "racy: () => [[0, 0, 4, 'a hint']],"), { jobs: 1 });
    expect(said.failure?.text).toBe(undefined);
    // The last is the old value: the flag is set, and the read before it did not see the write.
    expect(said.outcomes.map(([outcome]) => outcome)).toEqual([
      '[null,[0,0]]',
      '[null,[0,1]]',
      '[null,[1,0]]',
      '[null,[1,1]]',
    ]);
    const elsewhere = await check(named('elsewhere.mjs', "racy: () => [[0, 4, 8, 'a hint']],"), { jobs: 1 });
    expect(elsewhere.failure?.text).toMatch(/data race on buffer 0 \+0/);
  });

  it('holds with Atomics', async () => {
    const source = { url: write('atomic.mjs', counter('Atomics.add(words, 0, 1)')), name: 'counter', transform: true };
    expect((await check(source, { jobs: 1 })).verdict).toBe('exhausted');
  });

  it('is refused when its accesses would not be seen', async () => {
    const source = { url: write('unseen.mjs', counter('Atomics.add(words, 0, 1)')), name: 'counter', transform: false };
    await expect(check(source, { jobs: 1 })).rejects.toThrow(/no access to shared memory would be reported/);
    await expect(check(source, { jobs: 1 })).rejects.toBeInstanceOf(CheckerError);
  });

  it('is refused when it is wrong, with the reason', async () => {
    const refused = async (text: string, why: RegExp, name = 'counter'): Promise<void> => {
      const url = write(`wrong-${Math.abs(text.length)}-${name}.mjs`, text);
      await expect(check({ url, name, transform: true }, { jobs: 1 })).rejects.toThrow(why);
    };
    await refused(counter('0'), /no access of a, b to the shared memory/);
    await refused(counter('words[0]++'), /has no model 'other'; it has counter/, 'other');
    await refused('export const models = 3;', /does not export `models`, an array/);
    await refused('export const models = [', /Unexpected token/);
    await refused(
      counter('words[0]++').replace('new SharedArrayBuffer', 'new ArrayBuffer'),
      /returned no SharedArrayBuffer/,
    );
    await refused(
      counter('words[0]++').replace('setup: () => (', 'setup: () => { throw new Error("no setup"); }, other: () => ('),
      /no setup/,
    );
  });
});
