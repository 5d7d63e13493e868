/** What a worker does in a round, a step at a time. One step is short against a round and long against looking at the clock. */
import {
  type Accessor,
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  machineOf,
  openFileSync,
  PAGE_SIZE,
  PROT_READ,
  PROT_WRITE,
  type Space,
} from '../src/node.ts';

/** `pair-apart` maps with other rights than its neighbours have, so that no mapping ever merges with the one that faults. */
export type TaskName = 'fault' | 'pair' | 'pair-apart' | 'latency' | 'io';

export interface TaskOptions {
  /** The slow file of `io`. */
  readonly path?: string | undefined;
  /** Bytes that `fault` touches. */
  readonly range: number;
}

/** Does some operations and returns how many. `sample` takes milliseconds. */
export type Task = (sample: (milliseconds: number) => void) => number;

const ANONYMOUS = { prot: PROT_READ | PROT_WRITE, flags: MAP_PRIVATE | MAP_ANONYMOUS };
const PAIRS = 256;
/** So far apart that read-ahead never brings the next one in. */
const IO_STRIDE = 64 * PAGE_SIZE;
export const IO_MILLISECONDS = 50;

export function makeTask(name: TaskName, space: Space, options: TaskOptions): Task {
  switch (name) {
    case 'fault':
      return () => faultStep(space, options.range);
    case 'pair':
      return () => pairStep(space, ANONYMOUS);
    case 'pair-apart':
      return () => pairStep(space, { ...ANONYMOUS, prot: PROT_READ });
    case 'latency':
      return (sample) => latencyStep(space, sample);
    case 'io':
      return ioTask(space, options.path ?? '');
  }
}

function faultStep(space: Space, range: number): number {
  const at = space.mmap({ length: range, ...ANONYMOUS });
  space.run((memory) => touch(memory, at, range));
  space.munmap(at, range);
  return range / PAGE_SIZE;
}

function touch(memory: Accessor, at: number, range: number): void {
  for (let offset = 0; offset < range; offset += PAGE_SIZE) memory.store8(at + offset, 1);
}

function pairStep(space: Space, kind: typeof ANONYMOUS): number {
  for (let i = 0; i < PAIRS; i++) space.munmap(space.mmap({ length: PAGE_SIZE, ...kind }), PAGE_SIZE);
  return PAIRS;
}

function latencyStep(space: Space, sample: (milliseconds: number) => void): number {
  const start = performance.now();
  space.munmap(space.mmap({ length: PAGE_SIZE, ...ANONYMOUS }), PAGE_SIZE);
  sample(performance.now() - start);
  return 1;
}

/** Faults that sleep in I/O, one after the other: each touches a page that nobody has read. */
function ioTask(space: Space, path: string): Task {
  const delay = { milliseconds: IO_MILLISECONDS, every: 1 };
  const file = openFileSync(machineOf(space), path, { delay });
  const at = space.mmap({ length: file.size, prot: PROT_READ, flags: MAP_PRIVATE, file });
  let next = 0;
  return () => {
    if (next >= file.size) throw new Error('the slow file is used up: every page of it has been read');
    space.load8(at + next);
    next += IO_STRIDE;
    return 1;
  };
}
