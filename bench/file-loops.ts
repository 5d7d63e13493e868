/**
 * Reading a file through a mapping against `fs.readSync` into a private buffer. The host has the file in its page cache
 * throughout. Bytes per second, but for `file.random8`: reads per second.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import {
  type Accessor,
  createMachine,
  KiB,
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  type Machine,
  type MappedFile,
  MiB,
  openFileSync,
  PAGE_SIZE,
  PROT_READ,
  PROT_WRITE,
  type Space,
} from '../src/node.ts';
import type { SoloResult } from './solo.worker.ts';
import { filledFile } from './temp.ts';

export const FILE_BYTES: number = 64 * MiB;
const MEMORY = 128 * MiB;
const STEP = 64 * KiB;
const COLD_STEP = 1 * MiB;
const RANDOM_READS = 1_000_000;
const HOST_RANDOM_READS = 50_000;
/** Right shifts that leave the number of an 8-byte word: of the 64 MiB file, or of its first 4 MiB, which the TLB reaches. */
const WHOLE_FILE = 9;
const TLB_REACH = 13;
const WARM_UP_ROUNDS = 2;

interface Side {
  readonly ours: () => number;
  readonly theirs: () => number;
}

export function measureFiles(rounds: number, folder: string): SoloResult {
  const path = filledFile(folder, FILE_BYTES);
  const fd = openSync(path, 'r');
  const machine = createMachine({ memory: MEMORY });
  const space = machine.createSpace();
  const file = openFileSync(machine, path);
  const map = (): number => mapFile(space, file);
  const at = map();
  const buffer = new Uint8Array(STEP);
  const theirScan = (): number => perSecond(FILE_BYTES, () => hostScan(fd, buffer));
  const sides: Record<string, Side> = {
    'scan.cached': { ours: () => perSecond(FILE_BYTES, () => scan(space, at, buffer)), theirs: theirScan },
    'scan.cached.load32': {
      ours: () => perSecond(FILE_BYTES, () => space.run((m) => sumMapped(m, at))),
      theirs: () => perSecond(FILE_BYTES, () => hostSum(fd, new Int32Array(STEP / 4))),
    },
    'scan.cached.first': { ours: () => scanFirst(space, map(), buffer), theirs: theirScan },
    'file.random8': {
      ours: () => perSecond(RANDOM_READS, () => space.run((m) => randomMapped(m, at, WHOLE_FILE))),
      theirs: () => perSecond(HOST_RANDOM_READS, () => hostRandom(fd, WHOLE_FILE)),
    },
    'file.random8.4MiB': {
      ours: () => perSecond(RANDOM_READS, () => space.run((m) => randomMapped(m, at, TLB_REACH))),
      theirs: () => perSecond(HOST_RANDOM_READS, () => hostRandom(fd, TLB_REACH)),
    },
    'scan.cold': { ours: () => coldScan(path, 'new'), theirs: () => hostCold(fd) },
    'scan.cold.used-frames': { ours: () => coldScan(path, 'used'), theirs: () => hostCold(fd) },
  };
  const result: SoloResult = {};
  for (const [name, side] of Object.entries(sides)) result[name] = inTurn(side, rounds);
  closeSync(fd);
  machine.close();
  return result;
}

function inTurn({ ours, theirs }: Side, rounds: number): SoloResult[string] {
  const out = { ours: [] as number[], theirs: [] as number[] };
  for (let i = -WARM_UP_ROUNDS; i < rounds; i++) {
    const a = ours();
    const b = theirs();
    if (i < 0) continue;
    out.ours.push(a);
    out.theirs.push(b);
  }
  return out;
}

/** `loop` returns something that depends on every byte it had to read. */
function perSecond(amount: number, loop: () => number): number {
  const start = performance.now();
  if (Number.isNaN(loop())) throw new Error('a loop read nothing');
  return (amount / (performance.now() - start)) * 1000;
}

function mapFile(space: Space, file: MappedFile): number {
  return space.mmap({ length: file.size, prot: PROT_READ, flags: MAP_PRIVATE, file });
}

function scan(space: Space, at: number, buffer: Uint8Array): number {
  let sum = 0;
  for (let done = 0; done < FILE_BYTES; done += buffer.length) {
    space.read(at + done, buffer);
    sum = (sum + (buffer[0] as number)) | 0;
  }
  return sum;
}

/** The page cache has the file, the mapping is new: one fault a page. */
function scanFirst(space: Space, at: number, buffer: Uint8Array): number {
  const rate = perSecond(FILE_BYTES, () => scan(space, at, buffer));
  space.munmap(at, FILE_BYTES);
  return rate;
}

function hostScan(fd: number, buffer: Uint8Array): number {
  let sum = 0;
  for (let done = 0; done < FILE_BYTES; done += buffer.length) {
    readSync(fd, buffer, 0, buffer.length, done);
    sum = (sum + (buffer[0] as number)) | 0;
  }
  return sum;
}

function sumMapped(memory: Accessor, at: number): number {
  let sum = 0;
  for (let offset = 0; offset < FILE_BYTES; offset += 4) sum = (sum + memory.load32(at + offset)) | 0;
  return sum;
}

function hostSum(fd: number, buffer: Int32Array): number {
  let sum = 0;
  for (let done = 0; done < FILE_BYTES; done += STEP) {
    readSync(fd, buffer, 0, STEP, done);
    for (let i = 0; i < buffer.length; i++) sum = (sum + (buffer[i] as number)) | 0;
  }
  return sum;
}

function randomMapped(memory: Accessor, at: number, shift: number): number {
  let sum = 0;
  let seed = 1;
  for (let i = 0; i < RANDOM_READS; i++) {
    seed = (Math.imul(seed, 1664525) + 1013904223) | 0;
    if (memory.loadF64(at + (seed >>> shift) * 8) > 0) sum++;
  }
  return sum;
}

function hostRandom(fd: number, shift: number): number {
  const buffer = new Float64Array(1);
  let sum = 0;
  let seed = 1;
  for (let i = 0; i < HOST_RANDOM_READS; i++) {
    seed = (Math.imul(seed, 1664525) + 1013904223) | 0;
    readSync(fd, buffer, 0, 8, (seed >>> shift) * 8);
    if ((buffer[0] as number) > 0) sum++;
  }
  return sum;
}

/** A machine that has read nothing: `new` frames have never been touched, so the host's own first-touch faults count too. */
function coldScan(path: string, frames: 'new' | 'used'): number {
  const machine = createMachine({ memory: MEMORY });
  const space = machine.createSpace();
  if (frames === 'used') touchFrames(machine, space);
  const at = mapFile(space, openFileSync(machine, path));
  const buffer = new Uint8Array(COLD_STEP);
  const rate = perSecond(FILE_BYTES, () => scan(space, at, buffer));
  machine.close();
  return rate;
}

function touchFrames(machine: Machine, space: Space): void {
  const length = MEMORY - MEMORY / 8;
  const at = space.mmap({ length, prot: PROT_READ | PROT_WRITE, flags: MAP_PRIVATE | MAP_ANONYMOUS });
  for (let offset = 0; offset < length; offset += PAGE_SIZE) space.store8(at + offset, 1);
  space.munmap(at, length);
  machine.drain();
}

function hostCold(fd: number): number {
  const buffer = new Uint8Array(COLD_STEP);
  return perSecond(FILE_BYTES, () => hostScan(fd, buffer));
}
