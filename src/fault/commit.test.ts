/** The commit rule: what a fault looks at again under the leaf's lock. Each look by itself, then as a thread meets it. */
import { describe, expect, test } from 'vitest';
import { counted, faultBench, justBefore, numberedFile, R, type Thread } from '../../test/faulting.ts';
import { meeting, vpn } from '../../test/kernel.ts';
import type { MappingRef } from '../base/brands.ts';
import { PTE_ACCESSED } from '../paging/pte.ts';
import { T_LOCK, T_PARENT } from '../paging/table.layout.ts';
import { protectLocked } from '../space/protect.ts';
import { unmapPages } from '../space/unmap.ts';
import {
  DETACHED_RELEASED,
  DETACHED_REMAPPED,
  DETACHED_REPLACED,
  DETACHED_UNMAPPED,
  V_DETACHED,
} from '../vma/vma.layout.ts';
import { lockForCommit, unlockAfterCommit } from './commit.ts';
import type { Fault } from './fault.ts';
import { CHANGED, DETACHED, DONE, UNHOOKED } from './outcome.ts';

const PAGE = 100;

/** A fault that has looked up its VMA, in a space whose leaf is there. */
function lookedUp(me: Thread, page = PAGE): Fault {
  const f = me.begin(page, 'write');
  f.vma = me.vmaAt(page);
  me.inSection(() => me.k.tables.ensureLeaf(me.mm, vpn(page)));
  return f;
}

/** The verdict, with the lock let go if it was had. */
function verdict(me: Thread, f: Fault, seen = 0): number {
  return me.inSection(() => {
    const outcome = lockForCommit(f, me.leafOf(f.vpn), seen);
    if (outcome === DONE) unlockAfterCommit(f);
    return outcome;
  });
}

describe('a commit in which nothing has changed', () => {
  test('has the leaf locked, until it unlocks it', () => {
    const { me, words, cpu } = faultBench();
    me.map(PAGE, 1);
    const f = lookedUp(me);
    const leaf = me.leafOf(PAGE);
    me.inSection(() => {
      expect(lockForCommit(f, leaf, 0)).toBe(DONE);
      expect([f.leaf, words[me.lockOf(PAGE)]]).toEqual([leaf, cpu.tag]);
      unlockAfterCommit(f);
      expect([f.leaf, words[me.lockOf(PAGE)], cpu.heldDepth]).toEqual([0, 0, 0]);
    });
  });

  test('looks at hook, mark and entry (I8, I5, I9) with the lock held, in this order', () => {
    const { me, words, cpu } = faultBench();
    me.map(PAGE, 1);
    const f = lookedUp(me);
    const parent = words[me.leafOf(PAGE) + T_PARENT] as number;
    const looks: string[] = [];
    const names = new Map([
      [parent, 'hook'],
      [f.vma + V_DETACHED, 'mark'],
      [me.entryOf(PAGE), 'entry'],
    ]);
    const lock = me.lockOf(PAGE);
    const leaf = me.leafOf(PAGE);
    me.inSection(() =>
      meeting(
        () => lockForCommit(f, leaf, 0),
        (kind, index) => {
          const name = names.get(index);
          if (kind === 'load' && name !== undefined) looks.push(`${name} under ${words[lock]}`);
        },
      ),
    );
    expect(looks).toEqual([`hook under ${cpu.tag}`, `mark under ${cpu.tag}`, `entry under ${cpu.tag}`]);
    unlockAfterCommit(f);
  });
});

describe('a commit is refused, with nothing locked,', () => {
  function refused(me: Thread, f: Fault, outcome: number, seen = 0): void {
    const leaf = me.leafOf(f.vpn);
    expect(verdict(me, f, seen)).toBe(outcome);
    expect([f.leaf, me.k.words[me.lockOf(f.vpn)], me.k.cpu.heldDepth, leaf > 0]).toEqual([0, 0, 0, true]);
  }

  test('I8: into a leaf that its upper entry does not name any more', () => {
    const { me, words } = faultBench();
    me.map(PAGE, 1);
    const f = lookedUp(me);
    const leaf = me.leafOf(PAGE);
    me.inSection(() => {
      me.k.tables.tearDownLeaf(leaf);
      expect(lockForCommit(f, leaf, 0)).toBe(UNHOOKED);
    });
    expect([f.leaf, words[leaf + T_LOCK], me.k.cpu.heldDepth]).toEqual([0, 0, 0]);
  });

  test('I8: into a leaf in whose place there is another', () => {
    const { me } = faultBench();
    me.map(PAGE, 1);
    const f = lookedUp(me);
    const old = me.leafOf(PAGE);
    me.inSection(() => {
      me.k.tables.tearDownLeaf(old);
      expect(me.k.tables.ensureLeaf(me.mm, vpn(PAGE))).not.toBe(old);
      expect(lockForCommit(f, old, 0)).toBe(UNHOOKED);
    });
  });

  test.each([
    ['unmapped', DETACHED_UNMAPPED],
    ['remapped', DETACHED_REMAPPED],
    ['replaced', DETACHED_REPLACED],
    ['released', DETACHED_RELEASED],
  ])('I5: for a VMA that is detached and still in the tree, %s', (_name, reason) => {
    const { me } = faultBench();
    me.map(PAGE, 1);
    const f = lookedUp(me);
    me.k.vmas.markDetached(f.vma, reason);
    refused(me, f, DETACHED);
  });

  test('I5: for a VMA that is gone', () => {
    const { me } = faultBench();
    me.map(PAGE, 2);
    me.map(PAGE + 2, 1, { flags: R });
    me.fault(PAGE + 2, 'read'); // keeps the leaf
    const f = lookedUp(me);
    me.inSection(() => {
      unmapPages(me.k, me.mm, vpn(PAGE), vpn(PAGE + 2));
      me.k.vmas.markDetached(f.vma, DETACHED_REPLACED); // whatever its reason: nothing is there
    });
    refused(me, f, DETACHED);
  });

  test('I5: for a VMA whose successor has other rights', () => {
    const { me } = faultBench();
    me.map(PAGE, 2);
    const f = lookedUp(me);
    protectLocked(me.k, me.mm, vpn(PAGE), vpn(PAGE + 1), 1);
    refused(me, f, DETACHED);
  });

  test('I5: for a VMA whose successor is another file, or another part of it', () => {
    for (const [mapping, offset] of [
      ['other', 0],
      ['same', 1],
      ['none', 0],
    ] as const) {
      const bench = faultBench();
      const { me } = bench;
      const files = { same: numberedFile(bench, 40960), other: numberedFile(bench, 40960), none: 0 as MappingRef };
      me.map(PAGE, 1, { mapping: files.same });
      const f = lookedUp(me);
      me.map(PAGE, 1, { mapping: files[mapping], offset });
      refused(me, f, DETACHED);
    }
  });

  test('I9: over an entry that is not as it was first seen, whether it was filled, emptied or only marked', () => {
    const { me, words } = faultBench();
    me.map(PAGE, 1);
    const f = lookedUp(me);
    me.fault(PAGE, 'write');
    const pte = me.pte(PAGE);
    refused(me, f, CHANGED, 0);
    refused(me, f, CHANGED, pte ^ PTE_ACCESSED);
    expect(verdict(me, f, pte)).toBe(DONE);
    words[me.entryOf(PAGE)] = 0;
    refused(me, f, CHANGED, pte);
  });
});

describe('a VMA that was replaced by its like (I5) costs no restart', () => {
  test('when a neighbour merges with it: the fault goes on with the successor', () => {
    const { me } = faultBench();
    me.map(PAGE, 1);
    const f = lookedUp(me);
    const was = f.vma;
    me.map(PAGE + 1, 1);
    expect(me.layout()).toEqual(['100-102 rw']);
    expect(verdict(me, f)).toBe(DONE);
    expect([f.vma, f.vma === was]).toEqual([me.vmaAt(PAGE), false]);
  });

  test('when a part of its file is cut off before it: start and offset have both moved', () => {
    const bench = faultBench();
    const { me } = bench;
    const file = numberedFile(bench, 40960);
    me.map(PAGE, 3, { mapping: file, offset: 2 });
    const f = lookedUp(me, PAGE + 2);
    unmapPages(me.k, me.mm, vpn(PAGE), vpn(PAGE + 1));
    expect(me.layout()).toEqual(['101-103 rw']);
    expect(verdict(me, f)).toBe(DONE);
    expect(f.vma).toBe(me.vmaAt(PAGE + 2));
  });

  test('and anonymous memory has no offset to compare', () => {
    const { me } = faultBench();
    me.map(PAGE, 3);
    const f = lookedUp(me, PAGE + 2);
    unmapPages(me.k, me.mm, vpn(PAGE), vpn(PAGE + 1));
    expect(verdict(me, f)).toBe(DONE);
  });

  test('but a successor that is detached itself does', () => {
    const { me } = faultBench();
    me.map(PAGE, 1);
    const f = lookedUp(me);
    me.map(PAGE + 1, 1);
    me.k.vmas.markDetached(me.vmaAt(PAGE), DETACHED_UNMAPPED);
    expect(verdict(me, f)).toBe(DETACHED);
  });
});

test('a protocol without second looks commits for a VMA that is gone, and still not over another entry', () => {
  const { me } = faultBench();
  me.map(PAGE, 1);
  const f = me.begin(PAGE, 'write', { ...me.faulter.protocol, rechecks: false });
  f.vma = me.vmaAt(PAGE);
  me.fault(PAGE, 'write');
  me.k.vmas.markDetached(f.vma, DETACHED_UNMAPPED);
  expect([verdict(me, f, me.pte(PAGE)), verdict(me, f, 0)]).toEqual([DONE, CHANGED]);
});

describe('a whole fault that is overtaken just before it locks the leaf', () => {
  /** Runs a write fault in which the other thread acts just before the leaf's lock is taken. */
  function overtaken(bench: ReturnType<typeof faultBench>, act: () => void): Record<string, number> {
    const { me } = bench;
    const lock = me.lockOf(PAGE);
    return counted(me.k, () => meeting(() => me.fault(PAGE, 'write'), justBefore('compareExchange', lock, act)));
  }

  test('by munmap of the range is told so: the leaf is gone (I8), and then the mapping', () => {
    const bench = faultBench();
    const { me, other } = bench;
    me.map(PAGE, 1);
    lookedUp(me);
    const lock = me.lockOf(PAGE);
    const counts = counted(me.k, () =>
      expect(() =>
        meeting(
          () => me.fault(PAGE, 'write'),
          justBefore('compareExchange', lock, () => unmapPages(other.k, me.mm, vpn(PAGE), vpn(PAGE + 1))),
        ),
      ).toThrow(/SEGV_MAPERR/),
    );
    expect(counts).toEqual({ 'restart.unhooked': 1, 'fault.segv': 1 });
    expect(me.k.frames.census()).toMatchObject({ live: 0, owned: 0 });
  });

  test('by another thread that maps something else there installs its page for that (I5)', () => {
    const bench = faultBench();
    const { me, other } = bench;
    me.map(PAGE, 1);
    me.map(PAGE + 1, 1, { flags: R });
    me.fault(PAGE + 1, 'read');
    const file = numberedFile(bench, 4096);
    const counts = overtaken(bench, () => other.map(PAGE, 1, { mapping: file }));
    expect(counts).toEqual({
      'restart.detached': 1,
      'restart.io': 1,
      'fault.file.copy': 1,
      'io.reads': 1,
      'io.pages': 1,
    });
    expect(me.byteAt(PAGE)).toBe(1);
  });

  test('by another thread that writes there first has that one’s page, and its own frame is free again (I9)', () => {
    const bench = faultBench();
    const { me, other } = bench;
    me.map(PAGE, 1);
    lookedUp(me);
    expect(overtaken(bench, () => other.fault(PAGE, 'write'))).toEqual({ 'restart.changed': 1 });
    expect(me.k.frames.census()).toMatchObject({ live: 1, owned: 0 });
    expect([me.mayWrite(PAGE), other.mayWrite(PAGE)]).toEqual([true, true]);
  });
});
