/** `vmspace/node`: files of the host. Re-exports everything of `vmspace`. */
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { registerBacking } from './backing/backing.ts';
import { descriptorBacking, NODE_FILE, nodeFileBacking, openRegular } from './backing/drivers/node-file.ts';
import { SLOW_FILE, slowed, slowFileBacking } from './backing/drivers/slow-file.ts';
import { checkObject, show } from './base/arguments.ts';
import { inNameOf, VmError } from './base/errors.ts';
import { isMachine, type Machine } from './machine/machine.ts';
import type { MappedFile } from './machine/mapped-file.ts';

export * from './index.ts';

/** Options of `openFile`. */
export interface OpenFileOptions {
  /** `r`, the default: reading. Writing through mappings to files is not there yet. */
  readonly mode?: 'r' | undefined;
  /** Makes the file slow on purpose: one read in `every` (default 1) sleeps for `milliseconds`, in the thread that reads. */
  readonly delay?:
    | {
        /** How long a read sleeps: milliseconds. */
        readonly milliseconds: number;
        /** One read in so many sleeps. Default 1: each one. */
        readonly every?: number | undefined;
      }
    | undefined;
}

registerBacking(NODE_FILE, nodeFileBacking);
registerBacking(SLOW_FILE, slowFileBacking);

/**
 * Opens a regular file for mapping. The promise is for a program's convenience: the work is done, as `openFileSync` does it, before
 * the call returns, and only its outcome comes later. Any thread of the machine may then map and read it, whether or not this thread lives on, and
 * none ever reads another file's bytes: docs/files.md says what a mapping shows when others write, truncate, unlink or replace the
 * file.
 *
 * @param machine the machine whose page cache takes the file's pages.
 * @param path a path, or a `file:` URL.
 * @throws ENOENT, EACCES when the host says so, EMFILE when it gives no more descriptors, EIO for its other errors.
 * @throws EISDIR for a directory, ENODEV for what is no regular file.
 * @throws EINVAL for arguments of another kind, EBADF for a closed machine.
 * @throws EOVERFLOW for a file of more than 8 TiB, ENOTSUP for a mode other than `r`.
 * @throws ENOMEM when the machine has no record left for a file.
 *
 * @example
 * ```js
 * import { createMachine, MAP_PRIVATE, MiB, openFile, PROT_READ } from 'vmspace/node';
 *
 * const machine = createMachine({ memory: 4 * MiB });
 * const file = await openFile(machine, process.execPath); // larger than the machine's memory
 * const space = machine.createSpace();
 * const start = space.mmap({ length: file.size, prot: PROT_READ, flags: MAP_PRIVATE, file });
 * file.close(); // the mapping stays
 * console.log(space.load8(start + file.size - 1)); // reads the last page of the file, and no other
 * machine.close();
 * ```
 */
export async function openFile(
  machine: Machine,
  path: string | URL,
  options: OpenFileOptions = {},
): Promise<MappedFile> {
  return openFileSync(machine, path, options);
}

/**
 * As `openFile`, and returns the file at once. It blocks no longer than the host's open(2).
 *
 * @throws as `openFile` rejects, in the name of `openFile`.
 */
export function openFileSync(machine: Machine, path: string | URL, options: OpenFileOptions = {}): MappedFile {
  if (!isMachine(machine)) throw new VmError('EINVAL', 'openFile', 'not a machine');
  checkObject(options, 'options', 'openFile');
  const { mode = 'r', delay } = options;
  if (mode !== 'r') throw new VmError('ENOTSUP', 'openFile', `mode ${show(mode)}: files are mapped for reading`);
  const name = pathOf(path);
  const pause = delay === undefined ? undefined : checkDelay(delay);
  machine.checkOpen('openFile');
  const { fd, identity, size } = openRegular(name);
  const backing = descriptorBacking(fd);
  try {
    const file = { path: name, ...identity, descriptor: fd };
    if (pause === undefined) return machine.createFile(NODE_FILE, file, size, backing);
    return machine.createFile(SLOW_FILE, { ...file, ...pause }, size, slowed(backing, pause));
  } catch (error) {
    backing.close(); // not the descriptor: this thread may have closed the backing already
    throw inNameOf(error, 'openFile');
  }
}

function pathOf(path: string | URL): string {
  const href = hrefOf(path);
  if (href !== undefined) return filePathOf(href);
  if (typeof path !== 'string' || path === '')
    throw new VmError('EINVAL', 'openFile', 'path must be a string or a URL');
  return resolve(path);
}

const HREF = Object.getOwnPropertyDescriptor(URL.prototype, 'href')?.get as (this: unknown) => string;

/** Of a URL, and undefined for anything else: without running code of the caller's, who may have overridden it. */
function hrefOf(path: unknown): string | undefined {
  try {
    return HREF.call(path);
  } catch {
    return undefined;
  }
}

function filePathOf(href: string): string {
  try {
    return fileURLToPath(href);
  } catch (error) {
    throw new VmError('EINVAL', 'openFile', `not the URL of a file: ${(error as Error).message}`);
  }
}

function checkDelay(delay: NonNullable<OpenFileOptions['delay']>): { milliseconds: number; every: number } {
  checkObject(delay, 'delay', 'openFile');
  const { milliseconds, every = 1 } = delay;
  if (!Number.isFinite(milliseconds) || milliseconds < 0) {
    throw new VmError('EINVAL', 'openFile', 'delay.milliseconds must be a number, 0 at least');
  }
  if (!Number.isSafeInteger(every) || every < 1)
    throw new VmError('EINVAL', 'openFile', 'delay.every must be 1 at least');
  return { milliseconds, every };
}
