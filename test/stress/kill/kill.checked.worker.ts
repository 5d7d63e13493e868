/** Kills a victim before every access of a call, one world each, and looks at what the survivor is left with. */
import { parentPort, workerData } from 'node:worker_threads';
import { type KillRequest, killEverywhere } from './kill.ts';

parentPort?.postMessage((workerData as KillRequest[]).map(killEverywhere));
