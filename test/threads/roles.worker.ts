/** The threads of the tests in this folder: each plays one role until the main thread raises the stop word, then reports. */
import { parentPort, workerData } from 'node:worker_threads';
import { MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, PROT_READ, PROT_WRITE } from '../../src/constants.ts';
import {
  type Accessor,
  attachSpace,
  machineOf,
  SegmentationFault,
  type Space,
  type SpaceHandle,
} from '../../src/node.ts';

export interface RoleData {
  readonly role: string;
  readonly space: SpaceHandle;
  /** STOP, READY, PERIOD, LATCH, REACHED, then words for the roles. */
  readonly shared: SharedArrayBuffer;
  readonly seed: number;
  readonly at: number;
  readonly pages: number;
  readonly other: number;
}

export const STOP = 0;
export const READY = 1;
export const PERIOD = 2;
export const LATCH = 3;
export const REACHED = 4;
export const PAUSED = 5;

const PAGE = 4096;
const RW = PROT_READ | PROT_WRITE;
const ANONYMOUS = MAP_PRIVATE | MAP_ANONYMOUS;

const data = workerData as RoleData;
const shared = new Int32Array(data.shared);
const space: Space = attachSpace(data.space);
let state = data.seed | 0;
let checks = 0;
const failures: string[] = [];

function random(below: number): number {
  state = (Math.imul(state, 1664525) + 1013904223) | 0;
  return Math.floor(((state >>> 8) / 2 ** 24) * below);
}

function stopped(): boolean {
  return Atomics.load(shared, STOP) !== 0;
}

function fail(text: string): void {
  if (failures.length < 5) failures.push(text);
}

/** LTP mmap1: maps, writes the period into every page, opens the period, closes it, unmaps. */
function mapper(): void {
  for (let period = 1; !stopped(); period += 2) {
    space.mmap({ addr: data.at, length: data.pages * PAGE, prot: RW, flags: ANONYMOUS | MAP_FIXED });
    space.run((m) => {
      for (let i = 0; i < data.pages; i++) m.store32(data.at + i * PAGE, period);
    });
    Atomics.store(shared, PERIOD, period);
    Atomics.wait(shared, LATCH, 0, random(3) / 4);
    Atomics.store(shared, PERIOD, period + 1);
    space.munmap(data.at, data.pages * PAGE);
    checks++;
  }
}

/** Within one period: that period's value and no fault. Across its ends: a fault, a fresh page, or a period's value. */
function reader(): void {
  while (!stopped()) {
    const before = Atomics.load(shared, PERIOD);
    const address = data.at + random(data.pages) * PAGE;
    let seen: number | string;
    try {
      seen = space.load32(address);
    } catch (error) {
      seen = error instanceof SegmentationFault ? error.reason : String(error);
    }
    const after = Atomics.load(shared, PERIOD);
    if (before === after && (before & 1) === 1) {
      checks++;
      if (seen !== before) fail(`period ${before}: saw ${seen}`);
    } else if (
      typeof seen === 'number' ? seen !== 0 && ((seen & 1) === 0 || seen > after + 1) : seen !== 'SEGV_MAPERR'
    ) {
      fail(`between ${before} and ${after}: saw ${seen}`);
    }
  }
}

/** Replaces a mapping in place, again and again (I3). */
function replacer(): void {
  for (let period = 1; !stopped(); period++) {
    space.mmap({ addr: data.at, length: data.pages * PAGE, prot: RW, flags: ANONYMOUS | MAP_FIXED });
    space.run((m) => {
      for (let i = 0; i < data.pages; i++) m.store32(data.at + i * PAGE, period);
    });
    Atomics.store(shared, PERIOD, period);
    checks++;
  }
}

/** What is always mapped never faults, and shows a fresh page or a value that was written. */
function watcher(): void {
  while (!stopped()) {
    const address = data.at + random(data.pages) * PAGE;
    try {
      const seen = space.load32(address);
      const now = Atomics.load(shared, PERIOD);
      checks++;
      if (seen < 0 || seen > now + 1) fail(`saw ${seen} in period ${now}`);
    } catch (error) {
      fail(String(error));
    }
  }
}

/** Splits and merges: flips the second half of the range between read-only and writable. */
function splitter(): void {
  const half = data.pages >> 1;
  while (!stopped()) {
    const first = half + random(half);
    space.mprotect(data.at + first * PAGE, (data.pages - first) * PAGE, PROT_READ);
    space.mprotect(data.at + first * PAGE, (data.pages - first) * PAGE, RW);
    checks++;
  }
}

/** The half that nobody protects must never fault; what it holds stays. */
function neighbour(): void {
  const half = data.pages >> 1;
  const counts = new Int32Array(half);
  while (!stopped()) {
    const i = random(half);
    try {
      space.run((m) => {
        const seen = m.load32(data.at + i * PAGE);
        if (seen !== counts[i]) fail(`page ${i}: ${seen}, not ${counts[i]}`);
        m.store32(data.at + i * PAGE, ++(counts as Int32Array)[i]!);
      });
      checks++;
    } catch (error) {
      fail(String(error));
    }
  }
}

/** Counts in a page until its right to write is taken away, then waits to be told to go on. */
function writer(): void {
  while (!stopped()) {
    try {
      space.run((m: Accessor) => {
        for (let i = 0; i < 5000 && !stopped(); i++) m.store32(data.at, (m.load32(data.at) + 1) | 0);
      });
      checks++;
    } catch (error) {
      if (!(error instanceof SegmentationFault) || error.reason !== 'SEGV_ACCERR') fail(String(error));
      Atomics.add(shared, PAUSED, 1);
      while (Atomics.load(shared, LATCH) === 0 && !stopped());
    }
  }
}

/** Takes the right away and gives it back: in between nothing may change any more (I14). */
function guard(): void {
  while (!stopped()) {
    Atomics.store(shared, LATCH, 0);
    space.mprotect(data.at, PAGE, PROT_READ);
    const before = space.load32(data.at);
    for (let i = 0; i < 50; i++) {
      if (space.load32(data.at) !== before) fail(`the page changed after mprotect(PROT_READ): ${before}`);
    }
    checks++;
    space.mprotect(data.at, PAGE, RW);
    Atomics.store(shared, LATCH, 1);
    Atomics.wait(shared, STOP, 0, 0.2);
  }
}

/** Adds 1 to a word of every page of a fresh mapping, while others do the same (I9). */
function adder(): void {
  space.run((m) => {
    for (let i = 0; i < data.pages; i++) m.add32(data.at + i * PAGE, 1);
  });
  checks = data.pages;
}

/** Reads pages of a file whose every word names its page; the file is several times the memory. */
function fileReader(): void {
  let sequential = random(data.pages);
  while (!stopped()) {
    sequential = random(16) === 0 ? random(data.pages) : (sequential + 1) % data.pages;
    const word = random(1024) * 4;
    try {
      const seen = space.load32(data.at + sequential * PAGE + word);
      checks++;
      if (seen !== sequential) fail(`page ${sequential}: its word ${word} says ${seen}`);
    } catch (error) {
      fail(String(error));
    }
  }
}

/** Ping-pong on two futex words. Every round must end: a lost wake-up shows as a time-out. */
function pinger(): void {
  const mine = data.at + data.other * PAGE;
  const theirs = data.at + (1 - data.other) * PAGE;
  if (data.other === 0) bump(theirs);
  for (let round = 1; round <= data.pages; round++) {
    for (let value = space.atomicLoad32(mine); value < round; value = space.atomicLoad32(mine)) {
      if (space.wait(mine, value, 10_000) === 'timed-out') {
        fail(`round ${round}: no wake-up in 10 s`);
        return;
      }
    }
    checks++;
    bump(theirs);
  }
}

function bump(word: number): void {
  space.add32(word, 1);
  space.notify(word);
}

/** Anything, anywhere in the window, until somebody terminates the thread. Errors of the kind that it may get are its business. */
function mischief(): void {
  const bytes = new Uint8Array(3 * PAGE);
  while (!stopped()) {
    const first = random(data.pages);
    const at = data.at + first * PAGE;
    const length = (1 + random(Math.min(8, data.pages - first))) * PAGE;
    try {
      step(random(9), at, length, bytes);
      checks++;
    } catch (error) {
      const code = (error as { code?: string }).code;
      if (code !== 'EFAULT' && code !== 'ENOMEM' && code !== 'EEXIST') throw error;
    }
  }
}

function step(what: number, at: number, length: number, bytes: Uint8Array): void {
  if (what === 0) space.mmap({ addr: at, length, prot: RW, flags: ANONYMOUS | MAP_FIXED });
  else if (what === 1) space.munmap(at, length);
  else if (what === 2) space.mprotect(at, length, random(2) === 0 ? PROT_READ : RW);
  else if (what === 3) space.fill(at, length, 7);
  else if (what === 4) space.read(data.other + random(FILE_PAGES - 4) * PAGE, bytes);
  else if (what === 5) space.wait(at, 0, 1);
  else if (what === 6) space.munmap(space.mmap({ length, prot: RW, flags: ANONYMOUS }), length);
  else if (what === 7) space.run((m) => m.store32(at, m.load32(at + 4) + 1));
  else space.load8(at);
}

const FILE_PAGES = 4096;

const ROLES: Record<string, () => void> = {
  mischief,
  mapper,
  reader,
  replacer,
  watcher,
  splitter,
  neighbour,
  writer,
  guard,
  adder,
  fileReader,
  pinger,
};

Atomics.add(shared, READY, 1);
Atomics.notify(shared, READY);
try {
  (ROLES[data.role] as () => void)();
} catch (error) {
  fail(`${data.role}: ${(error as Error).stack}`);
}
parentPort?.postMessage({ role: data.role, checks, failures });
machineOf(space).close();
