/**
 * Blobs, read with FileReaderSync in the faulting worker; a page's main thread has none and reads them by `populate`. A Blob cannot be
 * named in shared memory: each thread is given it.
 */
import { VmError, WouldBlock } from '../../base/errors.ts';
import { type Backing, markExact } from '../backing.ts';

export const BLOB_FILE = 'blob';

interface SyncReader {
  readAsArrayBuffer(blob: Blob): ArrayBuffer;
}

export function blobBacking(blob: Blob): Backing {
  const Reader = (globalThis as { FileReaderSync?: new () => SyncReader }).FileReaderSync;
  return markExact({
    read(position, targets) {
      if (Reader === undefined) throw new WouldBlock('fault', 'a read of the Blob');
      const wanted = targets.reduce((sum, target) => sum + target.length, 0);
      const bytes = new Uint8Array(new Reader().readAsArrayBuffer(blob.slice(position, position + wanted)));
      let done = 0;
      for (const target of targets) {
        const part = bytes.subarray(done, done + target.length);
        target.set(part);
        done += part.length;
      }
      return done;
    },
    close() {},
    async readAsync(position, length) {
      return new Uint8Array(await blob.slice(position, position + length).arrayBuffer());
    },
  });
}

/** For a thread that has not been given the Blob. */
export function unknownBlob(): Backing {
  throw new VmError('ENODEV', 'read', 'this thread has not been given the Blob; call attachBlob in it');
}
