/**
 * I27, taken by its word: a thread killed at any access to shared memory leaves a machine that, once told, works on. Each death is
 * one world: the victim's call stops before access N, the survivor reaps it, and then the layout is the old one or the
 * new one, nothing else has changed, everything works, and when all is closed every pool is whole again (I26).
 */
import type { Census } from '../../../src/index.ts';
import { Machine, PROT_READ, MAP_FIXED_NOREPLACE, VmError } from '../../../src/index.ts';
import { auditPools } from '../audit.ts';
import { SCENARIOS, type Scenario } from './scenarios.ts';
import { ANON, anotherCpu, BASE, layoutOf, makeWorld, P, peekAt, Port, RW, stampOf, type World } from './world.ts';

export interface KillRequest {
  readonly scenario: string;
  /** Every how many accesses the victim dies, and from which on. */
  readonly stride: number;
  readonly first: number;
  /** Milliseconds after which it is enough. */
  readonly budget: number;
  /** Deaths of the reaper, too: before its access number `reaper`, or 0. */
  readonly reaper: number;
}

export interface KillReport {
  readonly accesses: number;
  readonly deaths: number;
  readonly failures: readonly string[];
}
