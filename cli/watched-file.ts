/** The slow file of the library, telling the mapper when a read sleeps. */
import { SLOW_FILE, type SlowFileOptions, slowFileBacking } from '../src/backing/slow-file.ts';
import { registerBacking } from '../src/node.ts';
import { SLEEPERS, SLEEPS } from './protocol.ts';

/** From now on this thread's slow files count their sleeps in `control`. */
export function watchSlowReads(control: Int32Array): void {
  registerBacking(SLOW_FILE, (options) => {
    const file = slowFileBacking(options);
    const { every } = options as SlowFileOptions;
    let reads = 0;
    return {
      read: (position, targets) => {
        const sleeps = ++reads % every === 0;
        if (!sleeps) return file.read(position, targets);
        Atomics.add(control, SLEEPERS, 1);
        Atomics.add(control, SLEEPS, 1);
        try {
          return file.read(position, targets);
        } finally {
          Atomics.sub(control, SLEEPERS, 1);
        }
      },
      close: () => file.close(),
    };
  });
}
