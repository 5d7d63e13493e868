/** The board's parts follow each other: their places are literals, so that the bundler can put them in. */
import { expect, it } from 'vitest';
import * as B from './header.ts';
import * as N from './note.ts';
import {
  CLOCKS,
  FAILURE_AT,
  MAX_THREADS,
  READS,
  READS_WORDS,
  RESULT_BYTES,
  SCRIPT,
  SCRIPT_ENTRIES,
  SCRIPT_WORDS,
  TRACE,
  threadAt,
} from './places.ts';
import * as R from './record.ts';
import * as T from './thread.ts';
import * as H from './write.ts';

it('has one part behind the other', () => {
  expect(threadAt(0)).toBe(B.WORDS);
  expect(threadAt(1) - threadAt(0)).toBe(T.WORDS);
  expect(CLOCKS).toBe(threadAt(MAX_THREADS));
  expect(READS).toBe(CLOCKS + MAX_THREADS * MAX_THREADS);
  expect(SCRIPT).toBe(READS + MAX_THREADS * READS_WORDS);
  expect(TRACE).toBe(SCRIPT + SCRIPT_ENTRIES * SCRIPT_WORDS);
  expect(FAILURE_AT).toBe(MAX_THREADS * RESULT_BYTES);
});

it('has room for each table, and no word twice', () => {
  const words: [table: object, size: number, fields: string[]][] = [
    [B, B.WORDS, Object.keys(B).filter((name) => name !== 'WORDS' && name !== 'CHANGES_MOST')],
    [T, T.WORDS, Object.keys(T).filter((name) => name !== 'WORDS' && name !== 'FOREVER')],
    [R, R.WORDS, ['POSITION', 'WHAT', 'LOCATION', 'OTHERS']],
    [N, N.WORDS, Object.keys(N).filter((name) => name !== 'WORDS')],
    [H, H.WORDS, Object.keys(H).filter((name) => name !== 'WORDS')],
  ];
  for (const [table, size, fields] of words) {
    const places = fields.map((name) => (table as Record<string, number>)[name] as number);
    expect(new Set(places).size).toBe(places.length);
    expect(Math.min(...places)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...places)).toBeLessThan(size);
  }
  expect(B.CHANGES + B.CHANGES_MOST).toBeLessThanOrEqual(B.WORDS);
  expect(N.LAST).toBeLessThan(N.WORDS);
  expect(H.CLOCK + MAX_THREADS).toBeLessThanOrEqual(H.WORDS);
});
