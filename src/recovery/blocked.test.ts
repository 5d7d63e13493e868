import { describe, expect, test } from 'vitest';
import { bareMachine, bareSpace, vpn } from '../../test/kernel.ts';
import { MM_MMAP_LOCK, MM_TREE_LOCK } from '../paging/mm.layout.ts';
import type { Kernel } from '../space/kernel.ts';
import { ARENA_LOCK, C_HELD, C_RETIRE_LOCK, cpuSlot } from '../sync/control.layout.ts';
import { CLASS_LEAF, CLASS_RETIRE, CLASS_RWSEM, CLASS_SLAB, CLASS_TREE } from '../sync/lock-classes.ts';
import { QUEUE } from '../sync/rwsem.ts';
import { spinLock, spinUnlock } from '../sync/spinlock.ts';
import { cpuInTheWay } from './blocked.ts';

/** A cpu with a space of its own, another with one of its own, a third that will hold locks, and who looks. */
function scene() {
  const bare = bareMachine(256);
  const [left, other, holder] = [bare.another(), bare.another(), bare.another()] as [Kernel, Kernel, Kernel];
  const [theirs, foreign] = [bareSpace(left), bareSpace(other)];
  const inWay = (doing: readonly number[] = [left.cpu.id]): number => cpuInTheWay(bare.kernel, [left.cpu.id], doing);
  /** Who is in the way while `holder` holds the lock. */
  const holding = (at: number, cls: number): number => {
    spinLock(holder.cpu, at, cls);
    const found = inWay();
    spinUnlock(holder.cpu, at);
    return found;
  };
  return { ...bare, left, other, holder, theirs, foreign, inWay, holding };
}

describe('a lock that a cpu holds', () => {
  test('is in the way if it is over a space that the work concerns, and not if it is over another', () => {
    const { holder, theirs, foreign, holding } = scene();
    const { id } = holder.cpu;
    expect(holding(theirs.mm + MM_TREE_LOCK, CLASS_TREE)).toBe(id);
    expect(holding(theirs.mm + MM_MMAP_LOCK + QUEUE, CLASS_RWSEM)).toBe(id);
    expect(holding(foreign.mm + MM_TREE_LOCK, CLASS_TREE)).toBe(-1);
    expect(holding(foreign.mm + MM_MMAP_LOCK + QUEUE, CLASS_RWSEM)).toBe(-1);
    const lockOf = (leaf: number): number =>
      [...Array(16).keys()].map((i) => leaf + i).find((at) => holder.tables.ofLock(at) === leaf) as number;
    expect(holding(lockOf(holder.tables.ensureLeaf(theirs.mm, vpn(5))), CLASS_LEAF)).toBe(id);
    expect(holding(lockOf(holder.tables.ensureLeaf(foreign.mm, vpn(5))), CLASS_LEAF)).toBe(-1);
  });

  test('over a pool is in everybody’s way, over the retired objects of a cpu in that of its work', () => {
    const { cpu, left, other, holder, holding } = scene();
    const lists = (id: number): number => cpuSlot(id) + C_RETIRE_LOCK;
    expect(holding(ARENA_LOCK, CLASS_SLAB)).toBe(holder.cpu.id);
    expect(holding(lists(left.cpu.id), CLASS_RETIRE)).toBe(holder.cpu.id);
    expect(holding(lists(cpu.id), CLASS_RETIRE)).toBe(holder.cpu.id);
    expect(holding(lists(other.cpu.id), CLASS_RETIRE)).toBe(-1);
  });

  test('is not in the way when it was let go, when its holder is among those at work, or when it is a note only', () => {
    const { left, holder, theirs, inWay } = scene();
    expect(inWay()).toBe(-1);
    spinLock(holder.cpu, theirs.mm + MM_TREE_LOCK, CLASS_TREE);
    expect([inWay(), inWay([left.cpu.id, holder.cpu.id])]).toEqual([holder.cpu.id, -1]);
    spinUnlock(holder.cpu, theirs.mm + MM_TREE_LOCK);
    spinLock(left.cpu, theirs.mm + MM_TREE_LOCK, CLASS_TREE); // the holder's note is still there
    expect(inWay()).toBe(-1);
    spinUnlock(left.cpu, theirs.mm + MM_TREE_LOCK);
  });

  test('is not in the way while its holder waits for one of those at work, or for somebody who does', () => {
    const { words, left, other, holder, theirs, inWay } = scene();
    const [ofLeft, ofOther] = [ARENA_LOCK, theirs.mm + MM_MMAP_LOCK + QUEUE];
    spinLock(holder.cpu, theirs.mm + MM_TREE_LOCK, CLASS_TREE);
    words[holder.cpu.base + C_HELD + 1] = ofLeft; // noted, and not had yet
    words[ofLeft] = left.cpu.tag;
    expect(inWay()).toBe(-1);
    words[holder.cpu.base + C_HELD + 1] = ofOther;
    words[ofOther] = other.cpu.tag;
    expect(inWay()).toBe(holder.cpu.id);
    words[other.cpu.base + C_HELD] = ofLeft;
    expect(inWay()).toBe(-1);
    words[ofLeft] = 0;
    words[ofOther] = 0;
    spinUnlock(holder.cpu, theirs.mm + MM_TREE_LOCK);
  });
});
