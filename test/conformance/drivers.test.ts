/** Every driver that the library ships keeps the contract of backings. */
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test, vi } from 'vitest';
import { blobBacking } from '../../src/backing/drivers/blob.ts';
import { descriptorBacking, nodeFileBacking, openRegular } from '../../src/backing/drivers/node-file.ts';
import { slowed, slowFileBacking } from '../../src/backing/drivers/slow-file.ts';
import { backingConformance, type DriverUnderTest } from '../../src/conformance.ts';
import type { Backing } from '../../src/index.ts';

type Options = ReturnType<typeof optionsOf>;

function optionsOf(path: string) {
  const { fd, identity } = openRegular(path);
  return { path, ...identity, descriptor: fd };
}

/** Files of the host, whose backings `open` makes of the options that `openFile` writes into the descriptor. */
function hostFiles(open: (file: Options) => Backing, openFd: (fd: number) => Backing): DriverUnderTest {
  let folder: string | undefined;
  const opened: number[] = [];
  const write = (content: (fd: number) => void): (() => Backing) => {
    folder ??= mkdtempSync(join(tmpdir(), 'vmspace-conformance-'));
    const path = join(folder, 'file');
    const fd = openSync(path, 'w');
    content(fd);
    closeSync(fd);
    const options = optionsOf(path);
    opened.push(options.descriptor);
    return () => open(options);
  };
  return {
    file: (bytes) => write((fd) => writeFileSync(fd, bytes)),
    sparse: (size, end) =>
      write((fd) => {
        ftruncateSync(fd, size);
        writeSync(fd, end, 0, end.length, size - end.length);
      }),
    broken() {
      folder ??= mkdtempSync(join(tmpdir(), 'vmspace-conformance-'));
      const path = join(folder, 'unreadable');
      return () => openFd(openSync(path, 'w')); // for writing only: each read is EBADF
    },
    clean() {
      for (const fd of opened.splice(0)) closeSync(fd);
      if (folder !== undefined) rmSync(folder, { recursive: true });
      folder = undefined;
    },
  };
}

/** A Blob with a reader, as workers of a browser have it; Node has none. */
class FakeBlob {
  readonly size: number;
  readonly bytes: () => Uint8Array<ArrayBuffer>;

  constructor(size: number, bytes: (from: number, to: number) => Uint8Array<ArrayBuffer>, from = 0) {
    this.size = size;
    this.bytes = () => bytes(from, from + size);
    this.slice = (start, end) => {
      const [first, last] = [Math.min(start, size), Math.min(end, size)];
      return new FakeBlob(last - first, bytes, from + first);
    };
  }

  slice: (start: number, end: number) => FakeBlob;
  arrayBuffer = async (): Promise<ArrayBuffer> => this.bytes().buffer;
}

const fakeBlobs: DriverUnderTest = {
  file: (bytes) => fakeBlob(bytes.length, (from, to) => new Uint8Array(bytes.slice(from, to))),
  sparse: (size, end) =>
    fakeBlob(size, (from, to) => {
      const bytes = new Uint8Array(to - from);
      const shift = size - end.length - from;
      for (let i = Math.max(0, shift); i < bytes.length; i++) bytes[i] = end[i - shift] as number;
      return bytes;
    }),
  broken: () =>
    fakeBlob(4096, () => {
      throw new DOMException('the file has changed', 'NotReadableError');
    }),
  clean: () => vi.unstubAllGlobals(),
};

function fakeBlob(size: number, bytes: (from: number, to: number) => Uint8Array<ArrayBuffer>): () => Backing {
  vi.stubGlobal(
    'FileReaderSync',
    class {
      readAsArrayBuffer(blob: FakeBlob): ArrayBuffer {
        return blob.bytes().buffer;
      }
    },
  );
  return () => blobBacking(new FakeBlob(size, bytes) as unknown as Blob);
}

const slow = { milliseconds: 1, every: 40 };

const drivers: Record<string, DriverUnderTest> = {
  'files of the host, in the thread that opens them': hostFiles(
    ({ path }) => descriptorBacking(openRegular(path).fd),
    descriptorBacking,
  ),
  'files of the host, in other threads': hostFiles(nodeFileBacking, descriptorBacking),
  'slow files': hostFiles(
    (file) => slowFileBacking({ ...file, ...slow }),
    (fd) => slowed(descriptorBacking(fd), slow),
  ),
  'Blobs where FileReaderSync is': fakeBlobs,
  'Blobs where it is not': {
    mustNotBlock: true,
    file: (bytes) => {
      const blob = new Blob([new Uint8Array(bytes)]);
      return () => blobBacking(blob);
    },
  },
};

describe.each(Object.entries(drivers))('%s', (_name, driver) => {
  for (const { name, run } of backingConformance(driver)) test(name, run);
});
