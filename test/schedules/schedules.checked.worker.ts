/** Runs one schedule and posts what came of it. */
import { parentPort, workerData } from 'node:worker_threads';
import { deathBesideManySpaces, twoDeathsAtOnce } from './deaths.ts';
import { lastMappingGoesDuringRead, mappingChangesDuringRead, readerDies } from './pages.ts';
import {
  bumpOvertakenByRound,
  protectBesideFirstFault,
  unmapBesideFirstFault,
  unmapOvertakenByReclaim,
} from './translations.ts';

const SCHEDULES = {
  bumpOvertakenByRound,
  deathBesideManySpaces,
  lastMappingGoesDuringRead,
  mappingChangesDuringRead,
  protectBesideFirstFault,
  readerDies,
  twoDeathsAtOnce,
  unmapBesideFirstFault,
  unmapOvertakenByReclaim,
};
export type Schedule = keyof typeof SCHEDULES;

parentPort?.postMessage(SCHEDULES[workerData as Schedule]());
