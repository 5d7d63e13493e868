/**
 * What `space.run` hands to its function: loads and stores of many types, little-endian, at any alignment. Each begins with the
 * hit path: one compare of the tag (which also refuses unaligned and odd addresses), one plain poll of the generation, the
 * access. No Atomics, no allocation. The poll may be plain: a thread that learned of a change through any synchronising
 * operation is ordered after it; one that did not is racing, and its memory is safe by its epoch alone.
 *
 * Valid only inside `run`; it is the same object every time.
 */
import {
  add,
  cas,
  data8,
  data16,
  data32,
  dataF32,
  dataF64,
  exchange,
  load,
  peek,
  setData8,
  setData16,
  setData32,
  setDataF32,
  setDataF64,
  store,
} from '#atomics';
import { oops } from './base/assert.ts';
import { VmError } from './base/errors.ts';
import { PAGE_MASK, PAGE_SIZE } from './base/limits.ts';
import { TLB_MASK } from './paging/tlb.ts';
import type { View } from './paging/view.ts';
import type { Rcu } from './sync/rcu.ts';
import type { Translator } from './translate.ts';
import type { FrameViews } from './views.ts';

const PER_PAGE: number = 1 / PAGE_SIZE;
const LITTLE = true;

export class Accessor {
  readonly #words: Int32Array;
  readonly #generation: number;
  readonly #view: View;
  readonly #rcu: Rcu;
  readonly #translator: Translator;
  readonly #readTags: Float64Array;
  readonly #writeTags: Float64Array;
  readonly #frames: Int32Array;
  readonly #u8: Uint8Array;
  readonly #u16: Uint16Array;
  readonly #i32: Int32Array;
  readonly #f32: Float32Array;
  readonly #f64: Float64Array;
  readonly #data: DataView;
  /** For accesses that cross a page boundary. */
  readonly #scratch = new DataView(new ArrayBuffer(8));

  constructor(words: Int32Array, rcu: Rcu, translator: Translator, frames: FrameViews) {
    const { view } = translator;
    this.#words = words;
    this.#rcu = rcu;
    this.#view = view;
    this.#generation = view.generationIndex;
    this.#translator = translator;
    this.#readTags = view.tlb.readTags;
    this.#writeTags = view.tlb.writeTags;
    this.#frames = view.tlb.frames;
    this.#u8 = frames.u8;
    this.#u16 = frames.u16;
    this.#i32 = frames.i32;
    this.#f32 = frames.f32;
    this.#f64 = frames.f64;
    this.#data = frames.view;
  }

  /** Unsigned byte. */
  load8(address: number): number {
    const slot = (address * PER_PAGE) & TLB_MASK;
    const offset = address & 4095;
    if (this.#readTags[slot] === address - offset && peek(this.#words, this.#generation) === this.#view.generation) {
      return data8(this.#u8, (this.#frames[slot] as number) * 4 + offset);
    }
    return this.#slowRead(address, 1, 'load8').getUint8(this.#at);
  }

  store8(address: number, value: number): void {
    const slot = (address * PER_PAGE) & TLB_MASK;
    const offset = address & 4095;
    if (this.#writeTags[slot] === address - offset && peek(this.#words, this.#generation) === this.#view.generation) {
      setData8(this.#u8, (this.#frames[slot] as number) * 4 + offset, value);
    } else {
      this.#slowWrite(address, 1, 'store8').setUint8(this.#at, value);
    }
  }

  /** Unsigned 16 bits. */
  load16(address: number): number {
    const slot = (address * PER_PAGE) & TLB_MASK;
    const offset = address & 4095;
    if (
      this.#readTags[slot] === address - (offset & 4094) &&
      peek(this.#words, this.#generation) === this.#view.generation
    ) {
      return data16(this.#u16, (this.#frames[slot] as number) * 2 + (offset >> 1));
    }
    return this.#slowRead(address, 2, 'load16').getUint16(this.#at, LITTLE);
  }

  store16(address: number, value: number): void {
    const slot = (address * PER_PAGE) & TLB_MASK;
    const offset = address & 4095;
    if (
      this.#writeTags[slot] === address - (offset & 4094) &&
      peek(this.#words, this.#generation) === this.#view.generation
    ) {
      setData16(this.#u16, (this.#frames[slot] as number) * 2 + (offset >> 1), value);
    } else {
      this.#storeAcross(address, 2, 'store16', value);
    }
  }

  /** Signed 32 bits. */
  load32(address: number): number {
    const slot = (address * PER_PAGE) & TLB_MASK;
    const offset = address & 4095;
    if (
      this.#readTags[slot] === address - (offset & 4092) &&
      peek(this.#words, this.#generation) === this.#view.generation
    ) {
      return data32(this.#i32, (this.#frames[slot] as number) + (offset >> 2));
    }
    return this.#slowRead(address, 4, 'load32').getInt32(this.#at, LITTLE);
  }

  store32(address: number, value: number): void {
    const slot = (address * PER_PAGE) & TLB_MASK;
    const offset = address & 4095;
    if (
      this.#writeTags[slot] === address - (offset & 4092) &&
      peek(this.#words, this.#generation) === this.#view.generation
    ) {
      setData32(this.#i32, (this.#frames[slot] as number) + (offset >> 2), value);
    } else {
      this.#storeAcross(address, 4, 'store32', value);
    }
  }

  /** Unsigned 32 bits. */
  loadU32(address: number): number {
    return this.load32(address) >>> 0;
  }

  /** Signed 64 bits, as two 32-bit halves: not one atomic access. */
  loadI64(address: number): bigint {
    return this.#slowRead(address, 8, 'loadI64').getBigInt64(this.#at, LITTLE);
  }

  storeI64(address: number, value: bigint): void {
    if (typeof value !== 'bigint') throw new VmError('EINVAL', 'storeI64', 'the value must be a bigint');
    this.#scratch.setBigInt64(0, value, LITTLE);
    this.#writeScratch(address, 8, 'storeI64');
  }

  loadF32(address: number): number {
    const slot = (address * PER_PAGE) & TLB_MASK;
    const offset = address & 4095;
    if (
      this.#readTags[slot] === address - (offset & 4092) &&
      peek(this.#words, this.#generation) === this.#view.generation
    ) {
      return dataF32(this.#f32, (this.#frames[slot] as number) + (offset >> 2));
    }
    return this.#slowRead(address, 4, 'loadF32').getFloat32(this.#at, LITTLE);
  }

  storeF32(address: number, value: number): void {
    const slot = (address * PER_PAGE) & TLB_MASK;
    const offset = address & 4095;
    if (
      this.#writeTags[slot] === address - (offset & 4092) &&
      peek(this.#words, this.#generation) === this.#view.generation
    ) {
      setDataF32(this.#f32, (this.#frames[slot] as number) + (offset >> 2), value);
    } else {
      this.#scratch.setFloat32(0, value, LITTLE);
      this.#writeScratch(address, 4, 'storeF32');
    }
  }

  loadF64(address: number): number {
    const slot = (address * PER_PAGE) & TLB_MASK;
    const offset = address & 4095;
    if (
      this.#readTags[slot] === address - (offset & 4088) &&
      peek(this.#words, this.#generation) === this.#view.generation
    ) {
      return dataF64(this.#f64, ((this.#frames[slot] as number) >> 1) + (offset >> 3));
    }
    return this.#slowRead(address, 8, 'loadF64').getFloat64(this.#at, LITTLE);
  }

  storeF64(address: number, value: number): void {
    const slot = (address * PER_PAGE) & TLB_MASK;
    const offset = address & 4095;
    if (
      this.#writeTags[slot] === address - (offset & 4088) &&
      peek(this.#words, this.#generation) === this.#view.generation
    ) {
      setDataF64(this.#f64, ((this.#frames[slot] as number) >> 1) + (offset >> 3), value);
    } else {
      this.#scratch.setFloat64(0, value, LITTLE);
      this.#writeScratch(address, 8, 'storeF64');
    }
  }

  /* Sequentially consistent accesses to aligned 32-bit words. They poll with Atomics: a Dekker pattern over virtual addresses
   * must not see an old translation [C6]. */

  atomicLoad32(address: number): number {
    return load(this.#i32, this.#word(address, false, 'atomicLoad32'));
  }
  atomicStore32(address: number, value: number): void {
    store(this.#i32, this.#word(address, true, 'atomicStore32'), value);
  }
  /** Compare and swap; returns the value found. */
  cas32(address: number, expected: number, value: number): number {
    return cas(this.#i32, this.#word(address, true, 'cas32'), expected | 0, value);
  }
  /** Returns the value before. */
  add32(address: number, delta: number): number {
    return add(this.#i32, this.#word(address, true, 'add32'), delta);
  }
  /** Returns the value before. */
  exchange32(address: number, value: number): number {
    return exchange(this.#i32, this.#word(address, true, 'exchange32'), value);
  }

  /* The slow side. */

  /** Where the bytes of the last slow access are, in the view that was returned. */
  #at = 0;

  #word(address: number, write: boolean, access: string): number {
    this.#checkInside(access);
    if ((address & 3) !== 0) throw new VmError('EINVAL', access, 'atomic accesses must be aligned to 4 bytes', address);
    return this.#translator.translate(address, write, access) / 4;
  }

  #slowRead(address: number, size: number, access: string): DataView {
    this.#checkInside(access);
    if ((address & PAGE_MASK) + size <= PAGE_SIZE) {
      this.#at = this.#translator.translate(address, false, access);
      return this.#data;
    }
    this.#translator.translatePair(address, size, false, access);
    for (let i = 0; i < size; i++) {
      this.#scratch.setUint8(i, data8(this.#u8, this.#translated(address + i)));
    }
    this.#at = 0;
    return this.#scratch;
  }

  /** Requires: size 1, or a page boundary not crossed. */
  #slowWrite(address: number, size: number, access: string): DataView {
    this.#checkInside(access);
    if ((address & PAGE_MASK) + size > PAGE_SIZE) oops('access', 'a write across pages needs its bytes first');
    this.#at = this.#translator.translate(address, true, access);
    return this.#data;
  }

  #storeAcross(address: number, size: 2 | 4, access: string, value: number): void {
    this.#scratch.setInt32(0, value, LITTLE);
    this.#writeScratch(address, size, access);
  }

  #writeScratch(address: number, size: number, access: string): void {
    this.#checkInside(access);
    if ((address & PAGE_MASK) + size <= PAGE_SIZE) {
      const at = this.#translator.translate(address, true, access);
      for (let i = 0; i < size; i++) setData8(this.#u8, at + i, this.#scratch.getUint8(i));
      return;
    }
    this.#translator.translatePair(address, size, true, access);
    for (let i = 0; i < size; i++) setData8(this.#u8, this.#translated(address + i), this.#scratch.getUint8(i));
  }

  /** Requires: translated before, with no sleep since. */
  #translated(address: number): number {
    return (this.#frames[(address * PER_PAGE) & TLB_MASK] as number) * 4 + (address & PAGE_MASK);
  }

  #checkInside(access: string): void {
    if (!this.#rcu.inSection || this.#view.sectionDepth === 0) {
      throw new VmError('EINVAL', access, 'the accessor is only valid inside run(); use the same method of the space');
    }
  }
}
