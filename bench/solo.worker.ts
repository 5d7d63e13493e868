/** A single-threaded measurement in an isolate of its own, so that no other benchmark has taught the compiler anything. */
import { parentPort, workerData } from 'node:worker_threads';
import { measureFiles } from './file-loops.ts';
import { measureTlb } from './tlb-loops.ts';

export interface SoloData {
  readonly suite: 'tlb' | 'files';
  readonly rounds: number;
  readonly folder: string;
}

/** Figures of paired rounds, by entry: ours and theirs, in the entry's unit. */
export type SoloResult = Record<string, { readonly ours: readonly number[]; readonly theirs: readonly number[] }>;

const { suite, rounds, folder } = workerData as SoloData;
parentPort?.postMessage(suite === 'tlb' ? measureTlb(rounds) : measureFiles(rounds, folder));
