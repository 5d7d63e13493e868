import { describe, expect, test } from 'vitest';
import { bareMachine, reader } from '../../test/kernel.ts';
import { SPACE_LOCK } from './control.layout.ts';
import { CLASS_LEAF, CLASS_MMAP, CLASS_PAGE } from './lock-classes.ts';
import * as off from './lockdep.off.ts';
import { doingIo, lockAcquired, lockdepHeld, lockdepReports, lockReleased, mightSleep } from './lockdep.on.ts';
import { readLock, readUnlock } from './rwsem.ts';

describe('the sentinel', () => {
  test('lets a thread sleep and read files that holds nothing', () => {
    const { cpu } = bareMachine();
    mightSleep(cpu, 'a test');
    doingIo(cpu, 'a test');
    expect(lockdepReports(cpu)).toEqual([]);
  });

  test('reports I/O and sleep inside a section, and no more once it is left', () => {
    const { kernel, cpu } = bareMachine();
    const section = reader();
    kernel.rcu.enter(section);
    expect(() => mightSleep(cpu, 'a wait')).toThrow(/I25: cpu 0 would wait for a wait inside a section/);
    expect(() => doingIo(cpu, 'a read')).toThrow(/I25/);
    kernel.rcu.outside(() => mightSleep(cpu, 'a wait'));
    expect(() => mightSleep(cpu, 'a wait')).toThrow(/I25/);
    kernel.rcu.leave(section);
    mightSleep(cpu, 'a wait');
  });

  test('reports them under a spinlock, and lets page locks pass', () => {
    const { cpu } = bareMachine();
    lockAcquired(cpu, 77, CLASS_LEAF);
    expect(() => mightSleep(cpu, 'a wait')).toThrow(/holding leaf lock/);
    expect(lockdepHeld(cpu)).toEqual(['leaf lock 77']);
    lockReleased(cpu, 77);
    lockAcquired(cpu, 78, CLASS_PAGE);
    mightSleep(cpu, 'a wait');
    lockReleased(cpu, 78);
  });

  test('notes I/O under mmap_lock without a throw: one design does it on purpose', () => {
    const { cpu } = bareMachine();
    readLock(cpu, SPACE_LOCK);
    mightSleep(cpu, 'a wait');
    doingIo(cpu, 'a read');
    readUnlock(cpu, SPACE_LOCK);
    expect(lockdepReports(cpu)).toMatchObject([
      { rule: 'I25', detail: expect.stringContaining('a read under mmap_lock') },
    ]);
    expect(CLASS_MMAP).toBe(1);
  });

  test('finds a lock released that was not held', () => {
    const { cpu } = bareMachine();
    expect(() => lockReleased(cpu, 5)).toThrow(/releases lock 5, which it does not hold/);
  });

  test('is silent in production builds', () => {
    const { cpu } = bareMachine();
    off.lockReleased(cpu, 5);
    off.lockAcquired(cpu, 5, CLASS_LEAF);
    off.sectionEntered(cpu);
    off.doingIo(cpu, 'a read');
    expect([off.lockdepReports(cpu), off.lockdepHeld(cpu)]).toEqual([[], []]);
  });
});
