import { describe, expect, test } from 'vitest';
import { bareMachine, bareSpace, vpn } from '../../test/kernel.ts';
import type { MmRef } from '../base/brands.ts';
import { VPN_LIMIT } from '../base/limits.ts';
import type { Kernel } from '../space/kernel.ts';
import { RangeCursor } from './cursor.ts';
import { makePte, PTE_PRESENT } from './pte.ts';
import { LEAF_PAGES, T_LOCK } from './table.layout.ts';

/** A space with an entry at each of the pages, whose pfn is its place in the list. */
function spaceWith(pages: readonly number[]) {
  const bare = bareMachine(1024);
  const { kernel } = bare;
  const { mm, close } = bareSpace(kernel);
  pages.forEach((page, i) => {
    const leaf = kernel.tables.lockLeaf(kernel.tables.ensureLeaf(mm, vpn(page)));
    kernel.tables.fillEntry(leaf, kernel.tables.entries(leaf) + (page % LEAF_PAGES), makePte(i as never, PTE_PRESENT));
    kernel.tables.unlockLeaf(leaf);
  });
  const clear = (): void => {
    kernel.tables.forEachLeaf(mm, vpn(0), vpn(VPN_LIMIT), (leaf) => {
      const locked = kernel.tables.lockLeaf(leaf);
      for (let i = 0; i < LEAF_PAGES; i++) {
        const entry = kernel.tables.entries(leaf) + i;
        if (bare.words[entry] !== 0) kernel.tables.clearEntry(locked, entry);
      }
      kernel.tables.unlockLeaf(locked);
    });
    close();
  };
  return { ...bare, mm, clear };
}

/** The pages of [start, end) that a cursor comes to, leaf by leaf. */
function visited(kernel: Kernel, mm: MmRef, start: number, end: number): number[][] {
  const cursor = new RangeCursor(kernel.tables, kernel.words, mm, vpn(start), vpn(end));
  const leaves: number[][] = [];
  while (cursor.nextLeaf()) {
    expect(kernel.words[cursor.leaf + T_LOCK]).not.toBe(0);
    const pages: number[] = [];
    for (let entry = cursor.first(); entry !== 0; entry = cursor.after(entry)) {
      expect(cursor.pte).toBe(kernel.words[entry]);
      pages.push(kernel.tables.vpnOf(entry));
    }
    leaves.push(pages);
  }
  expect([cursor.leaf, kernel.cpu.heldDepth]).toEqual([0, 0]);
  return leaves;
}

describe('a cursor over a range', () => {
  const PAGES = [5, 511, 600, 5000, 2 ** 30, VPN_LIMIT - 1];

  test('comes to each entry once, in order, each leaf under its lock', () => {
    const { kernel, mm, clear } = spaceWith(PAGES);
    expect(visited(kernel, mm, 0, VPN_LIMIT)).toEqual([[5, 511], [600], [5000], [2 ** 30], [VPN_LIMIT - 1]]);
    expect(visited(kernel, mm, 6, 600)).toEqual([[511], []]);
    expect(visited(kernel, mm, 511, 601)).toEqual([[511], [600]]);
    expect(visited(kernel, mm, 1024, 4608)).toEqual([]);
    expect(visited(kernel, mm, 5119, 5121)).toEqual([[]]);
    expect(visited(kernel, mm, 5000, 5000)).toEqual([]);
    clear();
  });

  test('locks an empty leaf as well, and finds nothing in it', () => {
    const { kernel, mm, clear } = spaceWith([]);
    kernel.tables.ensureLeaf(mm, vpn(700));
    expect(visited(kernel, mm, 0, 2048)).toEqual([[]]);
    clear();
  });

  test('goes over gaps of every level, and finds the first leaf from any page', () => {
    for (const gap of [1, 512, 2 ** 18, 2 ** 27]) {
      const far = 3 * gap * LEAF_PAGES >= VPN_LIMIT ? VPN_LIMIT - gap : 3 * gap * LEAF_PAGES;
      const { kernel, mm, clear } = spaceWith([0, far]);
      expect(visited(kernel, mm, 1, VPN_LIMIT).flat()).toEqual([far]);
      const leaf = kernel.tables.leafFrom(mm, vpn(LEAF_PAGES), vpn(VPN_LIMIT));
      expect(kernel.tables.firstPage(leaf)).toBe(far - (far % LEAF_PAGES));
      clear();
    }
  });

  test('lets go of its leaf when asked, and goes on with the next', () => {
    const { kernel, mm, clear } = spaceWith([1, 1000]);
    const cursor = new RangeCursor(kernel.tables, kernel.words, mm, vpn(0), vpn(2048));
    expect(cursor.nextLeaf()).toBe(true);
    cursor.unlock();
    cursor.unlock();
    expect(kernel.cpu.heldDepth).toBe(0);
    expect([cursor.nextLeaf(), kernel.tables.vpnOf(cursor.first()), cursor.nextLeaf()]).toEqual([true, 1000, false]);
    clear();
  });
});
