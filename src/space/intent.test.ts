import { expect, test } from 'vitest';
import { bareMachine, bareSpace, vpn } from '../../test/kernel.ts';
import type { MmRef, VmaRef } from '../base/brands.ts';
import {
  clearIntent,
  INTENT_NONE,
  INTENT_PROTECT,
  INTENT_UNMAP,
  intendVma,
  readIntent,
  writeIntent,
} from './intent.ts';
import { attachMm, createMm, forEachMm, leaveMm, usesMm } from './mm.ts';

test('an intent is read by others as it was written, with large pages exactly, until it is cleared', () => {
  const { cpu, another, words } = bareMachine();
  const other = another().cpu;
  expect(readIntent(words, other.floats, cpu.id).kind).toBe(INTENT_NONE);
  writeIntent(cpu, INTENT_PROTECT, 4711 as MmRef, vpn(2 ** 34 + 1), vpn(2 ** 35), 5);
  intendVma(cpu, 99 as VmaRef);
  expect(readIntent(words, other.floats, cpu.id)).toEqual({
    kind: INTENT_PROTECT,
    mm: 4711,
    prot: 5,
    vma: 99,
    start: 2 ** 34 + 1,
    end: 2 ** 35,
  });
  writeIntent(cpu, INTENT_UNMAP, 4711 as MmRef, vpn(1), vpn(2), 0);
  expect(readIntent(words, other.floats, cpu.id)).toMatchObject({ kind: INTENT_UNMAP, vma: 0 });
  clearIntent(cpu);
  expect(readIntent(words, other.floats, cpu.id).kind).toBe(INTENT_NONE);
});

test('a space lives as long as a cpu uses it, and the last one to leave takes it down', () => {
  const { kernel, another } = bareMachine();
  const other = another();
  const { mm } = bareSpace(kernel);
  const serial = kernel.words[mm + 1] as number;
  attachMm(other, mm, serial);
  expect([usesMm(kernel, kernel.cpu.id, mm), usesMm(kernel, other.cpu.id, mm), usesMm(kernel, 9, mm)]).toEqual([
    true,
    true,
    false,
  ]);
  leaveMm(kernel, mm, kernel.cpu.id);
  const live: number[] = [];
  forEachMm(kernel, (one) => live.push(one));
  expect(live).toEqual([mm]);
  leaveMm(other, mm, other.cpu.id);
  forEachMm(kernel, () => expect.fail('the space is still there'));
  expect(() => attachMm(kernel, mm, serial)).toThrow(/ESTALE/);
  const again = createMm(kernel, 0);
  expect([again, kernel.words[mm + 1]]).toEqual([mm, serial + 1]);
  leaveMm(kernel, again, kernel.cpu.id);
});

test('what is no space is ESTALE, and the list’s lock is free afterwards', () => {
  const { kernel } = bareMachine();
  for (const mm of [0, 5, Number.NaN, kernel.regions.spaces + 1, kernel.regions.spaces + 64 * 256]) {
    expect(() => attachMm(kernel, mm as MmRef, 1)).toThrow(/ESTALE/);
  }
  expect(kernel.cpu.heldDepth).toBe(0);
});
