/** Searches for holes, guided by the summaries: a subtree whose largest hole is too small is never entered. */
import type { NodeRef } from '../base/brands.ts';
import type { NodeTable } from './tree-node.ts';

const NOT_FOUND = -1;

/**
 * The highest start such that [start, start + pages) lies in [low, high) and meets no VMA, or -1. Every node is asked only
 * for the holes between its entries; the two outside of all VMAs belong to nobody and are looked at here.
 */
export function findGap(nodes: NodeTable, root: NodeRef, pages: number, low: number, high: number): number {
  if (root === 0) return placeIn(low, high, pages, low, high);
  const above = placeIn(nodes.end(root, nodes.count(root) - 1), high, pages, low, high);
  if (above !== NOT_FOUND) return above;
  const between = gapInside(nodes, root, pages, low, high);
  if (between !== NOT_FOUND) return between;
  return placeIn(low, nodes.start(root, 0), pages, low, high);
}

/**
 * From the right. The summaries know nothing of [low, high), so a subtree cut by one of the two may disappoint; at most two
 * a level are.
 */
function gapInside(nodes: NodeTable, n: NodeRef, pages: number, low: number, high: number): number {
  const leaf = nodes.level(n) === 0;
  const last = nodes.firstStartingAt(n, high, 0) - 1;
  if (last + 1 < nodes.count(n) && last >= 0) {
    const found = placeIn(nodes.end(n, last), nodes.start(n, last + 1), pages, low, high);
    if (found !== NOT_FOUND) return found;
  }
  for (let i = last; i >= 0; i--) {
    if (nodes.end(n, i) <= low) return NOT_FOUND;
    if (!leaf && nodes.gap(n, i) >= pages) {
      const found = gapInside(nodes, nodes.node(n, i), pages, low, high);
      if (found !== NOT_FOUND) return found;
    }
    if (i > 0) {
      const found = placeIn(nodes.end(n, i - 1), nodes.start(n, i), pages, low, high);
      if (found !== NOT_FOUND) return found;
    }
  }
  return NOT_FOUND;
}

/** The highest place for `pages` in the hole [from, to), as far as that lies in [low, high). */
function placeIn(from: number, to: number, pages: number, low: number, high: number): number {
  const top = to < high ? to : high;
  const bottom = from > low ? from : low;
  return top - bottom >= pages ? top - pages : NOT_FOUND;
}

/** The first page of [start, end) that no VMA covers, or -1. */
export function firstHole(nodes: NodeTable, root: NodeRef, start: number, end: number): number {
  const covered = root === 0 ? start : coveredUntil(nodes, root, start, end);
  return covered >= end ? NOT_FOUND : covered;
}

/** Where the run of touching VMAs below `n` that covers `from` ends; any value from `end` on will do. */
function coveredUntil(nodes: NodeTable, n: NodeRef, from: number, end: number): number {
  const count = nodes.count(n);
  const leaf = nodes.level(n) === 0;
  let at = from;
  for (let i = nodes.firstEndingAfter(n, from); i < count && at < end; i++) {
    if (nodes.start(n, i) > at) return at;
    const last = nodes.end(n, i);
    const solid = leaf || nodes.gap(n, i) === 0;
    const covered = solid ? last : coveredUntil(nodes, nodes.node(n, i), at, end);
    if (covered < last) return covered;
    at = covered;
  }
  return at;
}
