/** Attaches, stores a page, says who it is, and then lives on in the way the test wants. */
import { parentPort, workerData } from 'node:worker_threads';
import {
  attachSpace,
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  machineOf,
  PROT_READ,
  PROT_WRITE,
  type SpaceHandle,
} from '../../src/node.ts';

const { space: handle, life, shared } = workerData as { space: SpaceHandle; life: string; shared: SharedArrayBuffer };
const steps = new Int32Array(shared);
const space = attachSpace(handle);
const machine = machineOf(space);
const at = space.mmap({ length: 4096, prot: PROT_READ | PROT_WRITE, flags: MAP_PRIVATE | MAP_ANONYMOUS });
space.store32(at, 77);
parentPort?.postMessage({ at, cpu: machine.cpu, identity: machine.identity });
if (life === 'accesses') for (;;) steps[0] = space.add32(at + 4, 1);
if (life === 'run')
  space.run((memory) => {
    for (;;) steps[0] = memory.add32(at + 4, 1);
  });
if (life === 'asleep') space.wait(at, 77);
if (life === 'idle') setInterval(() => undefined, 1000);
if (life === 'close') machine.close();
