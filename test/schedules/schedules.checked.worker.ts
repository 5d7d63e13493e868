/** Runs one schedule and posts what came of it. */
import { parentPort, workerData } from 'node:worker_threads';
import { deathBesideManySpaces, twoDeathsAtOnce } from './deaths.ts';
import {
  attachBesideFreeing,
  backingClosesMachine,
  diesWhileItFinishes,
  dropBesideDeadReclaim,
  giveUpWithLeaf,
  intentEndsWithItsCall,
  lastCloseBesideDeath,
  leaveQueueOfTheDead,
  leavesBesideSlowThread,
  notesOfPageLocks,
  reaperGoesHalfWay,
  retiresBesideDeadThief,
  thievesOfLateObjectsDie,
  unmapsBesideDeadPool,
} from './give-ups.ts';
import {
  createGivesUp,
  fileClosedOnce,
  holeIsNoShortage,
  idleThreadKeepsLock,
  idleThreadKeepsMemory,
  idleThreadKeepsPage,
  intentOfItsOwn,
  reapsInOthersHands,
  takesNothingAlong,
} from './helped.ts';
import { lastMappingGoesDuringRead, mappingChangesDuringRead, readerDies } from './pages.ts';
import {
  bumpOvertakenByRound,
  protectBesideFirstFault,
  reclaimDiesBeforeBump,
  unmapBesideFirstFault,
  unmapOvertakenByReclaim,
  upgradeDiesBeforeBump,
} from './translations.ts';

const SCHEDULES = {
  createGivesUp,
  fileClosedOnce,
  holeIsNoShortage,
  idleThreadKeepsLock,
  idleThreadKeepsMemory,
  idleThreadKeepsPage,
  intentOfMunmap: () => intentOfItsOwn('munmap'),
  intentOfFixed: () => intentOfItsOwn('fixed'),
  intentOfClose: () => intentOfItsOwn('close'),
  reapsInOthersHands,
  takesNothingAlong,
  attachBesideFreeing,
  backingClosesWithFile: () => backingClosesMachine('file'),
  backingClosesWithMachine: () => backingClosesMachine('machine'),
  diesWhileItFinishes,
  dropBesideDeadReclaim,
  giveUpReading: () => giveUpWithLeaf('read'),
  giveUpWriting: () => giveUpWithLeaf('write'),
  giveUpUnmapping: () => giveUpWithLeaf('munmap'),
  intentEndsWithItsCall,
  lastCloseBesideDeath,
  leaveQueueOfTheDead,
  leavesBesideSlowThread,
  notesOfPageLocks,
  reaperGoesHalfWay,
  retiresBesideDeadThief,
  thievesOfLateObjectsDie,
  unmapsBesideDeadPool,
  bumpOvertakenByRound,
  deathBesideManySpaces,
  lastMappingGoesDuringRead,
  mappingChangesDuringRead,
  protectBesideFirstFault,
  readerDies,
  reclaimDiesBeforeBump,
  twoDeathsAtOnce,
  unmapBesideFirstFault,
  unmapOvertakenByReclaim,
  upgradeDiesBeforeBump,
};
export type Schedule = keyof typeof SCHEDULES;

parentPort?.postMessage(SCHEDULES[workerData as Schedule]());
