import { expect, test } from 'vitest';
import { READAHEAD_MAX } from '../base/tunables.ts';
import { Readahead } from './readahead.ts';

/** Reads a file from page `from` on as the cache does: each miss reads a window. */
function scan(ahead: Readahead, mapping: number, from: number, to: number): number[] {
  const windows: number[] = [];
  for (let index = from; index < to; ) {
    const window = ahead.windowFor(mapping, index);
    ahead.advance(mapping, index, window);
    windows.push(window);
    index += window;
  }
  return windows;
}

test('a sequential reader’s window grows to the limit', () => {
  expect(scan(new Readahead(), 5, 0, 140)).toEqual([
    1,
    4,
    8,
    16,
    READAHEAD_MAX,
    READAHEAD_MAX,
    READAHEAD_MAX,
    READAHEAD_MAX,
  ]);
});

test('a random reader reads one page at a time', () => {
  const ahead = new Readahead();
  for (let i = 0; i < 200; i++) {
    const index = (i * 7919) % 10007;
    expect(ahead.windowFor(5, index)).toBe(1);
    ahead.advance(5, index, 1);
  }
});

test('several sequential readers do not disturb each other, in one file or in many', () => {
  const ahead = new Readahead();
  const at = [0, 1000, 2000, 3000];
  const windows = at.map(() => 0);
  for (let round = 0; round < 6; round++) {
    at.forEach((index, i) => {
      const mapping = i < 2 ? 5 : 5 + i;
      const window = ahead.windowFor(mapping, index);
      ahead.advance(mapping, index, window);
      windows[i] = window;
      at[i] = index + window;
    });
  }
  expect(windows).toEqual([READAHEAD_MAX, READAHEAD_MAX, READAHEAD_MAX, READAHEAD_MAX]);
});

test('a window that could not be read whole goes on where it ended', () => {
  const ahead = new Readahead();
  scan(ahead, 5, 0, 5);
  expect(ahead.windowFor(5, 5)).toBe(8);
  ahead.advance(5, 5, 3);
  expect(ahead.windowFor(5, 8)).toBe(16);
});

test('a reader that jumps begins small again', () => {
  const ahead = new Readahead();
  scan(ahead, 5, 0, 60);
  expect(scan(ahead, 5, 500, 506)).toEqual([1, 4, 8]);
});
