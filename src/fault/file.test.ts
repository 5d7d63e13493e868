/** Pages of files: what is looked at under the page lock (I20, I21), and how long it is held. */
import { describe, expect, test } from 'vitest';
import {
  cached,
  counted,
  faultBench,
  justBefore,
  numberedFile,
  type Thread,
  takeAllFrames,
} from '../../test/faulting.ts';
import { meeting } from '../../test/kernel.ts';
import { pageLockHeld, pageTryLock, pageUnlock } from '../backing/page-lock.ts';
import type { PageRef } from '../base/brands.ts';
import { NONE } from '../base/brands.ts';
import {
  P_FLAGS,
  P_LOCK,
  P_MAPPING,
  P_RMAP_SEQ,
  P_RMAP_SLOT,
  PG_REFERENCED,
  PG_UPTODATE,
} from '../memory/page.layout.ts';
import { ptePfn, readablePte } from '../paging/pte.ts';
import { attempt } from './attempt.ts';
import type { Fault } from './fault.ts';
import { copyFilePage, installFilePage } from './file.ts';
import { BUS, CHANGED, DETACHED, DONE, NEED_FRAME, NEED_PAGE, type Outcome, PAGE_BUSY, TRUNCATED } from './outcome.ts';

const PAGE = 100;
const PAGES = 4;

/** A mapping of a whole file of four pages, the last of which is not full, with its leaf. */
function mapped() {
  const bench = faultBench();
  const { me, other } = bench;
  const file = numberedFile(bench, (PAGES - 1) * 4096 + 1);
  me.map(PAGE, PAGES + 2, { mapping: file });
  me.inSection(() => me.k.tables.ensureLeaf(me.mm, me.begin(PAGE, 'read').vpn));
  return { ...bench, me, other, file };
}

function lookedUp(me: Thread, page: number, access: 'read' | 'write'): Fault {
  const f = me.begin(page, access);
  f.vma = me.vmaAt(page);
  return f;
}

/** One attempt by the file's part of the fault alone. */
function tryFile(me: Thread, f: Fault): Outcome {
  const leaf = me.leafOf(f.vpn);
  return me.inSection(() => (f.write ? copyFilePage(f, leaf, me.pte(f.vpn)) : installFilePage(f, leaf)));
}

describe('a page of a file, found by an attempt,', () => {
  test.each(['read', 'write'] as const)('is BUS behind the end of the file, and not before (I20): %s', (access) => {
    const { me, file } = mapped();
    for (let index = 0; index < PAGES; index++) cached(me.k, file, index);
    const outcomes = [0, 1, 2, 3, 4, 5].map((index) => tryFile(me, lookedUp(me, PAGE + index, access)));
    expect(outcomes).toEqual([DONE, DONE, DONE, DONE, BUS, BUS]);
  });

  test('is BUS by its place in the file, not in the mapping', () => {
    const { me, file } = mapped();
    cached(me.k, file, 3);
    me.map(PAGE, 2, { mapping: file, offset: 3 });
    expect([0, 1].map((index) => tryFile(me, lookedUp(me, PAGE + index, 'read')))).toEqual([DONE, BUS]);
    expect(me.byteAt(PAGE)).toBe(4);
  });

  test.each(['read', 'write'] as const)('is NEED_PAGE while nobody has read it: %s', (access) => {
    const { me, file } = mapped();
    const f = lookedUp(me, PAGE + 1, access);
    expect([tryFile(me, f), f.mapping, f.index, f.held]).toEqual([NEED_PAGE, file, 1, NONE]);
  });

  test('is NEED_PAGE when a reader has left it unread, and PAGE_BUSY while it reads; nothing stays locked', () => {
    const { me, other, file, words } = mapped();
    const page = cached(other.k, file, 1);
    words[page + P_FLAGS] = 0;
    const f = lookedUp(me, PAGE + 1, 'read');
    expect([tryFile(me, f), words[page + P_LOCK], me.pte(PAGE + 1)]).toEqual([NEED_PAGE, 0, 0]);
    pageTryLock(other.k.cpu, page);
    expect([tryFile(me, f), pageLockHeld(other.k.cpu, page)]).toEqual([PAGE_BUSY, true]);
    words[page + P_FLAGS] = PG_UPTODATE;
    expect(tryFile(me, f)).toBe(PAGE_BUSY);
    pageUnlock(other.k.cpu, page);
    expect([tryFile(me, f), words[page + P_LOCK]]).toEqual([DONE, 0]);
  });

  test('is TRUNCATED when it has left the file between look-up and lock (I21), and is unlocked', () => {
    const { me, other, file, words } = mapped();
    const page = cached(other.k, file, 1);
    words[page + P_FLAGS] = PG_UPTODATE;
    const f = lookedUp(me, PAGE + 1, 'read');
    let outcome: Outcome = DONE;
    meeting(
      () => {
        outcome = tryFile(me, f);
      },
      justBefore('compareExchange', page + P_LOCK, () => {
        pageTryLock(other.k.cpu, page);
        other.k.reclaim.drop(page);
      }),
    );
    expect([outcome, f.held, words[page + P_LOCK], me.pte(PAGE + 1)]).toEqual([TRUNCATED, NONE, 0, 0]);
  });

  test('is TRUNCATED when its frame has another page of the file by then (I21): the index counts too', () => {
    const { me, file, words } = mapped();
    const page = cached(me.k, file, 1);
    const f = lookedUp(me, PAGE + 2, 'read');
    const { cache } = me.k;
    cache.lookup = () => page; // as one led astray while the chains change
    expect([tryFile(me, f), words[page + P_LOCK]]).toEqual([TRUNCATED, 0]);
  });

  test('counts as used: reclaim gives it a second chance', () => {
    const { me, file, words } = mapped();
    const page = cached(me.k, file, 0);
    words[page + P_FLAGS] = PG_UPTODATE;
    tryFile(me, lookedUp(me, PAGE, 'read'));
    expect(words[page + P_FLAGS]).toBe(PG_UPTODATE | PG_REFERENCED);
  });
});

describe('a page that a sleep has left locked', () => {
  test('is used without a look at the cache, and unlocked in the end', () => {
    const { me, file, words } = mapped();
    const f = lookedUp(me, PAGE + 1, 'read');
    f.held = me.k.files.fetch(file, 1);
    const { held } = f;
    me.k.cache.lookup = () => expect.fail('the page is in hand');
    expect([tryFile(me, f), f.held, words[held + P_LOCK], me.pageOf(PAGE + 1)]).toEqual([DONE, NONE, 0, held]);
  });

  test.each([
    ['another page of the file', 0],
    ['a page that has left the file since', 1],
  ])('is let go when it is %s (I21)', (_which, index) => {
    const { me, file, words } = mapped();
    const right = cached(me.k, file, 1);
    const f = lookedUp(me, PAGE + 1, 'read');
    f.held = me.k.files.fetch(file, index);
    const { held } = f;
    if (index === 1) {
      me.k.cache.remove(held);
      expect(tryFile(me, f)).toBe(NEED_PAGE);
    } else {
      expect([tryFile(me, f), me.pageOf(PAGE + 1)]).toEqual([DONE, right]);
    }
    expect([f.held, words[held + P_LOCK]]).toEqual([NONE, 0]);
  });

  test('does not help behind the end of the file (I20): the size is looked at first', () => {
    const { me, file } = mapped();
    const f = lookedUp(me, PAGE + PAGES, 'read');
    f.held = me.k.files.fetch(file, 0);
    expect(tryFile(me, f)).toBe(BUS);
    pageUnlock(me.k.cpu, f.held);
  });
});

describe('a read', () => {
  test('maps the page of the cache for reading alone', () => {
    const { me, file } = mapped();
    const page = cached(me.k, file, 2);
    const counts = counted(me.k, () => expect(tryFile(me, lookedUp(me, PAGE + 2, 'read'))).toBe(DONE));
    expect(counts).toEqual({ 'fault.file.read': 1 });
    expect([me.pageOf(PAGE + 2), me.byteAt(PAGE + 2)]).toEqual([page, 3]);
    expect(me.pte(PAGE + 2)).toBe(readablePte(ptePfn(me.pte(PAGE + 2))));
    expect([me.mayRead(PAGE + 2), me.mayWrite(PAGE + 2)]).toEqual([true, false]);
    expect(me.k.tables.used(me.leafOf(PAGE))).toBe(1);
  });

  test('holds the page lock from its check of the file to the entry’s store (I21), and adds the slot before it', () => {
    const { me, file, words, cpu } = mapped();
    const page = cached(me.k, file, 2);
    const entry = me.entryOf(PAGE + 2);
    const f = lookedUp(me, PAGE + 2, 'read');
    let atStore: unknown;
    const locks: unknown[] = [];
    const look = justBefore('store', entry, () => {
      atStore = { pageLock: words[page + P_LOCK], leafLock: words[me.lockOf(PAGE)], slot: words[page + P_RMAP_SLOT] };
    });
    const leaf = me.leafOf(PAGE);
    me.inSection(() =>
      meeting(
        () => installFilePage(f, leaf),
        (kind, index) => {
          if (index === page + P_LOCK) locks.push(kind);
          look(kind, index);
        },
      ),
    );
    expect(atStore).toEqual({ pageLock: cpu.tag, leafLock: cpu.tag, slot: entry });
    expect(locks).toEqual(['compareExchange', 'exchange']);
    expect(words[page + P_LOCK]).toBe(0);
  });

  test.each([
    ['the entry is another', CHANGED],
    ['the mapping is detached', DETACHED],
  ])('adds no slot and lets the page go when %s', (_why, outcome) => {
    const { me, other, file, words } = mapped();
    const page = cached(me.k, file, 0);
    const f = lookedUp(me, PAGE, 'read');
    if (outcome === CHANGED) other.fault(PAGE, 'write');
    else me.k.vmas.markDetached(f.vma, 1);
    const before = [me.pte(PAGE), words[page + P_RMAP_SEQ]];
    expect(counted(me.k, () => expect(tryFileRead(me, f)).toBe(outcome))).toEqual({});
    expect([me.pte(PAGE), words[page + P_RMAP_SEQ]]).toEqual(before);
    expect([words[page + P_LOCK], words[page + P_RMAP_SLOT], f.held]).toEqual([0, 0, NONE]);
  });

  function tryFileRead(me: Thread, f: Fault): Outcome {
    return me.inSection(() => installFilePage(f, me.leafOf(f.vpn)));
  }

  test('without memory for a slot is an error before anything is locked but the page, and that is let go', () => {
    const { me, file, words } = mapped();
    const page = cached(me.k, file, 0);
    const error = new RangeError('the stack is exhausted');
    me.k.rmap.reserve = () => {
      throw error;
    };
    expect(() => tryFile(me, lookedUp(me, PAGE, 'read'))).toThrow(error);
    // An error that is none of ours: recovery lets go of what is locked, not this call.
    expect(me.k.cpu.gaveUp?.error).toBe(error);
    expect([words[page + P_LOCK], me.pte(PAGE)]).toEqual([me.k.cpu.tag, 0]);
  });
});

describe('a write to a private mapping', () => {
  test('copies the page while it is locked, and leaves the file as it was', () => {
    const { me, other, file, words, cpu } = mapped();
    const page = cached(me.k, file, 1);
    other.fault(PAGE + 1, 'read');
    let during: number | undefined;
    const { copy } = me.k.frames;
    me.k.frames.copy = (target, source) => {
      during = words[page + P_LOCK];
      copy.call(me.k.frames, target, source);
    };
    const counts = counted(me.k, () => expect(tryFile(me, lookedUp(me, PAGE + 1, 'write'))).toBe(DONE));
    expect(counts).toEqual({ 'fault.file.copy': 1 });
    expect([during, words[page + P_LOCK]]).toEqual([cpu.tag, 0]);
    const bytes = me.k.frames.bytes.subarray(ptePfn(me.pte(PAGE + 1)) * 4096).subarray(0, 4096);
    expect([me.pageOf(PAGE + 1) === page, bytes.every((byte) => byte === 2)]).toEqual([false, true]);
    expect([words[page + P_RMAP_SLOT], words[page + P_MAPPING]]).toEqual([0, file]);
  });

  test('without a frame is NEED_FRAME with the page kept locked: it must not change now', () => {
    const { me, file, words, cpu } = mapped();
    const page = cached(me.k, file, 1);
    const taken = takeAllFrames(me.k);
    const f = lookedUp(me, PAGE + 1, 'write');
    expect([tryFile(me, f), f.held, words[page + P_LOCK]]).toEqual([NEED_FRAME, page, cpu.tag]);
    f.spare = taken[0] as never;
    expect([tryFile(me, f), f.held, words[page + P_LOCK], f.spare]).toEqual([DONE, NONE, 0, 0]);
    expect(me.byteAt(PAGE + 1)).toBe(2);
  });

  test('keeps its frame and lets the page go when another was first', () => {
    const { me, other, file, words } = mapped();
    const page = cached(me.k, file, 1);
    const f = lookedUp(me, PAGE + 1, 'write');
    other.fault(PAGE + 1, 'write');
    expect(me.inSection(() => copyFilePage(f, me.leafOf(f.vpn), 0))).toBe(CHANGED);
    expect([f.spare > 0, f.held, words[page + P_LOCK]]).toEqual([true, NONE, 0]);
  });

  test('by an attempt that finds the page taken out by reclaim meanwhile does not copy what was there (I21)', () => {
    const { me, other, file, words } = mapped();
    const page = cached(me.k, file, 1);
    words[page + P_FLAGS] = PG_UPTODATE;
    const outcomes: Outcome[] = [];
    const f = me.begin(PAGE + 1, 'write');
    meeting(
      () => outcomes.push(me.inSection(() => attempt(f))),
      justBefore('compareExchange', page + P_LOCK, () => other.k.reclaim.run(100)),
    );
    outcomes.push(me.inSection(() => attempt(f)));
    expect(outcomes).toEqual([TRUNCATED, NEED_PAGE]);
    expect([me.pte(PAGE + 1), me.k.cache.find(file, 1) === (NONE as PageRef)]).toEqual([0, true]);
  });
});
