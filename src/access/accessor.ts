/**
 * What `space.run` hands to its function: loads and stores of many types, little-endian, at any alignment. Each begins with the
 * hit path: one conversion to an integer (`low`: the low 32 bits, which hold slot and offset), one compare of the tag (which also
 * refuses unaligned and odd addresses), one plain poll of the generation, the access. No Atomics, no allocation. The poll may be plain: a thread that learned of a change through any synchronising
 * operation is ordered after it; one that did not is racing, and its memory is safe by its epoch alone.
 *
 * Valid only inside `run`; it is the same object every time.
 */
import {
  add,
  add64,
  and,
  cas,
  cas64,
  data8,
  data16,
  data32,
  dataF32,
  dataF64,
  exchange,
  exchange64,
  load,
  load64,
  or,
  peekRacy,
  setData8,
  setData16,
  setData32,
  setDataF32,
  setDataF64,
  store,
  store64,
  xor,
} from '#atomics';
import { show } from '../base/arguments.ts';
import { oops } from '../base/assert.ts';
import { VmError } from '../base/errors.ts';
import { PAGE_MASK, PAGE_SIZE } from '../base/limits.ts';
import { TLB_MASK } from '../base/tunables.ts';
import type { FrameViews } from '../memory/frame-views.ts';
import type { View } from '../paging/view.ts';
import type { Rcu } from '../sync/rcu.ts';
import type { Translator } from './translate.ts';

const LITTLE = true;
const POLL =
  'a thread that has not heard of a change may use a translation a little longer: the epoch protects what it reaches';

/**
 * What `space.run` hands to its function. It is good inside `run` only, and it is the same object each time. The methods are those of
 * `Space`, and cost a few nanoseconds each.
 *
 * Addresses are bytes, at any alignment but for the atomic accesses; numbers are little-endian. Plain accesses are in no order with
 * those of other threads, as in a SharedArrayBuffer.
 *
 * Each method throws a `SegmentationFault` where nothing is mapped or the protection forbids it, a `BusError` beyond the end of a
 * file or when it cannot be read, and a `VmError` with EINVAL for an argument of another kind, outside `run`, and for an
 * atomic access that is not aligned. ENOMEM says that no frame was to be had, ETIMEDOUT that another thread was waited for in vain,
 * and `WouldBlock` that this thread would have had to wait and must not. Then nothing was written.
 */
export class Accessor {
  private readonly _words: Int32Array;
  private readonly _generation: number;
  private readonly _view: View;
  private readonly _rcu: Rcu;
  private readonly _translator: Translator;
  private readonly _readTags: Float64Array;
  private readonly _writeTags: Float64Array;
  private readonly _frames: Int32Array;
  private readonly _u8: Uint8Array;
  private readonly _u16: Uint16Array;
  private readonly _i32: Int32Array;
  private readonly _f32: Float32Array;
  private readonly _f64: Float64Array;
  /** For misses: the arrays above are those that the TLB's frames are in, these are good after each `translate`. */
  private readonly _views: FrameViews;
  /** For accesses that cross a page boundary. */
  private readonly _scratch = new DataView(new ArrayBuffer(8));

  /** @internal A space makes it and hands it to the function of `run`. */
  constructor(words: Int32Array, rcu: Rcu, translator: Translator, views: FrameViews) {
    const { view } = translator;
    this._words = words;
    this._rcu = rcu;
    this._view = view;
    this._generation = view.generationIndex;
    this._translator = translator;
    this._readTags = view.tlb.readTags;
    this._writeTags = view.tlb.writeTags;
    this._frames = view.tlb.frames;
    this._u8 = views.u8;
    this._u16 = views.u16;
    this._i32 = views.i32;
    this._f32 = views.f32;
    this._f64 = views.f64;
    this._views = views;
  }

  /** Reads a byte, 0 to 255. */
  load8(address: number): number {
    if (typeof address !== 'number') notANumber(address, 'address', 'load8');
    const low = address | 0;
    const slot = (low >>> 12) & TLB_MASK;
    if (
      this._readTags[slot] === address - (low & 4095) &&
      peekRacy(this._words, this._generation, POLL) === this._view.generation
    ) {
      return data8(this._u8, (this._frames[slot] as number) * 4 + (low & 4095));
    }
    return this._slowRead(address, 1, 'load8').getUint8(this._at);
  }

  /** Writes the low 8 bits of `value`. */
  store8(address: number, value: number): void {
    if (typeof address !== 'number') notANumber(address, 'address', 'store8');
    if (typeof value !== 'number') notANumber(value, 'value', 'store8');
    const low = address | 0;
    const slot = (low >>> 12) & TLB_MASK;
    if (
      this._writeTags[slot] === address - (low & 4095) &&
      peekRacy(this._words, this._generation, POLL) === this._view.generation
    ) {
      setData8(this._u8, (this._frames[slot] as number) * 4 + (low & 4095), value);
    } else {
      this._slowWrite(address, 1, 'store8').setUint8(this._at, value);
    }
  }

  /** Reads 16 bits, 0 to 65,535. */
  load16(address: number): number {
    if (typeof address !== 'number') notANumber(address, 'address', 'load16');
    const low = address | 0;
    const slot = (low >>> 12) & TLB_MASK;
    if (
      this._readTags[slot] === address - (low & 4094) &&
      peekRacy(this._words, this._generation, POLL) === this._view.generation
    ) {
      return data16(this._u16, (this._frames[slot] as number) * 2 + ((low & 4095) >> 1));
    }
    if ((low & 1) === 0) {
      const at = this._miss(address, false, 'load16');
      return data16(this._views.u16, at / 2);
    }
    return this._slowRead(address, 2, 'load16').getUint16(this._at, LITTLE);
  }

  /** Writes the low 16 bits of `value`. */
  store16(address: number, value: number): void {
    if (typeof address !== 'number') notANumber(address, 'address', 'store16');
    if (typeof value !== 'number') notANumber(value, 'value', 'store16');
    const low = address | 0;
    const slot = (low >>> 12) & TLB_MASK;
    if (
      this._writeTags[slot] === address - (low & 4094) &&
      peekRacy(this._words, this._generation, POLL) === this._view.generation
    ) {
      setData16(this._u16, (this._frames[slot] as number) * 2 + ((low & 4095) >> 1), value);
    } else if ((low & 1) === 0) {
      const at = this._miss(address, true, 'store16');
      setData16(this._views.u16, at / 2, value);
    } else {
      this._storeAcross(address, 2, 'store16', value);
    }
  }

  /** Reads 32 bits, signed. */
  load32(address: number): number {
    if (typeof address !== 'number') notANumber(address, 'address', 'load32');
    const low = address | 0;
    const slot = (low >>> 12) & TLB_MASK;
    if (
      this._readTags[slot] === address - (low & 4092) &&
      peekRacy(this._words, this._generation, POLL) === this._view.generation
    ) {
      return data32(this._i32, (this._frames[slot] as number) + ((low & 4095) >> 2));
    }
    if ((low & 3) === 0) {
      const at = this._miss(address, false, 'load32');
      return data32(this._views.i32, at / 4);
    }
    return this._slowRead(address, 4, 'load32').getInt32(this._at, LITTLE);
  }

  /** Writes the low 32 bits of `value`. */
  store32(address: number, value: number): void {
    if (typeof address !== 'number') notANumber(address, 'address', 'store32');
    if (typeof value !== 'number') notANumber(value, 'value', 'store32');
    const low = address | 0;
    const slot = (low >>> 12) & TLB_MASK;
    if (
      this._writeTags[slot] === address - (low & 4092) &&
      peekRacy(this._words, this._generation, POLL) === this._view.generation
    ) {
      setData32(this._i32, (this._frames[slot] as number) + ((low & 4095) >> 2), value);
    } else if ((low & 3) === 0) {
      const at = this._miss(address, true, 'store32');
      setData32(this._views.i32, at / 4, value);
    } else {
      this._storeAcross(address, 4, 'store32', value);
    }
  }

  /** Reads 32 bits, 0 to 4,294,967,295. */
  loadU32(address: number): number {
    if (typeof address !== 'number') notANumber(address, 'address', 'loadU32');
    const low = address | 0;
    const slot = (low >>> 12) & TLB_MASK;
    if (
      this._readTags[slot] === address - (low & 4092) &&
      peekRacy(this._words, this._generation, POLL) === this._view.generation
    ) {
      return data32(this._i32, (this._frames[slot] as number) + ((low & 4095) >> 2)) >>> 0;
    }
    if ((low & 3) === 0) {
      const at = this._miss(address, false, 'loadU32');
      return data32(this._views.i32, at / 4) >>> 0;
    }
    return this._slowRead(address, 4, 'loadU32').getUint32(this._at, LITTLE);
  }

  /** Reads 64 bits, signed: two halves of 32, so another thread's write may come in between. */
  loadI64(address: number): bigint {
    if (typeof address !== 'number') notANumber(address, 'address', 'loadI64');
    return this._slowRead(address, 8, 'loadI64').getBigInt64(this._at, LITTLE);
  }

  /** Writes the low 64 bits of `value`: two halves of 32, so another thread may see one of them alone. */
  storeI64(address: number, value: bigint): void {
    if (typeof address !== 'number') notANumber(address, 'address', 'storeI64');
    if (typeof value !== 'bigint') notABigint(value, 'value', 'storeI64');
    this._scratch.setBigInt64(0, value, LITTLE);
    this._writeScratch(address, 8, 'storeI64');
  }

  /** Reads a 32-bit float. */
  loadF32(address: number): number {
    if (typeof address !== 'number') notANumber(address, 'address', 'loadF32');
    const low = address | 0;
    const slot = (low >>> 12) & TLB_MASK;
    if (
      this._readTags[slot] === address - (low & 4092) &&
      peekRacy(this._words, this._generation, POLL) === this._view.generation
    ) {
      return dataF32(this._f32, (this._frames[slot] as number) + ((low & 4095) >> 2));
    }
    if ((low & 3) === 0) {
      const at = this._miss(address, false, 'loadF32');
      return dataF32(this._views.f32, at / 4);
    }
    return this._slowRead(address, 4, 'loadF32').getFloat32(this._at, LITTLE);
  }

  /** Writes `value`, rounded to a 32-bit float. */
  storeF32(address: number, value: number): void {
    if (typeof address !== 'number') notANumber(address, 'address', 'storeF32');
    if (typeof value !== 'number') notANumber(value, 'value', 'storeF32');
    const low = address | 0;
    const slot = (low >>> 12) & TLB_MASK;
    if (
      this._writeTags[slot] === address - (low & 4092) &&
      peekRacy(this._words, this._generation, POLL) === this._view.generation
    ) {
      setDataF32(this._f32, (this._frames[slot] as number) + ((low & 4095) >> 2), value);
    } else if ((low & 3) === 0) {
      const at = this._miss(address, true, 'storeF32');
      setDataF32(this._views.f32, at / 4, value);
    } else {
      this._scratch.setFloat32(0, value, LITTLE);
      this._writeScratch(address, 4, 'storeF32');
    }
  }

  /** Reads a 64-bit float. */
  loadF64(address: number): number {
    if (typeof address !== 'number') notANumber(address, 'address', 'loadF64');
    const low = address | 0;
    const slot = (low >>> 12) & TLB_MASK;
    if (
      this._readTags[slot] === address - (low & 4088) &&
      peekRacy(this._words, this._generation, POLL) === this._view.generation
    ) {
      return dataF64(this._f64, ((this._frames[slot] as number) >> 1) + ((low & 4095) >> 3));
    }
    if ((low & 7) === 0) {
      const at = this._miss(address, false, 'loadF64');
      return dataF64(this._views.f64, at / 8);
    }
    return this._slowRead(address, 8, 'loadF64').getFloat64(this._at, LITTLE);
  }

  /** Writes a 64-bit float. */
  storeF64(address: number, value: number): void {
    if (typeof address !== 'number') notANumber(address, 'address', 'storeF64');
    if (typeof value !== 'number') notANumber(value, 'value', 'storeF64');
    const low = address | 0;
    const slot = (low >>> 12) & TLB_MASK;
    if (
      this._writeTags[slot] === address - (low & 4088) &&
      peekRacy(this._words, this._generation, POLL) === this._view.generation
    ) {
      setDataF64(this._f64, ((this._frames[slot] as number) >> 1) + ((low & 4095) >> 3), value);
    } else if ((low & 7) === 0) {
      const at = this._miss(address, true, 'storeF64');
      setDataF64(this._views.f64, at / 8, value);
    } else {
      this._scratch.setFloat64(0, value, LITTLE);
      this._writeScratch(address, 8, 'storeF64');
    }
  }

  /* Sequentially consistent accesses to aligned 32-bit words. They poll with Atomics: a Dekker pattern over virtual addresses
   * must not see an old translation [C6]. */

  /** Reads an aligned signed 32-bit word, in one order with all other atomic accesses. */
  atomicLoad32(address: number): number {
    const at = this._word(address, false, 'atomicLoad32');
    return load(this._views.i32, at);
  }
  /** Writes an aligned 32-bit word, in one order with all other atomic accesses. */
  atomicStore32(address: number, value: number): void {
    if (typeof value !== 'number') notANumber(value, 'value', 'atomicStore32');
    const at = this._word(address, true, 'atomicStore32');
    store(this._views.i32, at, value);
  }
  /** Writes `value` to an aligned 32-bit word if it holds `expected`. Returns what it held. */
  cas32(address: number, expected: number, value: number): number {
    if (typeof expected !== 'number') notANumber(expected, 'expected value', 'cas32');
    if (typeof value !== 'number') notANumber(value, 'value', 'cas32');
    const at = this._word(address, true, 'cas32');
    return cas(this._views.i32, at, expected | 0, value);
  }
  /** Adds `delta` to an aligned signed 32-bit word, and wraps around. Returns what it held before. */
  add32(address: number, delta: number): number {
    if (typeof delta !== 'number') notANumber(delta, 'value', 'add32');
    const at = this._word(address, true, 'add32');
    return add(this._views.i32, at, delta);
  }
  /** Writes `value` to an aligned 32-bit word. Returns what it held before. */
  exchange32(address: number, value: number): number {
    if (typeof value !== 'number') notANumber(value, 'value', 'exchange32');
    const at = this._word(address, true, 'exchange32');
    return exchange(this._views.i32, at, value);
  }
  /** Keeps the bits of an aligned 32-bit word that `bits` has too, atomically. Returns what it held before. */
  and32(address: number, bits: number): number {
    if (typeof bits !== 'number') notANumber(bits, 'value', 'and32');
    const at = this._word(address, true, 'and32');
    return and(this._views.i32, at, bits);
  }
  /** Sets the bits of `bits` in an aligned 32-bit word, atomically. Returns what it held before. */
  or32(address: number, bits: number): number {
    if (typeof bits !== 'number') notANumber(bits, 'value', 'or32');
    const at = this._word(address, true, 'or32');
    return or(this._views.i32, at, bits);
  }
  /** Turns the bits of `bits` over in an aligned 32-bit word, atomically. Returns what it held before. */
  xor32(address: number, bits: number): number {
    if (typeof bits !== 'number') notANumber(bits, 'value', 'xor32');
    const at = this._word(address, true, 'xor32');
    return xor(this._views.i32, at, bits);
  }

  /** Reads an aligned signed 64-bit word, in one order with all other atomic accesses. */
  atomicLoad64(address: number): bigint {
    const at = this._word64(address, false, 'atomicLoad64');
    return load64(this._views.i64, at);
  }
  /** Writes an aligned signed 64-bit word, in one order with all other atomic accesses. A value beyond 64 bits keeps its low 64. */
  atomicStore64(address: number, value: bigint): void {
    if (typeof value !== 'bigint') notABigint(value, 'value', 'atomicStore64');
    const at = this._word64(address, true, 'atomicStore64');
    store64(this._views.i64, at, value);
  }
  /** Writes `value` to an aligned 64-bit word if it holds `expected`. Returns what it held. */
  cas64(address: number, expected: bigint, value: bigint): bigint {
    if (typeof expected !== 'bigint') notABigint(expected, 'expected value', 'cas64');
    if (typeof value !== 'bigint') notABigint(value, 'value', 'cas64');
    const at = this._word64(address, true, 'cas64');
    return cas64(this._views.i64, at, expected, value);
  }
  /** Adds `delta` to an aligned signed 64-bit word, and wraps around. Returns what it held before. */
  add64(address: number, delta: bigint): bigint {
    if (typeof delta !== 'bigint') notABigint(delta, 'value', 'add64');
    const at = this._word64(address, true, 'add64');
    return add64(this._views.i64, at, delta);
  }
  /** Writes `value` to an aligned 64-bit word. Returns what it held before. */
  exchange64(address: number, value: bigint): bigint {
    if (typeof value !== 'bigint') notABigint(value, 'value', 'exchange64');
    const at = this._word64(address, true, 'exchange64');
    return exchange64(this._views.i64, at, value);
  }

  /* The slow side. */

  /** Where the bytes of the last slow access are, in the view that was returned. */
  private _at = 0;

  /**
   * The byte position of an aligned address that missed the TLB. What follows is one access of its size, as on a hit: byte by byte
   * (as a DataView may do it) a racing thread could see half a value.
   */
  private _miss(address: number, write: boolean, access: string): number {
    this._checkInside(access);
    return this._translator.translate(address, write, access);
  }

  private _word(address: number, write: boolean, access: string): number {
    if (typeof address !== 'number') notANumber(address, 'address', access);
    this._checkInside(access);
    if ((address & 3) !== 0) throw new VmError('EINVAL', access, 'atomic accesses must be aligned to 4 bytes', address);
    return this._translator.translate(address, write, access) / 4;
  }

  private _word64(address: number, write: boolean, access: string): number {
    if (typeof address !== 'number') notANumber(address, 'address', access);
    this._checkInside(access);
    if ((address & 7) !== 0) throw new VmError('EINVAL', access, 'atomic accesses must be aligned to 8 bytes', address);
    return this._translator.translate(address, write, access) / 8;
  }

  private _slowRead(address: number, size: number, access: string): DataView {
    this._checkInside(access);
    if ((address & PAGE_MASK) + size <= PAGE_SIZE) {
      this._at = this._translator.translate(address, false, access);
      return this._views.view;
    }
    this._translator.translatePair(address, size, false, access);
    for (let i = 0; i < size; i++) {
      this._scratch.setUint8(i, data8(this._views.u8, this._translated(address + i)));
    }
    this._at = 0;
    return this._scratch;
  }

  /** Requires: size 1, or a page boundary not crossed. */
  private _slowWrite(address: number, size: number, access: string): DataView {
    this._checkInside(access);
    if ((address & PAGE_MASK) + size > PAGE_SIZE) oops('access', 'a write across pages needs its bytes first');
    this._at = this._translator.translate(address, true, access);
    return this._views.view;
  }

  private _storeAcross(address: number, size: 2 | 4, access: string, value: number): void {
    this._scratch.setInt32(0, value, LITTLE);
    this._writeScratch(address, size, access);
  }

  private _writeScratch(address: number, size: number, access: string): void {
    this._checkInside(access);
    if ((address & PAGE_MASK) + size <= PAGE_SIZE) {
      const at = this._translator.translate(address, true, access);
      for (let i = 0; i < size; i++) setData8(this._views.u8, at + i, this._scratch.getUint8(i));
      return;
    }
    this._translator.translatePair(address, size, true, access);
    for (let i = 0; i < size; i++) setData8(this._views.u8, this._translated(address + i), this._scratch.getUint8(i));
  }

  /** Requires: translated before, with no sleep since. */
  private _translated(address: number): number {
    return (this._frames[(address >>> 12) & TLB_MASK] as number) * 4 + (address & PAGE_MASK);
  }

  private _checkInside(access: string): void {
    if (!this._rcu.inSection || this._view.sectionDepth === 0) {
      throw new VmError('EINVAL', access, 'the accessor is only valid inside run(); use the same method of the space');
    }
  }
}

/** The checks before it are free: the engine asks the same before it converts. */
function notANumber(value: unknown, what: string, access: string): never {
  throw new VmError('EINVAL', access, `the ${what} must be a number, got ${show(value)}`);
}

function notABigint(value: unknown, what: string, access: string): never {
  throw new VmError('EINVAL', access, `the ${what} must be a bigint, got ${show(value)}`);
}
