import { describe, expect, test } from 'vitest';
import { bareMachine, bareSpace, vpn } from '../../test/kernel.ts';
import type { LockedLeaf, TableRef } from '../base/brands.ts';
import { VPN_LIMIT } from '../base/limits.ts';
import { makePte, PTE_PRESENT } from './pte.ts';
import { LEAF_PAGES, T_USED } from './table.layout.ts';

/** Pages at every kind of boundary of the four levels. */
const PAGES = [
  0,
  1,
  511,
  512,
  2 ** 18 - 1,
  2 ** 18,
  2 ** 27 - 1,
  2 ** 27,
  2 ** 32 - 1,
  2 ** 32,
  2 ** 34 + 12345,
  VPN_LIMIT - 1,
];

describe('page tables', () => {
  test('know the page of each entry, and the table', () => {
    const { kernel } = bareMachine(1024);
    const { mm, close } = bareSpace(kernel);
    const { tables } = kernel;
    const seen = new Map<TableRef, number>();
    for (const page of PAGES) {
      expect(tables.leafFor(mm, vpn(page)) === 0).toBe(![...seen.values()].includes(Math.floor(page / LEAF_PAGES)));
      const leaf = tables.ensureLeaf(mm, vpn(page));
      seen.set(leaf, Math.floor(page / LEAF_PAGES));
      expect(tables.leafFor(mm, vpn(page))).toBe(leaf);
      const entry = tables.entries(leaf) + (page % LEAF_PAGES);
      expect([
        tables.vpnOf(entry),
        tables.tableOf(entry),
        tables.mmOf(leaf),
        tables.isHooked(leaf as LockedLeaf),
      ]).toEqual([page, leaf, mm, true]);
      expect(tables.ensureLeaf(mm, vpn(page))).toBe(leaf);
    }
    expect(seen.size).toBe(new Set(PAGES.map((page) => Math.floor(page / LEAF_PAGES))).size);
    close();
    expect(kernel.slabs.table.census()).toMatchObject({ live: 0, owned: 0, retired: 0 });
  });

  test('tear an empty leaf down, which is gone for walkers at once and reused after a grace period', () => {
    const { kernel } = bareMachine();
    const { mm, close } = bareSpace(kernel);
    const { tables, slabs, rcu } = kernel;
    const leaf = tables.ensureLeaf(mm, vpn(1000));
    const live = slabs.table.census().live;
    tables.tearDownLeaf(leaf);
    expect([tables.leafFor(mm, vpn(1000)), tables.isHooked(leaf as LockedLeaf)]).toEqual([0, false]);
    expect(slabs.table.census()).toMatchObject({ live: live - 1, retired: 1 });
    const next = tables.ensureLeaf(mm, vpn(1000));
    expect(next).not.toBe(leaf);
    tables.tearDownLeaf(leaf); // it is no longer hooked: nothing happens
    expect(tables.leafFor(mm, vpn(1000))).toBe(next);
    rcu.drain();
    expect(slabs.table.census()).toMatchObject({ live, retired: 0 });
    close();
  });

  test('leave a leaf alone in which a page was installed meanwhile', () => {
    const { kernel, words } = bareMachine();
    const { mm, close } = bareSpace(kernel);
    const { tables } = kernel;
    const leaf = tables.ensureLeaf(mm, vpn(7));
    const entry = tables.entries(leaf) + 7;
    let locked = tables.lockLeaf(leaf);
    tables.fillEntry(locked, entry, makePte(0 as never, PTE_PRESENT));
    tables.unlockLeaf(locked);
    tables.tearDownLeaf(leaf);
    expect(tables.leafFor(mm, vpn(7))).toBe(leaf);
    words[leaf + T_USED] = 6;
    tables.recount(leaf);
    expect(tables.used(leaf)).toBe(1);
    locked = tables.lockLeaf(leaf);
    tables.clearEntry(locked, entry);
    tables.unlockLeaf(locked);
    tables.tearDownLeaf(leaf);
    expect(tables.leafFor(mm, vpn(7))).toBe(0);
    close();
  });

  test('that a dead cpu made are told apart: hooked or not', () => {
    const { kernel, words } = bareMachine();
    const { mm, close } = bareSpace(kernel);
    const { tables } = kernel;
    const leaf = tables.ensureLeaf(mm, vpn(7));
    expect(tables.isReachable(leaf)).toBe(true);
    tables.tearDownLeaf(leaf);
    expect(tables.isReachable(leaf)).toBe(false);
    const held = tables.ensureLeaf(mm, vpn(9));
    expect([tables.ofLock(held + 2), tables.ofLock(held + 3), tables.ofLock(5)]).toEqual([held, 0, 0]);
    expect(words[held + 2]).toBe(0);
    close();
  });

  test('run out with a typed error', () => {
    const { kernel } = bareMachine();
    const { mm, close } = bareSpace(kernel);
    expect(() => {
      for (let i = 0; i < 4096; i++) kernel.tables.ensureLeaf(mm, vpn(i * 2 ** 18));
    }).toThrow(/ENOMEM: no room for another page table/);
    expect(kernel.cpu.heldDepth).toBe(0);
    close();
    expect(kernel.slabs.table.census()).toMatchObject({ live: 0, owned: 0, retired: 0 });
  });
});
