/** A file that is slow on purpose: one read in `every` sleeps for real, in the thread that reads. For experiments and tests. */
import { wait } from '#atomics';
import { type Backing, isExact, markExact } from '../backing.ts';
import { type NodeFileOptions, nodeFileBacking } from './node-file.ts';

export const SLOW_FILE = 'slow-file';

export interface SlowFileOptions extends NodeFileOptions {
  readonly milliseconds: number;
  readonly every: number;
}

export function slowFileBacking(options: unknown): Backing {
  return slowed(nodeFileBacking(options), options as SlowFileOptions);
}

/** `file`, slowly. */
export function slowed(
  file: Backing,
  { milliseconds, every }: Pick<SlowFileOptions, 'milliseconds' | 'every'>,
): Backing {
  const bed = new Int32Array(new SharedArrayBuffer(4));
  let reads = 0;
  const slow: Backing = {
    read(position, targets) {
      if (++reads % every === 0) wait(bed, 0, 0, milliseconds);
      return file.read(position, targets);
    },
    close: () => file.close(),
  };
  return isExact(file) ? markExact(slow) : slow;
}
