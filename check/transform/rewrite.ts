/**
 * Rewrites JavaScript so that every element access goes through the runtime, which announces those to shared memory. Everything else
 * behaves as before. Parsed with acorn. A rewritten expression is put together anew from its parts; the rest of the text stays as it
 * is, and no line moves.
 *
 * ```
 *   a[i]                              get(a, i)
 *   a[i] = v, a[i] += v, a[i]++,
 *   [a[i]] = v, for (a[i] of v)       ref(a, i).value = v ...           `value` has a getter and a setter
 *   a?.b[i]                           ((v) => v == null ? void 0 : get(v.b, i))(a)
 *   new C(v)                          new C(read(v, C))                 which reads all of v, if C copies it
 * ```
 * Methods and Atomics need no rewriting: the runtime replaces them in the thread.
 */
import { type AnyNode, type Node, parse } from 'acorn';

/** The name under which rewritten code finds the runtime. */
export const RUNTIME = '__vmspaceAccess';
const TEMPORARY = '__vmspaceValue';

/** Any node of acorn's, with its children by name. */
type Tree = AnyNode & { readonly [key: string]: unknown };

interface Context {
  readonly parent: Tree | undefined;
  readonly key: string;
  /** Inside a destructuring target, not in one of its defaults or keys. */
  readonly inPattern: boolean;
  /** A link of an optional chain that stays as it is. */
  readonly inChain: boolean;
  readonly strict: boolean;
}

const NAME = /[\w$\u0080-\uffff]/;

/** The rewritten source. Throws a SyntaxError with acorn's position. */
export function rewrite(source: string, options: { readonly module: boolean }): string {
  const program = parse(source, {
    ecmaVersion: 'latest',
    sourceType: options.module ? 'module' : 'script',
    allowHashBang: true,
    allowReturnOutsideFunction: !options.module,
    allowAwaitOutsideFunction: options.module,
  }) as unknown as Tree;
  return new Rewriter(source, options.module).program(program);
}

class Rewriter {
  private readonly _source: string;
  private readonly _module: boolean;
  private _used = false;
  private _temporaries = 0;

  constructor(source: string, module: boolean) {
    this._source = source;
    this._module = module;
  }

  program(program: Tree): string {
    const strict = this._module || isStrict(program.body as Tree[]);
    const end = directivesEnd(this._source, program);
    const rest = this._children(program, { ...NOWHERE, strict }, end);
    if (!this._used) return this._source;
    return `${this._source.slice(0, end)}${end > 0 ? ';' : ''}const ${RUNTIME}=globalThis[Symbol.for('vmspace.access')];${rest}`;
  }

  /** The text of a node, rewritten. */
  private _text(node: Tree, context: Context): string {
    const own = this._special(node, context);
    if (own === undefined) return this._children(node, context, node.start);
    this._used = true;
    // `return(a)[0]` has nothing between the keyword and what is put there now; nor has `for (a[0]of b)`.
    const before = NAME.test(this._source[node.start - 1] ?? '') ? ' ' : '';
    return `${before}${own}${NAME.test(this._source[node.end] ?? '') ? ' ' : ''}`;
  }

  /** The text of a node from `from` on, with its children rewritten. */
  private _children(node: Tree, context: Context, from: number): string {
    const strict = context.strict || becomesStrict(node);
    let text = '';
    let at = from;
    for (const [key, child] of childrenOf(node)) {
      // A shorthand property's key is its value, or part of it.
      if (child.start < at) continue;
      text += this._source.slice(at, child.start);
      const inPattern = context.inPattern
        ? key !== 'right' && key !== 'key'
        : /Pattern$/.test(node.type) && key !== 'right';
      const inChain = node.type === 'ChainExpression' || (context.inChain && (key === 'object' || key === 'callee'));
      text += this._text(child, { parent: node, key, inPattern, inChain, strict });
      at = child.end;
    }
    return text + this._source.slice(at, node.end);
  }

  /** What the node becomes; undefined if only its children may change. */
  private _special(node: Tree, context: Context): string | undefined {
    switch (node.type as string) {
      case 'MemberExpression':
        return this._member(node, context);
      case 'NewExpression':
        return this._new(node, context);
      case 'ChainExpression':
        return this._chain(node, context);
      default:
        return undefined;
    }
  }

  private _member(node: Tree, context: Context): string | undefined {
    if (!isElement(node) || context.inChain || isCalled(context) || isDeleted(context)) return undefined;
    const object = node.object as Tree;
    const property = node.property as Tree;
    const first = this._part(object, 'object', node, node.start, context.strict);
    const second = this._part(property, 'property', node, object.end, context.strict);
    const place = `(${first},${second}${this._lines(property.end, node.end)})`;
    if (!isTarget(context)) return `${RUNTIME}.get${place}`;
    return `${RUNTIME}.${context.strict ? 'ref' : 'refSloppy'}${place}.value`;
  }

  private _new(node: Tree, { strict }: Context): string | undefined {
    const callee = node.callee as Tree;
    const args = node.arguments as Tree[];
    const [first] = args;
    if (callee.type === 'Identifier' && first !== undefined && args.length === 1 && mayBeView(first)) {
      const view = this._part(first, 'arguments', node, callee.end, strict);
      return `new ${callee.name}(${RUNTIME}.read(${view},${callee.name}${this._lines(first.end, node.end)}))`;
    }
    if (callee.type !== 'MemberExpression') return undefined;
    // A constructor that has become a call needs parentheses.
    const inside = this._text(callee, { ...NOWHERE, parent: node, key: 'callee', strict });
    if (inside === this._source.slice(callee.start, callee.end)) return undefined;
    const before = this._lines(node.start, callee.start);
    return `new ${before}(${inside})${this._args(args, node, callee.end, strict)}`;
  }

  /**
   * What stands to the right of `?.` is only evaluated if the left is something. It becomes a function of the left side, in which
   * the elements can be rewritten.
   */
  private _chain(node: Tree, context: Context): string | undefined {
    const links = linksOf(node.expression as Tree);
    const start = links[0] as Tree;
    const innermost = leftOf(start);
    if (isCalled(context) || isDeleted(context) || innermost.type === 'Super' || suspends(node)) return undefined;
    if (!links.some((link) => link.type === 'MemberExpression' && isElement(link))) return undefined;
    const base = this._part(innermost, 'object', start, node.start, context.strict);
    return `(${this._link(links, 0, base, false, context.strict)}${this._lines((node.expression as Tree).end, node.end)})`;
  }

  /** A chain's links from number `i` on; `left` is the value of what is on their left. */
  private _link(links: readonly Tree[], i: number, left: string, present: boolean, strict: boolean): string {
    const link = links[i];
    if (link === undefined) return left;
    if (link.optional === true && !present) {
      const name = this._temporary();
      return `((${name})=>${name}==null?void 0:${this._link(links, i, name, true, strict)})(${left})`;
    }
    const from = leftOf(link).end;
    if (link.type !== 'MemberExpression') {
      return this._link(
        links,
        i + 1,
        `${left}${this._args(link.arguments as Tree[], link, from, strict)}`,
        false,
        strict,
      );
    }
    const key = this._part(link.property as Tree, 'property', link, from, strict);
    const name = this._source.slice(link.property.start, link.property.end);
    const member = (object: string): string => (link.computed ? `${object}[${key}]` : `${object}.${name}`);
    const call = links[i + 1];
    if (call?.type !== 'CallExpression') {
      const value = isElement(link) ? `${RUNTIME}.get(${left},${key})` : member(left);
      return this._link(links, i + 1, value, false, strict);
    }
    // The object of a member that is called is the call's `this`.
    const args = this._args(call.arguments as Tree[], call, link.end, strict);
    if (call.optional !== true) return this._link(links, i + 2, `${member(left)}${args}`, false, strict);
    const object = this._temporary();
    const callee = this._temporary();
    const called = `${RUNTIME}.apply(${callee},${object},[${args.slice(1, -1)}])`;
    const rest = this._link(links, i + 2, called, false, strict);
    return `((${object})=>((${callee})=>${callee}==null?void 0:${rest})(${member(object)}))(${left})`;
  }

  /** A child in parentheses, behind the line ends between `from` and it, so that it stays on its line. */
  private _part(child: Tree, key: string, parent: Tree, from: number, strict: boolean): string {
    const text = this._text(child, { ...NOWHERE, parent, key, strict });
    return `${this._lines(from, child.start)}(${text})`;
  }

  /** `(a, ...b)`, with the line ends from `from` to the end of the call. */
  private _args(args: readonly Tree[], call: Tree, from: number, strict: boolean): string {
    let at = from;
    const list = args.map((arg) => {
      const spread = arg.type === 'SpreadElement';
      const value = spread ? (arg.argument as Tree) : arg;
      const part = this._part(value, 'arguments', call, value.start, strict);
      const lines = this._lines(at, value.start);
      at = arg.end;
      return `${lines}${spread ? '...' : ''}${part}`;
    });
    return `(${list.join(',')}${this._lines(at, call.end)})`;
  }

  private _lines(from: number, to: number): string {
    return this._source.slice(from, to).replace(/[^\n\r\u2028\u2029]/g, '');
  }

  private _temporary(): string {
    return `${TEMPORARY}${this._temporaries++}`;
  }
}

const NOWHERE: Context = { parent: undefined, key: '', inPattern: false, inChain: false, strict: false };

/** The links of a chain, from the left: members and calls. */
function linksOf(expression: Tree): Tree[] {
  const links: Tree[] = [];
  for (let at = expression; at.type === 'MemberExpression' || at.type === 'CallExpression'; at = leftOf(at)) {
    links.unshift(at);
  }
  return links;
}

const leftOf = (link: Tree): Tree => (link.type === 'MemberExpression' ? link.object : link.callee) as Tree;

/** The children, in the order of the text; of two at one place the longer one first. */
function childrenOf(node: Tree): [string, Tree][] {
  const children: [string, Tree][] = [];
  for (const [key, value] of Object.entries(node)) {
    if (Array.isArray(value)) {
      for (const item of value) if (isNode(item)) children.push([key, item as Tree]);
    } else if (isNode(value)) children.push([key, value as Tree]);
  }
  return children.sort(([, a], [, b]) => a.start - b.start || b.end - a.end);
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && typeof (value as { type?: unknown }).type === 'string';
}

/** `a[i]`, where i may be an index: not `a['name']`, `super[i]` or a private name. */
/** Whether a lone argument of a constructor may be a view: not where its form says that it is something else. */
function mayBeView(node: Tree): boolean {
  return !/^(SpreadElement|Literal|TemplateLiteral|ObjectExpression|ArrayExpression|FunctionExpression|ArrowFunctionExpression|ClassExpression|BinaryExpression|UnaryExpression|UpdateExpression)$/.test(
    node.type,
  );
}

function isElement(node: Tree): boolean {
  if (node.computed !== true || (node.object as Tree).type === 'Super') return false;
  const key = node.property as Tree;
  return key.type !== 'Literal' || typeof key.value === 'number' || /^\d+$/.test(String(key.value));
}

/** Whether a member is written to, or destructured into. */
function isTarget({ parent, key, inPattern }: Context): boolean {
  if (parent === undefined) return false;
  if (parent.type === 'AssignmentExpression' && key === 'left') return true;
  if (parent.type === 'UpdateExpression') return true;
  if (/^For(In|Of)Statement$/.test(parent.type) && key === 'left') return true;
  return inPattern && /Pattern$|^RestElement$|^Property$/.test(parent.type);
}

const isDeleted = ({ parent }: Context): boolean => parent?.type === 'UnaryExpression' && parent.operator === 'delete';

/** Whether a member is called: its object is the call's `this`. */
function isCalled({ parent, key }: Context): boolean {
  if (parent?.type === 'CallExpression') return key === 'callee';
  return parent?.type === 'TaggedTemplateExpression' && key === 'tag';
}

const suspends = (node: Tree): boolean =>
  /^(Yield|Await)Expression$/.test(node.type) ||
  (!/^(Function|ArrowFunction)/.test(node.type) && childrenOf(node).some(([, child]) => suspends(child)));

function becomesStrict(node: Tree): boolean {
  if (/^Class/.test(node.type)) return true;
  const body = node.body as Tree | undefined;
  return /Function/.test(node.type) && body?.type === 'BlockStatement' && isStrict(body.body as Tree[]);
}

function isStrict(statements: readonly Tree[]): boolean {
  for (const statement of statements) {
    if (typeof statement.directive !== 'string') return false;
    if (statement.directive === 'use strict') return true;
  }
  return false;
}

/** Behind '#!' and directives such as 'use strict', which must stay first. */
function directivesEnd(source: string, program: Tree): number {
  let end = source.startsWith('#!') ? (/^#!.*(\r\n|[\n\r\u2028\u2029]|$)/.exec(source)?.[0].length ?? 0) : 0;
  for (const statement of program.body as Tree[]) {
    if (typeof statement.directive !== 'string') break;
    end = statement.end;
  }
  return end;
}
