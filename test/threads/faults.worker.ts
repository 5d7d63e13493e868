/** One worker that takes every kind of fault once, and one whose fault sleeps in a backing that does not answer. */
import { parentPort, workerData } from 'node:worker_threads';
import { type Backing, type FileHandle, registerBacking } from '../../src/index.ts';
import { attachSpace, machineOf, type SpaceHandle } from '../../src/node.ts';

export interface FaultData {
  readonly space: SpaceHandle;
  readonly mode: 'every-kind' | 'latched';
  readonly anonymous: number;
  readonly cached: number;
  readonly uncached: number;
  readonly copied: number;
  readonly latch: SharedArrayBuffer;
  readonly file?: FileHandle;
}

const PAGE = 4096;
const data = workerData as FaultData;
const latch = new Int32Array(data.latch);

/** Says that it was asked, then waits for as long as the test likes. */
export function latchedBacking(): Backing {
  return {
    read(_position, targets) {
      Atomics.store(latch, 1, 1);
      Atomics.wait(latch, 0, 0);
      for (const target of targets) target.fill(77);
      return targets.length * PAGE;
    },
    close() {},
  };
}

registerBacking('latched', latchedBacking);
const space = attachSpace(data.space);
const seen: Record<string, number | string> = {};

function note(kind: string, take: () => number): void {
  try {
    seen[kind] = take();
  } catch (error) {
    seen[kind] = (error as { reason?: string }).reason ?? String(error);
  }
}

if (data.mode === 'every-kind') {
  parentPort?.postMessage('started');
  note('anonymous read', () => space.load32(data.anonymous + 2 * PAGE));
  note('anonymous write', () => {
    space.store32(data.anonymous + 3 * PAGE, 3);
    return space.load32(data.anonymous + 3 * PAGE);
  });
  note('zero page upgrade', () => {
    space.store32(data.anonymous, 4);
    return space.load32(data.anonymous);
  });
  note('file page from the cache', () => space.load32(data.cached));
  note('file page with I/O', () => space.load32(data.uncached + 9 * PAGE));
  note('private copy of a mapped page', () => {
    space.load32(data.copied);
    space.store32(data.copied, 5);
    return space.load32(data.copied);
  });
  note('private copy with I/O', () => {
    space.store32(data.copied + 20 * PAGE, 6);
    return space.load32(data.copied + 20 * PAGE);
  });
  note('bulk read with I/O', () => space.read(data.uncached + 30 * PAGE, new Uint8Array(8 * PAGE)));
} else {
  note('latched', () => space.load8(data.uncached));
}
parentPort?.postMessage(seen);
machineOf(space).close();
