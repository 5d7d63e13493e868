/**
 * Latencies in a histogram of fixed size over shared memory: one thread records, any thread reads. Sixteen buckets per power
 * of two, so a quantile is at most 4.5 % too high; the longest is exact.
 */
const STEPS = 16;
/** The first bucket ends here, in milliseconds: 1/16 us. */
const FLOOR = 2 ** -4 / 1000;
const BUCKETS = 40 * STEPS;
const COUNT = 0;
const TOTAL = 1;
const LONGEST = 2;
const FIRST = 3;

/** Float64 cells that a histogram takes. */
export const LATENCY_CELLS: number = FIRST + BUCKETS;

export interface LatencySummary {
  readonly count: number;
  /** Milliseconds, as all below. */
  readonly total: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export class Latencies {
  readonly #cells: Float64Array;

  constructor(cells: Float64Array) {
    this.#cells = cells;
  }

  record(milliseconds: number): void {
    const cells = this.#cells;
    const bucket = FIRST + bucketOf(milliseconds);
    cells[bucket] = (cells[bucket] as number) + 1;
    cells[TOTAL] = (cells[TOTAL] as number) + milliseconds;
    if (milliseconds > (cells[LONGEST] as number)) cells[LONGEST] = milliseconds;
    cells[COUNT] = (cells[COUNT] as number) + 1;
  }

  summary(): LatencySummary {
    const [count = 0, total = 0, max = 0] = this.#cells;
    return { count, total, p50: this.quantile(0.5), p99: this.quantile(0.99), max };
  }

  /** The latency that the share `q` of all calls did not exceed; 0 without calls. */
  quantile(q: number): number {
    const cells = this.#cells;
    const rank = Math.ceil(q * (cells[COUNT] as number));
    if (rank === 0) return 0;
    let seen = 0;
    // The last has no upper end.
    for (let bucket = 0; bucket < BUCKETS - 1; bucket++) {
      seen += cells[FIRST + bucket] as number;
      if (seen >= rank) return Math.min(edgeOf(bucket), cells[LONGEST] as number);
    }
    return cells[LONGEST] as number;
  }
}

function bucketOf(milliseconds: number): number {
  if (milliseconds <= FLOOR) return 0;
  return Math.min(BUCKETS - 1, Math.ceil(Math.log2(milliseconds / FLOOR) * STEPS));
}

/** The longest latency of a bucket. */
function edgeOf(bucket: number): number {
  return FLOOR * 2 ** (bucket / STEPS);
}
