import { describe, expect, test } from 'vitest';
import { type BareMachine, bareMachine } from '../../test/kernel.ts';
import type { MappingRef, PageRef, Pfn } from '../base/brands.ts';
import { P_FLAGS, P_PINS, PG_REFERENCED } from '../memory/page.layout.ts';
import { pageTryLock, pageUnlock } from './page-lock.ts';

const FILE = 1000 as MappingRef;

/** `count` clean, unused pages of a file. */
function cached({ kernel, words }: BareMachine, count: number): PageRef[] {
  return Array.from({ length: count }, (_, index) => {
    const { page } = kernel.cache.insert(FILE, index, kernel.frames.alloc());
    kernel.cache.markUptodate(page);
    words[page + P_FLAGS] = (words[page + P_FLAGS] as number) & ~PG_REFERENCED;
    pageUnlock(kernel.cpu, page);
    return page;
  });
}

describe('reclaim', () => {
  test('takes clean pages that nobody uses, and their frames are free after a grace period', () => {
    const bare = bareMachine();
    const { kernel } = bare;
    cached(bare, 20);
    expect(kernel.reclaim.run(5)).toBe(5);
    expect(kernel.frames.census()).toMatchObject({ live: 15, retired: 5 });
    kernel.rcu.drain();
    expect(kernel.frames.census()).toMatchObject({ live: 15, retired: 0 });
    expect(kernel.reclaim.run(100)).toBe(15);
    expect(kernel.reclaim.run(100)).toBe(0);
  });

  test('gives pages that were used a second chance', () => {
    const bare = bareMachine();
    const { kernel } = bare;
    const pages = cached(bare, 20);
    for (const page of pages.slice(0, 10)) kernel.cache.touch(page);
    kernel.reclaim.run(10);
    const left = pages.filter((page, index) => kernel.cache.find(FILE, index) === page);
    expect(left).toEqual(pages.slice(0, 10));
    expect(kernel.reclaim.run(10)).toBe(10);
  });

  test('leaves pages alone that are locked, pinned, not yet read, or nobody’s', () => {
    const bare = bareMachine();
    const { kernel, words, another } = bare;
    const [locked, pinned, unread, free] = cached(bare, 4) as [PageRef, PageRef, PageRef, PageRef];
    pageTryLock(another().cpu, locked);
    words[pinned + P_PINS] = 1;
    words[unread + P_FLAGS] = 0;
    const own = kernel.frames.alloc();
    expect(kernel.reclaim.run(100)).toBe(1);
    expect(kernel.cache.find(FILE, 3)).toBe(0);
    expect(free).not.toBe(0);
    words[pinned + P_PINS] = 0;
    expect(kernel.reclaim.run(100)).toBe(1);
    kernel.frames.free(own);
  });

  test('finds a frame as long as one can be had, and then says ENOMEM', () => {
    const bare = bareMachine(64);
    const { kernel } = bare;
    cached(bare, 30);
    const got = new Set<Pfn>();
    for (let i = 0; i < 63; i++) got.add(kernel.reclaim.obtainFrame());
    expect(got.size).toBe(63);
    expect(() => kernel.reclaim.obtainFrame()).toThrow(/ENOMEM: no frame of 64 is free/);
    for (const pfn of got) kernel.frames.free(pfn);
    expect(kernel.reclaim.obtainFrame()).toBeGreaterThan(0);
  });
});
