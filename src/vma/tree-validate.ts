/** Whether a tree keeps its rules, and what it looks like. */
import { oops } from '../base/assert.ts';
import type { NodeRef } from '../base/brands.ts';
import { TREE_FANOUT, TREE_MIN } from '../base/tunables.ts';
import { CACHED, FREE, RETIRED, stateKind } from '../memory/ownership.ts';
import type { NodeTable } from './tree-node.ts';
import { range, type VmaTable } from './vma-table.ts';

export interface ValidateOptions {
  /** A munmap is under way: its VMAs are detached while they are still in the tree. */
  readonly allowDetached?: boolean;
  /** The root is an old one, whose nodes may wait for their grace period. */
  readonly allowRetired?: boolean;
}

interface Bounds {
  readonly level: number;
  /** Nothing below may lie before it. */
  readonly low: number;
}

export function validateTree(nodes: NodeTable, vmas: VmaTable, root: NodeRef, options: ValidateOptions): void {
  if (root !== 0) checkNode(nodes, vmas, root, root, { level: nodes.level(root), low: 0 }, options);
}

function checkNode(
  nodes: NodeTable,
  vmas: VmaTable,
  root: NodeRef,
  n: NodeRef,
  bounds: Bounds,
  options: ValidateOptions,
): void {
  const level = nodes.level(n);
  const count = nodes.count(n);
  const state = stateKind(nodes.state(n));
  const reused = state === FREE || state === CACHED || (state === RETIRED && !options.allowRetired);
  if (reused) broken('I6', n, 'a node in use', `state ${state}`);
  if (level !== bounds.level) broken('tree depth', n, `level ${bounds.level}`, `level ${level}`);
  const least = n !== root ? TREE_MIN : level > 0 ? 2 : 1;
  if (!(count >= least && count <= TREE_FANOUT)) {
    broken('tree fill', n, `${least} to ${TREE_FANOUT} entries`, `${count}`);
  }
  let low = bounds.low;
  for (let i = 0; i < count; i++) {
    const start = nodes.start(n, i);
    const end = nodes.end(n, i);
    if (!(start >= low))
      broken('tree order', n, `entry ${i} to start at 0x${low.toString(16)} or behind`, range(start, end));
    if (!(end > start)) broken('tree order', n, `entry ${i} not to be empty`, range(start, end));
    if (level === 0) checkLeafEntry(nodes, vmas, n, i, options);
    else {
      checkNode(nodes, vmas, root, nodes.node(n, i), { level: level - 1, low }, options);
      checkSummary(nodes, n, i);
    }
    low = end;
  }
}

function checkLeafEntry(nodes: NodeTable, vmas: VmaTable, n: NodeRef, i: number, options: ValidateOptions): void {
  const v = nodes.vma(n, i);
  if (nodes.start(n, i) !== vmas.start(v) || nodes.end(n, i) !== vmas.end(v)) {
    broken('tree bounds', n, `entry ${i} to be as ${vmas.describe(v)}`, range(nodes.start(n, i), nodes.end(n, i)));
  }
  if (vmas.refs(v) < 1) broken('I6', n, `entry ${i} to be alive`, vmas.describe(v));
  if (!options.allowDetached && vmas.isDetached(v)) broken('I5', n, `entry ${i} to be attached`, vmas.describe(v));
}

function checkSummary(nodes: NodeTable, n: NodeRef, i: number): void {
  const own = nodes.summary(nodes.node(n, i));
  const found = nodes.entry(n, i);
  if (own.start !== found.start || own.end !== found.end || own.gap !== found.gap) {
    broken(
      'tree summary',
      n,
      `entry ${i} to say ${range(own.start, own.end)} gap ${own.gap}`,
      `${range(found.start, found.end)} gap ${found.gap}`,
    );
  }
}

function broken(rule: string, n: NodeRef, expected: string, found: string): never {
  oops(rule, `in node ${n}: expected ${expected}, found ${found}`);
}

/** One line per node and VMA, indented by depth. */
export function dumpTree(nodes: NodeTable, vmas: VmaTable, root: NodeRef): string {
  if (root === 0) return '(empty)';
  const lines: string[] = [];
  dumpNode(nodes, vmas, root, '', lines);
  return lines.join('\n');
}

function dumpNode(nodes: NodeTable, vmas: VmaTable, n: NodeRef, indent: string, lines: string[]): void {
  const { start, end, gap } = nodes.summary(n);
  const level = nodes.level(n);
  lines.push(`${indent}node ${n} level ${level} ${range(start, end)} gap ${gap}, ${nodes.count(n)} entries`);
  for (let i = 0; i < nodes.count(n); i++) {
    if (level > 0) dumpNode(nodes, vmas, nodes.node(n, i), `${indent}  `, lines);
    else lines.push(`${indent}  ${vmas.describe(nodes.vma(n, i))}`);
  }
}
