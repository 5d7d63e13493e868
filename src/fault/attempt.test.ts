/** One attempt: by its result alone, without the loop that counts and sleeps. */
import { describe, expect, test } from 'vitest';
import { cached, counted, faultBench, justBefore, numberedFile, R, takeAllFrames } from '../../test/faulting.ts';
import { meeting, vpn } from '../../test/kernel.ts';
import { Oops, VmError } from '../base/errors.ts';
import { MM_ROOT, MM_TREE_LOCK } from '../paging/mm.layout.ts';
import { PTE_ACCESSED, PTE_DIRTY, PTE_NONE, PTE_PRESENT, PTE_WRITE, ptePfn, zappedPte } from '../paging/pte.ts';
import { protectPages } from '../space/protect-pages.ts';
import {
  DETACHED_RELEASED,
  DETACHED_REMAPPED,
  DETACHED_REPLACED,
  DETACHED_UNMAPPED,
  VM_MAYREAD,
  VM_READ,
} from '../vma/vma.layout.ts';
import { attempt } from './attempt.ts';
import { ACCERR, CHANGED, DETACHED, DONE, MAPERR, NEED_FRAME, NEED_RECORD, WAIT } from './outcome.ts';

const PAGE = 100;

describe('the look-up of an attempt', () => {
  test('fails with MAPERR beside every mapping, to the page', () => {
    const { me } = faultBench();
    me.map(PAGE, 2);
    const at = (page: number) => me.inSection(() => attempt(me.begin(page, 'read')));
    expect([PAGE - 1, PAGE, PAGE + 1, PAGE + 2].map(at)).toEqual([MAPERR, DONE, DONE, MAPERR]);
  });

  test.each([
    ['unmapped: nothing is there any more', DETACHED_UNMAPPED, MAPERR],
    ['remapped: MAP_FIXED is at it, and its memory is never missing (I3)', DETACHED_REMAPPED, WAIT],
    ['replaced: a successor is there', DETACHED_REPLACED, DETACHED],
    ['released', DETACHED_RELEASED, DETACHED],
  ])('tells by the mark why a VMA that is still in the tree is detached, %s', (_why, reason, outcome) => {
    const { me } = faultBench();
    me.map(PAGE, 1);
    me.k.vmas.markDetached(me.vmaAt(PAGE), reason);
    expect(me.inSection(() => attempt(me.begin(PAGE, 'write')))).toBe(outcome);
    expect(me.pte(PAGE)).toBe(0);
  });

  test('fails with ACCERR where the rights forbid it, page or no page', () => {
    const { me } = faultBench();
    me.map(PAGE, 1, { flags: R });
    me.map(PAGE + 1, 1, { flags: VM_MAYREAD });
    const at = (page: number, access: 'read' | 'write') => me.inSection(() => attempt(me.begin(page, access)));
    expect([at(PAGE, 'write'), at(PAGE, 'read'), at(PAGE, 'write')]).toEqual([ACCERR, DONE, ACCERR]);
    expect([at(PAGE + 1, 'read'), at(PAGE + 1, 'write')]).toEqual([ACCERR, ACCERR]);
  });

  test('leaves what it has found to the commit: the VMA, and the root it was found in', () => {
    const { me, words } = faultBench();
    me.map(PAGE, 1);
    const f = me.begin(PAGE, 'read');
    me.inSection(() => attempt(f));
    expect([f.vma, f.root, f.leaf]).toEqual([me.vmaAt(PAGE), words[me.mm + 16], 0]);
  });

  test.each([
    ['is made again after a sleep (I4)', true, MAPERR],
    ['is not made again by a protocol that trusts what it had: it maps memory that is gone', false, DONE],
  ])('%s', (_what, rechecks, outcome) => {
    const bench = faultBench();
    const { me } = bench;
    const file = numberedFile(bench, 4096);
    me.map(PAGE, 1, { mapping: file });
    const f = me.begin(PAGE, 'read', { ...me.faulter.protocol, rechecks });
    f.vma = me.vmaAt(PAGE);
    f.held = me.k.files.fetch(file, 0);
    me.k.vmas.markDetached(f.vma, DETACHED_UNMAPPED);
    expect(me.inSection(() => attempt(f))).toBe(outcome);
    expect(me.pte(PAGE) !== 0).toBe(!rechecks);
  });
});

describe('memory that an attempt lacks', () => {
  test('is NEED_FRAME when no frame is free', () => {
    const { me } = faultBench();
    me.map(PAGE, 1);
    const taken = takeAllFrames(me.k);
    expect(me.inSection(() => attempt(me.begin(PAGE, 'write')))).toBe(NEED_FRAME);
    expect(me.pte(PAGE)).toBe(0);
    for (const pfn of taken) me.k.frames.free(pfn);
    expect(me.inSection(() => attempt(me.begin(PAGE, 'write')))).toBe(DONE);
  });

  test('is NEED_RECORD when no page table is free: ENOMEM is for the loop to throw, after reclaim', () => {
    const { me } = faultBench();
    me.map(PAGE, 1);
    expect(() => {
      for (;;) me.k.slabs.table.alloc();
    }).toThrow(/ENOMEM/);
    expect(me.inSection(() => attempt(me.begin(PAGE, 'read')))).toBe(NEED_RECORD);
  });

  test('is no other error: a broken rule and a stall pass', () => {
    const { me } = faultBench();
    me.map(PAGE, 1);
    for (const error of [new Oops('test', 'broken'), new VmError('ETIMEDOUT', 'lock', 'a stall')]) {
      me.k.tables.ensureLeaf = () => {
        throw error;
      };
      expect(() => me.inSection(() => attempt(me.begin(PAGE, 'read')))).toThrow(error);
    }
  });
});

describe('an entry that is there', () => {
  test('is CHANGED while its page is on its way out', () => {
    const { me, words } = faultBench();
    me.map(PAGE, 1);
    me.fault(PAGE, 'write');
    words[me.entryOf(PAGE)] = zappedPte(me.pte(PAGE));
    for (const access of ['read', 'write'] as const) {
      expect(me.inSection(() => attempt(me.begin(PAGE, access)))).toBe(CHANGED);
    }
  });

  test('that allows the access is used as it is: a TLB miss changes nothing and counts nothing', () => {
    const { me, other } = faultBench();
    me.map(PAGE, 1);
    other.fault(PAGE, 'write');
    const seen = me.pte(PAGE);
    expect(counted(me.k, () => me.inSection(() => attempt(me.begin(PAGE, 'write'))))).toEqual({});
    expect([me.pte(PAGE), me.mayRead(PAGE), me.mayWrite(PAGE)]).toEqual([seen, true, true]);
  });

  test('for reading alone gives no translation for writing', () => {
    const { me, other } = faultBench();
    me.map(PAGE, 1);
    other.fault(PAGE, 'read');
    expect(me.inSection(() => attempt(me.begin(PAGE, 'read')))).toBe(DONE);
    expect([me.mayRead(PAGE), me.mayWrite(PAGE)]).toEqual([true, false]);
  });

  test('gets its accessed bit, and keeps all others (I10)', () => {
    const { me, words } = faultBench();
    me.map(PAGE, 1);
    me.fault(PAGE, 'write');
    const seen = me.pte(PAGE);
    words[me.entryOf(PAGE)] = seen & ~PTE_ACCESSED;
    expect(me.inSection(() => attempt(me.begin(PAGE, 'read')))).toBe(DONE);
    expect(me.pte(PAGE)).toBe(seen);
  });

  test('that another thread changes before the bit is set is CHANGED, and stays what it has become (I10)', () => {
    const { me, words } = faultBench();
    me.map(PAGE, 1);
    me.fault(PAGE, 'write');
    me.view.tlb.flush();
    const entry = me.entryOf(PAGE);
    words[entry] = me.pte(PAGE) & ~PTE_ACCESSED;
    const zapped = zappedPte(me.pte(PAGE));
    let outcome = -1;
    meeting(
      () => {
        outcome = me.inSection(() => attempt(me.begin(PAGE, 'read')));
      },
      justBefore('compareExchange', entry, () => {
        words[entry] = zapped;
      }),
    );
    expect([outcome, words[entry], me.mayRead(PAGE)]).toEqual([CHANGED, zapped, false]);
  });

  test('of the zero page becomes one of the space’s own by a write', () => {
    const { me } = faultBench();
    me.map(PAGE, 1);
    me.fault(PAGE, 'read');
    expect(ptePfn(me.pte(PAGE))).toBe(0);
    const counts = counted(me.k, () => expect(me.inSection(() => attempt(me.begin(PAGE, 'write')))).toBe(DONE));
    expect(counts).toEqual({ 'fault.zero.upgrade': 1, 'fault.anon.write': 1 });
    expect(ptePfn(me.pte(PAGE))).toBeGreaterThan(0);
  });

  test('of a private page is given its rights back, without a copy', () => {
    const { me } = faultBench();
    me.map(PAGE, 1);
    me.fault(PAGE, 'write');
    const seen = me.pte(PAGE);
    protectPages(me.k, me.mm, vpn(PAGE), vpn(PAGE + 1), VM_READ);
    expect(me.pte(PAGE) & PTE_WRITE).toBe(0);
    const counts = counted(me.k, () => expect(me.inSection(() => attempt(me.begin(PAGE, 'write')))).toBe(DONE));
    expect(counts).toEqual({ 'fault.write.upgrade': 1 });
    expect(me.pte(PAGE)).toBe(seen);
    protectPages(me.k, me.mm, vpn(PAGE), vpn(PAGE + 1), 0);
    expect(me.pte(PAGE) & (PTE_NONE | PTE_PRESENT)).toBe(PTE_NONE);
    expect(me.inSection(() => attempt(me.begin(PAGE, 'read')))).toBe(DONE);
    expect(me.pte(PAGE) & (PTE_NONE | PTE_PRESENT | PTE_WRITE | PTE_DIRTY)).toBe(PTE_PRESENT | PTE_DIRTY);
  });

  test('of a file’s page is copied by a write, never made writable', () => {
    const bench = faultBench();
    const { me } = bench;
    const file = numberedFile(bench, 4096);
    me.map(PAGE, 1, { mapping: file });
    const page = cached(me.k, file, 0);
    me.fault(PAGE, 'read');
    expect(me.pageOf(PAGE)).toBe(page);
    const counts = counted(me.k, () => expect(me.inSection(() => attempt(me.begin(PAGE, 'write')))).toBe(DONE));
    expect(counts).toEqual({ 'fault.file.copy': 1 });
    expect([me.pageOf(PAGE) === page, me.byteAt(PAGE)]).toEqual([false, 1]);
  });
});

describe('a pessimistic attempt', () => {
  test('holds the tree lock from the look-up through the commit, and counts itself', () => {
    const { me, words, cpu } = faultBench();
    me.map(PAGE, 2);
    me.fault(PAGE + 1, 'read');
    const f = me.begin(PAGE, 'write');
    f.pessimistic = true;
    const holders: Record<string, unknown> = {};
    const counts = counted(me.k, () =>
      meeting(
        () => expect(me.inSection(() => attempt(f))).toBe(DONE),
        (kind, index) => {
          const lock = words[me.mm + MM_TREE_LOCK];
          if (kind === 'load' && index === me.mm + MM_ROOT) holders['at the look-up'] = lock;
          if (kind === 'exchange' && index === me.lockOf(PAGE)) holders['at the end of the commit'] = lock;
        },
      ),
    );
    expect(holders).toEqual({ 'at the look-up': cpu.tag, 'at the end of the commit': cpu.tag });
    expect(words[me.mm + MM_TREE_LOCK]).toBe(0);
    expect(counts).toEqual({ 'fault.tree.commit': 1, 'fault.anon.write': 1 });
  });

  test('lets the tree lock go when it must sleep', () => {
    const { me, words } = faultBench();
    me.map(PAGE, 1);
    const taken = takeAllFrames(me.k);
    const f = me.begin(PAGE, 'write');
    f.pessimistic = true;
    expect(me.inSection(() => attempt(f))).toBe(NEED_FRAME);
    expect([words[me.mm + MM_TREE_LOCK], me.k.cpu.heldDepth, taken.length > 0]).toEqual([0, 0, true]);
  });
});
