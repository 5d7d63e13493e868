/** Threads that wait and notify on the words of one page, each a number of rounds, in an order given by its seed. */
import { parentPort, workerData } from 'node:worker_threads';
import { MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, PROT_READ, PROT_WRITE } from '../../src/base/constants.ts';
import { attachSpace, machineOf, type SpaceHandle } from '../../src/node.ts';

export interface FutexData {
  readonly role: 'locker' | 'counter' | 'replacer';
  readonly space: SpaceHandle;
  readonly seed: number;
  readonly rounds: number;
  readonly at: number;
  /** Words that are waited on; a locker's count of a word is in the page behind. */
  readonly words: number;
  /** Threads that have not ended yet: the one that replaces pages goes on until the others have. */
  readonly left: SharedArrayBuffer;
}
export interface FutexReport {
  readonly failures: readonly string[];
  /** Waits that were woken, and threads that a notify says it has woken. */
  readonly woken: number;
  readonly counted: number;
}

const PAGE = 4096;
const FREE = 0;
const TAKEN = 1;
const WAITED_FOR = 2;
/** No wake-up for so long is none at all, however busy the machine is. */
const HANG_MS = 40_000;

const data = workerData as FutexData;
const left = new Int32Array(data.left);
const space = attachSpace(data.space);
const failures: string[] = [];
let state = data.seed | 0;
let woken = 0;
let counted = 0;

function random(below: number): number {
  state = (Math.imul(state, 1664525) + 1013904223) | 0;
  return Math.floor(((state >>> 8) / 2 ** 24) * below);
}

/** Some waits give up at once or soon and try again: those must not take a wake-up with them. */
function lock(word: number): void {
  if (space.cas32(word, FREE, TAKEN) === FREE) return;
  while (space.exchange32(word, WAITED_FOR) !== FREE) {
    const limit = [0, 0.05, 1, HANG_MS, HANG_MS, HANG_MS][random(6)] as number;
    const outcome = space.wait(word, WAITED_FOR, limit);
    if (outcome === 'timed-out' && limit === HANG_MS) throw new Error('no wake-up came');
  }
}

function unlock(word: number): void {
  if (space.exchange32(word, FREE) === WAITED_FOR) space.notify(word, 1);
}

function locker(): void {
  for (let round = 0; round < data.rounds; round++) {
    const word = data.at + random(data.words) * 4;
    lock(word);
    space.run((m) => m.store32(word + PAGE, m.load32(word + PAGE) + 1));
    unlock(word);
  }
}

/** Waits for a moment, or notifies some: in the end as many were woken as were counted. */
function counter(): void {
  for (let round = 0; round < data.rounds; round++) {
    const word = data.at + random(data.words) * 4;
    if (random(3) === 0) {
      if (space.wait(word, space.atomicLoad32(word), random(4) / 2) === 'ok') woken++;
    } else if (random(4) === 0) space.add32(word, 1);
    else counted += space.notify(word, random(4));
  }
}

/** Puts a new zero page in the place of the others', or makes it a page of its own. */
function replacer(): void {
  while (Atomics.load(left, 0) > 1) {
    if (random(2) === 0) space.store32(data.at + 4 * data.words, random(100));
    else
      space.mmap({
        addr: data.at,
        length: PAGE,
        prot: PROT_READ | PROT_WRITE,
        flags: MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
      });
  }
}

try {
  ({ locker, counter, replacer })[data.role]();
} catch (error) {
  failures.push(`${data.role}: ${(error as Error).stack}`);
}
Atomics.sub(left, 0, 1);
parentPort?.postMessage({ failures, woken, counted } satisfies FutexReport);
machineOf(space).close();
