/** What the API and property tests stand on: machines that are checked for leaks when a test ends, temporary files, seeds. */
import {
  mkdtempSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, vi } from 'vitest';
import {
  type Census,
  createMachine,
  DESIGN_NAMES,
  type DesignName,
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  type Machine,
  type MachineOptions,
  MiB,
  PAGE_SIZE,
  PROT_READ,
  PROT_WRITE,
  type Space,
  VmError,
} from '../src/index.ts';

export const PAGE: number = PAGE_SIZE;
export const RW: number = PROT_READ | PROT_WRITE;
export const PRIVATE: number = MAP_PRIVATE | MAP_ANONYMOUS;
export const DESIGNS: readonly DesignName[] = DESIGN_NAMES;

const POOLS = ['frames', 'vma', 'node', 'table', 'file', 'rmap', 'text'] as const;

/** Everything in use, nothing that is free: equal before and after a call that failed. */
export function inUse(machine: Machine): Record<string, unknown> {
  const census = machine.census();
  const out: Record<string, unknown> = { spaces: census.spaces, mappings: census.mappings };
  for (const pool of POOLS) out[pool] = census[pool].live;
  return out;
}

/** Conservation (I26): everything that was allocated has come back. Requires: every space and file closed. */
export function expectNothingLeft(machine: Machine): void {
  machine.drain();
  const census: Census = machine.census();
  const left: Record<string, unknown> = { spaces: census.spaces, mappings: census.mappings };
  const none: Record<string, unknown> = { spaces: 0, mappings: 0 };
  for (const pool of POOLS) {
    const { live, owned, retired } = census[pool];
    left[pool] = { live, owned, retired };
    none[pool] = { live: 0, owned: 0, retired: 0 };
  }
  expect(left).toEqual(none);
  expect(machine.counters()['frames.allocated']).toBe(machine.counters()['frames.freed']);
}

export interface Bench {
  readonly machine: Machine;
  readonly space: Space;
  /** A space that is closed with the machine. */
  newSpace(): Space;
}

/**
 * Runs `test` on a machine of its own, then closes all that it has opened and asserts conservation before the machine goes. If
 * the test itself fails, its error is the one that is thrown.
 */
export function withMachine<T>(options: Partial<MachineOptions>, test: (bench: Bench) => T): T {
  collectMachines();
  const machine = createMachine({ memory: 4 * MiB, stallTimeout: 2000, ...options });
  const spaces: Space[] = [];
  const newSpace = (): Space => {
    const space = machine.createSpace();
    spaces.push(space);
    return space;
  };
  let result: T;
  try {
    result = test({ machine, space: newSpace(), newSpace });
  } catch (error) {
    machine.close();
    throw error;
  }
  const finish = (): void => {
    try {
      closeFiles(machine);
      for (const space of spaces) space.close();
      expectNothingLeft(machine);
    } finally {
      machine.close();
    }
  };
  if (!(result instanceof Promise)) {
    finish();
    return result;
  }
  return result.then(
    (value) => {
      finish();
      return value;
    },
    (error) => {
      machine.close();
      throw error;
    },
  ) as T;
}

const MACHINES_BETWEEN_COLLECTIONS = 8;
let machinesMade = 0;
let collectGarbage: (() => void) | undefined;

/**
 * The engine does not count a machine's memory when it decides whether to collect garbage: a test file that makes machines in a
 * loop would fill the computer. To be called before each is made.
 */
export function collectMachines(): void {
  if (machinesMade++ % MACHINES_BETWEEN_COLLECTIONS !== 0) return;
  if (collectGarbage === undefined) {
    setFlagsFromString('--expose-gc');
    collectGarbage = runInNewContext('gc') as () => void;
  }
  collectGarbage();
}

const opened = new WeakMap<Machine, { close(): void }[]>();

/** Has `withMachine` close the file. */
export function closing<F extends { close(): void }>(machine: Machine, file: F): F {
  opened.set(machine, [...(opened.get(machine) ?? []), file]);
  return file;
}

function closeFiles(machine: Machine): void {
  for (const file of opened.get(machine) ?? []) file.close();
}

/** What the call throws, which must be a VmError with this code; returned for a closer look. */
export function expectError(code: string, call: () => unknown): VmError {
  let thrown: unknown;
  try {
    call();
  } catch (error) {
    thrown = error;
  }
  expect(thrown, `expected ${code}, got ${describe(thrown)}`).toBeInstanceOf(VmError);
  expect((thrown as VmError).code, (thrown as VmError).message).toBe(code);
  return thrown as VmError;
}

export async function expectRejection(code: string, call: () => Promise<unknown>): Promise<VmError> {
  let thrown: unknown;
  try {
    await call();
  } catch (error) {
    thrown = error;
  }
  return expectError(code, () => {
    if (thrown !== undefined) throw thrown;
  });
}

/** An access that must fault: its `reason`. */
export function expectFault(reason: 'SEGV_MAPERR' | 'SEGV_ACCERR' | 'BUS_ADRERR', call: () => unknown): VmError {
  const error = expectError('EFAULT', call);
  expect((error as VmError & { reason?: string }).reason, error.message).toBe(reason);
  return error;
}

function describe(value: unknown): string {
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  return value === undefined ? 'no error' : typeof value;
}

/**
 * The milliseconds of each sleep that the call asks for, by a clock on which nothing else takes time: nobody sleeps, and nobody is
 * there to wake this thread.
 */
export function sleeps(call: () => unknown): number[] {
  const asked: number[] = [];
  let clock = performance.now();
  const now = vi.spyOn(performance, 'now').mockImplementation(() => clock);
  const wait = vi.spyOn(Atomics, 'wait').mockImplementation(((_words, _index, _value, milliseconds = 0) => {
    asked.push(milliseconds);
    clock += milliseconds;
    return 'timed-out';
  }) as typeof Atomics.wait);
  try {
    call();
  } finally {
    now.mockRestore();
    wait.mockRestore();
  }
  return asked;
}

/** Runs the call. Throws when it loads more shared words than `most`: what would take long takes many. */
export function withinLoads<T>(most: number, call: () => T): T {
  const { load } = Atomics;
  let loads = 0;
  const spy = vi.spyOn(Atomics, 'load').mockImplementation(((words: Int32Array, index: number) => {
    if (++loads > most) throw new Error(`more than ${most} loads of shared words`);
    return load(words, index);
  }) as typeof Atomics.load);
  try {
    return call();
  } finally {
    spy.mockRestore();
  }
}

/** Anonymous private read-write memory. */
export function map(space: Space, pages: number, prot: number = RW): number {
  return space.mmap({ length: pages * PAGE, prot, flags: PRIVATE });
}

/** The layout in pages from `base` on, one line a mapping: `3-5 rw-p`. */
export function layout(space: Space, base: number = 0): string[] {
  return space.maps().map(({ start, end, prot, shared, file, offset }) => {
    const rights = `${prot & 1 ? 'r' : '-'}${prot & 2 ? 'w' : '-'}${prot & 4 ? 'x' : '-'}${shared ? 's' : 'p'}`;
    const backing = file === undefined ? '' : ` file@${offset / PAGE}`;
    return `${(start - base) / PAGE}-${(end - base) / PAGE} ${rights}${backing}`;
  });
}

/** Numbers in [0, 1) from a seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Bytes that tell where they are from: no two pages of a file and no two seeds look alike. */
export function pattern(length: number, seed: number = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  const words = new Uint32Array(Math.ceil(length / 4));
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i + 1, 0x9e3779b1) ^ Math.imul(seed, 0x85ebca6b);
  bytes.set(new Uint8Array(words.buffer, 0, length));
  return bytes;
}

/** A directory for the files of one test file; `remove` at its end. */
export function temporaryFiles(): {
  path(name: string): string;
  write(name: string, bytes: Uint8Array): string;
  remove(): void;
} {
  const directory = mkdtempSync(join(tmpdir(), 'vmspace-'));
  return {
    path: (name) => join(directory, name),
    write(name, bytes) {
      const path = join(directory, name);
      writeFileSync(path, bytes);
      return path;
    },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}

/**
 * Deletes the file and makes it anew, with the same inode: some file systems (ext4) use it again at once, others (tmpfs) never do.
 * False if this one has not done it in many tries.
 */
export function remakeWithSameInode(path: string, bytes: Uint8Array): boolean {
  const { ino } = statSync(path, { bigint: true });
  // Birth times are those of the clock's ticks: a file that is deleted and made anew within one is not told apart.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 25);
  unlinkSync(path);
  const tried: string[] = [];
  let same = false;
  // Other free inodes may come first: they are used up.
  while (!same && tried.length < 500) {
    const name = `${path}-${tried.length}`;
    writeFileSync(name, '');
    same = statSync(name, { bigint: true }).ino === ino;
    tried.push(name);
  }
  renameSync(tried.pop() as string, path);
  writeFileSync(path, bytes);
  for (const name of tried) unlinkSync(name);
  return same;
}

/** How often this process has the file open, by the name it was opened by (Linux). */
export function descriptorsOf(path: string): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(path);
    } catch {
      return false; // that of the folder itself
    }
  }).length;
}

/** Runs without SharedArrayBuffer, as a page that is not cross-origin isolated does. */
export function withoutSharedMemory<T>(run: () => T): T {
  const host = globalThis as { SharedArrayBuffer?: unknown };
  const was = host.SharedArrayBuffer;
  host.SharedArrayBuffer = undefined;
  try {
    return run();
  } finally {
    host.SharedArrayBuffer = was;
  }
}
