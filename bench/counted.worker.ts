/**
 * Counts this thread's read-modify-writes of the control memory, by word, while it faults. Its bundle has the shipped code and
 * the shipped batch sizes; only the port of shared accesses is the one that can be observed (see scripts/build.mjs).
 */
import { parentPort, workerData } from 'node:worker_threads';
import {
  type Accessor,
  attachSpace,
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  PAGE_SIZE,
  PROT_READ,
  PROT_WRITE,
  type SpaceHandle,
} from '../src/node.ts';
import { observePort, PORT } from '../src/sync/atomics.checked.ts';

export interface CountedData {
  readonly space: SpaceHandle;
  readonly range: number;
  /** Threads at the barrier. */
  readonly barrier: SharedArrayBuffer;
  readonly threads: number;
}

export interface CountedResult {
  readonly faults: number;
  /** Word index -> read-modify-writes, while touching and while unmapping. */
  readonly touching: ReadonlyMap<number, number>;
  readonly unmapping: ReadonlyMap<number, number>;
}

const WARM_UP_PASSES = 2;

const { space: handle, range, barrier, threads } = workerData as CountedData;
const meeting = new Int32Array(barrier);
const space = attachSpace(handle);
const control = handle.control;

for (let pass = 0; pass < WARM_UP_PASSES; pass++) {
  const at = map();
  touchAll(at);
  meet();
  space.munmap(at, range);
}
const at = map();
meet();
const touching = counted(() => touchAll(at));
meet();
const unmapping = counted(() => space.munmap(at, range));
const result: CountedResult = { faults: range / PAGE_SIZE, touching, unmapping };
parentPort?.postMessage(result);
meet();
space.close();

function map(): number {
  return space.mmap({ length: range, prot: PROT_READ | PROT_WRITE, flags: MAP_PRIVATE | MAP_ANONYMOUS });
}

function touchAll(start: number): void {
  space.run((memory: Accessor) => {
    for (let offset = 0; offset < range; offset += PAGE_SIZE) memory.store8(start + offset, 1);
  });
}

function counted(work: () => void): Map<number, number> {
  const counts = new Map<number, number>();
  observePort({
    access(kind, array, index) {
      if ((kind === 'cas' || kind === 'add' || kind === 'exchange') && array?.buffer === control) {
        counts.set(index, (counts.get(index) ?? 0) + 1);
      }
    },
  });
  work();
  observePort(undefined);
  if (PORT !== 'checked' || counts.size === 0)
    throw new Error('this bundle does not have the port that can be observed');
  return counts;
}

/** Waits until every thread is here. */
function meet(): void {
  const turn = Math.floor(Atomics.add(meeting, 0, 1) / threads) + 1;
  Atomics.notify(meeting, 0);
  for (let seen = Atomics.load(meeting, 0); seen < turn * threads; seen = Atomics.load(meeting, 0)) {
    Atomics.wait(meeting, 0, seen, 1000);
  }
}
