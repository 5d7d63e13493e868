import { expect, test } from 'vitest';
import { bareMachine } from '../../test/kernel.ts';
import { attachCpu, detachCpu, readCounter } from '../sync/cpu.ts';
import {
  COUNTER,
  COUNTERS,
  HISTOGRAM_BASE,
  HISTOGRAM_BUCKETS,
  HISTOGRAMS,
  histogramSlot,
  sumCounters,
  sumHistograms,
} from './counters.ts';

test('each counter has a place of its own', () => {
  expect(new Set(Object.values(COUNTER)).size).toBe(COUNTERS.length);
  expect(Math.max(...Object.values(COUNTER))).toBe(HISTOGRAM_BASE - 1);
});

test('waits fall into buckets of powers of two of microseconds', () => {
  const bucket = (microseconds: number): number => histogramSlot(0, microseconds / 1000) - HISTOGRAM_BASE;
  expect([0, 1.9, 2, 3.9, 4, 1000, 1024, 1e6, 1e12].map(bucket)).toEqual([0, 0, 1, 1, 2, 9, 10, 19, 19]);
  expect(histogramSlot(2, 0)).toBe(HISTOGRAM_BASE + 2 * HISTOGRAM_BUCKETS);
});

test('sums go over all cpus, and survive a cpu that leaves and another that takes its slot', () => {
  const { cpu, words, another } = bareMachine();
  const other = another().cpu;
  const read = (id: number, index: number): number => readCounter(words, cpu.floats, id, index);
  cpu.count(COUNTER['call.mmap']);
  cpu.countMany(COUNTER['call.mmap'], 4);
  other.count(COUNTER['call.mmap']);
  other.countWait(1, performance.now());
  expect([sumCounters(2, read)['call.mmap'], sumCounters(1, read)['call.mmap']]).toEqual([6, 5]);
  expect(sumHistograms(2, read)['wait.rwsem'].reduce((sum, n) => sum + n, 0)).toBe(1);
  detachCpu(words, other.id);
  expect(sumCounters(2, read)['call.mmap']).toBe(6);
  const next = attachCpu(words, cpu.floats, 9);
  expect(next.id).toBe(other.id);
  next.count(COUNTER['call.mmap']);
  expect(sumCounters(2, read)['call.mmap']).toBe(7);
  expect(readCounter(words, cpu.floats, 63, COUNTER['call.mmap'])).toBe(0);
  expect(Object.keys(sumHistograms(2, read))).toEqual([...HISTOGRAMS]);
});
