/**
 * The frames as arrays of every element type. One set per machine and thread. An unshared WebAssembly.Memory that grows takes its
 * buffer away and has another with the same bytes: `follow` then makes the arrays anew. So whoever keeps one of them must know
 * that the memory cannot move, or ask for it after each `translate`.
 */
import { VmError } from '../base/errors.ts';
import { type MemoryBuffer, memoryBytes } from '../base/foreign.ts';

export class FrameViews {
  u8!: Uint8Array;
  u16!: Uint16Array;
  i32!: Int32Array;
  f32!: Float32Array;
  f64!: Float64Array;
  i64!: BigInt64Array;
  view!: DataView;
  private readonly _bytes: number;
  private readonly _current: (() => MemoryBuffer) | undefined;

  /** `current`: where the buffer is now, for memory that may move or go. */
  constructor(buffer: MemoryBuffer, bytes: number, current: (() => MemoryBuffer) | undefined) {
    this._bytes = bytes;
    this._current = current;
    this._make(buffer);
  }

  get mayMove(): boolean {
    return this._current !== undefined;
  }

  /** True if the arrays had to be made anew: what was read into the old ones is lost. Throws EIO when the memory is gone. */
  follow(): boolean {
    if (this._current === undefined) return false;
    const buffer = this._current();
    if (this.u8.buffer === buffer && this.u8.length > 0) return false;
    if (memoryBytes(buffer) < this._bytes) throw new VmError('EIO', 'access', 'the memory of the machine is gone');
    this._make(buffer);
    return true;
  }

  private _make(buffer: MemoryBuffer): void {
    const bytes = this._bytes;
    this.u8 = new Uint8Array(buffer as ArrayBuffer, 0, bytes);
    this.u16 = new Uint16Array(buffer as ArrayBuffer, 0, bytes / 2);
    this.i32 = new Int32Array(buffer as ArrayBuffer, 0, bytes / 4);
    this.f32 = new Float32Array(buffer as ArrayBuffer, 0, bytes / 4);
    this.f64 = new Float64Array(buffer as ArrayBuffer, 0, bytes / 8);
    this.i64 = new BigInt64Array(buffer as ArrayBuffer, 0, bytes / 8);
    this.view = new DataView(buffer as ArrayBuffer, 0, bytes);
  }
}
