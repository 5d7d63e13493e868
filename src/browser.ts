/** `vmspace/browser`: Blobs and Files of a page as files to map. Re-exports everything of `vmspace`. */

import { registerBacking } from './backing/backing.ts';
import { BLOB_FILE, blobBacking, unknownBlob } from './backing/drivers/blob.ts';
import { calledAs, VmError } from './base/errors.ts';
import { isMachine, type Machine } from './machine/machine.ts';
import type { FileHandle, MappedFile } from './machine/mapped-file.ts';

export * from './index.ts';

registerBacking(BLOB_FILE, unknownBlob);

/**
 * Opens a Blob or File for mapping. A worker that is to read it gets the Blob and the file's handle by message and calls
 * `attachBlob`. Blocking reads need FileReaderSync: on a page's main thread a fault on a page that is not in the cache throws
 * WouldBlock. Nothing of the Blob is read here: the work is done before the call returns, and only its outcome comes later, by the
 * promise.
 *
 * @throws EINVAL for what is no machine or no Blob, EBADF for a closed machine.
 * @throws EOVERFLOW for more than 8 TiB, ENOMEM when the machine has no record left for a file.
 */
export async function openBlob(machine: Machine, blob: Blob): Promise<MappedFile> {
  checkMachine(machine, 'openBlob');
  checkBlob(blob, 'openBlob');
  const { size } = blob;
  return calledAs('openBlob', () => machine.createFile(BLOB_FILE, {}, size, blobBacking(blob)));
}

/**
 * Makes a Blob known to this thread as the file that another thread opened. Synchronous.
 *
 * @param handle the `handle` of that thread's file.
 * @throws EINVAL for what is no machine or no Blob, for a Blob of another size, and for a handle of another machine.
 * @throws ESTALE when the file is gone, EPROTO for a handle of another version, EBADF for a closed machine.
 */
export function attachBlob(machine: Machine, handle: FileHandle, blob: Blob): MappedFile {
  checkMachine(machine, 'attachBlob');
  checkBlob(blob, 'attachBlob');
  if (handle?.size !== blob.size) throw new VmError('EINVAL', 'attachBlob', 'the blob is not the one of the file');
  return calledAs('attachBlob', () => machine.attachFile(handle, blobBacking(blob)));
}

function checkMachine(machine: unknown, syscall: string): void {
  if (!isMachine(machine)) throw new VmError('EINVAL', syscall, 'not a machine');
}

function checkBlob(blob: unknown, syscall: string): void {
  if (!(blob instanceof Blob)) throw new VmError('EINVAL', syscall, 'a Blob or File is needed');
}
