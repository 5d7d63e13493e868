/** vmspace: virtual memory for JavaScript threads. Works in any host with SharedArrayBuffer; files come from the other entries. */
export type { Accessor } from './accessor.ts';
export type { Mapping, MmapOptions, Space, SpaceCounters } from './address-space.ts';
export type { Backing, BackingFactory } from './backing/backing.ts';
export { registerBacking } from './backing/backing.ts';
export type { ErrnoCode } from './base/errors.ts';
export { BusError, Oops, SegmentationFault, VmError, WouldBlock } from './base/errors.ts';
export { PAGE_SIZE } from './base/limits.ts';
export type { Census, PoolCensus } from './census.ts';
export * from './constants.ts';
export type { BrowserWorker, ReapOptions, WatchedWorker } from './deaths.ts';
export type { DesignName } from './design/designs.ts';
export { DESIGN_NAMES } from './design/designs.ts';
export type { MachineHandle, SpaceHandle } from './handles.ts';
export type { CpuIdentity } from './life-lock.ts';
export type {
  FrameMemory,
  Machine,
  MachineCounters,
  MachineOptions,
  SpaceOptions,
} from './machine.ts';
export { attachMachine, attachSpace, createMachine, machineOf } from './machine.ts';
export type { FileHandle, MappedFile } from './mapped-file.ts';
export type { CounterName, Counters, HistogramName } from './trace/counters.ts';
