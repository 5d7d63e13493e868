// An esbuild plugin for the bundles with the native port: writes its plain accesses (`peek(words, i)`) as what they are
// (`words[i]`). A call through a module binding costs a check of the binding, and all callers would share one type feedback.
import { readFileSync } from 'node:fs';
import { importsOf, parse, walkTree } from './imports.mjs';

const READS = new Set([
  'peek',
  'peekF64',
  'peekRacy',
  'peekRacyF64',
  'data8',
  'data16',
  'data32',
  'dataF32',
  'dataF64',
]);
const WRITES = new Set([
  'poke',
  'pokeF64',
  'pokeRacy',
  'pokeRacyF64',
  'setData8',
  'setData16',
  'setData32',
  'setDataF32',
  'setDataF64',
]);

export const inlinePort = {
  name: 'inline-port',
  setup({ onLoad }) {
    onLoad({ filter: /[/\\]src[/\\].*\.ts$/ }, ({ path }) => {
      if (/\.(test|checked|native)\.ts$/.test(path)) return undefined;
      return { contents: inlineAccesses(path, readFileSync(path, 'utf8')), loader: 'ts' };
    });
  },
};

export function inlineAccesses(path, text) {
  const program = parse(path, text);
  if (!importsOf(program).some(({ specifier }) => specifier === '#atomics')) return text;
  const edits = [];
  walkTree(program, (node) => {
    if (node.type !== 'CallExpression' || node.callee.type !== 'Identifier') return;
    const { name } = node.callee;
    const [array, index, value] = node.arguments;
    if (READS.has(name))
      edits.push([node.start, array.start, '('], [array.end, index.start, ')['], [index.end, node.end, ']']);
    if (!WRITES.has(name)) return;
    edits.push([node.start, array.start, '(('], [array.end, index.start, ')[']);
    edits.push([index.end, value.start, '] = ('], [value.end, node.end, '))']);
  });
  // Disjoint, since only the text between the operands is replaced; two that meet keep the order of the nesting.
  edits.sort((a, b) => b[0] - a[0] || b[1] - a[1]);
  let out = text;
  for (const [start, end, by] of edits) out = out.slice(0, start) + by + out.slice(end);
  return out;
}
