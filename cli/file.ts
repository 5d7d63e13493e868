/** The file that is mapped: the user's, Node's own executable, or one made for the run. */
import { createCipheriv } from 'node:crypto';
import { accessSync, constants, mkdtempSync, rmSync, type Stats, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { MiB } from '../src/index.ts';
import { messageOf, RunError, UsageError } from './errors.ts';

/** A file below this fits into too little memory for the default run to show anything. */
const LEAST_DEFAULT: number = 32 * MiB;
const GENERATED_SIZE: number = 256 * MiB;
const WRITE_SIZE: number = 4 * MiB;

export interface InputFile {
  /** Absolute. */
  readonly path: string;
  readonly size: number;
  readonly generated: boolean;
  /** Removes what was generated. Idempotent. */
  remove(): void;
}

/** The user's file, checked. Throws UsageError. */
export function userFile(name: string): InputFile {
  const path = resolve(name);
  const stats = statOf(path);
  if (stats.isDirectory()) throw new UsageError(`'${name}' is a directory`);
  // Not opened to find out: opening a FIFO waits for its writer.
  if (!stats.isFile()) throw new UsageError(`'${name}' is not a regular file`);
  if (stats.size === 0) throw new UsageError(`'${name}' is empty: there is nothing to map`);
  try {
    accessSync(path, constants.R_OK);
  } catch {
    throw new UsageError(`'${name}' cannot be read: permission denied`);
  }
  return existing(path, stats.size);
}

/** The larger of Node's executable and its library, if that is large enough; else a generated file. */
export async function defaultFile(candidates: readonly string[], signal: AbortSignal): Promise<InputFile> {
  let best: InputFile | undefined;
  for (const path of candidates) {
    const stats = statSync(path, { throwIfNoEntry: false });
    if (stats?.isFile() && stats.size > (best?.size ?? 0)) best = existing(path, stats.size);
  }
  return best !== undefined && best.size >= LEAST_DEFAULT ? best : generateFile(GENERATED_SIZE, signal);
}

/** Node's own executable, and the library that has the code where distributions split it off. */
export function nodeFiles(): string[] {
  // Node's types lack both names.
  const { node_shared: split } = process.config.variables as { node_shared?: boolean };
  if (split !== true) return [process.execPath];
  Object.assign(process.report, { excludeNetwork: true }); // else the report asks name servers
  const { sharedObjects = [] } = process.report.getReport() as { sharedObjects?: string[] };
  return [process.execPath, ...sharedObjects.filter((path) => /libnode[^/\\]*$/.test(path))];
}

/** Writes `size` bytes, no two pages alike, into the temporary folder. */
export async function generateFile(size: number, signal: AbortSignal): Promise<InputFile> {
  const folder = mkdtempSync(join(tmpdir(), 'vmspace-run-'));
  const remove = (): void => {
    process.off('exit', remove);
    rmSync(folder, { recursive: true, force: true });
  };
  process.once('exit', remove);
  const path = join(folder, 'generated.bin');
  try {
    await writeRandom(path, size, signal);
  } catch (error) {
    remove();
    throw new RunError(`a file of ${size} bytes could not be written to '${folder}': ${messageOf(error)}`);
  }
  return { path, size, generated: true, remove };
}

async function writeRandom(path: string, size: number, signal: AbortSignal): Promise<void> {
  const stream = createCipheriv('aes-128-ctr', Buffer.alloc(16, 'vmspace'), Buffer.alloc(16));
  const zeros = Buffer.alloc(Math.min(WRITE_SIZE, size));
  const file = await open(path, 'wx');
  try {
    for (let done = 0; done < size && !signal.aborted; done += zeros.length) {
      await file.writeFile(stream.update(zeros.subarray(0, size - done)));
    }
  } finally {
    await file.close();
  }
}

function existing(path: string, size: number): InputFile {
  return { path, size, generated: false, remove: () => undefined };
}

function statOf(path: string): Stats {
  try {
    return statSync(path);
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === 'ENOENT' || code === 'ENOTDIR') throw new UsageError(`there is no file '${path}'`);
    throw new UsageError(`'${path}' cannot be read: ${messageOf(error)}`);
  }
}
