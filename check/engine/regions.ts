/** The shared buffers of a model, as one range of byte addresses, and the numbers of the locations in them. */

import * as B from './board/header.ts';
import * as L from './board/location.ts';
import { CHUNK_SHIFT } from './board/places.ts';

/** One buffer, as all threads of a crew know it. Survives structured cloning. */
export interface RegionMemory {
  readonly buffer: SharedArrayBuffer;
  /** Address of its first byte. Buffers follow each other with a gap. */
  readonly base: number;
  /** Per granule: number of the location, 0 for none yet. */
  readonly numbers: SharedArrayBuffer;
  /** Per chunk: 1 when it must be put back. */
  readonly dirty: SharedArrayBuffer;
  /** Ranges of bytes that are not looked at. */
  readonly ignored: readonly (readonly [number, number])[];
  /** Ranges of bytes whose plain accesses are meant to race. */
  readonly racy: readonly (readonly [number, number])[];
}

export class Region {
  readonly base: number;
  readonly bytes: Uint8Array;
  readonly numbers: Int32Array;
  readonly dirty: Uint8Array;
  readonly ignored: readonly (readonly [number, number])[];
  readonly racy: readonly (readonly [number, number])[];

  constructor(memory: RegionMemory) {
    this.base = memory.base;
    this.bytes = new Uint8Array(memory.buffer);
    this.numbers = new Int32Array(memory.numbers);
    this.dirty = new Uint8Array(memory.dirty);
    this.ignored = memory.ignored;
    this.racy = memory.racy;
  }
}

const GAP = 4096;
const MOST_BYTES = 2 ** 31 - 2 ** 20;

/** Finds every SharedArrayBuffer in a value, in the order of its properties. */
export function findBuffers(value: unknown): SharedArrayBuffer[] {
  const found = new Set<SharedArrayBuffer>();
  const seen = new Set<unknown>();
  const visit = (item: unknown): void => {
    if (typeof item !== 'object' || item === null || seen.has(item)) return;
    seen.add(item);
    if (item instanceof SharedArrayBuffer) found.add(item);
    else if (ArrayBuffer.isView(item)) visit(item.buffer);
    else if (item instanceof WebAssembly.Memory) visit(item.buffer);
    else if (item instanceof Map || item instanceof Set) for (const part of item) visit(part);
    else for (const part of Object.values(item)) visit(part);
  };
  visit(value);
  return [...found];
}

/** Buffer, first byte, byte behind the last, and perhaps why. */
export type WordRange = readonly [buffer: number, from: number, to: number, why?: string];

export function makeRegions(
  buffers: readonly SharedArrayBuffer[],
  granule: number,
  ignore: readonly WordRange[],
  racy: readonly WordRange[],
): RegionMemory[] {
  let base = GAP;
  return buffers.map((buffer, i) => {
    const bytes = buffer.byteLength;
    const region = {
      buffer,
      base,
      numbers: new SharedArrayBuffer(Math.ceil(bytes / granule) * 4 + 8),
      dirty: new SharedArrayBuffer((bytes >> CHUNK_SHIFT) + 1),
      ignored: ignore.filter(([which]) => which === i).map(([, from, to]) => [from, to] as const),
      racy: racy.filter(([which]) => which === i).map(([, from, to]) => [from, to] as const),
    };
    base += Math.ceil(bytes / GAP) * GAP + GAP;
    if (base > MOST_BYTES) throw new Error('the shared buffers of a model may have 2 GiB together');
    return region;
  });
}

/** Gives the granule at `byte` its number, when it is touched for the first time. */
export function numberLocation(board: Int32Array, locations: Int32Array, region: Region, granule: number): number {
  const number = (board[B.LOCATIONS] as number) + 1;
  if (number >= L.MOST) throw new Error(`a model may touch ${L.MOST} shared locations, this one touches more`);
  board[B.LOCATIONS] = number;
  region.numbers[granule] = number;
  locations[number * L.WORDS + L.ADDRESS] = region.base;
  return number;
}

/** Notes that the bytes [from, to) of the region change. */
export function markDirty(board: Int32Array, dirty: Int32Array, region: Region, from: number, to: number): void {
  for (let chunk = from >> CHUNK_SHIFT; chunk <= (to - 1) >> CHUNK_SHIFT; chunk++) {
    if (region.dirty[chunk] === 1) continue;
    region.dirty[chunk] = 1;
    const at = board[B.DIRTY] as number;
    if (at >= dirty.length) throw new Error('an execution changes more memory than the checker can put back');
    dirty[at] = (region.base >> CHUNK_SHIFT) + chunk;
    board[B.DIRTY] = at + 1;
  }
}
