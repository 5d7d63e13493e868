/** A thread that has used memory once, keeps what the library keeps for it, and idles until it is told to end. */
import { parentPort, workerData } from 'node:worker_threads';
import { MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, PROT_WRITE } from '../../src/base/constants.ts';
import { attachSpace, machineOf, type SpaceHandle } from '../../src/node.ts';

const {
  space: handle,
  shared,
  pages,
  end,
} = workerData as {
  space: SpaceHandle;
  shared: SharedArrayBuffer;
  pages: number;
  end: 'close' | 'die';
};
const PAGE = 4096;
const words = new Int32Array(shared);
const space = attachSpace(handle);
const machine = machineOf(space);
const at = space.mmap({ length: pages * PAGE, prot: PROT_READ | PROT_WRITE, flags: MAP_PRIVATE | MAP_ANONYMOUS });
for (let i = 0; i < pages; i++) space.store32(at + i * PAGE, 1);
space.munmap(at, pages * PAGE);
machine.drain();
Atomics.add(words, 1, 1);
Atomics.notify(words, 1);
Atomics.wait(words, 0, 0);
// What it had kept was stolen meanwhile: it goes on all the same.
const again = space.mmap({ length: PAGE, prot: PROT_READ | PROT_WRITE, flags: MAP_PRIVATE | MAP_ANONYMOUS });
space.store32(again, 7);
parentPort?.postMessage(space.load32(again));
if (end === 'close') machine.close();
