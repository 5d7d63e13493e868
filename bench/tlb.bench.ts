/** TLB hits against raw typed arrays. The loops are in tlb-loops.ts, which runs in a worker. */
import { type Entry, type Plan, paired } from './entry.ts';
import { runSolo } from './solo.ts';

const ROUNDS_FACTOR = 4;

export async function tlbHits(plan: Plan): Promise<Entry[]> {
  const result = await runSolo('tlb', plan.rounds * ROUNDS_FACTOR);
  return Object.entries(result).map(([name, { ours, theirs }]) =>
    paired(name, 'ns/access', ours, theirs, name.endsWith('best-raw') ? 'fastest raw loop' : 'raw Int32Array', 'less'),
  );
}
