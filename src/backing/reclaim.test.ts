import { describe, expect, test } from 'vitest';
import { type BareMachine, bareMachine } from '../../test/kernel.ts';
import type { MappingRef, PageRef, Pfn } from '../base/brands.ts';
import { P_FLAGS, P_PINS, PG_REFERENCED } from '../memory/page.layout.ts';
import { C_RETIRE_FREEING, cpuSlot } from '../sync/control.layout.ts';
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

  /** Every frame is a page of a file that cpu 1 has locked. */
  function allLocked(bare: BareMachine, uptodate: 'read' | 'being read'): { pages: PageRef[]; letGo(): void } {
    const { kernel, words, another } = bare;
    const other = another();
    const pages: PageRef[] = [];
    for (let pfn = kernel.frames.alloc(); pfn !== 0; pfn = kernel.frames.alloc()) {
      const { page } = other.cache.insert(FILE, pages.length, pfn);
      other.cache.markUptodate(page);
      words[page + P_FLAGS] = uptodate === 'read' ? (words[page + P_FLAGS] as number) & ~PG_REFERENCED : 0;
      pages.push(page);
      // A cpu notes 48 locks at most.
      if (pages.length > 40) pageUnlock(other.cpu, page);
      if (pages.length > 40) words[page + P_PINS] = 1;
    }
    return {
      pages,
      letGo: () => {
        for (const page of pages.slice(0, 40)) pageUnlock(other.cpu, page);
      },
    };
  }

  test('waits for pages that are being read until the machine’s limit for reads, and then says who reads', () => {
    const bare = bareMachine(64);
    allLocked(bare, 'being read');
    const since = performance.now();
    expect(() => bare.kernel.reclaim.obtainFrame()).toThrow(/ETIMEDOUT: no frame .* cpu 1 is reading/);
    expect(performance.now() - since).toBeGreaterThanOrEqual(bare.cpu.ioLimit);
    expect(() => bare.kernel.reclaim.makeRoom()).toThrow(/ETIMEDOUT: .* cpu 1 is reading/);
  });

  test('does not wait so long for pages that are locked for another reason: their holder may wait for it', () => {
    const bare = bareMachine(64);
    const { letGo } = allLocked(bare, 'read');
    expect(() => bare.kernel.reclaim.obtainFrame()).toThrow(/ENOMEM/);
    letGo();
    expect(bare.kernel.reclaim.obtainFrame()).toBeGreaterThan(0);
  });

  test('gets the frame of a page that is being read when it has been read', () => {
    const bare = bareMachine(64);
    const { pages, letGo } = allLocked(bare, 'being read');
    const { rcu } = bare.kernel;
    const poll = rcu.pendingRetired.bind(rcu);
    let looks = 0;
    rcu.pendingRetired = () => {
      if (++looks === 2) {
        for (const page of pages.slice(0, 40)) bare.words[page + P_FLAGS] = 1;
        letGo();
      }
      return poll();
    };
    expect(bare.kernel.reclaim.obtainFrame()).toBeGreaterThan(0);
  });

  test('does not wait for a page that it has locked itself', () => {
    const bare = bareMachine(64);
    const { kernel } = bare;
    const [own] = cached(bare, 1) as [PageRef];
    pageTryLock(bare.cpu, own);
    while (kernel.frames.alloc() !== 0);
    expect(() => kernel.reclaim.obtainFrame()).toThrow(/ENOMEM/);
    pageUnlock(bare.cpu, own);
    expect(kernel.reclaim.obtainFrame()).toBeGreaterThan(0);
  });

  test.each(['obtainFrame', 'makeRoom'] as const)(
    '%s waits for a cpu that is freeing until the stall limit, and then names it',
    (call) => {
      const { kernel, words, another } = bareMachine(64);
      another();
      while (kernel.frames.alloc() !== 0);
      const mark = cpuSlot(1) + C_RETIRE_FREEING;
      words[mark] = 3;
      expect(() => kernel.reclaim[call]()).toThrow(/ETIMEDOUT: cpu 1 has been freeing memory for 60 ms/);
      words[mark] = 0;
      expect(() => kernel.reclaim[call]()).toThrow(/ENOMEM/);
    },
  );

  test.each(['obtainFrame', 'makeRoom'] as const)('%s does not wait for its own mark', (call) => {
    const { kernel, words } = bareMachine(64);
    while (kernel.frames.alloc() !== 0);
    words[cpuSlot(0) + C_RETIRE_FREEING] = 3;
    expect(() => kernel.reclaim[call]()).toThrow(/ENOMEM/);
  });

  test('waits anew for others after it has got something', () => {
    const { kernel } = bareMachine(64, 100);
    const search = kernel.reclaim as unknown as { run(): number; _waitForOthers(patience: unknown): boolean };
    const seen: unknown[] = [];
    let round = 0;
    search.run = () => (++round === 2 ? 1 : 0);
    search._waitForOthers = (patience) => seen.push(patience) < 2;
    while (kernel.frames.alloc() !== 0);
    kernel.frames.steal = () => 0 as Pfn;
    expect(() => kernel.reclaim.obtainFrame()).toThrow(/ENOMEM/);
    expect(seen[0] === seen[1]).toBe(false);
  });
});
