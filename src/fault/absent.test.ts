import { describe, expect, test } from 'vitest';
import { cached, faultBench, numberedFile } from '../../test/faulting.ts';
import { vpn } from '../../test/kernel.ts';
import { unmapPages } from '../space/unmap.ts';
import { C_REF_VMA } from '../sync/control.layout.ts';
import { absentPages, bytesIn, providePages } from './absent.ts';

const PAGE = 100;
const PAGES = 8;
const SIZE = (PAGES - 1) * 4096 + 100;

/** A mapping of a file of eight pages from its second one on, longer than the file. */
function mapped() {
  const bench = faultBench();
  const file = numberedFile(bench, SIZE);
  bench.me.map(PAGE, PAGES + 2, { mapping: file, offset: 1 });
  return { ...bench, file };
}

describe('the pages that a fault wants read', () => {
  test('are those of the file behind the address, as many as asked for', () => {
    const { me, file } = mapped();
    const serial = me.k.files.serial(file);
    expect(absentPages(me.faulter, vpn(PAGE + 2), 3)).toEqual({ mapping: file, serial, index: 3, count: 3 });
    expect(me.k.rcu.inSection).toBe(false);
  });

  test('end with the file (I20), with the mapping, and before one that is in the cache', () => {
    const { me, file } = mapped();
    expect(absentPages(me.faulter, vpn(PAGE), 100)).toMatchObject({ index: 1, count: PAGES - 1 });
    expect(absentPages(me.faulter, vpn(PAGE + PAGES - 2), 100)).toMatchObject({ index: PAGES - 1, count: 1 });
    expect(absentPages(me.faulter, vpn(PAGE + PAGES - 1), 100)).toBeUndefined();
    cached(me.k, file, 4);
    expect(absentPages(me.faulter, vpn(PAGE), 100)).toMatchObject({ index: 1, count: 3 });
    me.map(200, 2, { mapping: file });
    expect(absentPages(me.faulter, vpn(200), 100)).toMatchObject({ index: 0, count: 2 });
    expect(absentPages(me.faulter, vpn(201), 100)).toMatchObject({ index: 1, count: 1 });
  });

  test('are none in a hole, in memory, and where the page is there', () => {
    const { me, file } = mapped();
    me.map(50, 1);
    cached(me.k, file, 1);
    for (const page of [PAGE - 1, 50, PAGE]) expect(absentPages(me.faulter, vpn(page), 4)).toBeUndefined();
  });
});

describe('bytes that were read for them', () => {
  test('are as many as the file has there', () => {
    const { me, file } = mapped();
    const pages = { mapping: file, serial: 1, index: 2, count: 2 };
    expect(bytesIn(me.faulter, pages)).toBe(8192);
    expect(bytesIn(me.faulter, { ...pages, index: PAGES - 2 })).toBe(4096 + 100);
  });

  test('are in the cache then, unlocked, and the next fault maps them', () => {
    const { me, file } = mapped();
    const pages = absentPages(me.faulter, vpn(PAGE), 2);
    if (pages === undefined) return expect.fail('two pages are absent');
    providePages(me.faulter, vpn(PAGE), pages, new Uint8Array(8192).fill(77));
    me.fault(PAGE, 'read');
    me.fault(PAGE + 1, 'read');
    expect([me.byteAt(PAGE), me.byteAt(PAGE + 1)]).toEqual([77, 77]);
    expect(me.pageOf(PAGE)).toBe(me.k.cache.find(file, 1));
  });

  test('are put there outside of sections, with the VMA named in the slot: it keeps the file', () => {
    const { me, words, cpu } = mapped();
    const pages = absentPages(me.faulter, vpn(PAGE), 1);
    if (pages === undefined) return expect.fail('a page is absent');
    const { provide } = me.k.files;
    let during: unknown;
    me.k.files.provide = (...given) => {
      during = [me.k.rcu.inSection, words[cpu.base + C_REF_VMA]];
      provide.apply(me.k.files, given);
    };
    providePages(me.faulter, vpn(PAGE), pages, new Uint8Array(4096));
    expect(during).toEqual([false, me.vmaAt(PAGE)]);
    expect([words[cpu.base + C_REF_VMA], me.k.rcu.inSection]).toEqual([0, false]);
  });

  // I21 for what was found out before the read: file, life of the file's record, and place in it.
  test.each(['gone', 'memory', 'another file', 'another part', 'another file of the same record'])(
    'go nowhere when the address maps something else by then: %s',
    (what) => {
      const bench = mapped();
      const { me, file } = bench;
      let pages = absentPages(me.faulter, vpn(PAGE), 2);
      if (pages === undefined) return expect.fail('two pages are absent');
      if (what === 'gone') unmapPages(me.k, me.mm, vpn(PAGE), vpn(PAGE + 4));
      if (what === 'memory') me.map(PAGE, 1);
      if (what === 'another file') me.map(PAGE, 4, { mapping: numberedFile(bench, SIZE) });
      if (what === 'another part') me.map(PAGE, 4, { mapping: file, offset: 2 });
      if (what === 'another file of the same record') pages = { ...pages, serial: pages.serial + 1 };
      providePages(me.faulter, vpn(PAGE), pages, new Uint8Array(8192).fill(77));
      expect([1, 2].map((index) => me.k.cache.find(file, index))).toEqual([0, 0]);
      expect(me.k.rcu.inSection).toBe(false);
    },
  );
});
