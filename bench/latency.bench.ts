/** Mapping latency: p99 of mmap+munmap, while another thread's fault sleeps in I/O over and over, and without. Per design. */
import { DESIGN_NAMES, type DesignName, MiB } from '../src/node.ts';
import { SLOW_FILE_BYTES } from './beside.bench.ts';
import { Crew } from './crew.ts';
import { type Entry, type Plan, paired, percentile } from './entry.ts';
import { inTempFolder, sparseFile } from './temp.ts';

const MEMORY = 64 * MiB;
/** Under `mmap-sem` a round has few samples: it is longer than others. */
const SLICE_FACTOR = 2;

export function mapLatency(plan: Plan): Promise<Entry[]> {
  return inTempFolder(async (folder) => {
    const path = sparseFile(folder, SLOW_FILE_BYTES);
    const entries: Entry[] = [];
    for (const design of DESIGN_NAMES) entries.push(await latencyOf(design, path, plan));
    return entries;
  });
}

async function latencyOf(design: DesignName, path: string, plan: Plan): Promise<Entry> {
  const crew = await Crew.start({ workers: [['latency'], ['io']], memory: MEMORY, range: 0, path, design });
  const slice = plan.slice * SLICE_FACTOR;
  const without: number[] = [];
  const beside: number[] = [];
  try {
    for (let i = 0; i < 2; i++) crew.round(plan.slice, ['latency', undefined]);
    for (let i = 0; i < plan.rounds; i++) {
      without.push(p99(crew.round(slice, ['latency', undefined])[0]?.samples));
      beside.push(p99(crew.round(slice, ['latency', 'io'])[0]?.samples));
    }
  } finally {
    await crew.close();
  }
  return paired(`map.p99.beside.io.${design}`, 'us', beside, without, 'without I/O', 'less');
}

/** Microseconds. */
function p99(samples: Float64Array = new Float64Array()): number {
  return percentile(samples, 0.99) * 1000;
}
