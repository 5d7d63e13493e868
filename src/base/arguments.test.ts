import { describe, expect, test } from 'vitest';
import { byteCount, checkObject, checkProt, pageRange, show } from './arguments.ts';

describe('arguments', () => {
  test('that are byte counts are whole, safe and not negative', () => {
    for (const value of [0, 1, 4096, Number.MAX_SAFE_INTEGER]) expect(byteCount(value, 'x', 'test')).toBe(value);
    for (const value of [-1, 0.5, 2 ** 53, Number.NaN, '1', 1n, null]) {
      expect(() => byteCount(value, 'x', 'test')).toThrow(/EINVAL/);
    }
  });

  test('that are ranges become pages', () => {
    expect(pageRange(8192, 1, 'test', 'ENOMEM')).toEqual({ start: 2, end: 3 });
    expect(pageRange(8192, 4097, 'test', 'ENOMEM')).toEqual({ start: 2, end: 4 });
    expect(pageRange(2 ** 47 - 4096, 4096, 'test', 'ENOMEM')).toEqual({ start: 2 ** 35 - 1, end: 2 ** 35 });
    expect(() => pageRange(2 ** 47 - 4096, 4097, 'test', 'ENOMEM')).toThrow(/ENOMEM/);
    expect(() => pageRange(8192, 0, 'test', 'ENOMEM')).toThrow(/EINVAL/);
    expect(() => pageRange(8191, 1, 'test', 'ENOMEM')).toThrow(/EINVAL/);
  });

  test('that are rights are bits of PROT_*, and no bits above 32', () => {
    for (const prot of [0, 1, 7]) expect(checkProt(prot, 'test')).toBe(prot);
    for (const prot of [8, -1, 1.5, 2 ** 32 + 1, '1', undefined])
      expect(() => checkProt(prot, 'test')).toThrow(/EINVAL/);
  });

  test('of any kind can be shown in a message without running their code', () => {
    const trap = {
      toString(): never {
        throw new Error('called');
      },
    };
    expect([trap, Object.create(null), [], () => 1, Symbol('s'), 1n, null, undefined, '1', ''].map(show)).toEqual([
      'an object',
      'an object',
      'an object',
      'a function',
      'Symbol(s)',
      '1',
      'null',
      'undefined',
      "'1'",
      "''",
    ]);
    expect(() => checkObject(null, 'options', 'test')).toThrow(/EINVAL/);
  });
});
