/**
 * What the models of the memory manager share: a small machine, made once, and hands on it for each thread and execution. A
 * modelled thread is a cpu of its own, attached anew before each execution.
 */
import {
  createMachine,
  type DesignName,
  type FileHandle,
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  PAGE_SIZE,
  PROT_READ,
  PROT_WRITE,
  registerBacking,
  SegmentationFault,
  type Space,
  type SpaceHandle,
} from '../../src/index.ts';
import { Machine, type MachineHandle } from '../../src/machine.ts';
import { fillData } from '../../src/sync/atomics.checked.ts';
import { H_ID_HIGH, H_ID_LOW } from '../../src/sync/control.layout.ts';

export const P: number = PAGE_SIZE;
export const RW: number = PROT_READ | PROT_WRITE;
export const ANON: number = MAP_PRIVATE | MAP_ANONYMOUS;
/** Where the models map what they need. Pages around it are free. */
export const BASE = 0x1000_0000;

/** What setup returns; add what the model needs. Survives structured cloning. */
export interface World {
  readonly machine: MachineHandle;
  readonly space: SpaceHandle;
}

/** One thread's hands on the world. */
export interface Hands {
  readonly machine: Machine;
  readonly space: Space;
}

export interface WorldOptions {
  readonly design?: DesignName;
  /** Default 64, the fewest. */
  readonly frames?: number;
}

/** Makes the machine and a space, lets `arrange` use them, and leaves its own cpu idle. */
export function makeWorld<T extends object>(options: WorldOptions, arrange: (hands: Hands) => T): World & T {
  const first = createMachine({ memory: (options.frames ?? 64) * P, design: options.design ?? 'rcu' });
  const machine = anotherCpu(first.handle);
  first.close();
  const space = machine.createSpace();
  const more = arrange({ machine, space });
  return { machine: machine.handle, space: space.handle, ...more };
}

/** A cpu of its own on this thread. */
export function anotherCpu(handle: MachineHandle): Machine {
  const words = new Int32Array(handle.control);
  return new Machine(handle, `${words[H_ID_LOW]}:${words[H_ID_HIGH]}`);
}

/** For `prepare`. */
export function hands(world: World): Hands {
  const machine = anotherCpu(world.machine);
  return { machine, space: machine.attachSpace(world.space) };
}

/** The word at `address`, or the reason of the SEGV. */
export function look(space: Space, address: number): number | string {
  return orSegv(() => space.load32(address));
}

/** Stores `value` at `address`: 'ok', or the reason of the SEGV. */
export function put(space: Space, address: number, value: number): string {
  return String(
    orSegv(() => {
      space.store32(address, value);
      return 'ok';
    }),
  );
}

export function orSegv<T>(act: () => T): T | string {
  try {
    return act();
  } catch (error) {
    if (error instanceof SegmentationFault) return error.reason;
    throw error;
  }
}

/** Every byte of page `index` of file number `file` of the models (0 to 15). */
export function byteOf(file: number, index: number): number {
  return 0x80 | (file << 3) | (index & 7);
}

/** What a word of that page reads. */
export function wordOf(file: number, index: number): number {
  return (byteOf(file, index) * 0x01010101) | 0;
}

registerBacking('model', (options) => {
  const { file } = options as { readonly file: number };
  return {
    read(position, targets) {
      targets.forEach((target, i) => {
        fillData(target, 0, target.length, byteOf(file, position / P + i));
      });
      return targets.length * P;
    },
    close() {},
  };
});

/** A file of `pages` pages whose bytes are byteOf(number, index). */
export function makeFile(machine: Machine, number: number, pages: number): FileHandle {
  return machine.createFile('model', { file: number }, pages * P).handle;
}
