/**
 * Files of the host, read synchronously by the faulting thread straight into the frames. Each thread opens the file for itself:
 * descriptors are process-wide in Node, but a worker closes the ones it opened when it exits, and the number may then be
 * another file's. What was opened is compared with what the file was, so no thread ever reads another file's bytes.
 */
import { closeSync, constants, fstatSync, openSync, readSync, readvSync, type Stats } from 'node:fs';
import { type ErrnoCode, VmError } from '../base/errors.ts';
import type { Backing } from './backing.ts';

export const NODE_FILE = 'node-file';

export interface NodeFileOptions {
  /** Absolute path. */
  readonly path: string;
  readonly device: string;
  readonly inode: string;
}

/** Opens `path` and checks that it is a regular file. Throws ENOENT, EACCES, EISDIR, ENODEV, EMFILE, EIO. */
export function openRegular(path: string): { fd: number; stats: Stats } {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)); // a FIFO would wait for a writer
  } catch (error) {
    throw asVmError(error, path);
  }
  const stats = fstatSync(fd);
  if (stats.isFile()) return { fd, stats };
  closeSync(fd);
  const directory = stats.isDirectory();
  throw new VmError(
    directory ? 'EISDIR' : 'ENODEV',
    'openFile',
    `'${path}' is ${directory ? 'a directory' : 'not a regular file'}`,
  );
}

/** This thread's own descriptor for a file that another thread may have opened. Throws ESTALE when it is another file now. */
export function nodeFileBacking(options: unknown): Backing {
  const { path, device, inode } = options as NodeFileOptions;
  const { fd, stats } = openRegular(path);
  if (String(stats.dev) !== device || String(stats.ino) !== inode) {
    closeSync(fd);
    throw new VmError('ESTALE', 'read', `'${path}' is another file than the one that was opened`);
  }
  return descriptorBacking(fd);
}

export function descriptorBacking(fd: number): Backing {
  return {
    read(position, targets) {
      const wanted = targets.reduce((sum, target) => sum + target.length, 0);
      let got = firstRead(fd, position, targets);
      // The system may give less than asked in the middle of a file; only nothing means the end.
      while (got < wanted) {
        const more = readRest(fd, position, targets, got);
        if (more === 0) break;
        got += more;
      }
      return got;
    },
    close() {
      closeSync(fd);
    },
  };
}

function firstRead(fd: number, position: number, targets: readonly Uint8Array[]): number {
  const [first] = targets;
  if (first === undefined) return 0;
  return targets.length === 1 ? readSync(fd, first, 0, first.length, position) : readvSync(fd, targets, position);
}

function readRest(fd: number, position: number, targets: readonly Uint8Array[], done: number): number {
  let before = 0;
  for (const target of targets) {
    if (done < before + target.length) {
      const from = done - before;
      return readSync(fd, target, from, target.length - from, position + done);
    }
    before += target.length;
  }
  return 0;
}

const CODES = new Set(['ENOENT', 'EACCES', 'EISDIR', 'EMFILE', 'EPERM', 'EIO', 'ENOMEM']);

/** What ErrnoCode has no name for. */
const NEAREST: Readonly<Record<string, ErrnoCode>> = {
  ENOTDIR: 'ENOENT',
  ENXIO: 'ENODEV',
  ENAMETOOLONG: 'EINVAL',
  ELOOP: 'EINVAL',
  ERR_INVALID_ARG_VALUE: 'EINVAL', // a NUL in the path
};

function asVmError(error: unknown, path: string): VmError {
  const code = String((error as { code?: unknown }).code);
  const known = CODES.has(code) ? (code as ErrnoCode) : (NEAREST[code] ?? 'EIO');
  return new VmError(known, 'openFile', `'${path}': ${(error as Error).message}`);
}
