/**
 * Handles: what names a machine or a space in another thread. They come from anywhere: each property is read once, before anything
 * else is looked at, since reading it may run the caller's code.
 */
import { peek } from '#atomics';
import { checkObject, show } from '../base/arguments.ts';
import { calledAs, VmError } from '../base/errors.ts';
import { isMemory, memoryBytes } from '../base/foreign.ts';
import { PAGE_SIZE } from '../base/limits.ts';
import { H_FRAMES, H_ID_HIGH, H_ID_LOW, LAYOUT_VERSION } from '../sync/control.layout.ts';
import { checkControl } from './boot.ts';

/** What `attachMachine` takes. Survives structured cloning. */
export interface MachineHandle {
  /** Tells it from the other handles. */
  readonly kind: 'vmspace.machine';
  /** Of the layout of the machine's memory. Both threads must have the same. */
  readonly version: number;
  /** The machine's own records. Do not write to it. */
  readonly control: SharedArrayBuffer | ArrayBuffer;
  /** The frames. */
  readonly frames: SharedArrayBuffer | ArrayBuffer;
  /** Bytes of frames. */
  readonly frameBytes: number;
}

/** What `attachSpace` takes. Survives structured cloning. */
export interface SpaceHandle {
  /** Tells it from the other handles. */
  readonly kind: 'vmspace.space';
  /** Of the layout of the machine's memory. Both threads must have the same. */
  readonly version: number;
  /** The machine's own records. Do not write to it. */
  readonly control: SharedArrayBuffer | ArrayBuffer;
  /** The frames. */
  readonly frames: SharedArrayBuffer | ArrayBuffer;
  /** Bytes of frames. */
  readonly frameBytes: number;
  /** The record of the space. Another space may get it afterwards. */
  readonly space: number;
  /** Which of the spaces that ever had the record it is. */
  readonly serial: number;
}

/** @internal */
export function readMachineHandle(from: MachineHandle): MachineHandle {
  checkObject(from, 'the handle', 'attachMachine');
  const { kind, version, control, frames, frameBytes } = from;
  const handle = { kind, version, control, frames, frameBytes };
  checkHandle(handle, 'vmspace.machine', 'attachMachine');
  checkFrames(handle, 'attachMachine');
  return handle;
}

/** @internal */
export function readSpaceHandle(from: SpaceHandle): SpaceHandle {
  checkObject(from, 'the handle', 'attachSpace');
  const { kind, version, control, frames, frameBytes, space, serial } = from;
  const handle = { kind, version, control, frames, frameBytes, space, serial };
  checkHandle(handle, 'vmspace.space', 'attachSpace');
  checkFrames(handle, 'attachSpace');
  return handle;
}

/** @internal */
export function checkKind(kind: unknown, version: unknown, expected: string, syscall: string): void {
  if (kind !== expected) throw new VmError('EINVAL', syscall, `not a ${expected} handle`);
  if (version === LAYOUT_VERSION) return;
  const both = `layout version ${show(version)}, this build has ${LAYOUT_VERSION}`;
  throw new VmError('EPROTO', syscall, `the handle was made by another version of vmspace: ${both}`);
}

/** Requires: a handle of our own: nothing of it is the caller's code. */
function checkHandle(handle: MachineHandle | SpaceHandle, kind: string, syscall: string): void {
  checkKind(handle.kind, handle.version, kind, syscall);
  if (!isMemory(handle.control) || memoryBytes(handle.control) % 4 !== 0) {
    throw new VmError('EPROTO', syscall, 'the handle does not hold a machine');
  }
  calledAs(syscall, () => checkControl(new Int32Array(handle.control)));
}

function checkFrames({ control, frames, frameBytes }: MachineHandle | SpaceHandle, syscall: string): void {
  const whole = frameBytes === peek(new Int32Array(control), H_FRAMES) * PAGE_SIZE;
  if (whole && isMemory(frames) && memoryBytes(frames) >= frameBytes) return;
  throw new VmError('EPROTO', syscall, 'the handle does not hold the frames of its machine');
}

/** @internal Identifies the machine. */
export function machineKey(words: Int32Array): string {
  return `${peek(words, H_ID_LOW)}:${peek(words, H_ID_HIGH)}`;
}
