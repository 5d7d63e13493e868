/**
 * Rewrites JavaScript so that every access to a typed array, and every use of Atomics, goes through the runtime, which announces those
 * to shared memory. Everything else behaves as before. Parsed with acorn; only the text of the rewritten expressions changes, and
 * no line moves.
 */
import { type AnyNode, type Node, parse } from 'acorn';
import MagicString from 'magic-string';

/** Methods of typed arrays and DataViews that touch elements. */
const METHODS = new Set([
  'at',
  'set',
  'fill',
  'copyWithin',
  'slice',
  'indexOf',
  'lastIndexOf',
  'includes',
  'join',
  'reverse',
  'sort',
  'map',
  'filter',
  'find',
  'findIndex',
  'findLast',
  'findLastIndex',
  'some',
  'every',
  'forEach',
  'reduce',
  'reduceRight',
  'with',
  'toReversed',
  'toSorted',
  'getInt8',
  'getUint8',
  'getInt16',
  'getUint16',
  'getInt32',
  'getUint32',
  'getFloat32',
  'getFloat64',
  'getBigInt64',
  'getBigUint64',
  'setInt8',
  'setUint8',
  'setInt16',
  'setUint16',
  'setInt32',
  'setUint32',
  'setFloat32',
  'setFloat64',
  'setBigInt64',
  'setBigUint64',
]);

/** The name under which rewritten code finds the runtime. */
export const RUNTIME = '__vmspaceAccess';

/** Any node of acorn's, with its children by name. */
type Tree = AnyNode & { readonly [key: string]: unknown };

interface Parent {
  readonly node: Tree;
  readonly key: string;
  /** Inside a destructuring target, not in one of its defaults. */
  readonly inPattern: boolean;
}

/** The rewritten source. Throws a SyntaxError with acorn's position. */
export function rewrite(source: string, options: { readonly module: boolean }): string {
  const program = parse(source, {
    ecmaVersion: 'latest',
    sourceType: options.module ? 'module' : 'script',
    allowHashBang: true,
    allowReturnOutsideFunction: !options.module,
    allowAwaitOutsideFunction: options.module,
  }) as unknown as Tree;
  const out = new MagicString(source);
  const atomicsIsOurs = !declares(program, 'Atomics');
  let used = false;
  const touch = (): string => {
    used = true;
    return RUNTIME;
  };
  const visit = (node: Tree, parent: Parent | undefined): void => {
    for (const [key, child] of childrenOf(node))
      visit(child, {
        node,
        key,
        inPattern:
          parent?.inPattern === true ? key !== 'right' && key !== 'key' : /Pattern$/.test(node.type) && key !== 'right',
      });
    if (node.type === 'Identifier' && node.name === 'Atomics' && atomicsIsOurs && isReference(parent)) {
      const shorthand = parent?.node.type === 'Property' && (parent.node as Tree).shorthand === true;
      put(out, node.start, node.end, `${shorthand ? 'Atomics: ' : ''}${touch()}.Atomics`);
    } else if (node.type === 'MemberExpression' && isElement(node)) element(out, node, parent, touch);
    else if (node.type === 'AssignmentExpression') assignment(out, node, touch);
    else if (node.type === 'UpdateExpression') update(out, node, touch);
    else if (node.type === 'CallExpression') call(out, node, parent, touch);
  };
  visit(program, undefined);
  if (!used) return source;
  out.appendLeft(directivesEnd(source, program), `const ${RUNTIME}=globalThis[Symbol.for('vmspace.access')];`);
  return out.toString();
}

/** Replaces text, and keeps what was put before and behind it. */
function put(out: MagicString, from: number, to: number, text: string): void {
  out.overwrite(from, to, text, { contentOnly: true });
}

const field = (node: Tree, name: string): Tree => node[name] as Tree;

function* childrenOf(node: Tree): Iterable<[string, Tree]> {
  for (const [key, value] of Object.entries(node)) {
    if (Array.isArray(value)) {
      for (const item of value) if (isNode(item)) yield [key, item as Tree];
    } else if (isNode(value)) yield [key, value as Tree];
  }
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && typeof (value as { type?: unknown }).type === 'string';
}

/** `a[i]`, where i may be an index: not `a['name']`, `super[i]`, `a?.[i]` or a private name. */
function isElement(node: Tree): boolean {
  if (node.computed !== true || node.optional === true || field(node, 'object').type === 'Super') return false;
  const key = field(node, 'property');
  if (key.type === 'TemplateLiteral') return false;
  return key.type !== 'Literal' || typeof key.value === 'number' || /^\d+$/.test(String(key.value));
}

function isReference(parent: Parent | undefined): boolean {
  if (parent === undefined) return true;
  const { node, key } = parent;
  if (node.type === 'MemberExpression') return key === 'object' || node.computed === true;
  if (node.type === 'Property' || node.type === 'PropertyDefinition' || node.type === 'MethodDefinition') {
    return key === 'value' || node.computed === true;
  }
  return !/^(Labeled|Break|Continue|Import|Export)/.test(node.type);
}

/** Whether the name is bound anywhere in the file: then it is left alone everywhere. */
function declares(node: Tree, name: string): boolean {
  const binds = (pattern: Tree | null | undefined): boolean => {
    if (pattern === null || pattern === undefined) return false;
    if (pattern.type === 'Identifier') return pattern.name === name;
    if (pattern.type === 'MemberExpression') return false;
    return [...childrenOf(pattern)].some(([key, child]) => key !== 'key' && key !== 'right' && binds(child));
  };
  if (node.type === 'VariableDeclarator' && binds(field(node, 'id'))) return true;
  if (/^(Function|ArrowFunction|Class)/.test(node.type)) {
    if (binds(node.id as Tree | null)) return true;
    if ((node.params as Tree[] | undefined)?.some(binds)) return true;
  }
  if (/^Import.*Specifier$/.test(node.type) && binds(field(node, 'local'))) return true;
  if (node.type === 'CatchClause' && binds(node.param as Tree | null)) return true;
  return [...childrenOf(node)].some(([, child]) => declares(child, name));
}

/** Reading an element. What assigns, deletes, calls or destructures is not a read. */
function element(out: MagicString, node: Tree, parent: Parent | undefined, touch: () => string): void {
  if (parent !== undefined) {
    const { node: outer, key } = parent;
    if (outer.type === 'AssignmentExpression' && key === 'left') return;
    if (outer.type === 'UpdateExpression') return;
    if (outer.type === 'UnaryExpression' && outer.operator === 'delete') return;
    if (
      (outer.type === 'CallExpression' || outer.type === 'TaggedTemplateExpression') &&
      (key === 'callee' || key === 'tag')
    )
      return;
    if (/^For(In|Of)Statement$/.test(outer.type) && key === 'left') return;
    if (parent.inPattern && /Pattern$|^RestElement$|^Property$/.test(outer.type)) return;
    if (outer.type === 'Property' && key === 'value' && (outer as Tree & { isPattern?: boolean }).isPattern === true)
      return;
    if (outer.type === 'ChainExpression') return;
  }
  const object = field(node, 'object');
  const property = field(node, 'property');
  const wrap = parent?.node.type === 'NewExpression' && parent.key === 'callee';
  out.prependRight(node.start, `${wrap ? '(' : ''}${touch()}.get(`);
  put(out, object.end, property.start, bracketed(out, object.end, property.start, '[', ','));
  put(out, property.end, node.end, `${bracketed(out, property.end, node.end, ']', ')')}${wrap ? ')' : ''}`);
}

/** The text between two nodes with its bracket replaced: comments and line ends stay, and so do parentheses around the nodes. */
function bracketed(out: MagicString, from: number, to: number, bracket: string, by: string): string {
  const text = out.original.slice(from, to);
  const at = bracket === '[' ? text.indexOf('[') : text.lastIndexOf(']');
  return `${text.slice(0, at)}${by}${text.slice(at + 1)}`;
}

const suspends = (node: Tree): boolean =>
  /^(Yield|Await)Expression$/.test(node.type) ||
  (!/^(Function|ArrowFunction)/.test(node.type) && [...childrenOf(node)].some(([, child]) => suspends(child)));

function assignment(out: MagicString, node: Tree, touch: () => string): void {
  const left = field(node, 'left');
  if (left.type !== 'MemberExpression' || !isElement(left)) return;
  const right = field(node, 'right');
  const object = field(left, 'object');
  const property = field(left, 'property');
  const operator = String(node.operator);
  const head = (name: string): void => {
    out.prependRight(node.start, `${touch()}.${name}(`);
    put(out, object.end, property.start, bracketed(out, object.end, property.start, '[', ','));
  };
  if (operator === '=') {
    head('set');
    const text = out.original.slice(property.end, right.start);
    const at = text.indexOf(']');
    put(out, property.end, right.start, `${text.slice(0, at)}${text.slice(at + 1).replace('=', ',')}`);
    out.appendLeft(node.end, ')');
    return;
  }
  // The old value is read before the right side is evaluated, as ever. A suspended one cannot be moved into a function.
  if (suspends(right)) return;
  const logical = /^(\|\||&&|\?\?)=$/.test(operator);
  head(logical ? 'logical' : 'compound');
  const plain = operator.slice(0, -1);
  const text = out.original.slice(property.end, right.start);
  const at = text.indexOf(']');
  const rest = text.slice(at + 1).replace(operator, '');
  const opens = logical ? `, ${JSON.stringify(plain)}, () => (` : `, ($) => ($ ${plain} (`;
  put(out, property.end, right.start, `${text.slice(0, at)}${opens}${rest}`);
  out.appendLeft(node.end, logical ? '))' : ')))');
}

function update(out: MagicString, node: Tree, touch: () => string): void {
  const target = field(node, 'argument');
  if (target.type !== 'MemberExpression' || !isElement(target)) return;
  const object = field(target, 'object');
  const property = field(target, 'property');
  const prefix = node.prefix === true;
  const delta = node.operator === '++' ? 1 : -1;
  const before = prefix ? out.original.slice(node.start, target.start).replace(String(node.operator), '') : '';
  if (prefix) put(out, node.start, target.start, `${touch()}.update(${before}`);
  else out.prependRight(node.start, `${touch()}.update(`);
  put(out, object.end, property.start, bracketed(out, object.end, property.start, '[', ','));
  const tail = out.original
    .slice(property.end, node.end)
    .replace(']', '')
    .replace(prefix ? '' : String(node.operator), '');
  put(out, property.end, node.end, `${tail}, ${delta}, ${prefix})`);
}

/** `view.set(...)`: the runtime looks whether it is a view of shared memory. */
function call(out: MagicString, node: Tree, parent: Parent | undefined, touch: () => string): void {
  const callee = field(node, 'callee');
  if (
    callee.type !== 'MemberExpression' ||
    node.optional === true ||
    callee.optional === true ||
    callee.computed === true
  )
    return;
  if (parent?.node.type === 'ChainExpression' || inChain(callee)) return;
  const object = field(callee, 'object');
  const property = field(callee, 'property');
  if (object.type === 'Super' || property.type !== 'Identifier' || !METHODS.has(String(property.name))) return;
  out.prependRight(node.start, `${touch()}.call(`);
  const dot = out.original.slice(object.end, property.start).replace('.', ',');
  put(out, object.end, property.start, `${dot}`);
  put(out, property.start, property.end, JSON.stringify(property.name));
  // The text behind the name: `(` becomes `, [`, and the last `)` becomes `])`.
  const args = node.arguments as Tree[];
  const first = args[0];
  const open = out.original.slice(property.end, first === undefined ? node.end : first.start);
  if (first === undefined) {
    const inside = open.replace('(', ',[');
    put(out, property.end, node.end, `${inside.slice(0, inside.lastIndexOf(')'))}])`);
    return;
  }
  put(out, property.end, first.start, open.replace('(', ',['));
  const last = args[args.length - 1] as Tree;
  const close = out.original.slice(last.end, node.end);
  put(out, last.end, node.end, `${close.slice(0, close.lastIndexOf(')'))}])`);
}

function inChain(node: Tree): boolean {
  for (let at: Tree = node; ; at = field(at, at.type === 'CallExpression' ? 'callee' : 'object')) {
    if (at.optional === true) return true;
    if (at.type !== 'MemberExpression' && at.type !== 'CallExpression') return false;
  }
}

/** Behind '#!' and directives such as 'use strict', which must stay first. */
function directivesEnd(source: string, program: Tree): number {
  let end = source.startsWith('#!') ? source.indexOf('\n') + 1 : 0;
  for (const statement of program.body as Tree[]) {
    if (typeof statement.directive !== 'string') break;
    end = statement.end;
  }
  return end;
}
