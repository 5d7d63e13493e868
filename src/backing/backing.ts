/**
 * Backings: where a mapping's bytes come from. A file's descriptor (kind and JSON options) is in shared memory; every thread makes
 * its own backing from it when it first needs to read, so a thread's end takes nothing from the others.
 */
import { VmError } from '../base/errors.ts';
import { isHandled } from './answer.ts';

/** Reads a file in the calling thread. Called with nothing held but the locks of the pages to be filled; may take its time. */
export interface Backing {
  /**
   * Fills `targets` (4096 bytes each, in shared memory, in order) from byte `position` on, and returns the number of bytes
   * read: less only at the end of the file. What it says it has read and has not written reads zero. Throws on an I/O error; any
   * other answer is one (EIO). The targets are its own until it returns: afterwards they are somebody's memory.
   */
  read(position: number, targets: readonly Uint8Array[]): number;
  /** Lets go of what this thread has opened. */
  close(): void;
  /**
   * For threads in which `read` throws WouldBlock, as a page's main thread: the `length` bytes from byte `position` on, all of them and
   * no more. Only `space.populate` calls it, with nothing held. The bytes are copied. A rejection, or another number of bytes, is a
   * BusError; so is an answer that takes longer than the machine's `ioTimeout`, with ETIMEDOUT.
   */
  readAsync?(position: number, length: number): Promise<Uint8Array>;
}

/**
 * Makes this thread's backing of a file from the options given to `createFile`: in the thread that creates it at once, in others when
 * they first read it. Throws if the thread cannot read it.
 */
export type BackingFactory = (options: unknown, size: number) => Backing;

const kinds = new Map<string, BackingFactory>();

/**
 * Makes a kind of file known to this thread. Every thread that is to read such files registers it (importing the same module
 * does). Registering a kind again replaces it.
 */
export function registerBacking(kind: string, factory: BackingFactory): void {
  if (typeof kind !== 'string' || kind === '') throw new VmError('EINVAL', 'registerBacking', 'kind must be a name');
  if (typeof factory !== 'function') throw new VmError('EINVAL', 'registerBacking', 'factory must be a function');
  kinds.set(kind, factory);
}

/**
 * `callback` runs the factory, which is a user's. Throws what it throws; ENODEV for a kind that this thread does not know, EINVAL for
 * what is no backing.
 */
export function makeBacking(
  kind: string,
  options: unknown,
  size: number,
  syscall: 'read' | 'createFile',
  callback: (factory: () => Backing | undefined) => Backing | undefined,
): Backing {
  const factory = kinds.get(kind);
  if (factory === undefined) {
    throw new VmError(
      'ENODEV',
      syscall,
      `this thread does not know files of kind '${kind}'; registerBacking it here too`,
    );
  }
  let isPromise = false;
  const backing = callback(() => {
    const made: unknown = factory(options, size);
    isPromise = isHandled(made);
    return isBacking(made) ? made : undefined; // asks it: may run the user's code
  });
  if (backing !== undefined) return backing;
  if (isPromise) {
    throw new VmError('EINVAL', syscall, `the factory of '${kind}' gave a promise: factories are synchronous`);
  }
  throw new VmError('EINVAL', syscall, `the factory of '${kind}' gave no object with the functions read and close`);
}

/** May run the caller's code. */
export function checkBacking(value: unknown, syscall: string): void {
  if (!isBacking(value)) throw new VmError('EINVAL', syscall, 'a backing needs the functions read and close');
}

function isBacking(value: unknown): value is Backing {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return false;
  const { read, close } = value as { readonly read?: unknown; readonly close?: unknown };
  return typeof read === 'function' && typeof close === 'function';
}

const exact = new WeakSet<Backing>();

/** Internal: `backing` writes each byte that it says it has read. Into the others' targets zeroes are put first. */
export function markExact<B extends Backing>(backing: B): B {
  exact.add(backing);
  return backing;
}

export function isExact(backing: Backing): boolean {
  return exact.has(backing);
}
