/** vmspace: virtual memory for JavaScript threads. Works in any host with SharedArrayBuffer; files come from the other entries. */
export type { Accessor } from './access/accessor.ts';
export type { Backing, BackingFactory } from './backing/backing.ts';
export { registerBacking } from './backing/backing.ts';
export * from './base/constants.ts';
export type { Closable } from './base/disposable.ts';
export type { ErrnoCode } from './base/errors.ts';
export { BusError, Oops, SegmentationFault, VmError, WouldBlock } from './base/errors.ts';
export { PAGE_SIZE } from './base/limits.ts';
export type { DesignName } from './design/designs.ts';
export { DESIGN_NAMES } from './design/designs.ts';
export type { Census, PoolCensus } from './machine/census.ts';
export type { BrowserWorker, ReapOptions, WatchedWorker } from './machine/deaths.ts';
export type { MachineHandle, SpaceHandle } from './machine/handles.ts';
export type { CpuIdentity } from './machine/life-lock.ts';
export type {
  FrameMemory,
  Machine,
  MachineCounters,
  MachineOptions,
  SpaceOptions,
} from './machine/machine.ts';
export { attachMachine, attachSpace, createMachine, machineOf } from './machine/machine.ts';
export type { FileHandle, MappedFile } from './machine/mapped-file.ts';
export type { Mapping, MmapOptions, NoPromise, Space, SpaceCounters, Synchronous } from './machine/space.ts';
export type { CounterName, Counters, HistogramName } from './trace/counters.ts';
