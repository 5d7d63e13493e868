/** The slow file of the library as the readers use it: it tells the mapper when a read sleeps. */
import { nodeFileBacking } from '../src/backing/drivers/node-file.ts';
import { SLOW_FILE, type SlowFileOptions } from '../src/backing/drivers/slow-file.ts';
import { registerBacking } from '../src/node.ts';
import { SLEEPERS, SLEEPS } from './protocol.ts';

/**
 * From now on this thread's slow files count their sleeps in `control`. `phase`, from 0 to 1, is how far this thread is on its
 * way to its first sleep: else many threads would all read for long before any of them slept, and then sleep together.
 */
export function watchSlowReads(control: Int32Array, phase: number): void {
  registerBacking(SLOW_FILE, (options) => {
    const file = nodeFileBacking(options);
    const { every, milliseconds } = options as SlowFileOptions;
    let reads = Math.floor(phase * every);
    return {
      read: (position, targets) => {
        if (++reads % every === 0) sleepIn(control, milliseconds);
        return file.read(position, targets);
      },
      close: () => file.close(),
    };
  });
}

function sleepIn(control: Int32Array, milliseconds: number): void {
  const bed = new Int32Array(new SharedArrayBuffer(4));
  Atomics.add(control, SLEEPERS, 1);
  Atomics.add(control, SLEEPS, 1);
  Atomics.wait(bed, 0, 0, milliseconds);
  Atomics.sub(control, SLEEPERS, 1);
}
