/** What every role has: its part, its random numbers, how it tells what it did and what was wrong. */
import { parentPort, workerData } from 'node:worker_threads';
import { MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, PROT_WRITE } from '../../src/base/constants.ts';
import type { SpaceHandle } from '../../src/node.ts';
import { LOOK_AGAIN_MS, PROGRESS, READY, STOP } from './board.ts';

export interface RoleData {
  readonly role: string;
  readonly space: SpaceHandle;
  /** The board. */
  readonly shared: SharedArrayBuffer;
  readonly seed: number;
  /** Which word says how far it is, and how many threads begin together. */
  readonly index: number;
  readonly together: number;
  readonly at: number;
  readonly pages: number;
  readonly other: number;
  /** Index of the thread whose checks this one waits for, -1 for none. */
  readonly peer: number;
}

export const PAGE = 4096;
export const RW: number = PROT_READ | PROT_WRITE;
export const ANONYMOUS: number = MAP_PRIVATE | MAP_ANONYMOUS;

/** A failure is told with all of its stack. */
Error.stackTraceLimit = 40;

export const data: RoleData = workerData as RoleData;
export const shared: Int32Array = new Int32Array(data.shared);
const mine = PROGRESS + data.index;
let state = data.seed | 0;
let checks = 0;
const failures: string[] = [];

export function random(below: number): number {
  state = (Math.imul(state, 1664525) + 1013904223) | 0;
  return Math.floor(((state >>> 8) / 2 ** 24) * below);
}

export function stopped(): boolean {
  return Atomics.load(shared, STOP) !== 0;
}

/** One more thing was done, and was right. */
export function done(count = 1): void {
  checks += count;
  Atomics.store(shared, mine, checks);
  Atomics.notify(shared, mine);
}

/** Something was wrong: that ends the play. */
export function fail(text: string): void {
  if (failures.length < 5) failures.push(text);
  Atomics.store(shared, STOP, 1);
  Atomics.notify(shared, STOP);
}

/** Sleeps until the word is at least `value`, or the play ends. */
export function awaitWord(word: number, value: number): void {
  for (let seen = Atomics.load(shared, word); seen < value && !stopped(); seen = Atomics.load(shared, word)) {
    Atomics.wait(shared, word, seen, LOOK_AGAIN_MS);
  }
}

/** Waits for all who begin together, plays, and reports. The thread has left the machine when it reports. */
export function play(roles: Readonly<Record<string, () => void>>, leave: () => void): void {
  Atomics.add(shared, READY, 1);
  Atomics.notify(shared, READY);
  awaitWord(READY, data.together);
  attempt(() => (roles[data.role] as () => void)());
  attempt(leave);
  parentPort?.postMessage({ role: data.role, checks, failures });
}

function attempt(act: () => void): void {
  try {
    act();
  } catch (error) {
    fail(`${data.role}: ${(error as Error).stack}`);
  }
}
