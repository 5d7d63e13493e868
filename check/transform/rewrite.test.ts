// biome-ignore-all lint/suspicious/noTemplateCurlyInString: programs as text
import fc from 'fast-check';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { PortObserver } from '../../src/sync/atomics.checked.ts';
import { rewrite } from './rewrite.ts';
import { installRuntime } from './runtime.ts';

const PORTS = Symbol.for('vmspace.checked-ports');
let observe: (observer: PortObserver | undefined) => void = () => undefined;

beforeAll(() => {
  installRuntime();
  observe = ((globalThis as { [key: symbol]: unknown })[PORTS] as (typeof observe)[]).at(-1) as typeof observe;
});
afterEach(() => observe(undefined));

/** Runs a function body as it is, or rewritten. */
function run(body: string, args: Record<string, unknown>): unknown {
  return new Function(...Object.keys(args), body)(...Object.values(args));
}
function runRewritten(body: string, args: Record<string, unknown>): unknown {
  const source = `(function (${Object.keys(args).join(', ')}) { ${body}\n})`;
  const code = rewrite(source, { module: false });
  const at = code.indexOf('(function (');
  const make = new Function(`${code.slice(0, at)} return ${code.slice(at)}`) as () => (...all: unknown[]) => unknown;
  return make()(...Object.values(args));
}

const CASES: readonly [what: string, body: string][] = [
  ['a read', 'return a[1] + a["2"] + a[i]'],
  ['names and symbols', 'return [o["name"], o[`n${"ame"}`], o.name, o[Symbol.iterator]]'],
  ['a write and its value', 'return [a[1] = 7, a]'],
  ['a chain of writes', 'return [a[0] = a[1] = a[2], a]'],
  ['nested elements', 'return [m[0][1], m[1][0] = 5, m[a[0] - 3][a[1] - 4], m]'],
  ['compound assignment', 'a[0] += 2; a[1] -= 1; a[2] *= 3; a[0] **= 2; a[1] <<= 1; a[2] >>>= 1; return a'],
  ['logical assignment', 'a[0] ||= 9; a[9] ??= 4; a[1] &&= 8; return a'],
  ['increments', 'return [a[0]++, ++a[1], a[2]--, --a[2], a]'],
  ['increments of other things', 'let n = 1; o.n = 2; return [n++, ++o.n, o["n"]++, o]'],
  ['bigint elements', 'b[0]++; b[1] += 2n; return b'],
  [
    'evaluation order',
    'const log = []; const f = (x) => (log.push(x), x); a[f(0)] = f(1); a[f(1)] += f(2); return [log, a]',
  ],
  ['the old value first', 'a[0] += (a[0] = 100, 1); return a'],
  ['calls of elements', 'const fs = [function () { return this.length }]; return [fs[0](), fs[0].call("ab")]'],
  ['new of an element', 'const cs = [class { x = 3 }]; return [new cs[0]().x, new (cs[0])().x]'],
  ['optional chains', 'return [o?.["name"], o?.list?.[0], u?.[0], o?.list?.slice(1), u?.slice(0)]'],
  ['delete', 'delete a[1]; return [a, 1 in a]'],
  ['destructuring targets', '[a[0], a[1]] = [a[1], a[0]]; ({ x: a[2], ...o.rest } = { x: 5, y: 6 }); return [a, o]'],
  ['destructuring defaults', 'const [p = a[0], { q = a[1] } = {}] = []; return [p, q]'],
  [
    'loops',
    'let s = 0; for (a[0] of [1, 2]) s += a[0]; for (const k in a) s += a[k]; for (let j = 0; j < a.length; j++) s += a[j]; return s',
  ],
  [
    'method names on other objects',
    'const m2 = new Map(); m2.set(1, 2); m2.forEach((v) => a.push(v)); return [m2.get(1), a.slice(1), a.map((x) => x * 2), "abc".slice(1), new Set([1]).has(1)]',
  ],
  [
    'method calls with spread and no arguments',
    'return [a.slice(), a.slice(...[1, 2]), a.concat(a).join("-"), [].at(0)]',
  ],
  [
    'this in methods',
    'class Box { slice() { return this.v } constructor() { this.v = 4 } get() { return this.slice() } } return new Box().get()',
  ],
  [
    'super',
    'class A { at(i) { return i } } class B extends A { at(i) { return super.at(i) + super["at"](1) } } return new B().at(3)',
  ],
  [
    'labels and properties called Atomics',
    'const x = { Atomics: 1 }; Atomics: for (;;) break Atomics; return [x.Atomics, typeof Atomics.load, { Atomics }.Atomics.load === Atomics.load]',
  ],
  ['a local Atomics', 'const Atomics = { load: () => 5 }; return Atomics.load()'],
  [
    'generators',
    'function* g() { a[0] = yield 1; a[1] += yield a[0]; } const it = g(); it.next(); it.next(8); it.next(2); return a',
  ],
  ['parentheses and comments', 'return (a)[ /* one */ (1) ] + ((a)[(2)]) + (/* [ */ a[0] /* ] */)'],
  ['template and tagged template', 'const tags = [(s) => s.raw[0]]; return [`${a[0]}`, tags[0]`x${1}`]'],
  ['closures and arrows', 'const f = (k) => a[k]; return [0, 1, 2].map((k) => f(k) + a[k])'],
  ['a name like those of the rewriting', 'let $ = 5; a[0] += $; return a'],
  [
    'long optional chains',
    'const f = (x) => [x?.b[0].c, x?.b[0]?.c.d?.[1], x?.b.c?.[0][1], x?.b[0].f?.(2)[0], x?.b[0].g?.(2), x?.f(1)[0], x?.["b"][0].k]; ' +
      'return [f(undefined), f({ f: (n) => [n], b: Object.assign([{ c: { d: [1, 2] }, k: 7, f(n) { return [this.k + n] } }], { c: [[1, 2]] }) })]',
  ],
  [
    'calls through optional chains',
    'const q = { k: [3], f() { return this?.k[0] } }; return [q?.f(), (q?.f)(), q.f?.(), q?.["f"]?.()]',
  ],
  [
    'members of elements as constructors',
    'const ns = [{ Foo: class { x = 4 } }]; return [new ns[0].Foo().x, new ns[0].Foo.prototype.constructor().x]',
  ],
  ['sequences as indices', 'const r = [a[0, 1]]; a[0, 1] = 7; a[0, 2]++; return [r, a]'],
  ['parenthesised targets', '(a[0]) = 5; (a[1])++; ++(a[1]); (a[2]) += 3; return [a, (o.list.slice)(1), ((a))[(0)]]'],
  [
    'comments with brackets',
    'a /* [ */ [0] = 1; a[0 /* ] */] = 4; a[1] /* = */ = 5; a[2 /* ] */]++; return [a, a /* ( */ . slice /* ( */ (1 /* ) */)]',
  ],
  ['frozen objects and primitives', 'Object.freeze(m)[0] = 2; "abc"[0] = "x"; return m'],
  [
    'errors in strict code',
    '"use strict"; try { Object.freeze(m)[0] = 2 } catch (e) { return e instanceof TypeError }',
  ],
  ['keywords without a space', 'for (a[0]of[4]); switch(3){case(a)[1]-1:return(a)[0]}'],
  [
    'writes that yield',
    'function* g() { a[9] ||= yield 1; [a[0], a[1] = yield 2] = [8]; } const it = g(); it.next(); it.next(6); it.next(7); return a',
  ],
  [
    'values with side effects',
    'let n = 0; t[0] = { valueOf() { n++; return 3 } }; return [n, t[0], t[0] = "4", t[0] = 2.5, t[0]]',
  ],
  [
    'iteration and copies of typed arrays',
    't[1] = 3; return [[...t], Array.from(t), [...t.entries()], [...t.keys()], new Float64Array(t)[1], Math.max(...t), String(t), (([x, y]) => y)(t)]',
  ],
  [
    'methods of typed arrays',
    't.set([4, 3, 2, 1]); return [t.map((x) => x * 2), t.filter((x) => x > 2), t.reduce((s, x) => s + x), t.reduceRight((s, x) => s + x, ""), t.indexOf(2), t.includes(9), t.lastIndexOf(4), t.find((x) => x < 3), t.some((x) => x > 3), t.at(-1), t.slice(1, 3), t.join("-"), t.sort(), t.reverse(), t.fill(7, 2), t.copyWithin(0, 2), t.subarray(1)]',
  ],
  [
    'Atomics',
    'return [Atomics.add(t, 0, 5), Atomics.compareExchange(t, 0, 5.5, 0xffffffff), Atomics.load(t, true), Atomics.store(t, 1, "7"), Atomics.exchange(t, 1, -0), Atomics.sub(t, 0, 1), globalThis.Atomics.load(t, 0), Object.prototype.toString.call(Atomics)]',
  ],
  [
    'errors of Atomics',
    'const e = (f) => { try { return f() } catch (x) { return x.constructor.name } }; return [e(() => Atomics.load(t, 99)), e(() => Atomics.load(t, -1)), e(() => Atomics.load([1], 0)), e(() => Atomics.add(t, 0, 1n)), e(() => (t[0] = 1n)), e(() => Atomics.load(new Float64Array(1), 0))]',
  ],
  [
    'Atomics on bigints',
    'Atomics.store(w, 0, 2n ** 63n - 1n); return [Atomics.compareExchange(w, 0, 2n ** 63n - 1n, 5n), Atomics.load(w, 0), w[0]++, w[0]]',
  ],
  [
    'DataViews',
    'd.setInt32(1, -2); d.setFloat64(8, 0.5, true); return [d.getUint8(4), d.getInt16(3), d.getFloat64(8, true)]',
  ],
  ['errors', 'try { u[0] } catch (e) { return e instanceof TypeError }'],
  ['errors of methods', 'try { o.fill(1) } catch (e) { return e instanceof TypeError }'],
];
const things = (): Record<string, unknown> => ({
  a: [3, 4, 5],
  b: [1n, 2n],
  i: 2,
  m: [
    [1, 2],
    [3, 4],
  ],
  o: { name: 'n', list: [1, 2], n: 1, rest: null },
  u: undefined,
  t: new Int32Array(new SharedArrayBuffer(16)),
  w: new BigInt64Array(new SharedArrayBuffer(16)),
  d: new DataView(new SharedArrayBuffer(16)),
});

describe('rewrite', () => {
  it.each(CASES)('keeps the meaning of %s', (_, body) => {
    expect(runRewritten(body, things())).toEqual(run(body, things()));
  });

  it.each(CASES)('keeps the meaning of %s, observed', (_, body) => {
    const expected = run(body, things());
    observe({ access: () => undefined });
    expect(runRewritten(body, things())).toEqual(expected);
  });

  it.each(CASES)('keeps the lines of %s', (_, body) => {
    // Every blank becomes a line end, where that changes nothing.
    const lines = body.replace(/([,;([{]) /g, '$1\n\r\n');
    const rewritten = rewrite(`(function () { ${lines}\n})`, { module: false });
    expect(rewritten.split('\n').length).toBe(lines.split('\n').length + 1);
    expect(runRewritten(lines, things())).toEqual(run(lines, things()));
  });

  it('reads scripts without semicolons', () => {
    const source = "'use strict'\nconst a = [7]\na[0]\n";
    const out = rewrite(source, { module: false });
    expect(new Function(`${out}; return this === undefined && a[0]`)()).toBe(7);
    expect(out.split('\n').length).toBe(source.split('\n').length);
    expect(() => new Function(rewrite("'use strict' // c\na = 1, [a][0]", { module: false }))).not.toThrow();
  });

  it('keeps lines, directives and what needs no change', () => {
    expect(rewrite('const x = 1;\n', { module: true })).toBe('const x = 1;\n');
    const out = rewrite("'use strict';\nx[0] = 1;\n// end\n", { module: false });
    expect(out.split('\n')[0]).toMatch(/^'use strict';;const /);
    expect(out.split('\n').length).toBe(4);
    expect(rewrite('#!/usr/bin/env node\na[0];', { module: false })).toMatch(/^#!.*\n;const /);
    expect(() => rewrite('a[', { module: true })).toThrow(SyntaxError);
  });

  it('keeps the meaning of generated programs over ordinary and typed arrays', () => {
    const index = fc.integer({ min: 0, max: 3 }).map(String);
    const place = fc.tuple(fc.constantFrom('a', 't'), index).map(([array, i]) => `${array}[${i}]`);
    const value = fc.oneof(
      place,
      index,
      fc.tuple(place, place).map(([x, y]) => `(${x} + ${y})`),
    );
    const statement = fc.oneof(
      fc
        .tuple(place, fc.constantFrom('=', '+=', '-=', '|=', '||=', '&&='), value)
        .map((parts) => `${parts.join(' ')};`),
      fc.tuple(place, fc.constantFrom('++', '--')).map((parts) => `${parts.join('')};`),
      fc.tuple(fc.constantFrom('++', '--'), place).map((parts) => `${parts.join('')};`),
      fc.tuple(index, index).map(([x, y]) => `t.copyWithin(${x}, ${y}); t.fill(${y}, ${x});`),
      fc.tuple(place, place, value).map(([x, y, z]) => `${x} = ${y} = ${z};`),
    );
    fc.assert(
      fc.property(fc.array(statement, { maxLength: 12 }), (statements) => {
        const body = `${statements.join('\n')} return [a, Array.from(t)]`;
        const args = (): Record<string, unknown> => ({ a: [1, 2, 3, 4], t: new Int32Array(new SharedArrayBuffer(16)) });
        expect(runRewritten(body, args())).toEqual(run(body, args()));
      }),
    );
  });
});

describe('the runtime', () => {
  function told(body: string, args: Record<string, unknown>): string[] {
    const seen: string[] = [];
    observe({ access: (kind, _array, index, value, expected) => seen.push(`${kind} ${index} ${value} ${expected}`) });
    runRewritten(body, args);
    observe(undefined);
    return seen;
  }
  const words = (): Int32Array => new Int32Array(new SharedArrayBuffer(16));

  it('announces every access to shared memory once, in program order, and no other', () => {
    const body =
      's[0] = 5; s[1] += s[0]; s[2]++; x[0] = 1; Atomics.store(s, 3, 2); Atomics.compareExchange(s, 3, 2, 4); return Atomics.load(s, 3)';
    expect(told(body, { s: words(), x: new Int32Array(4) })).toEqual([
      'poke 0 5 0',
      'peek 1 0 0',
      'peek 0 0 0',
      'poke 1 5 0',
      'peek 2 0 0',
      'poke 2 1 0',
      'store 3 2 0',
      'cas 3 4 2',
      'load 3 0 0',
    ]);
  });

  it('announces what methods touch', () => {
    expect(told('s.fill(1, 1, 3); p.set(s); s.set([8, 9], 2)', { s: words(), p: new Int32Array(4) })).toEqual([
      'poke 1 1 0',
      'poke 2 1 0',
      'peek 0 0 0',
      'peek 1 0 0',
      'peek 2 0 0',
      'peek 3 0 0',
      'poke 2 8 0',
      'poke 3 9 0',
    ]);
    expect(told('d.setInt16(2, 7); d.getUint8(2)', { d: new DataView(new SharedArrayBuffer(8)) })).toEqual([
      'poke 1 NaN 0',
      'peek 2 0 0',
    ]);
  });

  it('announces targets of destructuring and loops, chains, iteration, copies and borrowed methods', () => {
    const body =
      '[s[0], s[1]] = [7, 8]; for (s[2] of [1, 2]); s?.[0]; o?.s[1]; [...s]; new Int32Array(s); ' +
      'Reflect.get(s, 1); Int32Array.prototype.at.call(s, 3); s.find((x) => x === 8); s.buffer.slice(4, 8)';
    const s = words();
    expect(told(body, { s, o: { s } }).map((line) => line.split(' ').slice(0, 2).join(' '))).toEqual([
      ...['poke 0', 'poke 1', 'poke 2', 'poke 2', 'peek 0', 'peek 1'],
      ...['peek 0', 'peek 1', 'peek 2', 'peek 3'],
      ...['peek 0', 'peek 1', 'peek 2', 'peek 3'],
      ...['peek 1', 'peek 3', 'peek 0', 'peek 1', 'peek 1'],
    ]);
  });

  it('leaves alone what nobody watches', () => {
    const seen: string[] = [];
    observe({ access: (kind) => seen.push(kind), watches: () => false });
    runRewritten('s[0] = 1; s.fill(2); Atomics.add(s, 0, 1); [...s]', { s: words() });
    expect(seen).toEqual([]);
  });

  it('does not announce what is out of range or not an index', () => {
    expect(told('s[9]; s[-1]; s.length; s["length"]; s[1.5]', { s: words() })).toEqual([]);
  });

  it('says that waitAsync is not modelled', () => {
    observe({ access: () => undefined });
    expect(() => runRewritten('Atomics.waitAsync(s, 0, 0)', { s: words() })).toThrow(/not modelled/);
  });
});
