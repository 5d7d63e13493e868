import { describe, expect, test } from 'vitest';
import { bareMachine } from '../../test/kernel.ts';
import { sleeps } from '../../test/support.ts';
import type { MappingRef, PageRef, Pfn } from '../base/brands.ts';
import { P_FLAGS, P_LOCK, PG_REFERENCED } from '../memory/page.layout.ts';
import type { Kernel } from '../space/kernel.ts';
import { C_PAGE_LOCKS, PAGE_LOCK_SLOTS } from '../sync/control.layout.ts';
import { WAITED } from '../sync/lock-classes.ts';
import type { PageCache } from './page-cache.ts';
import { pageLockHeld, pageReap, pageTryLock, pageUnlock, pageWait } from './page-lock.ts';

const FILE = 1000 as MappingRef;
const OTHER = 1032 as MappingRef;

function insert(kernel: Kernel, mapping: MappingRef, index: number): PageRef {
  const { page, inserted } = kernel.cache.insert(mapping, index, kernel.frames.alloc());
  expect(inserted).toBe(true);
  return page;
}

function take(kernel: Kernel, page: PageRef): void {
  if (!pageLockHeld(kernel.cpu, page)) expect(pageTryLock(kernel.cpu, page)).toBe(true);
  kernel.cache.remove(page);
  pageUnlock(kernel.cpu, page);
}

/** Page numbers whose pages share one chain. */
function sameBucket(cache: PageCache, mapping: MappingRef, count: number): number[] {
  const bucket = cache.bucketOf(mapping, 0);
  const found: number[] = [];
  for (let index = 0; found.length < count; index++) if (cache.bucketOf(mapping, index) === bucket) found.push(index);
  return found;
}

describe('the page cache', () => {
  test('finds what was inserted, locked and not up to date at first, and nothing else', () => {
    const { kernel, cpu } = bareMachine();
    const { cache } = kernel;
    const page = insert(kernel, FILE, 7);
    expect([cache.lookup(FILE, 7), cache.lookup(FILE, 8), cache.lookup(OTHER, 7)]).toEqual([page, 0, 0]);
    expect([
      pageLockHeld(cpu, page),
      cache.isUptodate(page),
      cache.holds(page, FILE, 7),
      cache.holds(page, FILE, 8),
    ]).toEqual([true, false, true, false]);
    cache.markUptodate(page);
    expect(cache.isUptodate(page)).toBe(true);
    take(kernel, page);
    expect([cache.lookup(FILE, 7), cache.find(FILE, 7)]).toEqual([0, 0]);
  });

  test('has one page per place: who comes second gets the first one’s, and keeps the frame', () => {
    const { kernel, cpu } = bareMachine();
    const first = insert(kernel, FILE, 0);
    const pfn = kernel.frames.alloc();
    const { page, inserted } = kernel.cache.insert(FILE, 0, pfn);
    expect([page, inserted]).toEqual([first, false]);
    pageUnlock(cpu, kernel.frames.pageOf(pfn));
    kernel.frames.free(pfn);
    take(kernel, first);
  });

  test('keeps pages apart that share a bucket, whichever is removed first', () => {
    const { kernel } = bareMachine(64);
    const pages = Array.from({ length: 60 }, (_, i) => {
      const page = insert(kernel, i % 2 === 0 ? FILE : OTHER, i);
      pageUnlock(kernel.cpu, page);
      return page;
    });
    for (let i = 0; i < 60; i++) expect(kernel.cache.lookup(i % 2 === 0 ? FILE : OTHER, i)).toBe(pages[i]);
    for (const step of [3, 1]) {
      for (let i = 0; i < 60; i += step) {
        const page = pages[i] as PageRef;
        if (kernel.cache.find(i % 2 === 0 ? FILE : OTHER, i) === 0) continue;
        take(kernel, page);
        expect(kernel.cache.find(i % 2 === 0 ? FILE : OTHER, i)).toBe(0);
        const next = (i + 1) % 60;
        const still = kernel.cache.find(next % 2 === 0 ? FILE : OTHER, next);
        expect([0, pages[next]]).toContain(still);
      }
    }
  });

  test('finds every page of a chain however long, and a fault on the last one ends', () => {
    const { kernel, cpu, another } = bareMachine(1024);
    const indices = sameBucket(kernel.cache, FILE, 200);
    const pages = indices.map((index) => {
      const page = insert(kernel, FILE, index);
      pageUnlock(cpu, page);
      return page;
    });
    const other = another();
    expect(indices.map((index) => other.cache.lookup(FILE, index))).toEqual(pages);
    expect(kernel.cache.lookup(FILE, sameBucket(kernel.cache, FILE, 201).at(-1) as number)).toBe(0);
    for (const page of pages) take(kernel, page);
  });

  test('spreads pages otherwise on every machine: a chain of one machine is none on the next', () => {
    const chosen = sameBucket(bareMachine(1024).kernel.cache, FILE, 256);
    // Of eight machines two may have bad luck: that one has it is already less likely than one in a million.
    const good = Array.from({ length: 8 }, () => bareMachine(1024).kernel.cache).filter((cache) => {
      const chains = new Map<number, number>();
      for (const index of chosen) {
        const bucket = cache.bucketOf(FILE, index);
        chains.set(bucket, (chains.get(bucket) ?? 0) + 1);
      }
      return Math.max(...chains.values()) < 32;
    });
    expect(good.length).toBeGreaterThanOrEqual(6);
  });

  test.each([1, 2 ** 7, 2 ** 12, 2 ** 20])('spreads pages that are %i apart', (step) => {
    const { cache } = bareMachine(1024).kernel;
    const chains = new Map<number, number>();
    for (let i = 0; i < 1024 && i * step < 2 ** 31; i++) {
      const bucket = cache.bucketOf(FILE, i * step);
      chains.set(bucket, (chains.get(bucket) ?? 0) + 1);
    }
    expect(Math.max(...chains.values())).toBeLessThan(32);
  });

  test('knows whether a record is chained', () => {
    const { kernel } = bareMachine();
    const page = insert(kernel, FILE, 3);
    expect([kernel.cache.findRecord(page, FILE), kernel.cache.findRecord(page, OTHER)]).toEqual([true, false]);
    take(kernel, page);
    expect(kernel.cache.findRecord(page, FILE)).toBe(false);
  });

  test('notes a use once a round', () => {
    const { kernel, words } = bareMachine();
    const page = insert(kernel, FILE, 3);
    expect((words[page + P_FLAGS] as number) & PG_REFERENCED).toBe(0);
    kernel.cache.touch(page);
    expect((words[page + P_FLAGS] as number) & PG_REFERENCED).toBe(PG_REFERENCED);
    take(kernel, page);
  });

  test('lets nobody remove a page without its lock', () => {
    const { kernel, cpu } = bareMachine();
    const page = insert(kernel, FILE, 3);
    pageUnlock(cpu, page);
    expect(() => kernel.cache.remove(page)).toThrow(/I21/);
    take(kernel, page);
  });
});

describe('a page lock', () => {
  test('is had by one, and in its cpu’s slot', () => {
    const { kernel, cpu, another, words } = bareMachine();
    const other = another().cpu;
    const page = kernel.frames.pageOf(5 as Pfn);
    expect(pageTryLock(cpu, page)).toBe(true);
    expect(words[cpu.base + C_PAGE_LOCKS]).toBe(page);
    expect(pageTryLock(other, page)).toBe(false);
    expect(words[other.base + C_PAGE_LOCKS]).toBe(0);
    expect(() => pageUnlock(other, page)).toThrow(/which it has not locked/);
  });

  test('of this very thread is EDEADLK to wait for', () => {
    const { kernel, cpu } = bareMachine();
    const page = kernel.frames.pageOf(5 as Pfn);
    pageWait(cpu, page, performance.now()); // the control: free
    pageTryLock(cpu, page);
    expect(() => pageWait(cpu, page, performance.now())).toThrow(/EDEADLK/);
    pageUnlock(cpu, page);
  });

  test('of another is waited for only so long that the waiter looks again, and not for ever', () => {
    const { kernel, cpu, another, words } = bareMachine();
    const page = kernel.frames.pageOf(5 as Pfn);
    pageTryLock(another().cpu, page);
    const slept = sleeps(() => {
      const since = performance.now();
      pageWait(cpu, page, since);
      expect((words[page + P_LOCK] as number) & WAITED).toBe(WAITED);
      expect(() => pageWait(cpu, page, since - cpu.ioLimit)).toThrow(/ETIMEDOUT: cpu 1 has been reading/);
    });
    expect(slept).toHaveLength(2); // each time once
    expect(Math.max(...slept)).toBeLessThan(cpu.ioLimit);
  });

  test('of a dead cpu is let go, of a living one not', () => {
    const { kernel, cpu, another } = bareMachine();
    const dead = another().cpu;
    const page = kernel.frames.pageOf(5 as Pfn);
    pageTryLock(dead, page);
    pageReap(cpu, page, cpu.tag);
    expect(pageTryLock(cpu, page)).toBe(false);
    pageReap(cpu, page, dead.tag);
    expect(pageTryLock(cpu, page)).toBe(true);
    pageUnlock(cpu, page);
  });

  test('is one of at most as many as the slot names', () => {
    const { kernel, cpu } = bareMachine();
    for (let i = 1; i <= PAGE_LOCK_SLOTS; i++) pageTryLock(cpu, kernel.frames.pageOf(i as Pfn));
    expect(() => pageTryLock(cpu, kernel.frames.pageOf(100 as Pfn))).toThrow(/locks more than/);
    for (let i = PAGE_LOCK_SLOTS; i >= 1; i--) pageUnlock(cpu, kernel.frames.pageOf(i as Pfn));
    expect(pageTryLock(cpu, kernel.frames.pageOf(100 as Pfn))).toBe(true);
  });
});
