/** Random layout operations against a plain model: what each page is. `layout-property.small.test.ts` runs it with a fan-out of 4. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TREE_FANOUT } from '../base/tunables.ts';
import { kindProps, TestSpace } from './test-support.ts';
import { VM_PROT } from './vma.layout.ts';
import { joins, type VmaProps } from './vma-table.ts';

type Model = (VmaProps | undefined)[];

interface Op {
  readonly what: 'map' | 'fixed' | 'remove' | 'protect' | 'isolate';
  readonly at: number;
  readonly pages: number;
  readonly kind: string;
  readonly prot: number;
}

function ops(pages: number, longest: number, count: number): fc.Arbitrary<Op[]> {
  const op = fc.record({
    what: fc.constantFrom('map', 'map', 'fixed', 'remove', 'protect', 'isolate'),
    at: fc.nat(pages - longest),
    pages: fc.integer({ min: 1, max: longest }),
    kind: fc.constantFrom('A', 'A', 'B', 'N', 'S', 'F', 'f', 'W', 'G'),
    prot: fc.constantFrom(0, 1, 3),
  });
  return fc.array(op, { minLength: count / 2, maxLength: count, size: 'max' }) as fc.Arbitrary<Op[]>;
}

function apply(space: TestSpace, model: Model, op: Op): void {
  const end = op.at + op.pages;
  const props = kindProps(space, op.kind, op.at, end);
  if (op.what === 'map') {
    if (space.tree.toArray(space.root, op.at, end).length > 0) return;
    space.map(props);
    model.fill(props, op.at, end);
  } else if (op.what === 'fixed') {
    space.mapFixed(props);
    model.fill(props, op.at, end);
  } else if (op.what === 'remove') {
    space.remove(op.at, end);
    model.fill(undefined, op.at, end);
  } else if (op.what === 'protect') {
    space.protect(op.at, end, op.prot);
    for (let page = op.at; page < end; page++) {
      const was = model[page];
      if (was !== undefined) model[page] = { ...was, flags: (was.flags & ~VM_PROT) | op.prot };
    }
  } else space.isolate(op.at, end);
}

/** Every page is what the model says; the tree's own rules were validated by the operation. */
function check(space: TestSpace, model: Model): void {
  const root = space.root;
  let at = 0;
  const expectHoleUntil = (end: number): void => {
    for (; at < end; at++) if (model[at] !== undefined) expect.fail(`page ${at} is not mapped`);
  };
  for (const v of space.tree.toArray(root)) {
    const props = space.vmas.props(v);
    expectHoleUntil(props.start);
    for (; at < props.end; at++) {
      const wanted = model[at];
      const offset = wanted === undefined || props.mapping === 0 ? 0 : wanted.offset + at - wanted.start;
      const found = props.mapping === 0 ? 0 : props.offset + at - props.start;
      if (wanted?.flags !== props.flags || wanted.mapping !== props.mapping || offset !== found) {
        expect.fail(`page ${at}: ${space.vmas.describe(v)}`);
      }
      if (space.tree.find(root, at) !== v) expect.fail(`page ${at} is not found`);
    }
  }
  expectHoleUntil(model.length);
}

function checkSearches(space: TestSpace, model: Model, low: number, pages: number, length: number): void {
  const high = Math.min(model.length, low + length);
  let best = -1;
  for (let start = low, free = 0; start < high; start++) {
    free = model[start] === undefined ? free + 1 : 0;
    if (free >= pages) best = start + 1 - pages;
  }
  expect(space.tree.findGap(space.root, pages, low, high)).toBe(best);
  const hole = model.findIndex((page, i) => i >= low && i < high && page === undefined);
  expect(space.tree.firstHole(space.root, low, high)).toBe(hole);
}

function checkNeighbours(space: TestSpace, at: number): void {
  const all = space.tree.toArray(space.root);
  const { vmas } = space;
  expect(space.tree.next(space.root, at)).toBe(all.find((v) => vmas.end(v) > at) ?? 0);
  expect(space.tree.previous(space.root, at)).toBe(all.findLast((v) => vmas.end(v) <= at) ?? 0);
}

const searches = fc.array(fc.tuple(fc.nat(150), fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 160 })), {
  minLength: 5,
  maxLength: 10,
});

test(`a small space is what a page map says (fan-out ${TREE_FANOUT})`, () => {
  fc.assert(
    fc.property(ops(160, 12, 120), searches, (list, where) => {
      const space = new TestSpace();
      const model: Model = new Array<VmaProps | undefined>(160).fill(undefined);
      for (const op of list) {
        apply(space, model, op);
        check(space, model);
      }
      for (const [low, pages, length] of where) {
        checkSearches(space, model, low, pages, length);
        checkNeighbours(space, low);
      }
      space.close();
    }),
    { numRuns: 60 },
  );
});

test(`no neighbours that could be one stay two, unless they were cut on purpose (fan-out ${TREE_FANOUT})`, () => {
  fc.assert(
    fc.property(ops(120, 10, 100), (list) => {
      const space = new TestSpace();
      const model: Model = new Array<VmaProps | undefined>(120).fill(undefined);
      for (const op of list) {
        if (op.what === 'isolate') continue;
        apply(space, model, op);
        const all = space.tree.toArray(space.root).map((v) => space.vmas.props(v));
        all.forEach((props, i) => {
          const next = all[i + 1];
          if (next !== undefined) expect(joins(props, next)).toBe(false);
        });
      }
      space.close();
    }),
    { numRuns: 40 },
  );
});

/** The operations come from one number, so that a failure prints that number and not thousands of operations. */
test(`thousands of VMAs grow and shrink (fan-out ${TREE_FANOUT})`, () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const [fill = []] = fc.sample(ops(15000, 3, 1500), { seed, numRuns: 1 });
      const [drain = []] = fc.sample(ops(15000, 600, 40), { seed, numRuns: 1 });
      const space = new TestSpace();
      const model: Model = new Array<VmaProps | undefined>(15000).fill(undefined);
      for (let at = 0; at < 12000; at += 4) apply(space, model, { what: 'map', at, pages: 2, kind: 'A', prot: 0 });
      for (const op of fill) apply(space, model, op);
      check(space, model);
      expect(space.tree.count(space.root)).toBeGreaterThan(1000);
      for (const { at, pages } of fill.slice(0, 200)) checkSearches(space, model, at, pages, pages * 100);
      for (const op of drain) apply(space, model, { ...op, what: op.what === 'map' ? 'remove' : op.what });
      check(space, model);
      space.close();
    }),
    { numRuns: 2, endOnFailure: true },
  );
});
