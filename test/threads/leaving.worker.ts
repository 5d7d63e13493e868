/** A thread of the shortest life: opens the space, reads a byte, closes it, ends. As the README says. */
import { parentPort, workerData } from 'node:worker_threads';
import { attachSpace, type SpaceHandle } from '../../src/node.ts';

const { handle, at } = workerData as { handle: SpaceHandle; at: number };
const space = attachSpace(handle);
const byte = space.load8(at);
space.close();
parentPort?.postMessage(byte);
