import { expect, test } from 'vitest';
import { refGet, refGetUnlessZero, refPut } from './refcount.ts';

test('a count rises and falls, and the last put says so', () => {
  const words = new Int32Array(new SharedArrayBuffer(8));
  words[0] = 1;
  refGet(words, 0);
  expect(refGetUnlessZero(words, 0)).toBe(true);
  expect([refPut(words, 0), refPut(words, 0), refPut(words, 0)]).toEqual([false, false, true]);
});

test('a count that has reached 0 never rises again', () => {
  const words = new Int32Array(new SharedArrayBuffer(8));
  expect(refGetUnlessZero(words, 0)).toBe(false);
  expect(words[0]).toBe(0);
  expect(() => refGet(words, 0)).toThrow(/reference taken on a dead record/);
});

test('a put too many is an Oops', () => {
  const words = new Int32Array(new SharedArrayBuffer(8));
  words[0] = 1;
  expect(refPut(words, 0)).toBe(true);
  expect(() => refPut(words, 0)).toThrow(/reference dropped on a dead record/);
});
