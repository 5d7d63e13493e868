/** Modules of users that cannot be checked as they are: each is refused with the reason, and none hangs. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { checker } from './support.ts';

describe('a model that is none', async () => {
  const { check, CheckerError } = await checker();
  const folder = mkdtempSync(join(tmpdir(), 'vmspace-check-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  let modules = 0;
  /** A model of two threads that count, with some of it replaced. */
  const source = (fields: string, before = ''): { url: string; name: string; transform: boolean } => {
    const file = join(folder, `${modules++}.mjs`);
    const text = `${before}
      const run = ({ words }) => { Atomics.add(words, 0, 1); };
      const threads = [{ name: 'a', run }, { name: 'b', run }];
      const setup = () => ({ words: new Int32Array(new SharedArrayBuffer(8)) });
      export const models = [{ name: 'm', title: 't', invariant: 'i', preemptions: 1, threads, setup, ${fields} }];`;
    writeFileSync(file, text);
    return { url: pathToFileURL(file).href, name: 'm', transform: true };
  };

  it('the model that they are made of is fine', async () => {
    expect((await check(source(''), { jobs: 1 })).verdict).toBe('exhausted');
  });

  it.each([
    ['title: 3', /model 'm': title must be a text, got 3/],
    ['invariant: undefined', /model 'm': invariant must be a text/],
    ['preemptions: -1', /preemptions must be a whole number/],
    ['preemptions: 1.5', /preemptions must be a whole number/],
    ['setup: 3', /setup must be a function/],
    ['threads: []', /threads must be an array of 1 to 8 threads/],
    ["threads: [{ name: 'a', run }, { name: 'a', run }]", /a thread needs a name of its own, got 'a'/],
    ["threads: [{ name: 'a' }]", /a thread needs a function `run`/],
    ["threads: [{ name: ' ', run }]", /a thread needs a name of its own/],
    ["threads: [{ name: 'a', async run({ words }) { Atomics.add(words, 0, 1); } }]", /run returned a promise/],
    [
      "threads: [{ name: 'a', run({ words }) { Atomics.add(words, 0, 1); return 'x'.repeat(2000); } }]",
      /a result of 2002 characters/,
    ],
    [
      "threads: [{ name: 'a', run: ({ words }) => BigInt(Atomics.add(words, 0, 1)) }]",
      /a result does not survive JSON/,
    ],
    [
      "threads: [{ name: 'a', run: ({ words }, { join }) => (Atomics.add(words, 0, 1), join('c')) }]",
      /no other thread called 'c'/,
    ],
    ['racy: () => 5', /racy must return an array of/],
    ['racy: () => [[0, 0, 4]]', /needs a reason: why the accesses may race/],
    ["racy: () => [[7, 0, 4, 'a hint']]", /of a buffer that is there/],
    ['ignore: () => [[0, 4, 4]]', /is not \[buffer, first byte, byte behind the last\]/],
    ['setup: () => ({ ...setup(), f() {} })', /cannot be cloned to the other threads/],
    ["threads: [{ name: 'a', run, prepare: 1 }]", /`prepare` must be a function/],
    ['check: 3', /check must be a function/],
    ['outcomes: [3]', /outcomes must be an array of texts/],
    ["timeouts: 'never'", /timeouts must be 'report' or 'allow'/],
    ['steps: 0', /steps must be 1 to 10,000,000/],
    ['granule: 3', /granule must be 1, 2 or 4/],
    ['setup: () => ({})', /setup returned no SharedArrayBuffer/],
    ['setup: async () => ({})', /setup returned a promise/],
    ["setup() { throw new Error('no memory'); }", /m: .*no memory/s],
    ["threads: [{ name: 'a', run, prepare() { throw new Error('not ready'); } }]", /not ready/],
    [
      "threads: ['a', 'b'].map((name) => ({ name, run: ({ words }) => Atomics.add(new Int16Array(words.buffer), 1, 1) }))",
      /elements of 2 bytes: the model needs `granule: 2`/,
    ],
  ])('refuses %s', async (fields, why) => {
    const refused = check(source(fields), { jobs: 1 });
    await expect(refused).rejects.toThrow(why);
    await expect(refused).rejects.toBeInstanceOf(CheckerError);
  });

  it('says so when check is asynchronous', async () => {
    const result = await check(source('async check() {}'), { jobs: 1 });
    expect(result.failure?.text).toMatch(/check returned a promise/);
  });

  it('names words whatever describe does', async () => {
    const run = 'run({ words }) { words[1]++; }';
    const fields = `threads: [{ name: 'a', ${run} }, { name: 'b', ${run} }], describe() { throw new Error('no names'); }`;
    const result = await check(source(fields), { jobs: 1 });
    expect(result.failure?.text).toMatch(/data race on buffer 0 \+4 \(describe threw Error: no names\)/);
  });

  it('two of one name, an empty list', async () => {
    const twice = { ...source('}, { name: "m", title: "t", invariant: "i", preemptions: 1, threads, setup') };
    await expect(check(twice, { jobs: 1 })).rejects.toThrow(/two models called 'm'/);
    const file = join(folder, 'empty.mjs');
    writeFileSync(file, 'export const models = [];');
    const none = { url: pathToFileURL(file).href, name: 'm', transform: true };
    await expect(check(none, { jobs: 1 })).rejects.toThrow(/exports no model: `models` is empty/);
  });

  it.each([
    ['Math.random', 'Atomics.load(words, Math.random() < 0.5 ? 0 : 1)'],
    ['a variable', 'Atomics.load(words, (globalThis.count = (globalThis.count ?? 0) + 1) & 1)'],
  ])('refuses one that depends on %s', async (_, what) => {
    const threads = `threads: ['a', 'b'].map((name) => ({ name, run({ words }) { for (let i = 0; i < 21; i++) ${what}; Atomics.add(words, 0, 1); } }))`;
    await expect(check(source(threads), { jobs: 1 })).rejects.toThrow(/the same schedule ran in two ways/);
  });

  it('refuses one that changes its ways later', async () => {
    // The checker's first looks see nothing of it.
    const late = 'globalThis.runs = (globalThis.runs ?? 0) + 1; if (globalThis.runs % 7 === 0) Atomics.load(words, 1);';
    const run = `run({ words }) { ${late} for (let i = 0; i < 3; i++) Atomics.add(words, 0, 1); }`;
    const threads = `preemptions: 4, threads: ['a', 'b', 'c'].map((name) => ({ name, ${run} }))`;
    await expect(check(source(threads), { jobs: 1 })).rejects.toThrow(/the same schedule ran in two ways/);
  });

  it.each([
    ['loops without shared memory', 'for (;;);'],
    ['waits for the host', 'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);'],
    ['catches what ends it', 'for (;;) { try { for (;;) Atomics.load(words, 0); } catch {} }'],
  ])('gives a thread up that %s', async (_, what) => {
    // The second time, so that its module loads and its first execution ends.
    const run = `run({ words }) { Atomics.add(words, 0, 1); if (Atomics.load(words, 0) === 2) { ${what} } }`;
    const threads = `steps: 500, threads: [{ name: 'a', ${run} }, { name: 'b', run }]`;
    await expect(check(source(threads), { jobs: 1, patience: 2 })).rejects.toThrow(/^m: no word for 2 seconds/);
  });

  it('refuses a source that is none', async () => {
    await expect((check as (source?: unknown) => Promise<unknown>)()).rejects.toThrow(
      /a source is \{ url, name, transform \}/,
    );
    await expect(
      check(source(''), {
        onProgress: () => {
          throw new Error('no thanks');
        },
        executions: 100_000,
        strategy: 'random',
      }),
    ).rejects.toThrow(/no thanks/);
  });

  it.each([
    ['strategy', { strategy: 'luck' as 'random' }, /strategy must be exhaustive, random or pct, got luck/],
    ['preemptions', { preemptions: -1 }, /preemptions must be a whole number from 0 to 1000, got -1/],
    ['executions', { executions: 0.5 }, /executions must be a whole number/],
    ['jobs', { jobs: 0 }, /jobs must be a whole number from 1 to 256, got 0/],
    ['chance', { chance: 2 }, /chance must be a number from 0 to 1, got 2/],
    ['seconds', { seconds: Number.NaN }, /seconds must be a number/],
  ])('refuses the option %s', async (_, options, why) => {
    await expect(check(source(''), options)).rejects.toThrow(why);
    await expect(check(source(''), options)).rejects.toBeInstanceOf(RangeError);
  });
});
