/** Two threads die, a third has failed. */
import { parentPort, workerData } from 'node:worker_threads';
import { dieTwice, type TwiceRequest } from './twice.ts';

parentPort?.postMessage((workerData as TwiceRequest[]).map(dieTwice));
