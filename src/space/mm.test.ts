import { describe, expect, test } from 'vitest';
import { cached, faultBench, numberedFile } from '../../test/faulting.ts';
import { bareMachine, bareSpace, meeting } from '../../test/kernel.ts';
import type { MmRef } from '../base/brands.ts';
import { MAX_SPACES } from '../base/limits.ts';
import {
  MM_EXITING,
  MM_FREE,
  MM_LIMIT_PAGES,
  MM_LIVE,
  MM_MAP_COUNT,
  MM_MAPPED_PAGES,
  MM_MMAP_LOCK,
  MM_ROOT,
  MM_SERIAL,
  MM_STATE,
  MM_TOP,
} from '../paging/mm.layout.ts';
import { SPACE_LOCK } from '../sync/control.layout.ts';
import { DETACHED_UNMAPPED } from '../vma/vma.layout.ts';
import { INTENT_EXIT, INTENT_NONE, readIntent } from './intent.ts';
import {
  attachMm,
  createMm,
  detachedIn,
  exitMm,
  forEachMm,
  forEveryMm,
  isExiting,
  leaveMm,
  mmAt,
  usesMm,
} from './mm.ts';

describe('a space that is made', () => {
  test('is empty, has its limit, and this cpu as its user', () => {
    const { kernel, words, cpu } = bareMachine();
    const mm = createMm(kernel, 77);
    expect([MM_STATE, MM_ROOT, MM_MAP_COUNT].map((word) => words[mm + word])).toEqual([MM_LIVE, 0, 0]);
    expect([MM_MAPPED_PAGES, MM_LIMIT_PAGES].map((word) => kernel.floats[(mm + word) >> 1])).toEqual([0, 77]);
    expect([usesMm(kernel, cpu.id, mm), (words[mm + MM_TOP] as number) > 0]).toEqual([true, true]);
    expect(readIntent(words, kernel.floats, cpu.id).kind).toBe(INTENT_NONE);
  });

  test('is live only once it has a user: one without is one whose last user died (I27)', () => {
    const { kernel, words, cpu } = bareMachine();
    const states: string[] = [];
    const mm = mmAt(kernel, 0);
    meeting(
      () => createMm(kernel, 0),
      () => {
        const names = { [MM_FREE]: 'free', [MM_LIVE]: 'live', [MM_EXITING]: 'exiting' };
        const intent = readIntent(words, kernel.floats, cpu.id);
        const intends = intent.kind === INTENT_EXIT && intent.mm === mm && intent.prot === words[mm + MM_SERIAL];
        const user = usesMm(kernel, cpu.id, mm) ? ', used' : '';
        const state = `${names[words[mm + MM_STATE] as 0 | 1 | 2]}${user}${intends ? ', intent' : ''}`;
        if (states.at(-1) !== state) states.push(state);
      },
    );
    // Plain stores are seen with the Atomics store behind them.
    expect(states).toEqual(['free', 'exiting, intent', 'live, used, intent']);
  });

  test('is not made when there is no page table for it: its record is free again', () => {
    const { kernel, words, cpu } = bareMachine();
    const taken: number[] = [];
    expect(() => {
      for (;;) taken.push(kernel.slabs.table.alloc());
    }).toThrow(/ENOMEM/);
    expect(() => createMm(kernel, 0)).toThrow(/ENOMEM/);
    forEachMm(kernel, () => expect.fail('there is a space'));
    expect([readIntent(words, kernel.floats, cpu.id).kind, cpu.heldDepth]).toEqual([INTENT_NONE, 0]);
    kernel.slabs.table.free(taken[0] as number);
    expect(createMm(kernel, 0)).toBe(mmAt(kernel, 0));
  });

  test('is one of so many, and EAGAIN says that all are in use', () => {
    const { kernel, words, cpu } = bareMachine(2048);
    const made = new Set<MmRef>();
    for (let i = 0; i < MAX_SPACES; i++) made.add(createMm(kernel, 0));
    expect(made.size).toBe(MAX_SPACES);
    expect(() => createMm(kernel, 0)).toThrow(/^EAGAIN: all 64 spaces/);
    expect([words[SPACE_LOCK], readIntent(words, kernel.floats, cpu.id).kind]).toEqual([0, INTENT_NONE]);
    // Beyond the first word of bits: it shares its bit's place in the word with another one.
    const one = mmAt(kernel, 40);
    leaveMm(kernel, one, cpu.id);
    expect([usesMm(kernel, cpu.id, one), usesMm(kernel, cpu.id, mmAt(kernel, 8))]).toEqual([false, true]);
    expect(createMm(kernel, 0)).toBe(one);
  });
});

describe('attaching', () => {
  test('is ESTALE for a space that is being torn down, and for another life of its record', () => {
    const { kernel, words, another, cpu } = bareMachine();
    const other = another();
    const { mm } = bareSpace(kernel);
    const serial = words[mm + MM_SERIAL] as number;
    for (const wrong of [serial - 1, serial + 1]) expect(() => attachMm(other, mm, wrong)).toThrow(/^ESTALE/);
    words[mm + MM_STATE] = MM_EXITING;
    expect(() => attachMm(other, mm, serial)).toThrow(/^ESTALE/);
    expect([usesMm(kernel, other.cpu.id, mm), words[SPACE_LOCK]]).toEqual([false, 0]);
    expect([isExiting(kernel, mm, serial), isExiting(kernel, mm, serial + 1)]).toEqual([true, false]);
    words[mm + MM_STATE] = MM_LIVE;
    expect(isExiting(kernel, mm, serial)).toBe(false);
    attachMm(other, mm, serial);
    leaveMm(kernel, mm, cpu.id);
    expect(words[mm + MM_STATE]).toBe(MM_LIVE);
  });
});

describe('the last one to leave', () => {
  test('takes everything: mappings, pages, tables, references on files (I26)', () => {
    const bench = faultBench();
    const { me, other, words } = bench;
    const file = numberedFile(bench, 8192);
    me.map(100, 4);
    me.map(5000, 2, { mapping: file });
    cached(me.k, file, 0);
    me.fault(100, 'write');
    me.fault(5000, 'read');
    other.fault(5001, 'write');
    me.k.files.close(file, me.k.cpu.id);
    leaveMm(me.k, me.mm, me.k.cpu.id);
    expect(me.layout()).toHaveLength(2);
    leaveMm(other.k, me.mm, other.k.cpu.id);
    other.k.rcu.drain();
    const { vma, node, table, mapping, rmap } = me.k.slabs;
    for (const slab of [vma, node, table, mapping, rmap]) {
      expect([slab.name, slab.census()]).toMatchObject([slab.name, { live: 0, owned: 0, retired: 0 }]);
    }
    expect(me.k.frames.census()).toMatchObject({ live: 0, owned: 0, retired: 0 });
    expect([MM_STATE, MM_ROOT, MM_TOP, MM_MAP_COUNT, MM_MMAP_LOCK].map((word) => words[me.mm + word])).toEqual([
      MM_FREE,
      0,
      0,
      0,
      0,
    ]);
  });

  test('writes the intent before the space is exiting, and clears it when it is free (I27)', () => {
    const { me, other, words } = faultBench();
    me.map(100, 1);
    leaveMm(other.k, me.mm, other.k.cpu.id);
    const states: string[] = [];
    const look = () => {
      const intent = readIntent(words, me.k.floats, me.k.cpu.id).kind === INTENT_EXIT ? ', intent' : '';
      const state = `${words[me.mm + MM_STATE]}${intent}`;
      if (states.at(-1) !== state) states.push(state);
    };
    meeting(() => leaveMm(me.k, me.mm, me.k.cpu.id), look);
    look();
    // Plain stores are seen with the Atomics store behind them: what no thread may find is an exiting space without an intent.
    expect(states).toEqual([`${MM_LIVE}`, `${MM_EXITING}, intent`, `${MM_FREE}, intent`, `${MM_FREE}`]);
  });

  test('does it from the start when it is done again (I27)', () => {
    const { me, other } = faultBench();
    me.map(100, 1);
    me.fault(100, 'write');
    me.k.vmas.markDetached(me.vmaAt(100), DETACHED_UNMAPPED);
    expect(detachedIn(me.k, me.mm)).toEqual([me.vmaAt(100)]);
    exitMm(me.k, me.mm);
    exitMm(me.k, me.mm);
    me.k.rcu.drain();
    expect(me.k.frames.census()).toMatchObject({ live: 0, retired: 0 });
    expect([me.layout(), me.k.slabs.table.census().live, other.k.cpu.heldDepth]).toEqual([[], 0, 0]);
  });
});

test('a dead cpu’s bit is taken back by another, and its other spaces stay', () => {
  const { kernel, another, words } = bareMachine();
  const dead = another();
  const [first, second] = [createMm(dead, 0), createMm(dead, 0)];
  leaveMm(kernel, first, dead.cpu.id);
  expect([usesMm(kernel, dead.cpu.id, first), usesMm(kernel, dead.cpu.id, second)]).toEqual([false, true]);
  expect([words[first + MM_STATE], words[second + MM_STATE]]).toEqual([MM_FREE, MM_LIVE]);
  let records = 0;
  forEveryMm(kernel, () => records++);
  const live: MmRef[] = [];
  forEachMm(kernel, (mm) => live.push(mm));
  expect([records, live]).toEqual([MAX_SPACES, [second]]);
});
