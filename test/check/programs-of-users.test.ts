/** Small programs as users write them, through the transform, each with what must come of it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { checker } from './support.ts';

describe('programs of users', async () => {
  const { check, replay, renderFailure } = await checker();
  const folder = mkdtempSync(join(tmpdir(), 'vmspace-check-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  let modules = 0;
  /** A model of threads given by the bodies of their `run({ w, c })`, over words `w` or what `fields` says. */
  const program = (runs: readonly string[], fields = '', before = '', mortal = -1) => {
    const threads = runs.map(
      (body, i) => `{ name: '${'abc'[i]}', mortal: ${i === mortal}, run({ w, b, v }, c) { ${body} } }`,
    );
    const text = `${before}
      const setup = () => ({ w: new Int32Array(new SharedArrayBuffer(64)) });
      export const models = [{ name: 'm', title: 't', invariant: 'i', preemptions: 2, setup, threads: [${threads.join()}], ${fields} }];`;
    const file = join(folder, `${modules++}.mjs`);
    writeFileSync(file, text);
    return { url: pathToFileURL(file).href, name: 'm', transform: true };
  };
  const outcomes = async (source: ReturnType<typeof program>, options = {}): Promise<string[]> => {
    const result = await check(source, { jobs: 1, ...options });
    expect(result.failure?.text).toBe(undefined);
    expect(result.verdict).toBe('exhausted');
    return result.outcomes.map(([outcome]) => outcome);
  };
  /** The same outcomes with and without reduction. */
  const same = async (source: ReturnType<typeof program>, bounds: readonly number[]): Promise<string[]> => {
    let found: string[] = [];
    for (const preemptions of bounds) {
      found = await outcomes(source, { preemptions });
      expect(found).toEqual(await outcomes(source, { preemptions, reduction: false }));
    }
    return found;
  };

  it('accesses of several locations meet each one', async () => {
    const bytes = program(
      ['Atomics.store(w, 0, 1); Atomics.store(w, 0, 2);', 'return Atomics.load(b, 0);'],
      'granule: 1, setup() { const s = new SharedArrayBuffer(16); return { w: new Int32Array(s), b: new Uint8Array(s) }; }',
    );
    expect(await same(bytes, [0, 1, 2])).toEqual(['[null,0]', '[null,1]', '[null,2]']);
    const big = program(
      ['Atomics.store(v, 0, 1n); Atomics.store(v, 0, 2n);', 'return Atomics.load(w, 0);'],
      'setup() { const s = new SharedArrayBuffer(16); return { w: new Int32Array(s), v: new BigInt64Array(s) }; }',
    );
    expect(await same(big, [1, 2])).toEqual(['[null,0]', '[null,1]', '[null,2]']);
  });

  it('who waits first is woken first', async () => {
    const found = await same(
      program([
        'Atomics.store(w, 1, 1); const s = Atomics.wait(w, 0, 0); return [s, Atomics.load(w, 2)];',
        'const r = Atomics.load(w, 1); const s = Atomics.wait(w, 0, 0); return [r, s, Atomics.load(w, 2)];',
        'Atomics.store(w, 0, 1); const n = Atomics.notify(w, 0, 1); Atomics.store(w, 2, 1); return [n, Atomics.notify(w, 0, 1)];',
      ]),
      [1, 2],
    );
    expect(found).toContain('[["ok",1],[1,"ok",0],[1,1]]');
  });

  it('a time limit may end before a notify, or after it', async () => {
    const found = await same(
      program(
        [
          'const s = Atomics.wait(w, 0, 0, 10); const x = Atomics.load(w, 1); Atomics.store(w, 2, 1); Atomics.store(w, 2, 2); return [s, x];',
          'Atomics.store(w, 0, 1); Atomics.store(w, 1, 1); const n = Atomics.notify(w, 0, 1); return [n, Atomics.load(w, 2)];',
        ],
        "timeouts: 'allow'",
      ),
      [1, 2, 3],
    );
    expect(found).toContain('[["timed-out",1],[0,1]]');
  });

  it('waits on BigInt64 are modelled', async () => {
    const source = program(
      ['return Atomics.wait(v, 0, 0n);', 'Atomics.store(v, 0, 1n); return Atomics.notify(v, 0);'],
      'setup: () => ({ v: new BigInt64Array(new SharedArrayBuffer(16)) })',
    );
    expect(await outcomes(source)).toEqual(['["not-equal",0]', '["ok",1]']);
  });

  it('methods of typed arrays go element by element', async () => {
    const fill = program(['w.fill(1, 0, 2);', 'return [w[0], w[1]];'], 'races: false');
    expect(await outcomes(fill)).toEqual(['[null,[0,0]]', '[null,[0,1]]', '[null,[1,0]]', '[null,[1,1]]']);
    const slice = program(['w[0] = 1; w[1] = 1;', 'return [...w.slice(0, 2)];'], 'races: false');
    expect(await outcomes(slice)).toContain('[null,[0,1]]');
    const at = program(
      ['w[0] = 1;', 'return [w.at(0), w.at(0), Atomics.load(w, 1)];'],
      "racy: () => [[0, 0, 4, 'test']]",
    );
    expect(await outcomes(at)).toContain('[null,[1,0,0]]'); // marked reads may come in any order
  });

  it.each([
    ['an alias of a constructor', 'const C = w.constructor; return new C(w)[0];', ''],
    ['a subclass', 'return new W(w)[0];', 'class W extends Int32Array {}'],
    ['a template', ['return w[`$', '{c.thread - 1}`];'].join(''), ''],
    ['a key that is an object', "return w[{ toString: () => '0' }];", ''],
    ['a method by a computed name', "return w['a' + 't'](0);", ''],
    ['destructuring', 'const [x] = w; return x;', ''],
  ])('sees a race through %s', async (_, read, before) => {
    const source = program(['w[0] = 1; Atomics.store(w, 1, 1);', `Atomics.load(w, 2); ${read}`], '', before);
    const result = await check(source, { jobs: 1 });
    expect(result.failure?.text).toMatch(/data race on buffer 0 \+0/);
  });

  it('what random schedules find is replayed', async () => {
    const source = program(
      [
        'Atomics.store(w, 0, 1); for (let i = 1; i < 9; i++) Atomics.load(w, i); Atomics.store(w, 0, 2);',
        'for (let i = 1; i < 9; i++) Atomics.store(w, i, 1); return Atomics.load(w, 0);',
        'return Atomics.load(w, 0);',
      ],
      "check({ results: [a, b, c] }) { if (c === 1 && b === 2) throw new Error('hit'); }",
    );
    for (const strategy of ['random', 'pct'] as const) {
      for (let seed = 1; seed <= 4; seed++) {
        const result = await check(source, { strategy, seed: seed * 100, jobs: 1, executions: 2000 });
        expect(result.failure?.text).toMatch(/hit/);
        const { ended } = await replay(source, result.failure?.script ?? []);
        expect(ended.failure?.text).toMatch(/hit/);
      }
    }
  });

  it.each([
    ['exchange', 'while (Atomics.exchange(w, 0, 1) !== 0);'],
    ['or', 'while (Atomics.or(w, 0, 1) & 1);'],
    ['compareExchange', 'while (Atomics.compareExchange(w, 0, 0, 1) !== 0);'],
  ])('a spinlock by %s is one', async (_, lock) => {
    const body = `${lock} w[2]++; Atomics.store(w, 0, 0);`;
    const source = program([body, body], "check({ shared }) { if (shared.w[2] !== 2) throw new Error('lost'); }");
    expect(await outcomes(source)).toEqual(['[null,null]']);
  });

  it('polling in the shape of an addition ends', async () => {
    const source = program(['while (Atomics.add(w, 0, 0) === 0);', 'Atomics.store(w, 0, 1);']);
    expect(await outcomes(source)).toEqual(['[null,null]']);
  });

  it('loops with an end come to it', async () => {
    const counted = program(
      ['let n = 0; for (let i = 0; i < w[0]; i++) n += i; return n;', 'Atomics.load(w, 1);'],
      'setup() { const w = new Int32Array(new SharedArrayBuffer(16)); w[0] = 1000; return { w }; }',
    );
    expect(await outcomes(counted)).toEqual(['[499500,null]']);
    const spin = program([
      'for (let i = 0; i < 300; i++) if (Atomics.load(w, 2) !== 0) break; Atomics.store(w, 1, 1); Atomics.notify(w, 1);',
      'return Atomics.wait(w, 1, 0, 5000);',
    ]);
    expect(await outcomes(spin)).toEqual(['[null,"not-equal"]', '[null,"ok"]']);
    const timed = program([
      "const until = c.now(); void until; for (let i = 0; i < 50 && Atomics.load(w, 0) === 0; i++) Atomics.pause?.(); return 'over';",
      'Atomics.load(w, 1);',
    ]);
    expect(await outcomes(timed)).toEqual(['["over",null]']);
  });

  it('a spin that nothing ends is a livelock', async () => {
    const result = await check(program(['while (Atomics.load(w, 0) === 0);', 'Atomics.load(w, 1);']), { jobs: 1 });
    expect(result.failure?.text).toMatch(/threads spin and nobody writes/);
  });

  it('the dead do not wait for anybody', async () => {
    const dying = 'let ok = false; try { Atomics.store(w, 0, 1); ok = true; } finally { if (!ok) c.join("b"); }';
    const source = program([dying, 'Atomics.load(w, 0); return c.join("a");'], '', '', 0);
    expect(await outcomes(source)).toEqual(['[null,false]', '[null,true]']);
  });

  it('a thread may only wait for others', async () => {
    const source = program(['Atomics.store(w, 0, 1);', "return c.join('a');"]);
    expect(await outcomes(source)).toEqual(['[null,false]']);
  });

  it('a race names the access that raced', async () => {
    const source = program([
      'function plainWrite() { w[0] = 1; } function atomicRead() { Atomics.load(w, 0); } plainWrite(); atomicRead();',
      'return w[0];',
    ]);
    const result = await check(source, { jobs: 1 });
    const text = renderFailure(result, await replay(source, result.failure?.script ?? []));
    expect(text).toMatch(/first: a, poke at step \d+\n {4}at plainWrite/);
  });

  it('schedules that do not fit are refused', async () => {
    const source = program(['Atomics.store(w, 0, 1);', 'Atomics.load(w, 0);']);
    expect((await replay(source, [999, 1])).ended.failure?.text).toMatch(/ended before decision 999/);
    expect((await replay(source, [1, -1])).ended.failure?.text).toMatch(/ends thread a at 1, which is not mortal/);
    await expect(replay(source, [Number.NaN, 1])).rejects.toThrow(/a schedule is position, action/);
    await expect(replay(source, [3])).rejects.toBeInstanceOf(RangeError);
  });

  it('outcomes are asked for within the bound of the model, not within less', async () => {
    const source = program(
      ['Atomics.store(w, 0, 1); return Atomics.load(w, 1);', 'Atomics.store(w, 1, 1); return Atomics.load(w, 0);'],
      "outcomes: ['[0,1]', '[1,0]', '[1,1]']",
    );
    expect((await check(source, { jobs: 1, preemptions: 0 })).verdict).toBe('exhausted');
    expect((await check(source, { jobs: 1 })).verdict).toBe('exhausted');
  });
});
