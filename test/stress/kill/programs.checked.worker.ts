/** Random programs with deaths in them. */
import { parentPort, workerData } from 'node:worker_threads';
import { type ProgramRequest, runPrograms } from './programs.ts';

parentPort?.postMessage((workerData as ProgramRequest[]).map(runPrograms));
