import { describe, expect, test } from 'vitest';
import type { MemoryBuffer } from '../base/foreign.ts';
import { FrameViews } from './frame-views.ts';

const BYTES = 64 * 1024;

describe('the arrays over the frames', () => {
  test('are of every type over the same bytes, and end where the frames end', () => {
    const views = new FrameViews(new SharedArrayBuffer(BYTES + 4096), BYTES, undefined);
    views.u8.set([1, 2, 3, 4, 5, 6, 7, 8], 16);
    expect([views.u16[8], views.i32[4], views.view.getUint8(16)]).toEqual([0x0201, 0x04030201, 1]);
    expect(views.f64[2]).toBe(views.view.getFloat64(16, true));
    expect(views.f32[5]).toBe(views.view.getFloat32(20, true));
    const { u8, u16, i32, f32, f64, view } = views;
    expect([u8, u16, i32, f32, f64, view].map((array) => array.byteLength)).toEqual(new Array(6).fill(BYTES));
  });

  test('of memory that stays are never made anew', () => {
    const views = new FrameViews(new SharedArrayBuffer(BYTES), BYTES, undefined);
    const { u8 } = views;
    expect([views.mayMove, views.follow(), views.u8 === u8]).toEqual([false, false, true]);
  });
});

describe('memory that may move', () => {
  test('is followed once when it has: other arrays, the same bytes', () => {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 4 });
    const views = new FrameViews(memory.buffer, BYTES, () => memory.buffer);
    const was = views.u8;
    expect([views.mayMove, views.follow(), views.u8 === was]).toEqual([true, false, true]);
    views.i32[100] = 4711;
    memory.grow(1);
    expect(was.length).toBe(0);
    expect([views.follow(), views.i32[100], views.u8.length]).toEqual([true, 4711, BYTES]);
    const { u8, u16, i32, f32, f64, view } = views;
    for (const array of [u8, u16, i32, f32, f64, view]) expect(array.buffer).toBe(memory.buffer);
    expect(views.follow()).toBe(false);
  });

  test.each([
    ['detached', 0],
    ['shorter by a byte', BYTES - 1],
  ])('is EIO when it is %s, at each look, and no array is over less than the frames', (_what, left) => {
    let current: MemoryBuffer = new ArrayBuffer(BYTES);
    const views = new FrameViews(current, BYTES, () => current);
    const { u8 } = views;
    current = new ArrayBuffer(left);
    for (let i = 0; i < 2; i++) expect(() => views.follow()).toThrow(/^EIO: the memory of the machine is gone/);
    expect(views.u8).toBe(u8);
  });

  test('is EIO when its buffer is the same and has lost its bytes', () => {
    const buffer = new ArrayBuffer(BYTES);
    const views = new FrameViews(buffer, BYTES, () => buffer);
    structuredClone(buffer, { transfer: [buffer] });
    expect(() => views.follow()).toThrow(/^EIO/);
  });
});
