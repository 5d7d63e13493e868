import { describe, expect, test } from 'vitest';
import * as mapping from '../backing/mapping.layout.ts';
import { MAPPING_WORDS } from '../backing/mapping.layout.ts';
import { OPENER_WORDS } from '../backing/openers.ts';
import { MAX_CPUS, MAX_SPACES } from '../base/limits.ts';
import * as tunables from '../base/tunables.ts';
import * as mm from '../paging/mm.layout.ts';
import * as table from '../paging/table.layout.ts';
import * as control from '../sync/control.layout.ts';
import { LOCK_CLASSES } from '../sync/lock-classes.ts';
import { HISTOGRAM_BASE, HISTOGRAM_BUCKETS, HISTOGRAMS } from '../trace/counters.ts';
import * as page from './page.layout.ts';
import { PAGE_RECORD_WORDS, SPACE_WORDS, TABLE_HEADER_WORDS, TABLE_WORDS } from './regions.layout.ts';
import { computeRegions } from './regions.ts';

type Named = readonly [string, number];

function fields(module: object, prefix: string, but: readonly string[] = []): Named[] {
  return Object.entries(module).filter(
    (entry): entry is [string, number] => entry[0].startsWith(prefix) && !but.includes(entry[0]),
  );
}

/** No two fields on one word, and none outside the record. */
function expectApart(all: readonly Named[], words: number, wide: readonly string[] = []): void {
  const taken = new Map<number, string>();
  for (const [name, at] of all) {
    for (let i = 0; i < (wide.includes(name) ? 2 : 1); i++) {
      expect(taken.get(at + i), `${name} and this share word ${at + i}`).toBeUndefined();
      taken.set(at + i, name);
      expect(at + i, name).toBeLessThan(words);
    }
    if (wide.includes(name)) expect(at % 2, `${name} is a Float64`).toBe(0);
  }
}

describe('records', () => {
  test('of pages, tables, files and spaces have each word once, and their Float64 aligned', () => {
    expectApart(fields(page, 'P_'), PAGE_RECORD_WORDS);
    expectApart(fields(table, 'T_'), TABLE_HEADER_WORDS, ['T_FIRST']);
    expectApart(fields(mapping, 'F_'), MAPPING_WORDS, ['F_SIZE']);
    expect(Math.max(...fields(mapping, 'F_').map(([, at]) => at))).toBe(mapping.F_OPENERS);
    expect(mapping.F_OPENERS + OPENER_WORDS).toBeLessThanOrEqual(MAPPING_WORDS);
    const notWords = ['MM_FREE', 'MM_LIVE', 'MM_EXITING'];
    expectApart(fields(mm, 'MM_', notWords), SPACE_WORDS, ['MM_MAPPED_PAGES', 'MM_LIMIT_PAGES']);
    expectApart(fields(mm, 'RING_', ['RING_ENTRY_WORDS']), mm.RING_ENTRY_WORDS, ['RING_START', 'RING_END']);
    expect(mm.MM_RING + tunables.FLUSH_RING * mm.RING_ENTRY_WORDS).toBeLessThanOrEqual(SPACE_WORDS);
  });

  test('of the header have each word once', () => {
    expectApart(fields(control, 'H_'), control.EPOCH);
  });

  test('words that different cpus hammer are on lines of their own', () => {
    const lines = [
      control.EPOCH,
      control.GRACE,
      control.CPU_LOCK,
      control.FRAME_LOCK,
      control.ARENA_LOCK,
      control.SPACE_LOCK,
    ].map((word) => Math.floor(word / control.LINE));
    expect(new Set(lines).size).toBe(lines.length);
    const inSpace = [mm.MM_ROOT, mm.MM_TREE_LOCK, mm.MM_MMAP_LOCK, mm.MM_GENERATION, mm.MM_TOP];
    expect(new Set(inSpace.map((word) => Math.floor(word / control.LINE))).size).toBe(inSpace.length);
  });
});

describe('a cpu’s slot', () => {
  test('has room for every list, the counters and the stack', () => {
    expect(control.C_HELD + control.HELD_SLOTS).toBeLessThanOrEqual(control.C_RW_HOLD);
    expect(control.C_RETIRE_OPEN + control.RETIRE_KINDS).toBeLessThanOrEqual(control.C_RETIRE_WAIT);
    expect(control.C_RETIRE_WAIT + control.RETIRE_KINDS).toBeLessThanOrEqual(control.C_FUTEX);
    expect(control.C_PAGE_LOCKS + control.PAGE_LOCK_SLOTS).toBeLessThanOrEqual(control.C_FUTEX_ASYNC);
    expect(control.C_FUTEX_ASYNC + control.FUTEX_ASYNC_ENTRIES * control.FUTEX_ENTRY_WORDS).toBeLessThanOrEqual(
      control.C_COUNTERS,
    );
    expect(control.C_COUNTERS + 2 * control.COUNTER_SLOTS).toBeLessThanOrEqual(control.C_STACK);
    expect(control.C_STACK + control.STACK_CHARS).toBeLessThan(control.CPU_WORDS + 1);
    expect(control.C_COUNTERS % 2).toBe(0);
    expect(control.C_INTENT % 2).toBe(0);
    expect(control.C_FUTEX % 2).toBe(0);
    expect(control.C_FUTEX + control.FUTEX_ENTRY_WORDS).toBeLessThanOrEqual(control.C_FUTEX_ASYNC_USED);
    expect([control.C_FUTEX_ASYNC % 2, control.FUTEX_ENTRY_WORDS % 2]).toEqual([0, 0]);
  });

  test('can lock a whole read-ahead window, and count everything', () => {
    expect(tunables.READAHEAD_MAX).toBeLessThan(control.PAGE_LOCK_SLOTS);
    expect(HISTOGRAM_BASE + HISTOGRAMS.length * HISTOGRAM_BUCKETS).toBeLessThanOrEqual(control.COUNTER_SLOTS);
    expect(LOCK_CLASSES.length).toBeLessThanOrEqual(control.LOCKDEP_CLASSES);
  });

  test('of the last cpu ends where lockdep begins, and tags fit a lock word', () => {
    expect(control.cpuSlot(MAX_CPUS)).toBe(control.LOCKDEP);
    expect(MAX_CPUS + 1).toBeLessThan(0x100);
  });
});

describe('regions', () => {
  test.each([64, 100, 128, 1000, 4096, 65536, 1 << 20])(
    'of %i frames follow each other without overlap, aligned',
    (frames) => {
      const r = computeRegions(frames);
      expect(r.spaces).toBe(control.CONTROL_END);
      const ends: [number, number][] = [
        [r.spaces, MAX_SPACES * SPACE_WORDS],
        [r.pages, frames * PAGE_RECORD_WORDS],
        [r.buckets, r.bucketCount],
        [r.tableHeaders, r.tableCount * TABLE_HEADER_WORDS],
        [r.tables, r.tableCount * TABLE_WORDS],
        [r.directory, r.chunkCount],
        [r.chunks, r.words - r.chunks],
      ];
      ends.forEach(([start, size], i) => {
        expect(start + size).toBeLessThanOrEqual(ends[i + 1]?.[0] ?? r.words);
      });
      expect([r.pages % 16, r.tableHeaders % 16, r.tables % TABLE_WORDS, r.chunks % 16, r.spaces % 2]).toEqual([
        0, 0, 0, 0, 0,
      ]);
      expect(Math.log2(r.bucketCount) % 1).toBe(0);
      expect(r.bucketCount).toBeGreaterThanOrEqual(frames);
      expect(r.words).toBeLessThan(2 ** 31);
    },
  );
});

test('tunables that must be powers of two are, and masks fit', () => {
  expect([tunables.FLUSH_RING_MASK, tunables.TLB_MASK]).toEqual([tunables.FLUSH_RING - 1, tunables.TLB_ENTRIES - 1]);
  for (const size of [tunables.FLUSH_RING, tunables.TLB_ENTRIES]) expect(size & (size - 1)).toBe(0);
});
