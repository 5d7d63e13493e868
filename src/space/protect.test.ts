import { describe, expect, test, vi } from 'vitest';
import { counted, faultBench, justBefore, numberedFile, R, RW, type Thread } from '../../test/faulting.ts';
import { meeting, vpn } from '../../test/kernel.ts';
import { VmError } from '../base/errors.ts';
import { MAX_MAP_COUNT } from '../base/limits.ts';
import { MM_GENERATION, MM_MAP_COUNT, MM_MMAP_LOCK, MM_ROOT } from '../paging/mm.layout.ts';
import { PTE_WRITE } from '../paging/pte.ts';
import { VM_MAYREAD, VM_READ, VM_SHARED, VM_WRITE } from '../vma/vma.layout.ts';
import { INTENT_NONE, INTENT_PROTECT, readIntent } from './intent.ts';
import { type ProtectRequest, protectRange } from './protect.ts';

const READ = VM_READ;
const WRITE = VM_READ | VM_WRITE;

function protect(me: Thread, start: number, end: number, prot: number, tightens = false): ProtectRequest {
  const request: ProtectRequest = { start: vpn(start), end: vpn(end), prot, tightens };
  protectRange(me.k, me.mm, request);
  return request;
}

/** Waits for a grace period while `run` runs. */
function waits(me: Thread, run: () => void): number {
  const synchronize = vi.spyOn(me.k.rcu, 'synchronize');
  run();
  const calls = synchronize.mock.calls.length;
  synchronize.mockRestore();
  return calls;
}

describe('mprotect', () => {
  test('gives the range its rights, and splits and merges for that', () => {
    const { me } = faultBench();
    me.map(100, 6);
    expect(counted(me.k, () => protect(me, 102, 104, READ))).toEqual({ 'call.mprotect': 1, 'vma.split': 2 });
    expect(me.layout()).toEqual(['100-102 rw', '102-104 r-', '104-106 rw']);
    protect(me, 102, 104, WRITE);
    expect(me.layout()).toEqual(['100-106 rw']);
  });

  test('shows layout, then entries, then the bump: a fault in between has looked at the new rights', () => {
    const { me, words, cpu } = faultBench();
    me.map(100, 1);
    me.fault(100, 'write');
    const [root, generation] = [words[me.mm + MM_ROOT], words[me.mm + MM_GENERATION]];
    const entry = me.entryOf(100);
    const states: string[] = [];
    const look = () => {
      const tree = words[me.mm + MM_ROOT] === root ? 'old' : 'new';
      const page = ((words[entry] as number) & PTE_WRITE) !== 0 ? 'writable' : 'readable';
      const bumped = words[me.mm + MM_GENERATION] === generation ? '' : ', bumped';
      const intent = readIntent(words, me.k.floats, cpu.id).kind === INTENT_PROTECT ? ', intent' : '';
      const state = `${tree} layout, ${page}${bumped}${intent}`;
      if (states.at(-1) !== state) states.push(state);
    };
    meeting(() => protect(me, 100, 101, READ), look);
    expect(states).toEqual([
      'old layout, writable',
      'old layout, writable, intent',
      'new layout, writable, intent',
      'new layout, readable, intent',
      'new layout, readable, bumped, intent',
      'new layout, readable, bumped',
    ]);
  });

  test('loses no accessed or dirty bit of a page (I10), through all rights and back', () => {
    const { me } = faultBench();
    me.map(100, 1);
    me.fault(100, 'write');
    const pte = me.pte(100);
    for (const prot of [READ, 0, READ, WRITE]) protect(me, 100, 101, prot);
    expect(me.pte(100)).toBe(pte & ~PTE_WRITE);
    me.fault(100, 'write');
    expect(me.pte(100)).toBe(pte);
  });
});

describe('tightening waits for a grace period (I14)', () => {
  test.each<[string, number, number, number]>([
    ['taking a right away', WRITE, READ, 1],
    ['taking all away', READ, 0, 1],
    ['giving one', READ, WRITE, 0],
    ['changing nothing', READ, READ, 0],
  ])('%s', (_what, from, to, expected) => {
    const { me } = faultBench();
    me.map(100, 2, { flags: (RW & ~7) | from });
    expect(waits(me, () => expect(protect(me, 100, 102, to).tightens).toBe(expected === 1))).toBe(expected);
  });

  test('also when no entry had to change: a fault may be about to make one by the rights that it has seen', () => {
    const { me } = faultBench();
    me.map(100, 1);
    expect(waits(me, () => protect(me, 100, 101, READ))).toBe(1);
  });

  test('also when a part of the range alone loses a right', () => {
    const { me } = faultBench();
    me.map(100, 1, { flags: R });
    me.map(101, 1);
    expect(waits(me, () => protect(me, 100, 102, READ))).toBe(1);
  });

  test('also when another has taken the right away since this call began: it still owes the wait', () => {
    const { me } = faultBench();
    me.map(100, 1, { flags: R });
    expect(waits(me, () => protect(me, 100, 101, READ, true))).toBe(1);
  });

  test('for a reader in its section; when that stays the call says so, and the rights are changed', () => {
    const { me, other, words } = faultBench();
    me.map(100, 1);
    other.fault(100, 'write');
    other.k.rcu.enter(other.view);
    expect(() => protect(me, 100, 101, READ)).toThrow(/^ETIMEDOUT: .*cpu 1/);
    expect(other.mayWrite(100)).toBe(true); // it has not looked yet, and so was waited for
    expect([me.layout(), words[me.mm + MM_MMAP_LOCK]]).toEqual([['100-101 r-'], 0]);
    other.k.rcu.republish();
    expect(other.mayWrite(100)).toBe(false);
    other.k.rcu.leave(other.view);
  });

  test('after the bump, without a lock but mmap_lock, and with the intent done: all that is left is the wait', () => {
    const { me, words, cpu } = faultBench();
    me.map(100, 1);
    me.fault(100, 'write');
    const generation = words[me.mm + MM_GENERATION] as number;
    let during: unknown;
    me.k.rcu.synchronize = () => {
      const intent = readIntent(words, me.k.floats, cpu.id).kind;
      during = { bumped: (words[me.mm + MM_GENERATION] as number) - generation, locks: cpu.heldDepth, intent };
    };
    protect(me, 100, 101, READ);
    expect(during).toEqual({ bumped: 1, locks: 0, intent: INTENT_NONE });
  });
});

describe('an mprotect that fails changes nothing:', () => {
  function refused(me: Thread, start: number, end: number, prot: number, message: RegExp): void {
    const before = [me.layout(), me.pte(100), me.k.slabs.vma.census().live];
    expect(waits(me, () => expect(() => protect(me, start, end, prot)).toThrow(message))).toBe(0);
    expect([me.layout(), me.pte(100), me.k.slabs.vma.census().live]).toEqual(before);
    expect([me.k.words[me.mm + MM_MMAP_LOCK], me.k.cpu.heldDepth]).toEqual([0, 0]);
    expect(readIntent(me.k.words, me.k.floats, me.k.cpu.id).kind).toBe(INTENT_NONE);
  }

  test.each([
    ['before it', 99, 101, /^ENOMEM: a page of the range is not mapped, mprotect 0x63000$/],
    ['behind it', 100, 104, /^ENOMEM: a page of the range is not mapped, mprotect 0x67000$/],
    ['in the middle', 100, 105, /^ENOMEM: a page of the range is not mapped, mprotect 0x67000$/],
  ])('a hole %s', (_where, start, end, message) => {
    const { me } = faultBench();
    me.map(100, 3);
    me.map(104, 1);
    me.fault(100, 'write');
    refused(me, start, end, READ, message);
  });

  test('a shared file that may not be written, behind what may be; to read it is allowed', () => {
    const bench = faultBench();
    const { me } = bench;
    const flags = VM_SHARED | VM_READ | VM_MAYREAD;
    me.map(100, 1);
    me.map(101, 1, { mapping: numberedFile(bench, 4096), flags });
    me.fault(100, 'write');
    refused(me, 100, 102, WRITE, /^EACCES: .* 0x65000$/);
    protect(me, 100, 102, READ);
    expect(me.layout()).toEqual(['100-101 r-', '101-102 r-']);
  });

  test('the split would be one mapping too many', () => {
    const { me, words } = faultBench();
    me.map(100, 3);
    me.fault(100, 'write');
    words[me.mm + MM_MAP_COUNT] = MAX_MAP_COUNT - 1;
    refused(me, 101, 102, READ, /^ENOMEM: .* more than 65530 mappings/);
    protect(me, 101, 103, READ); // one more is allowed
    expect(me.layout()).toEqual(['100-101 rw', '101-103 r-']);
  });

  test('no memory for the tree', () => {
    const { me } = faultBench();
    me.map(100, 3);
    me.fault(100, 'write');
    me.k.tree.replace = () => {
      throw new VmError('ENOMEM', 'alloc', 'no tree node');
    };
    refused(me, 101, 102, READ, /no tree node/);
  });
});

test('a write that has looked up the old rights does not get through after mprotect (I5)', () => {
  const { me, other } = faultBench();
  me.map(100, 2);
  me.fault(101, 'write'); // keeps the leaf
  const lock = me.lockOf(100);
  other.k.rcu.synchronize = () => undefined; // this thread is in the section that the other one would wait for
  const overtake = justBefore('compareExchange', lock, () => protect(other, 100, 101, READ));
  expect(() => meeting(() => me.fault(100, 'write'), overtake)).toThrow(/SEGV_ACCERR/);
  expect(me.pte(100)).toBe(0);
});
