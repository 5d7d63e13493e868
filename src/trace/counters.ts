/**
 * Per-cpu counters: Float64 words in the cpu's slot with a single writer, readable by everybody while it runs. A reader on
 * another cpu may see a value that is a few events old; that race is meant.
 */
/** @internal In the order of their places in a cpu's block. */
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
] as const satisfies readonly CounterName[];

/** Counts of events, each since the machine was made. They only grow. An attempt of a fault counts each time that it is made. */
export interface Counters {
  /** Faults that mapped the zero page: the first read of a page of anonymous memory. */
  readonly 'fault.anon.read': number;
  /** Faults that mapped a new zeroed frame: the first write to a page of anonymous memory. */
  readonly 'fault.anon.write': number;
  /** Writes to a page that showed the zero page: it gets a frame of its own. */
  readonly 'fault.zero.upgrade': number;
  /** Faults that mapped a page of the page cache. */
  readonly 'fault.file.read': number;
  /** Writes that copied a page of a file into a private frame. */
  readonly 'fault.file.copy': number;
  /** Faults that gave a page back the rights that it had lost, and mapped nothing new. */
  readonly 'fault.write.upgrade': number;
  /** Reserved: nothing is counted here yet. */
  readonly 'fault.spurious': number;
  /** Faults that ended in a `SegmentationFault`. */
  readonly 'fault.segv': number;
  /** Faults that ended in a `BusError`. */
  readonly 'fault.bus': number;
  /** Times that a fault took the mmap lock. The design `rcu` leaves it at 0. */
  readonly 'fault.sem.acquired': number;
  /** Faults that looked up their mapping under the lock of the tree, after too many restarts without it. */
  readonly 'fault.tree.commit': number;
  /** Restarts of a fault because its mapping was being changed. */
  readonly 'restart.detached': number;
  /** Restarts because the page table was taken down. */
  readonly 'restart.unhooked': number;
  /** Restarts because another thread changed the entry of the page first. */
  readonly 'restart.changed': number;
  /** Restarts because the page had left its file. */
  readonly 'restart.truncated': number;
  /** Restarts after a wait for a page that another thread was reading. */
  readonly 'restart.page-lock': number;
  /** Restarts after a read of a file. */
  readonly 'restart.io': number;
  /** Restarts after a wait for a free frame. */
  readonly 'restart.memory': number;
  /** Restarts after a wait for a record, as a page table. */
  readonly 'restart.table': number;
  /** Times that a thread waited for another one's read of the same page. */
  readonly 'io.waits': number;
  /** Calls of a backing's `read` or `readAsync`. */
  readonly 'io.reads': number;
  /** Pages that these calls have read. */
  readonly 'io.pages': number;
  /** Reads that failed. */
  readonly 'io.errors': number;
  /** Pages that were read because their neighbour was asked for. */
  readonly 'readahead.pages': number;
  /** Look-ups by a fault that found its page already read. */
  readonly 'cache.hits': number;
  /** Pages that reclaim looked at. */
  readonly 'reclaim.scanned': number;
  /** Pages that reclaim took out of the page cache. */
  readonly 'reclaim.pages': number;
  /** Runs of reclaim. */
  readonly 'reclaim.runs': number;
  /** Walks of the page table: accesses that the TLB did not answer. */
  readonly 'tlb.misses': number;
  /** Flushes of a thread's whole TLB. */
  readonly 'tlb.flushes': number;
  /** Flushes of some pages only. */
  readonly 'tlb.range-flushes': number;
  /** Sections that told other threads, half-way, that they hold no old translation. */
  readonly 'section.republished': number;
  /** Grace periods after which a thread freed what it had retired. */
  readonly 'grace.periods': number;
  /** Times that a thread waited for a grace period. */
  readonly 'grace.waits': number;
  /** Waits for a grace period that another thread held up until the time limit. */
  readonly 'grace.stalls': number;
  /** Records and frames that waited for a grace period before they were free. */
  readonly 'retire.objects': number;
  /** Spinlocks that were not free at once. */
  readonly 'lock.spin.contended': number;
  /** Spinlocks that were not free after some tries: the thread slept. */
  readonly 'lock.spin.waits': number;
  /** Times that a writer had to wait for the mmap lock. */
  readonly 'lock.rwsem.contended': number;
  /** Times that a thread slept for a page lock. */
  readonly 'lock.page.waits': number;
  /** Calls of `mmap`. */
  readonly 'call.mmap': number;
  /** Calls of `munmap`. */
  readonly 'call.munmap': number;
  /** Calls of `mprotect`. */
  readonly 'call.mprotect': number;
  /** Mappings that were joined with a neighbour. */
  readonly 'vma.merged': number;
  /** Mappings that were cut in two. */
  readonly 'vma.split': number;
  /** Pages that were taken out of page tables by `munmap` and its like. */
  readonly 'pages.zapped': number;
  /** Page tables that were given back. */
  readonly 'tables.freed': number;
  /** Frames taken. */
  readonly 'frames.allocated': number;
  /** Frames given back. */
  readonly 'frames.freed': number;
  /** Calls of `wait` that slept. */
  readonly 'futex.waits': number;
  /** Threads that `notify` woke. */
  readonly 'futex.wakes': number;
  /** Dead threads that were reaped. */
  readonly 'reaped.cpus': number;
  /** Locks that were released for them. */
  readonly 'reaped.locks': number;
  /** Frames that were taken back from them. */
  readonly 'reaped.frames': number;
  /** Records that were taken back from them. */
  readonly 'reaped.objects': number;
}

/** The name of a counter. */
export type CounterName = keyof Counters;

/** @internal Index of each counter in a cpu's block. */
export const COUNTER: { readonly [K in CounterName]: number } = Object.fromEntries(
  COUNTERS.map((name, index) => [name, index]),
) as { [K in CounterName]: number };

/** @internal Lock waits, in powers of two of microseconds: bucket k counts waits of [2^k, 2^(k+1)) us, the first everything below 2 us. */
export const HISTOGRAM_BUCKETS = 20;
/** What a histogram counts: how long threads waited for spinlocks, for the mmap lock (`rwsem`), and for page locks. */
export type HistogramName = 'wait.spinlock' | 'wait.rwsem' | 'wait.page';
/** @internal */
export const HISTOGRAMS: readonly HistogramName[] = ['wait.spinlock', 'wait.rwsem', 'wait.page'];
/** @internal */
export const HISTOGRAM_BASE: number = COUNTERS.length;

/** @internal Index of the counter that a wait of `milliseconds` falls into. */
export function histogramSlot(which: number, milliseconds: number): number {
  const microseconds = milliseconds * 1000;
  const bucket = microseconds < 2 ? 0 : Math.min(HISTOGRAM_BUCKETS - 1, Math.floor(Math.log2(microseconds)));
  return HISTOGRAM_BASE + which * HISTOGRAM_BUCKETS + bucket;
}

/** @internal Sums blocks of counters, as read by `read(cpu, index)`. */
export function sumCounters(cpus: number, read: (cpu: number, index: number) => number): Counters {
  const sums = {} as { -readonly [K in (typeof COUNTERS)[number]]: number };
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
