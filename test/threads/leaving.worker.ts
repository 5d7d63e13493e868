/**
 * A thread of the shortest life: opens the space, reads a byte, maps, writes and unmaps some pages if it is told to, closes the space,
 * ends. As the README says. Or the thread beside it, which stays in one section until it is told to go.
 */
import { parentPort, workerData } from 'node:worker_threads';
import {
  attachSpace,
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  PAGE_SIZE,
  PROT_READ,
  PROT_WRITE,
  type SpaceHandle,
} from '../../src/node.ts';

export interface Leaving {
  readonly handle: SpaceHandle;
  readonly at: number;
  readonly role: 'reads' | 'writes' | 'stays';
}

const LENGTH = 8 * PAGE_SIZE;
const { handle, at, role } = workerData as Leaving;
const space = attachSpace(handle);
if (role === 'stays') {
  space.run((memory) => {
    memory.atomicStore32(at + 4, 1);
    while (memory.load32(at + 4) === 1);
  });
}
if (role === 'writes') {
  const prot = PROT_READ | PROT_WRITE;
  const mapped = space.mmap({ length: LENGTH, prot, flags: MAP_PRIVATE | MAP_ANONYMOUS });
  space.fill(mapped, LENGTH, 1);
  space.munmap(mapped, LENGTH);
}
const byte = space.load8(at);
space.close();
parentPort?.postMessage(byte);
