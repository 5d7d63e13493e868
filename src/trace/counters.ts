/**
 * Per-cpu counters: Float64 words in the cpu's slot with a single writer, readable by everybody while it runs. A reader on
 * another cpu may see a value that is a few events old; that race is meant.
 */
export const COUNTERS = [
  'fault.anon.read',
  'fault.anon.write',
  'fault.zero.upgrade',
  'fault.file.read',
  'fault.file.copy',
  'fault.write.upgrade',
  'fault.spurious',
  'fault.segv',
  'fault.bus',
  'fault.sem.acquired',
  'fault.tree.commit',
  'restart.detached',
  'restart.unhooked',
  'restart.changed',
  'restart.truncated',
  'restart.page-lock',
  'restart.io',
  'restart.memory',
  'restart.table',
  'io.waits',
  'io.reads',
  'io.pages',
  'io.errors',
  'readahead.pages',
  'cache.hits',
  'reclaim.scanned',
  'reclaim.pages',
  'reclaim.runs',
  'tlb.misses',
  'tlb.flushes',
  'tlb.range-flushes',
  'section.republished',
  'grace.periods',
  'grace.waits',
  'grace.stalls',
  'retire.objects',
  'lock.spin.contended',
  'lock.spin.waits',
  'lock.rwsem.contended',
  'lock.page.waits',
  'call.mmap',
  'call.munmap',
  'call.mprotect',
  'vma.merged',
  'vma.split',
  'pages.zapped',
  'tables.freed',
  'frames.allocated',
  'frames.freed',
  'futex.waits',
  'futex.wakes',
  'reaped.cpus',
  'reaped.locks',
  'reaped.frames',
  'reaped.objects',
] as const;

export type CounterName = (typeof COUNTERS)[number];

/** @internal Index of each counter in a cpu's block. */
export const COUNTER: { readonly [K in CounterName]: number } = Object.fromEntries(
  COUNTERS.map((name, index) => [name, index]),
) as { [K in CounterName]: number };

/** @internal Lock waits, in powers of two of microseconds: bucket k counts waits of [2^k, 2^(k+1)) us, the first everything below 2 us. */
export const HISTOGRAM_BUCKETS = 20;
export const HISTOGRAMS = ['wait.spinlock', 'wait.rwsem', 'wait.page'] as const;
export type HistogramName = (typeof HISTOGRAMS)[number];
/** @internal */
export const HISTOGRAM_BASE: number = COUNTERS.length;

/** @internal Index of the counter that a wait of `milliseconds` falls into. */
export function histogramSlot(which: number, milliseconds: number): number {
  const microseconds = milliseconds * 1000;
  const bucket = microseconds < 2 ? 0 : Math.min(HISTOGRAM_BUCKETS - 1, Math.floor(Math.log2(microseconds)));
  return HISTOGRAM_BASE + which * HISTOGRAM_BUCKETS + bucket;
}

export type Counters = Record<CounterName, number>;

/** @internal Sums blocks of counters, as read by `read(cpu, index)`. */
export function sumCounters(cpus: number, read: (cpu: number, index: number) => number): Counters {
  const sums = {} as Counters;
  for (const name of COUNTERS) {
    let sum = 0;
    for (let cpu = 0; cpu < cpus; cpu++) sum += read(cpu, COUNTER[name]);
    sums[name] = sum;
  }
  return sums;
}

/** @internal The same for the histograms of lock waits. */
export function sumHistograms(
  cpus: number,
  read: (cpu: number, index: number) => number,
): Record<HistogramName, number[]> {
  const out = {} as Record<HistogramName, number[]>;
  HISTOGRAMS.forEach((name, which) => {
    const buckets = new Array<number>(HISTOGRAM_BUCKETS).fill(0);
    for (let cpu = 0; cpu < cpus; cpu++) {
      for (let k = 0; k < HISTOGRAM_BUCKETS; k++) {
        buckets[k] = (buckets[k] ?? 0) + read(cpu, HISTOGRAM_BASE + which * HISTOGRAM_BUCKETS + k);
      }
    }
    out[name] = buckets;
  });
  return out;
}
