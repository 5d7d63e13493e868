/** Finds the bytes of an element of a view: which watched region it is in, and where. */
import { Region, type RegionMemory } from './regions.ts';

export class Sight {
  /* What `find` found. */
  region: Region | undefined;
  byte = 0;
  width = 4;
  private _regions: Region[] = [];
  private readonly _byBuffer = new Map<ArrayBufferLike, Region | undefined>();
  /* The views used last: what they are a view of, where they begin, how wide their elements are. */
  private _array0: ArrayBufferView | undefined;
  private _region0: Region | undefined;
  private _offset0 = 0;
  private _bytes0 = 4;
  private _array1: ArrayBufferView | undefined;
  private _region1: Region | undefined;
  private _offset1 = 0;
  private _bytes1 = 4;

  watch(regions: readonly RegionMemory[]): void {
    // What setup has touched was not watched yet.
    this._array0 = undefined;
    this._array1 = undefined;
    this._regions = regions.map((memory) => new Region(memory));
    regions.forEach((memory, i) => {
      this._byBuffer.set(memory.buffer, this._regions[i]);
    });
  }

  watches(buffer: SharedArrayBuffer): boolean {
    return this._byBuffer.has(buffer);
  }

  /** The region of a byte address. */
  regionAt(address: number): Region | undefined {
    return this._regions.find(({ base, bytes }) => address >= base && address < base + bytes.length);
  }

  /** Finds the bytes of an element. Returns false if it is not in watched memory. */
  find(array: ArrayBufferView, index: number): boolean {
    if (array !== this._array0 && array !== this._array1) this._learn(array);
    if (array === this._array0) {
      this.region = this._region0;
      this.width = this._bytes0;
      this.byte = this._offset0 + index * this._bytes0;
    } else {
      this.region = this._region1;
      this.width = this._bytes1;
      this.byte = this._offset1 + index * this._bytes1;
    }
    return this.region !== undefined;
  }

  /** As `find`, and it is not among what the model leaves out. */
  findModelled(array: ArrayBufferView, index: number): boolean {
    return this.find(array, index) && !isIn((this.region as Region).ignored, this.byte);
  }

  /** Whether plain accesses to what was found are meant to race. */
  get racy(): boolean {
    return isIn((this.region as Region).racy, this.byte);
  }

  private _learn(array: ArrayBufferView): void {
    const region = this._byBuffer.get(array.buffer);
    const bytes = (array as { BYTES_PER_ELEMENT?: number }).BYTES_PER_ELEMENT ?? 1;
    if (array instanceof Int32Array) {
      this._array0 = array;
      this._region0 = region;
      this._offset0 = array.byteOffset;
      this._bytes0 = bytes;
    } else {
      this._array1 = array;
      this._region1 = region;
      this._offset1 = array.byteOffset;
      this._bytes1 = bytes;
    }
  }
}

function isIn(ranges: readonly (readonly [number, number])[], byte: number): boolean {
  for (let i = 0; i < ranges.length; i++) {
    const range = ranges[i] as readonly [number, number];
    if (byte >= range[0] && byte < range[1]) return true;
  }
  return false;
}
