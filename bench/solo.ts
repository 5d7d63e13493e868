import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { SoloData, SoloResult } from './solo.worker.ts';

export async function runSolo(suite: SoloData['suite'], rounds: number, folder = ''): Promise<SoloResult> {
  const data: SoloData = { suite, rounds, folder };
  const worker = new Worker(new URL('./solo.worker.js', import.meta.url), { workerData: data });
  const [result] = await once(worker, 'message');
  await worker.terminate();
  return result as SoloResult;
}
