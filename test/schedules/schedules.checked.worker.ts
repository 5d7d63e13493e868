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
} from './give-ups.ts';
import {
  createGivesUp,
  fileClosedOnce,
  holeIsNoShortage,
  idleThreadKeepsLock,
  idleThreadKeepsMemory,
  intentOfItsOwn,
  reapsInOthersHands,
  takesNothingAlong,
} from './helped.ts';
import { lastMappingGoesDuringRead, mappingChangesDuringRead, readerDies } from './pages.ts';
import {
  bumpOvertakenByRound,
  protectBesideFirstFault,
  unmapBesideFirstFault,
  unmapOvertakenByReclaim,
} from './translations.ts';

const SCHEDULES = {
  createGivesUp,
  fileClosedOnce,
  holeIsNoShortage,
  idleThreadKeepsLock,
  idleThreadKeepsMemory,
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
