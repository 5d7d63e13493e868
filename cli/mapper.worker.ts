/** Maps, protects and unmaps anonymous memory without pause, faults on it, and measures each mmap+munmap. */
import { workerData } from 'node:worker_threads';
import { attachSpace, MAP_ANONYMOUS, MAP_PRIVATE, PAGE_SIZE, PROT_READ, PROT_WRITE } from '../src/node.ts';
import { Latencies } from './latency.ts';
import {
  FIGURE_CELLS,
  MAPPING_TIMES,
  PENDING_SINCE,
  PROTECT_TIMES,
  SLEEP_TIMES,
  SLEEPERS,
  type WorkerSetup,
} from './protocol.ts';
import { Mismatch, workUntilStopped } from './worker-loop.ts';

const PAGES = 8;
const LENGTH: number = PAGES * PAGE_SIZE;

const setup = workerData as WorkerSetup;
const space = attachSpace(setup.space);
const figures = new Float64Array(setup.figures);
const control = new Int32Array(setup.control);
const mapping = new Latencies(figures.subarray(MAPPING_TIMES, SLEEP_TIMES));
const besideSleeps = new Latencies(figures.subarray(SLEEP_TIMES, PROTECT_TIMES));
const protecting = new Latencies(figures.subarray(PROTECT_TIMES, FIGURE_CELLS));
let round = 0;

workUntilStopped(space, setup.control, () => {
  round = (round + 1) | 0;
  let besideSleep = readSleeps();
  const started = begin();
  const at = space.mmap({ length: LENGTH, prot: PROT_READ | PROT_WRITE, flags: MAP_PRIVATE | MAP_ANONYMOUS });
  const mapped = end() - started;
  writePages(at, round);
  const before = begin();
  space.mprotect(at, LENGTH / 2, PROT_READ);
  protecting.record(end() - before);
  checkPages(at, round);
  besideSleep = readSleeps() || besideSleep;
  const left = begin();
  space.munmap(at, LENGTH);
  const took = mapped + end() - left;
  mapping.record(took);
  if (besideSleep) besideSleeps.record(took);
});

/** Asked before a call: one that a read falls asleep behind may be over before it could be in the way. */
function readSleeps(): boolean {
  return Atomics.load(control, SLEEPERS) > 0;
}

function begin(): number {
  const now = performance.now();
  figures[PENDING_SINCE] = performance.timeOrigin + now;
  return now;
}

function end(): number {
  figures[PENDING_SINCE] = 0;
  return performance.now();
}

function writePages(at: number, value: number): void {
  space.run((memory) => {
    for (let page = 0; page < PAGES; page++) {
      const address = at + page * PAGE_SIZE;
      const found = memory.load32(address + 8);
      if (found !== 0) throw new Mismatch(`fresh memory holds ${found} at 0x${(address + 8).toString(16)}`);
      memory.store32(address, value + page);
    }
  });
}

function checkPages(at: number, value: number): void {
  space.run((memory) => {
    for (let page = 0; page < PAGES; page++) {
      const address = at + page * PAGE_SIZE;
      const found = memory.load32(address);
      if (found === ((value + page) | 0)) continue;
      throw new Mismatch(`anonymous memory holds ${found} at 0x${address.toString(16)}, ${value + page} was written`);
    }
  });
}
