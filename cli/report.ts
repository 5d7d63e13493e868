/** What a run says at its end: one table, and one line with what it shows; or the same as one JSON document. */
import Table from 'cli-table3';
import type { LatencySummary } from './latency.ts';
import type { TrialResult } from './result.ts';
import { formatSize } from './sizes.ts';

type Row = readonly [title: string, cell: (result: TrialResult) => string];

/** A column per design. */
export function renderTable(results: readonly TrialResult[], ioDelay: number): string {
  const table = new Table({
    head: ['', ...results.map((result) => result.design)],
    colAligns: ['left', ...results.map(() => 'right' as const)],
    style: { head: [], border: [], compact: true },
  });
  for (const [title, cell] of rows(ioDelay)) table.push([title, ...results.map(cell)]);
  return table.toString();
}

function rows(ioDelay: number): readonly Row[] {
  return [
    ['measured, s', (r) => r.measuredSeconds.toFixed(2)],
    ['faults/s', (r) => count(r.faultsPerSecond)],
    ['pages read', (r) => count(r.pagesRead)],
    ['I/O waits', (r) => count(r.ioWaits)],
    [`reads that slept ${ioDelay} ms`, (r) => count(r.sleptReads)],
    ['mmap+munmap pairs', (r) => count(r.mapping.count)],
    ['mmap+munmap p50', (r) => cell(r.mapping, 'p50')],
    ['            p99', (r) => cell(r.mapping, 'p99')],
    ['            max', (r) => cell(r.mapping, 'max')],
    ['  while a read slept: p50', (r) => cell(r.mappingBesideSleep, 'p50')],
    ['                      p99', (r) => cell(r.mappingBesideSleep, 'p99')],
    ['                      max', (r) => cell(r.mappingBesideSleep, 'max')],
    ['restarts (I/O aside)', (r) => count(r.restarts)],
    ['mmap_lock taken in faults', (r) => count(r.mmapLockInFaults)],
    ['verified', (r) => formatSize(r.verifiedBytes)],
    ['mismatches', (r) => count(r.mismatches)],
  ];
}

function cell(times: LatencySummary, which: 'p50' | 'p99' | 'max'): string {
  return times.count === 0 ? '-' : latency(times[which]);
}

/** `0.031 ms`, `21.4 ms`: three figures. */
function latency(milliseconds: number): string {
  const digits = milliseconds >= 100 ? 0 : milliseconds >= 10 ? 1 : milliseconds >= 1 ? 2 : 3;
  return `${milliseconds.toFixed(digits)} ms`;
}

function count(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

/** How long mapping waited under each design, from the measured figures and nothing else. */
export function conclusion(results: readonly TrialResult[], ioDelay: number): string {
  if (results.every((r) => r.mapping.count === 0)) return 'No mmap+munmap was measured.';
  if (results.every((r) => r.mappingBesideSleep.count === 0)) {
    const all = results.map((r) => `${spread(r.mapping)} under ${r.design}`);
    return `No read slept in I/O; mmap+munmap took ${all.join(', ')}.`;
  }
  const beside = results.map((r) => `${spread(r.mappingBesideSleep)} under ${r.design}`);
  return `While a read slept ${ioDelay} ms in I/O, mmap+munmap took ${beside.join(', ')}.`;
}

/** The typical call first: the longest also waited for whatever else the host was doing. */
function spread({ count: calls, p50, p99, max }: LatencySummary): string {
  return calls === 0 ? 'an unknown time (no read slept)' : `${latency(p50)} (p99 ${latency(p99)}, max ${latency(max)})`;
}
