/** Opens and maps a file, reads a page of it, says where it is, and then ends in the way the test wants. */
import { parentPort, workerData } from 'node:worker_threads';
import { attachSpace, MAP_PRIVATE, machineOf, openFileSync, PROT_READ, type SpaceHandle } from '../../src/node.ts';

const { space: handle, path, end } = workerData as { space: SpaceHandle; path: string; end: string };
const space = attachSpace(handle);
const machine = machineOf(space);
const file = openFileSync(machine, path);
const at = space.mmap({ length: file.size, prot: PROT_READ, flags: MAP_PRIVATE, file });
parentPort?.postMessage({ at, first: space.load32(at) });
if (end === 'close') machine.close();
if (end === 'hang') setInterval(() => undefined, 1000);
