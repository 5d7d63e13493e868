/**
 * What became of one attempt at a fault: it is done, it must sleep for something, it must start again, or it fails. Who adds an outcome
 * must say of which kind it is and which counter counts it: the tables below have an entry for each, or do not compile.
 */
import { COUNTER } from '../trace/counters.ts';

export const DONE = 0;

/* To sleep for. */
export const NEED_FRAME = 1;
export const NEED_PAGE = 2;
export const PAGE_BUSY = 3;
/** A page table or a reverse-map node: reclaim gives them back with the pages. */
export const NEED_RECORD = 4;
export type Sleep = typeof NEED_FRAME | typeof NEED_PAGE | typeof PAGE_BUSY | typeof NEED_RECORD;

/* To start again for. */
/** The VMA was replaced between look-up and commit. */
export const DETACHED = 5;
/** The VMA is just being replaced by MAP_FIXED: wait for the writer. */
export const WAIT = 6;
/** The leaf was torn down. */
export const UNHOOKED = 7;
/** The PTE is not as it was first seen. */
export const CHANGED = 8;
/** The page has left its file. */
export const TRUNCATED = 9;
export type Restart = typeof DETACHED | typeof WAIT | typeof UNHOOKED | typeof CHANGED | typeof TRUNCATED;

/* Errors. */
export const MAPERR = 10;
export const ACCERR = 11;
export const BUS = 12;
export type Failure = typeof MAPERR | typeof ACCERR | typeof BUS;

export type Outcome = typeof DONE | Sleep | Restart | Failure;

/** Counts the sleeps, unless the VMA was dying and nobody slept. */
export const SLEEP_COUNTERS: Readonly<Record<Sleep, number>> = {
  [NEED_FRAME]: COUNTER['restart.memory'],
  [NEED_PAGE]: COUNTER['restart.io'],
  [PAGE_BUSY]: COUNTER['restart.page-lock'],
  [NEED_RECORD]: COUNTER['restart.table'],
};

export const RESTART_COUNTERS: Readonly<Record<Restart, number>> = {
  [DETACHED]: COUNTER['restart.detached'],
  [WAIT]: COUNTER['restart.detached'],
  [UNHOOKED]: COUNTER['restart.unhooked'],
  [CHANGED]: COUNTER['restart.changed'],
  [TRUNCATED]: COUNTER['restart.truncated'],
};

export const FAILURE_COUNTERS: Readonly<Record<Failure, number>> = {
  [MAPERR]: COUNTER['fault.segv'],
  [ACCERR]: COUNTER['fault.segv'],
  [BUS]: COUNTER['fault.bus'],
};

export function isSleep(outcome: Outcome): outcome is Sleep {
  return outcome in SLEEP_COUNTERS;
}

export function isFailure(outcome: Outcome): outcome is Failure {
  return outcome in FAILURE_COUNTERS;
}
