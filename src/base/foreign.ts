/**
 * Objects of callers, looked at without running their code: through the engine's own getters, taken once. A subclass, a Proxy or an
 * own property named `length` has no say; another realm's arrays and buffers are as good as ours.
 */
import { VmError } from './errors.ts';

/** @internal Memory as a machine has it: shared, unless the machine is not. */
export type MemoryBuffer = SharedArrayBuffer | ArrayBuffer;

const TYPED_ARRAY = Object.getPrototypeOf(Uint8Array.prototype) as object;
/** The constructor's name for a typed array, undefined for anything else. */
const nameOf = getter<string | undefined>(TYPED_ARRAY, Symbol.toStringTag);
const bufferOf = getter<MemoryBuffer>(TYPED_ARRAY, 'buffer');
const offsetOf = getter<number>(TYPED_ARRAY, 'byteOffset');
const lengthOf = getter<number>(TYPED_ARRAY, 'length');
/** Throws for an array that is detached or out of bounds. */
const elementAt = Function.prototype.call.bind(Uint8Array.prototype.at) as (of: unknown, index: number) => unknown;
const bytesOfBuffer = getter<number>(ArrayBuffer.prototype, 'byteLength');
const isResizable = optionalGetter<boolean>(ArrayBuffer.prototype, 'resizable');
const bytesOfShared =
  typeof SharedArrayBuffer === 'undefined' ? undefined : getter<number>(SharedArrayBuffer.prototype, 'byteLength');
const wasm = (globalThis as { WebAssembly?: { Memory?: { prototype: object } } }).WebAssembly;
const bufferOfWasm =
  wasm?.Memory === undefined ? undefined : optionalGetter<MemoryBuffer>(wasm.Memory.prototype, 'buffer');

/**
 * The caller's bytes as an array of our own over the same buffer, of the length that they have now. Throws EINVAL for what is no
 * Uint8Array, is detached, or lies beyond the end of a buffer that has shrunk.
 *
 * @internal
 */
export function plainBytes(value: unknown, syscall: string): Uint8Array {
  if (nameOf(value) !== 'Uint8Array') throw new VmError('EINVAL', syscall, 'the buffer must be a Uint8Array');
  const length = lengthOf(value);
  if (length === 0) checkUsable(value, syscall);
  return new Uint8Array(bufferOf(value) as ArrayBuffer, offsetOf(value), length);
}

/** What is detached or out of bounds has the length 0, as what is just empty. */
function checkUsable(array: unknown, syscall: string): void {
  try {
    elementAt(array, 0);
  } catch {
    throw new VmError('EINVAL', syscall, 'the buffer is detached, or ends beyond its memory');
  }
}

/** @internal */
export function isMemory(value: unknown): value is MemoryBuffer {
  return isSharedMemory(value) || attempt(bytesOfBuffer, value) !== undefined;
}

/** @internal */
export function isSharedMemory(value: unknown): value is SharedArrayBuffer {
  return bytesOfShared !== undefined && attempt(bytesOfShared, value) !== undefined;
}

/** @internal What frames may lie in, and where its buffer is now, if that may change: a WebAssembly.Memory moves when it grows. */
export function openMemory(memory: unknown): { buffer: unknown; current: () => MemoryBuffer } {
  const grows = bufferOfWasm !== undefined && attempt(bufferOfWasm, memory) !== undefined;
  if (grows) return { buffer: bufferOfWasm(memory), current: () => bufferOfWasm(memory) };
  const buffer = (memory as { buffer?: unknown } | null | undefined)?.buffer; // the caller's code, perhaps: once
  return { buffer, current: () => buffer as MemoryBuffer };
}

/** @internal Whether it could lose bytes while we look at it. */
export function mayShrink(buffer: MemoryBuffer): boolean {
  return !isSharedMemory(buffer) && isResizable?.(buffer) === true;
}

/** @internal 0 for a detached one. */
export function memoryBytes(buffer: MemoryBuffer): number {
  return attempt(bytesOfBuffer, buffer) ?? (bytesOfShared as (of: unknown) => number)(buffer);
}

function attempt<T>(getter: (of: unknown) => T, value: unknown): T | undefined {
  try {
    return getter(value);
  } catch {
    return undefined;
  }
}

function getter<T>(prototype: object, key: PropertyKey): (of: unknown) => T {
  return optionalGetter<T>(prototype, key) as (of: unknown) => T;
}

function optionalGetter<T>(prototype: object, key: PropertyKey): ((of: unknown) => T) | undefined {
  const get = Object.getOwnPropertyDescriptor(prototype, key)?.get;
  return get === undefined ? undefined : (Function.prototype.call.bind(get) as (of: unknown) => T);
}
