/** What a trial has measured, as `--json` prints it and the table shows it. */
import type { CounterName, DesignName, MachineCounters } from '../src/node.ts';
import type { Failure } from './crew.ts';
import { Latencies, type LatencySummary } from './latency.ts';
import {
  FIGURE_CELLS,
  MAPPING_TIMES,
  PENDING_SINCE,
  PRIVATE_WRITES,
  PROTECT_TIMES,
  SLEEP_TIMES,
  VERIFIED,
} from './protocol.ts';

export interface TrialResult {
  readonly design: DesignName;
  /** All workers running. */
  readonly measuredSeconds: number;
  /** Starting and ending included. */
  readonly tookSeconds: number;
  readonly faults: number;
  readonly faultsPerSecond: number;
  readonly pagesRead: number;
  /** Faults that waited until a page was read, by themselves or by another thread. */
  readonly ioWaits: number;
  /** Reads that slept for the I/O delay. */
  readonly sleptReads: number;
  /** mmap and munmap of one range together, in milliseconds. */
  readonly mapping: LatencySummary;
  /** Of these, those of which a call began while a read slept. */
  readonly mappingBesideSleep: LatencySummary;
  /** mprotect of half the range, in milliseconds. */
  readonly protecting: LatencySummary;
  /** Faults that began again, for other reasons than having waited for a page or a frame. */
  readonly restarts: number;
  readonly mmapLockInFaults: number;
  readonly verifiedBytes: number;
  readonly privateWrites: number;
  readonly mismatches: number;
  readonly failures: readonly Failure[];
  /** Every counter of the machine that is not 0, while it was measured. */
  readonly counters: Readonly<Record<string, number>>;
}

export interface Measurement {
  readonly design: DesignName;
  /** Milliseconds. */
  readonly measured: number;
  readonly took: number;
  readonly slept: number;
  readonly before: MachineCounters;
  readonly after: MachineCounters;
  readonly figures: { readonly readers: readonly Float64Array[]; readonly mapper: Float64Array };
  readonly failures: readonly Failure[];
}

const FAULTS: readonly CounterName[] = [
  'fault.anon.read',
  'fault.anon.write',
  'fault.zero.upgrade',
  'fault.file.read',
  'fault.file.copy',
  'fault.write.upgrade',
  'fault.spurious',
];
/** Sleeping for I/O and for memory is what the other columns show. */
const RESTARTS: readonly CounterName[] = [
  'restart.detached',
  'restart.unhooked',
  'restart.changed',
  'restart.truncated',
  'restart.page-lock',
  'restart.table',
];

export function summarize(m: Measurement): TrialResult {
  closePending(m.figures.mapper);
  const counters = difference(m.before, m.after);
  const sum = (names: readonly CounterName[]): number =>
    names.reduce((total, name) => total + (counters[name] ?? 0), 0);
  const total = (cell: number): number => m.figures.readers.reduce((all, cells) => all + (cells[cell] as number), 0);
  const faults = sum(FAULTS);
  const seconds = m.measured / 1000;
  return {
    design: m.design,
    measuredSeconds: seconds,
    tookSeconds: m.took / 1000,
    faults,
    faultsPerSecond: faults / seconds,
    pagesRead: sum(['io.pages']),
    ioWaits: sum(['restart.io']),
    sleptReads: m.slept,
    mapping: new Latencies(m.figures.mapper.subarray(MAPPING_TIMES, SLEEP_TIMES)).summary(),
    mappingBesideSleep: new Latencies(m.figures.mapper.subarray(SLEEP_TIMES, PROTECT_TIMES)).summary(),
    protecting: new Latencies(m.figures.mapper.subarray(PROTECT_TIMES, FIGURE_CELLS)).summary(),
    restarts: sum(RESTARTS),
    mmapLockInFaults: sum(['fault.sem.acquired']),
    verifiedBytes: total(VERIFIED),
    privateWrites: total(PRIVATE_WRITES),
    mismatches: m.failures.filter((failure) => failure.what === 'mismatch').length,
    failures: m.failures,
    counters,
  };
}

/** A call that was still waiting when its thread was ended counts as well: it waited at least so long. */
function closePending(cells: Float64Array): void {
  const since = cells[PENDING_SINCE] as number;
  if (since === 0) return;
  const waited = performance.timeOrigin + performance.now() - since;
  new Latencies(cells.subarray(MAPPING_TIMES, SLEEP_TIMES)).record(waited);
  new Latencies(cells.subarray(SLEEP_TIMES, PROTECT_TIMES)).record(waited);
}

function difference(before: MachineCounters, after: MachineCounters): Record<string, number> {
  const { histograms: _, ...counters } = after;
  const entries = Object.entries(counters).map(([name, value]): [string, number] => {
    return [name, value - before[name as CounterName]];
  });
  return Object.fromEntries(entries.filter(([, value]) => value !== 0));
}
