/** Reads one page of a file whose reads sleep; says in shared words how far it is. */
import { parentPort, workerData } from 'node:worker_threads';
import { attachSpace, registerBacking, type SpaceHandle } from '../../src/index.ts';

export interface SleepyData {
  readonly space: SpaceHandle;
  readonly at: number;
  readonly milliseconds: number;
  readonly shared: SharedArrayBuffer;
}

/** Words of `shared`: the first two are set. */
const READING = 0;
const READ = 1;
const BED = 2;

const { space: handle, at, milliseconds, shared } = workerData as SleepyData;
const words = new Int32Array(shared);
registerBacking('sleepy', () => ({
  read(_position, targets) {
    Atomics.store(words, READING, 1);
    Atomics.wait(words, BED, 0, milliseconds);
    Atomics.store(words, READ, 1);
    for (const target of targets) target.fill(77);
    return targets.length * 4096;
  },
  close: () => undefined,
}));
const space = attachSpace(handle);
let got: unknown;
try {
  got = space.load8(at);
} catch (error) {
  got = (error as { code?: string }).code;
}
space.close();
parentPort?.postMessage(got);
