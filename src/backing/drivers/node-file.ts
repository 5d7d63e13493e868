/**
 * Files of the host, read synchronously by the faulting thread straight into the frames. Each thread has a descriptor of its own:
 * descriptors are process-wide in Node, but a worker closes the ones it opened when it exits, and the number may then be another
 * file's. What a thread opens is compared with what the file was, so none ever reads another file's bytes (docs/files.md).
 */
import { type BigIntStats, closeSync, constants, fstatSync, openSync, readdirSync, readSync, readvSync } from 'node:fs';
import { type ErrnoCode, VmError } from '../../base/errors.ts';
import { type Backing, markExact } from '../backing.ts';

export const NODE_FILE = 'node-file';

/** What says that two descriptors are of one file. Decimal: these numbers are larger than JSON's. */
export interface FileIdentity {
  readonly device: string;
  readonly inode: string;
  /** Nanoseconds, as `born` says. An inode is used again, on some file systems at once; not with the same birth. */
  readonly birth: string;
}

export interface NodeFileOptions extends FileIdentity {
  /** Absolute path. */
  readonly path: string;
  /** Descriptor of the thread that opened it first; by now perhaps another file's. */
  readonly descriptor: number;
}

/** Linux's names of this process's descriptors; opening one opens the file anew, whatever has become of its path. */
const DESCRIPTORS = '/proc/self/fd';
/** Not waiting for the writer of a FIFO, and getting no terminal, should the path or the number be theirs by now. */
const READING: number = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) | (constants.O_NOCTTY ?? 0);

/** Opens `path` and checks that it is a regular file. Throws ENOENT, EACCES, EISDIR, ENODEV, EMFILE, EIO. */
export function openRegular(path: string): { fd: number; identity: FileIdentity; size: number } {
  let fd: number;
  let stats: BigIntStats;
  try {
    fd = openSync(path, READING);
    stats = statOf(fd);
  } catch (error) {
    throw asVmError(error, path);
  }
  if (stats.isFile()) return { fd, identity: identityOf(stats), size: Number(stats.size) };
  closeSync(fd);
  const directory = stats.isDirectory();
  throw new VmError(
    directory ? 'EISDIR' : 'ENODEV',
    'openFile',
    `'${path}' is ${directory ? 'a directory' : 'not a regular file'}`,
  );
}

/** Closes the descriptor when it cannot be asked. */
function statOf(fd: number): BigIntStats {
  try {
    return fstatSync(fd, { bigint: true });
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/**
 * This thread's own descriptor for a file that another thread has opened: of that thread's descriptor, of the path, or of any
 * descriptor that the process still has. Throws what opening the path throws, and ESTALE when it is another file now.
 */
export function nodeFileBacking(options: unknown): Backing {
  const file = checkOptions(options);
  return descriptorBacking(openAnew(file, file.descriptor) ?? openByPath(file));
}

function openByPath(file: NodeFileOptions): number {
  try {
    const { fd, identity } = openRegular(file.path);
    if (isSame(identity, file)) return fd;
    closeSync(fd);
    throw new VmError('ESTALE', 'read', `'${file.path}' is another file than the one that was opened`);
  } catch (error) {
    const fd = openOfAnyone(file);
    if (fd === undefined) throw error;
    return fd;
  }
}

/** The first one may be closed, and another thread's open. */
function openOfAnyone(file: FileIdentity): number | undefined {
  let names: string[];
  try {
    names = readdirSync(DESCRIPTORS);
  } catch {
    return undefined; // another system than Linux, or no /proc
  }
  for (const name of names) {
    const fd = openAnew(file, Number(name));
    if (fd !== undefined) return fd;
  }
  return undefined;
}

/** A descriptor of our own for the file of descriptor `number`, if that is `file`. */
function openAnew(file: FileIdentity, number: number): number | undefined {
  if (!isOpenAs(number, file)) return undefined; // nothing else is opened: that can have effects (a FIFO, a device)
  let fd: number;
  try {
    fd = openSync(`${DESCRIPTORS}/${number}`, READING);
  } catch {
    return undefined;
  }
  if (isOpenAs(fd, file)) return fd; // looked at again: the number may have changed its file in between
  closeSync(fd);
  return undefined;
}

function isOpenAs(fd: number, file: FileIdentity): boolean {
  try {
    const stats = fstatSync(fd, { bigint: true });
    return stats.isFile() && isSame(identityOf(stats), file);
  } catch {
    return false;
  }
}

export function identityOf(stats: BigIntStats): FileIdentity {
  return { device: String(stats.dev), inode: String(stats.ino), birth: born(stats) };
}

/**
 * The file system's birth time; without one (0), the time of the last change: a file that changes cannot be told from a new one then,
 * and is not taken for the old one either.
 */
function born({ birthtimeNs, ctimeNs }: BigIntStats): string {
  return birthtimeNs > 0n ? String(birthtimeNs) : `changed ${ctimeNs}`;
}

function isSame(one: FileIdentity, other: FileIdentity): boolean {
  return one.inode === other.inode && one.device === other.device && one.birth === other.birth;
}

/** `createFile` takes any kind: what `openFile` has not made is refused. */
function checkOptions(options: unknown): NodeFileOptions {
  const file = (options ?? {}) as Partial<NodeFileOptions>;
  const texts = [file.path, file.device, file.inode, file.birth];
  const whole = texts.every((text) => typeof text === 'string') && Number.isSafeInteger(file.descriptor);
  if (whole) return file as NodeFileOptions;
  throw new VmError('EINVAL', 'createFile', 'files of the host are opened with openFile');
}

/** A backing that owns descriptor `fd`. */
export function descriptorBacking(fd: number): Backing {
  let isOpen = true; // a number that was closed may be another file's by now
  return markExact({
    read(position, targets) {
      if (!isOpen) throw new VmError('EBADF', 'read', 'the file is closed in this thread');
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
      if (!isOpen) return;
      isOpen = false;
      closeSync(fd);
    },
  });
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
  return new VmError(known, 'openFile', `'${path}': ${detailOf(error as Error, code)}`);
}

/** The host's message without what ours says itself: its code before it, its call and the path behind it. */
function detailOf({ message }: Error, code: string): string {
  if (code === 'ERR_INVALID_ARG_VALUE') return 'a path has no null bytes';
  const text = message.startsWith(`${code}: `) ? message.slice(code.length + 2) : message;
  return text.replace(/, \w+ '.*'$/s, '').replace(/, f?stat$/, '');
}
