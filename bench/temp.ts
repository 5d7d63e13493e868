/** A folder for what a run leaves on disk, gone at its end. */
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export async function inTempFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'vmspace-bench-'));
  try {
    return await use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A file without blocks: reading it costs the host nothing. */
export function sparseFile(folder: string, size: number): string {
  const path = join(folder, 'sparse');
  const fd = openSync(path, 'w');
  ftruncateSync(fd, size);
  closeSync(fd);
  return path;
}

/** A file of `size` bytes in which no two pages are the same. */
export function filledFile(folder: string, size: number): string {
  const path = join(folder, 'filled');
  const chunk = new Int32Array(1 << 18);
  const fd = openSync(path, 'w');
  for (let at = 0, seed = 1; at < size; at += chunk.byteLength) {
    for (let i = 0; i < chunk.length; i++) {
      seed = (Math.imul(seed, 1664525) + 1013904223) | 0;
      chunk[i] = seed;
    }
    writeSync(fd, chunk);
  }
  closeSync(fd);
  return path;
}
