/** What the transform makes of other people's code: every module of the packages beside us comes out parsable, line for line. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Options, parse } from 'acorn';
import { describe, expect, it } from 'vitest';
import { rewrite } from '../../check/transform/rewrite.ts';
import { access } from '../../check/transform/runtime.ts';

const folder = fileURLToPath(new URL('../../node_modules', import.meta.url));
const LARGEST = 400_000;
/** Each so many-th file, so that the test takes seconds; all of them were tried when the transform was written. */
const STRIDE = 3;

const lines = (text: string): number => text.split(/\r\n|[\n\r\u2028\u2029]/).length;

function parses(text: string, options: Options): boolean {
  try {
    parse(text, options);
    return true;
  } catch {
    return false;
  }
}

describe('the packages beside us', () => {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.(m|c)?js$/.test(name))
    .sort()
    .filter((_, i) => i % STRIDE === 0)
    .map((name) => join(folder, name))
    .filter((file) => statSync(file).isFile() && statSync(file).size <= LARGEST);

  it('are rewritten to modules with as many lines', { timeout: 900_000 }, () => {
    const wrong: string[] = [];
    let rewritten = 0;
    for (const file of files) {
      const text = readFileSync(file, 'utf8');
      for (const module of [true, false]) {
        const options: Options = {
          ecmaVersion: 'latest',
          sourceType: module ? 'module' : 'script',
          allowHashBang: true,
          allowReturnOutsideFunction: !module,
          allowAwaitOutsideFunction: module,
        };
        if (!parses(text, options)) continue;
        rewritten++;
        const out = rewrite(text, { module });
        if (!parses(out, options)) wrong.push(`${file} does not parse any more`);
        if (lines(out) !== lines(text)) wrong.push(`${file} has other lines`);
      }
    }
    expect(wrong).toEqual([]);
    expect(rewritten).toBeGreaterThan(100);
  });

  it('do the same as before: acorn, rewritten, parses what acorn parses', () => {
    const text = readFileSync(join(folder, 'acorn/dist/acorn.js'), 'utf8');
    (globalThis as Record<symbol, unknown>)[Symbol.for('vmspace.access')] = access;
    const load = (source: string): { parse: typeof parse } => {
      const module = { exports: {} as { parse: typeof parse } };
      new Function('module', 'exports', source)(module, module.exports);
      return module.exports;
    };
    const rewritten = rewrite(text, { module: false });
    expect(rewritten.split('__vmspaceAccess').length).toBeGreaterThan(100);
    const tree = (parser: { parse: typeof parse }): string =>
      JSON.stringify(parser.parse(text, { ecmaVersion: 'latest', locations: true }), (_, value: unknown) =>
        typeof value === 'bigint' ? `${value}n` : value,
      );
    expect(tree(load(rewritten))).toBe(tree(load(text)));
  });
});
