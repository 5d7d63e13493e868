/** One preemption before every access of a call. */
import { parentPort, workerData } from 'node:worker_threads';
import { type PreemptRequest, preemptEverywhere } from './preempt.ts';

parentPort?.postMessage((workerData as PreemptRequest[]).map(preemptEverywhere));
