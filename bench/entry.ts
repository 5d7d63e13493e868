/** What one benchmark says, and what `DESIGN` asks of it. */
export interface Entry {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** What the value is compared with, and that one's figure. */
  readonly against: string;
  /** Greater than 1: we are better. Null: nothing to compare with. */
  readonly ratio: number | null;
}

/** How a run is cut into rounds. */
export interface Plan {
  readonly rounds: number;
  /** Milliseconds of one side of one round. */
  readonly slice: number;
  readonly quick: boolean;
}

export type Benchmark = (plan: Plan, note: (line: string) => void) => Promise<Entry[]>;

export const SKIPPED = 'skipped (no C compiler)';

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** The value below which `share` of the samples lie; the samples are sorted in place. */
export function percentile(samples: Float64Array, share: number): number {
  samples.sort();
  return samples[Math.min(samples.length - 1, Math.floor(samples.length * share))] ?? Number.NaN;
}

/** One entry from paired rounds: the median of the values, of the reference's, and of the rounds' own ratios. */
export function paired(
  name: string,
  unit: string,
  ours: readonly number[],
  theirs: readonly number[],
  who: string,
  better: 'more' | 'less',
): Entry {
  const ratios = ours.map((value, i) => {
    const other = theirs[i] ?? Number.NaN;
    return better === 'more' ? value / other : other / value;
  });
  const against = `${who}: ${format(median(theirs))} ${unit}`;
  return { name, value: median(ours), unit, against, ratio: median(ratios) };
}

/** Four significant digits; thousands in groups. */
export function format(value: number): string {
  const digits = value === 0 ? 0 : Math.max(0, 3 - Math.floor(Math.log10(Math.abs(value))));
  return value.toLocaleString('en-US', { maximumFractionDigits: digits });
}
