/** The targets, by entry: a least ratio, a least or a largest value. Entries that are not here are for information. */
import type { Entry } from './entry.ts';

export interface Target {
  readonly text: string;
  reached(entry: Entry): boolean;
}

const ratioAtLeast = (least: number, text = `ratio >= ${least}`): Target => ({
  text,
  reached: ({ ratio }) => ratio !== null && ratio >= least,
});
const valueAtLeast = (least: number): Target => ({ text: `>= ${least}`, reached: ({ value }) => value >= least });
const valueAtMost = (most: number): Target => ({ text: `<= ${most}`, reached: ({ value }) => value <= most });

export const TARGETS: ReadonlyMap<string, Target> = new Map([
  ['fault.anon.write.t1', ratioAtLeast(4)],
  ['fault.anon.write.t2', ratioAtLeast(4)],
  ['fault.anon.scaling', valueAtLeast(1.9)],
  ['map.pair.t1', ratioAtLeast(4)],
  ['map.pair.t2', ratioAtLeast(4)],
  ['map.pair.scaling', valueAtLeast(1.5)],
  ['tlb.hit.sequential', ratioAtLeast(0.25)],
  ['tlb.hit.random', ratioAtLeast(0.25)],
  ['fault.beside.mapper', ratioAtLeast(0.95)],
  ['fault.beside.io', ratioAtLeast(0.95)],
  ['map.p99.beside.io.rcu', ratioAtLeast(1 / 1.2, 'ratio >= 0.83')],
  ['file.random8', ratioAtLeast(100)],
  ['file.random8.4MiB', ratioAtLeast(100)],
  ['scan.cold', ratioAtLeast(0.9)],
  ['fault.contended.rmw', valueAtMost(0)],
]);
