/** Anonymous write faults and mmap+munmap pairs, one and two threads, against the same loops in C on the host kernel. */
import { MiB } from '../src/node.ts';
import { Crew } from './crew.ts';
import { type Entry, format, median, type Plan, paired, SKIPPED } from './entry.ts';
import { compileHostLoops, type HostLoops } from './host.ts';
import { inTempFolder } from './temp.ts';

export const RANGE: number = 128 * MiB;
/** Two threads touch RANGE each, and what they have unmapped waits for a grace period. */
export const MEMORY: number = 320 * MiB;
const WARM_UP_ROUNDS = 3;

interface Loop {
  readonly name: string;
  readonly task: 'fault' | 'pair';
  readonly unit: string;
  readonly scaling: string;
}

const FAULT: Loop = { name: 'fault.anon.write', task: 'fault', unit: 'faults/s', scaling: 'fault.anon.scaling' };
const PAIR: Loop = { name: 'map.pair', task: 'pair', unit: 'pairs/s', scaling: 'map.pair.scaling' };

export function anonymousFaults(plan: Plan, note: (line: string) => void): Promise<Entry[]> {
  return inTempFolder((folder) => againstHost(FAULT, plan, compileHostLoops(folder, note)));
}

export function mapPairs(plan: Plan, note: (line: string) => void): Promise<Entry[]> {
  return inTempFolder((folder) => againstHost(PAIR, plan, compileHostLoops(folder, note)));
}

/** Rounds of ours and theirs, in turn, so that both see the same machine. */
async function againstHost(loop: Loop, plan: Plan, host: HostLoops | undefined): Promise<Entry[]> {
  const { task } = loop;
  const crew = await Crew.start({ workers: [[task], [task]], memory: MEMORY, range: RANGE });
  const ours: number[][] = [[], []];
  const theirs: number[][] = [[], []];
  const chosen = [[task], [task, task]] as const;
  try {
    for (let i = 0; i < WARM_UP_ROUNDS; i++) crew.round(plan.slice, [task, task]);
    for (let i = 0; i < plan.rounds; i++) {
      for (const threads of [1, 2] as const) {
        ours[threads - 1]?.push(crew.rate(plan.slice, chosen[threads - 1] ?? []));
        if (host !== undefined) theirs[threads - 1]?.push(host.rate(task, threads, plan.slice));
      }
    }
  } finally {
    await crew.close();
  }
  return entriesOf(loop, ours, host === undefined ? undefined : theirs);
}

function entriesOf({ name, unit, scaling }: Loop, ours: number[][], theirs: number[][] | undefined): Entry[] {
  const entries = ours.map((rates, i): Entry => {
    const thread = `${name}.t${i + 1}`;
    const host = theirs?.[i];
    if (host !== undefined) return paired(thread, unit, rates, host, 'C', 'more');
    return { name: thread, value: median(rates), unit, against: SKIPPED, ratio: null };
  });
  const own = scalingOf(ours);
  const against = theirs === undefined ? 'own t1' : `own t1 (C: ${format(scalingOf(theirs))})`;
  return [...entries, { name: scaling, value: own, unit: 'x', against, ratio: own }];
}

function scalingOf([one = [], two = []]: readonly number[][]): number {
  return median(two.map((rate, i) => rate / (one[i] ?? Number.NaN)));
}
