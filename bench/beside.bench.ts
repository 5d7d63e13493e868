/** Fault throughput of one thread alone, beside a thread that maps and unmaps without pause, and beside a fault asleep in I/O. */
import { MiB } from '../src/node.ts';
import { Crew } from './crew.ts';
import { type Entry, type Plan, paired } from './entry.ts';
import { inTempFolder, sparseFile } from './temp.ts';

const RANGE = 64 * MiB;
const MEMORY = 192 * MiB;
const WARM_UP_ROUNDS = 3;
/** Enough pages for the faults of a run: each takes one that was never read. */
export const SLOW_FILE_BYTES: number = 1024 * MiB;

export async function besideMapper(plan: Plan): Promise<Entry[]> {
  const merging = await beside('fault.beside.mapper', 'pair', undefined, plan);
  return [...merging, ...(await beside('fault.beside.mapper.apart', 'pair-apart', undefined, plan))];
}

export function besideIo(plan: Plan): Promise<Entry[]> {
  return inTempFolder((folder) => beside('fault.beside.io', 'io', sparseFile(folder, SLOW_FILE_BYTES), plan));
}

async function beside(
  name: string,
  other: 'pair' | 'pair-apart' | 'io',
  path: string | undefined,
  plan: Plan,
): Promise<Entry[]> {
  const crew = await Crew.start({ workers: [['fault'], [other]], memory: MEMORY, range: RANGE, path });
  const alone: number[] = [];
  const together: number[] = [];
  try {
    for (let i = 0; i < WARM_UP_ROUNDS; i++) crew.round(plan.slice, ['fault', other]);
    for (let i = 0; i < plan.rounds; i++) {
      alone.push(crew.round(plan.slice, ['fault', undefined])[0]?.rate ?? Number.NaN);
      together.push(crew.round(plan.slice, ['fault', other])[0]?.rate ?? Number.NaN);
    }
  } finally {
    await crew.close();
  }
  return [paired(name, 'faults/s', together, alone, 'alone', 'more')];
}
