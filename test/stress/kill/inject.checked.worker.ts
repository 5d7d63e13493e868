/** Allocations and sleeps that fail. */
import { parentPort, workerData } from 'node:worker_threads';
import { type InjectRequest, injectEverywhere } from './inject.ts';

parentPort?.postMessage((workerData as InjectRequest[]).map(injectEverywhere));
