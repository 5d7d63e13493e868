import { describe, expect, test } from 'vitest';
import { bareMachine } from '../../test/kernel.ts';
import type { PageRef, Pfn } from '../base/brands.ts';
import { P_RMAP_MORE } from '../memory/page.layout.ts';
import type { Kernel } from '../space/kernel.ts';
import { makePte, PTE_PRESENT } from './pte.ts';

/** Entries far away from everything: in the page-table region, which is empty here. */
function world(): {
  kernel: Kernel;
  page: PageRef;
  pfn: Pfn;
  entry(i: number): number;
  add(i: number): void;
  end(): void;
} {
  const { kernel } = bareMachine();
  const pfn = kernel.frames.alloc();
  const page = kernel.frames.pageOf(pfn);
  const entry = (i: number): number => kernel.regions.tables + 512 * 5 + i;
  return {
    kernel,
    page,
    pfn,
    entry,
    add(i) {
      kernel.rmap.reserve();
      kernel.rmap.add(page, entry(i));
    },
    end() {
      expect(kernel.rmap.isMapped(page)).toBe(false);
      kernel.rmap.assertEmpty(page);
      kernel.rcu.drain();
      expect(kernel.slabs.rmap.census()).toMatchObject({ live: 0, owned: 0, retired: 0 });
      kernel.frames.free(pfn);
    },
  };
}
const sorted = (slots: number[]): number[] => slots.sort((a, b) => a - b);

describe('the reverse map', () => {
  test('keeps the first slot in the page, more in nodes, and gives them all', () => {
    const w = world();
    const { rmap } = w.kernel;
    expect(rmap.slots(w.page)).toEqual([]);
    w.add(0);
    expect(w.kernel.words[w.page + P_RMAP_MORE]).toBe(0);
    for (let i = 1; i < 100; i++) w.add(i);
    expect(sorted(rmap.slots(w.page))).toEqual(Array.from({ length: 100 }, (_, i) => w.entry(i)));
    expect(w.kernel.slabs.rmap.census().live).toBe(Math.ceil(99 / 13));
    for (let i = 0; i < 100; i++) expect(rmap.remove(w.page, w.entry(i))).toBe(true);
    w.end();
  });

  test('is emptied in any order without losing a slot or a node', () => {
    for (const step of [1, 7, 13, 37]) {
      const w = world();
      const left = new Set<number>();
      for (let i = 0; i < 50; i++) {
        w.add(i);
        left.add(w.entry(i));
      }
      for (let i = 0; i < 50; i++) {
        const entry = w.entry((i * step) % 50);
        expect(w.kernel.rmap.remove(w.page, entry)).toBe(left.delete(entry));
        expect(new Set(w.kernel.rmap.slots(w.page))).toEqual(left);
      }
      for (const entry of [...left]) w.kernel.rmap.remove(w.page, entry);
      w.end();
    }
  });

  test('uses a free place before it takes another node', () => {
    const w = world();
    for (let i = 0; i < 14; i++) w.add(i);
    expect(w.kernel.slabs.rmap.census().live).toBe(1);
    w.kernel.rmap.remove(w.page, w.entry(0));
    w.kernel.rmap.remove(w.page, w.entry(5));
    w.add(20);
    w.add(21);
    expect(w.kernel.slabs.rmap.census().live).toBe(1);
    w.add(22);
    expect(w.kernel.slabs.rmap.census().live).toBe(2);
    for (const entry of w.kernel.rmap.slots(w.page)) w.kernel.rmap.remove(w.page, entry);
    w.end();
  });

  test('says that a slot was not there', () => {
    const w = world();
    expect(w.kernel.rmap.remove(w.page, w.entry(3))).toBe(false);
    w.add(1);
    expect(w.kernel.rmap.remove(w.page, w.entry(3))).toBe(false);
    expect(w.kernel.rmap.remove(w.page, w.entry(1))).toBe(true);
    w.end();
  });

  test('walks until a whole pass saw no change', () => {
    const w = world();
    w.add(0);
    w.add(1);
    const visits: number[] = [];
    w.kernel.rmap.walk(w.page, (entry) => {
      visits.push(entry - w.entry(0));
      if (visits.length === 1) w.add(2);
    });
    expect(visits).toEqual([0, 1, 0, 1, 2]);
    w.kernel.rmap.walk(w.page, (entry) => w.kernel.rmap.remove(w.page, entry));
    w.end();
  });

  test('drops slots whose entry does not name the page', () => {
    const w = world();
    w.add(0);
    w.add(1);
    w.add(2);
    w.kernel.words[w.entry(1)] = makePte(w.pfn, PTE_PRESENT);
    w.kernel.words[w.entry(2)] = makePte((w.pfn + 1) as Pfn, PTE_PRESENT);
    w.kernel.rmap.dropStale(w.page, w.pfn);
    expect(w.kernel.rmap.slots(w.page)).toEqual([w.entry(1)]);
    w.kernel.rmap.remove(w.page, w.entry(1));
    w.end();
  });

  test('finds a page that is freed while it is mapped', () => {
    const w = world();
    w.add(0);
    expect(() => w.kernel.rmap.assertEmpty(w.page)).toThrow(/I6/);
    w.kernel.rmap.remove(w.page, w.entry(0));
    w.end();
  });
});
