import { describe, expect, test } from 'vitest';
import { type BareMachine, bareMachine } from '../../test/kernel.ts';
import type { MappingRef, PageRef } from '../base/brands.ts';
import { Oops, VmError } from '../base/errors.ts';
import { P_LOCK, P_MAPPING } from '../memory/page.layout.ts';
import { C_PAGE_LOCKS, PAGE_LOCK_SLOTS } from '../sync/control.layout.ts';
import type { Backing } from './backing.ts';
import { descriptorText } from './descriptor.ts';
import { pageUnlock } from './page-lock.ts';

const FILE_PAGES = 64;

interface Bench extends BareMachine {
  readonly file: MappingRef;
  /** First page and count of each read. */
  readonly reads: [number, number][];
}

function bench(): Bench {
  const bare = bareMachine();
  const reads: [number, number][] = [];
  const backing: Backing = {
    read(position, targets) {
      reads.push([position / 4096, targets.length]);
      targets.forEach((target, i) => {
        target.fill(position / 4096 + i);
      });
      return targets.length * 4096;
    },
    close: () => undefined,
  };
  const file = bare.kernel.files.create(descriptorText('bench', {}), FILE_PAGES * 4096, backing);
  return { ...bare, file, reads };
}

/** The pages this cpu has locked, by its notes and by the words. */
function locked({ kernel, words, cpu }: BareMachine): number[] {
  const noted = Array.from({ length: PAGE_LOCK_SLOTS }, (_, i) => words[cpu.base + C_PAGE_LOCKS + i] as number);
  const held: number[] = [];
  for (let pfn = 1; pfn < kernel.frames.total; pfn++) {
    const page = kernel.frames.pageOf(pfn as never);
    if (words[page + P_LOCK] !== 0) held.push(page);
  }
  expect(noted.filter((page) => page !== 0).sort()).toEqual(held.sort());
  return held;
}

/** Replaces a method for one call of `run`: the n-th call throws `error`. */
function failing<K extends string>(
  object: Record<K, (...args: never[]) => unknown>,
  name: K,
  n: number,
  error: unknown,
) {
  const original = object[name];
  let calls = 0;
  object[name] = ((...args: never[]) => {
    if (++calls === n) throw error;
    return original.apply(object, args);
  }) as never;
  return () => {
    object[name] = original;
  };
}

function fetchAndLetGo({ kernel, cpu, file }: Bench, index: number): void {
  pageUnlock(cpu, kernel.files.fetch(file, index));
}

/** Reads so far that the next miss, at page 3, reads several pages. */
function startStream(all: Bench): void {
  for (const index of [0, 1, 2]) fetchAndLetGo(all, index);
  all.reads.length = 0;
}

const oops = new Oops('test', 'a broken rule');
const late = new VmError('ETIMEDOUT', 'lock', 'an inner lock');

describe('a fetch', () => {
  test('gives the page locked and read, and nothing else locked (the control)', () => {
    const all = bench();
    startStream(all);
    const page = all.kernel.files.fetch(all.file, 5);
    expect(locked(all)).toEqual([page]);
    expect(all.kernel.frames.bytes[all.kernel.frames.pfnOf(page) * 4096]).toBe(5);
    pageUnlock(all.cpu, page);
  });

  test('ends with the page that its insert has found and its look-up has missed', () => {
    const all = bench();
    fetchAndLetGo(all, 3);
    all.kernel.cache.lookup = () => 0 as PageRef;
    const page = all.kernel.files.fetch(all.file, 3);
    expect(all.reads).toEqual([[3, 1]]);
    expect(locked(all)).toEqual([page]);
    pageUnlock(all.cpu, page);
  });

  test('is not failed by a reserve that cannot be kept', () => {
    const all = bench();
    const restore = failing(all.kernel.reclaim as never, 'keepReserve', 1, late);
    const page = all.kernel.files.fetch(all.file, 3);
    restore();
    expect(locked(all)).toEqual([page]);
    pageUnlock(all.cpu, page);
  });

  test.each<[string, (all: Bench) => Record<string, never>, string, number]>([
    ['a broken rule in keeping the reserve', (all) => all.kernel.reclaim as never, 'keepReserve', 1],
    ['an error when the first page is marked', (all) => all.kernel.cache as never, 'markUptodate', 1],
    ['an error when a page read ahead is marked', (all) => all.kernel.cache as never, 'markUptodate', 2],
    ['an error in the insert of a page to read ahead', (all) => all.kernel.cache as never, 'insert', 2],
    ['an error in the look-up of a page to read ahead', (all) => all.kernel.cache as never, 'lookup', 3],
    ['an error in finding a frame for a page to read ahead', (all) => all.kernel.frames as never, 'alloc', 2],
  ])('%s leaves no page locked', (_name, object, name, n) => {
    for (const error of [oops, late]) {
      if (name === 'keepReserve' && error === late) continue;
      const all = bench();
      startStream(all);
      // The second page of a stream is read alone: from the third on there is read-ahead.
      const restore = failing(object(all), name, n, error);
      let thrown: unknown;
      try {
        for (let index = 3; index < 20; index++) fetchAndLetGo(all, index);
      } catch (caught) {
        thrown = caught;
      }
      restore();
      expect(thrown).toBe(error);
      expect(locked(all)).toEqual([]);
      for (let index = 0; index < FILE_PAGES; index++) fetchAndLetGo(all, index);
    }
  });

  test('lets go of all pages when one cannot be dropped after a failed read', () => {
    for (const n of [1, 2, 3]) {
      const all = bench();
      startStream(all);
      const read = failing(all.kernel.cache as never, 'markUptodate', 2, new Error('a failed read'));
      const drop = failing(all.kernel.reclaim as never, 'drop', n, oops);
      expect(() => {
        for (let index = 3; index < 20; index++) fetchAndLetGo(all, index);
      }).toThrow(oops);
      read();
      drop();
      expect(locked(all)).toEqual([]);
      for (let index = 0; index < FILE_PAGES; index++) fetchAndLetGo(all, index);
    }
  });
});

describe('a file that is closed for the last time', () => {
  test('takes each of its pages with it, however the fast look-up fares: the next file has its number', () => {
    const all = bench();
    const { kernel, cpu, words, file } = all;
    for (const index of [0, 5, 6]) fetchAndLetGo(all, index);
    kernel.cache.lookup = () => 0 as PageRef; // a page that is being moved is not found without the bucket's lock
    kernel.files.close(file, cpu.id);
    for (let pfn = 1; pfn < kernel.frames.total; pfn++) {
      expect(words[kernel.frames.pageOf(pfn as never) + P_MAPPING]).not.toBe(file);
    }
  });
});
