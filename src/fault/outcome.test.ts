import { expect, test } from 'vitest';
import { COUNTERS } from '../trace/counters.ts';
import {
  ACCERR,
  BUS,
  CHANGED,
  DETACHED,
  DONE,
  FAILURE_COUNTERS,
  isFailure,
  isSleep,
  MAPERR,
  NEED_FRAME,
  NEED_PAGE,
  NEED_RECORD,
  type Outcome,
  PAGE_BUSY,
  RESTART_COUNTERS,
  SLEEP_COUNTERS,
  TRUNCATED,
  UNHOOKED,
  WAIT,
} from './outcome.ts';

const SLEEPS: readonly Outcome[] = [NEED_FRAME, NEED_PAGE, PAGE_BUSY, NEED_RECORD];
const RESTARTS: readonly Outcome[] = [DETACHED, WAIT, UNHOOKED, CHANGED, TRUNCATED];
const FAILURES: readonly Outcome[] = [MAPERR, ACCERR, BUS];
const ALL: readonly Outcome[] = [DONE, ...SLEEPS, ...RESTARTS, ...FAILURES];

test('an outcome is done, or of exactly one kind, and is counted once', () => {
  const kinds = ALL.map((outcome) => {
    const counters = [SLEEP_COUNTERS, RESTART_COUNTERS, FAILURE_COUNTERS].filter((table) => outcome in table);
    return counters.length;
  });
  expect(new Set(ALL).size).toBe(ALL.length);
  expect(kinds).toEqual(ALL.map((outcome) => (outcome === DONE ? 0 : 1)));
  expect([ALL.filter(isSleep), ALL.filter(isFailure)]).toEqual([SLEEPS, FAILURES]);
});

test('a sleep is counted by what it was for, a restart by why', () => {
  const names = (table: Readonly<Record<number, number>>): string[] =>
    Object.keys(table).map((outcome) => COUNTERS[table[Number(outcome)] as number] as string);
  // In the order of the numbers: frame, page, busy page, record; detached, replaced, unhooked, changed, truncated.
  expect(names(SLEEP_COUNTERS)).toEqual(['restart.memory', 'restart.io', 'restart.page-lock', 'restart.table']);
  expect(names(RESTART_COUNTERS)).toEqual([
    'restart.detached',
    'restart.detached',
    'restart.unhooked',
    'restart.changed',
    'restart.truncated',
  ]);
  expect(names(FAILURE_COUNTERS)).toEqual(['fault.segv', 'fault.segv', 'fault.bus']);
});
