/**
 * Backings: where a mapping's bytes come from, and the one interface between files and their drivers. A driver is a kind of file: a
 * factory that makes backings. A file's descriptor (kind and JSON options) is in shared memory. Every thread makes its own backing from it
 * when it first needs to read, so a thread's end takes nothing from the others. `backingConformance` (vmspace/conformance) tests a driver
 * against what is said here.
 */
import { VmError } from '../base/errors.ts';
import { isHandled } from './answer.ts';

/**
 * A file as one thread reads it.
 *
 * - **What it reads.** The same bytes in every thread, each time. Their number is the file's size, which is fixed when the file is made.
 * - **Units.** Positions, lengths and answers are in bytes. Positions are multiples of 4096 and lie within the file. The library asks for
 *   nothing at its end or behind it; there a driver has 0 bytes, or throws.
 * - **When it runs.** `read` runs in the thread that faults, in the midst of its access. The library holds nothing but the locks of the
 *   pages to be filled, so it may take its time: only those wait who want these pages. A thread makes one call of `read` at a time; calls
 *   of `readAsync` may overlap. Several threads read at once, each through its own backing.
 * - **Errors.** Whatever a function throws is an I/O error: the access is a `BusError` with that as its cause, the pages stay unread,
 *   and the next access calls again. Only a `WouldBlock` comes out as it is.
 * - **What it must not do.** Touch mapped memory: that is an Oops (H1), which ends no more than the call. Call what locks or waits, `close`
 *   among them: EDEADLK. Keep the targets. Write beside them.
 */
export interface Backing {
  /**
   * Fills `targets` in order with the bytes from `position` on, and returns how many it has read, a whole number. Each target is 4096
   * bytes of shared memory; they need not lie beside each other. The answer is less than asked only at the end of the file; what the file
   * has and the answer lacks is EIO, and so is an answer that is no such number. A byte that is counted and was not written reads zero;
   * what is written behind the end is nobody's. When it has returned, the targets are other owners' memory.
   *
   * @param position bytes from the beginning of the file, a multiple of 4096.
   * @throws on an I/O error: it becomes the `cause` of the access's `BusError`. Where this thread cannot read, it throws `WouldBlock`.
   */
  read(position: number, targets: readonly Uint8Array[]): number;
  /**
   * Lets go of what this thread has opened. It runs once, some time after the file's last use in this thread, and what it throws is
   * dropped. A second call does nothing, and must not close what others have opened since.
   */
  close(): void;
  /**
   * For threads in which `read` throws WouldBlock, as a page's main thread: the `length` bytes from `position` on, all of them and no
   * more; `length` never reaches beyond the end. Only `space.populate` calls it, with nothing held. The library copies the bytes when the
   * promise is kept, so calls that overlap must not share an array. A rejection, or another number of bytes, is a BusError; so is an
   * answer that takes longer than the machine's `ioTimeout`, with ETIMEDOUT.
   *
   * @param position bytes from the beginning of the file.
   * @param length bytes.
   */
  readAsync?(position: number, length: number): Promise<Uint8Array>;
}

/**
 * Makes this thread's backing of a file of `size` bytes from the options given to `createFile`: in the thread that creates it at once, in
 * others when they first read it. Throws if the thread cannot read the file: then `createFile` fails, or the access that needed it is
 * a BusError. What holds for a backing's functions holds for it.
 *
 * @throws when the thread cannot read the file. `createFile` says EIO then, with the error as its cause; an access says `BusError`.
 */
export type BackingFactory = (options: unknown, size: number) => Backing;

const kinds = new Map<string, BackingFactory>();

/**
 * Makes a kind of file known to this thread. Every thread that is to read such files registers it (importing the same module
 * does). Registering a kind again replaces it.
 *
 * @param kind the name that `machine.createFile` takes.
 * @throws EINVAL for a kind that is no name, or a factory that is no function.
 *
 * @example
 * ```js
 * import assert from 'node:assert/strict';
 * import { createMachine, MAP_PRIVATE, MiB, PROT_READ, registerBacking } from 'vmspace';
 *
 * // A file whose byte number n is n times `factor`.
 * registerBacking('multiples', ({ factor }, size) => ({
 *   read(position, targets) {
 *     let done = 0;
 *     for (const target of targets) {
 *       for (let i = 0; i < target.length && position + done < size; i++) target[i] = (position + done++) * factor;
 *     }
 *     return done;
 *   },
 *   close() {},
 * }));
 *
 * const machine = createMachine({ memory: 1 * MiB });
 * const file = machine.createFile('multiples', { factor: 3 }, 100_000);
 * const space = machine.createSpace();
 * const start = space.mmap({ length: file.size, prot: PROT_READ, flags: MAP_PRIVATE, file });
 * assert.equal(space.load8(start + 5), 15);
 * machine.close();
 * ```
 */
export function registerBacking(kind: string, factory: BackingFactory): void {
  if (typeof kind !== 'string' || kind === '') throw new VmError('EINVAL', 'registerBacking', 'kind must be a name');
  if (typeof factory !== 'function') throw new VmError('EINVAL', 'registerBacking', 'factory must be a function');
  kinds.set(kind, factory);
}

/**
 * `callback` runs the factory, which is a user's. Throws what it throws; ENODEV for a kind that this thread does not know, EINVAL for
 * what is no backing.
 *
 * @internal
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

/** @internal May run the caller's code. */
export function checkBacking(value: unknown, syscall: string): void {
  if (!isBacking(value)) throw new VmError('EINVAL', syscall, 'a backing needs the functions read and close');
}

function isBacking(value: unknown): value is Backing {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return false;
  const { read, close } = value as { readonly read?: unknown; readonly close?: unknown };
  return typeof read === 'function' && typeof close === 'function';
}

const exact = new WeakSet<Backing>();

/** @internal `backing` writes each byte that it says it has read. The library puts zeroes into the targets of all others first. */
export function markExact<B extends Backing>(backing: B): B {
  exact.add(backing);
  return backing;
}

/** @internal */
export function isExact(backing: Backing): boolean {
  return exact.has(backing);
}
