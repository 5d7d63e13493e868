import { describe, expect, test, vi } from 'vitest';
import { bareMachine } from '../../test/kernel.ts';
import { Oops } from '../base/errors.ts';
import { C_HELD, HELD_SLOTS, SPACE_LOCK } from './control.layout.ts';
import { CLASS_FRAMES, CLASS_SPACES, CLASS_TREE, OWNER_MASK, WAITED } from './lock-classes.ts';
import {
  forgetGivingUp,
  releasingHeld,
  spinHeld,
  spinLock,
  spinLockWithin,
  spinReap,
  spinTryLock,
  spinUnlock,
} from './spinlock.ts';

/** Words that nothing else uses as locks. */
const A = SPACE_LOCK;
const B = SPACE_LOCK + 1;

describe('a spinlock', () => {
  test('names its owner while it is held and is 0 when it is free', () => {
    const { cpu, words } = bareMachine();
    expect(spinHeld(cpu, A)).toBe(false);
    spinLock(cpu, A, CLASS_SPACES);
    expect([words[A], spinHeld(cpu, A), words[cpu.base + C_HELD]]).toEqual([cpu.tag, true, A]);
    spinUnlock(cpu, A);
    expect([words[A], cpu.heldDepth]).toEqual([0, 0]);
  });

  test('is not had by a second cpu, whose try says so and whose wait ends in ETIMEDOUT that names the owner', () => {
    const { cpu, another, words } = bareMachine();
    const other = another().cpu;
    spinLock(cpu, A, CLASS_SPACES);
    expect(spinTryLock(other, A, CLASS_SPACES)).toBe(false);
    expect(() => spinLock(other, A, CLASS_SPACES)).toThrow(/ETIMEDOUT.*cpu 0 has held space list/);
    expect((words[A] as number) & OWNER_MASK).toBe(cpu.tag);
    spinUnlock(cpu, A);
    forgetGivingUp(other);
    expect(spinTryLock(other, A, CLASS_SPACES)).toBe(true);
    spinUnlock(other, A);
  });

  test('that was not to be had ends the call: nothing is taken or let go until the cpu is recovered', () => {
    const { cpu, another, words } = bareMachine();
    const other = another().cpu;
    spinLock(cpu, B, CLASS_FRAMES);
    spinLock(other, A, CLASS_TREE);
    expect(() => spinLock(other, B, CLASS_FRAMES)).toThrow(/ETIMEDOUT/);
    spinUnlock(other, A); // as a `finally` does
    expect(spinHeld(other, A)).toBe(true);
    spinUnlock(cpu, B);
    expect(() => spinLock(other, B, CLASS_FRAMES)).toThrow(/ETIMEDOUT: cpu 0 has held frame pool/);
    expect(() => spinTryLock(other, B, CLASS_FRAMES)).toThrow(/ETIMEDOUT/);
    expect(words[B]).toBe(0);
    const released: number[] = [];
    releasingHeld(other, () => {
      spinLock(other, B, CLASS_FRAMES); // noted behind what is still held
      expect([words[other.base + C_HELD], words[other.base + C_HELD + 1]]).toEqual([A, B]);
      spinUnlock(other, B);
      if (spinReap(other, A, other.tag)) released.push(A);
    });
    expect(released).toEqual([A]);
    forgetGivingUp(other);
    spinLock(other, A, CLASS_TREE);
    spinUnlock(other, A);
    expect([words[A], words[B], other.heldDepth]).toEqual([0, 0, 0]);
  });

  test('that one can do without is let be after the limit', () => {
    const { cpu, another, words } = bareMachine();
    const other = another().cpu;
    spinLock(cpu, A, CLASS_TREE);
    expect(spinLockWithin(other, A, CLASS_TREE, 0)).toBe(false);
    expect([other.heldDepth, other.gaveUp]).toEqual([0, undefined]);
    spinUnlock(cpu, A);
    expect(spinLockWithin(other, A, CLASS_TREE, 0)).toBe(true);
    spinUnlock(other, A);
    expect(words[A]).toBe(0);
  });

  test('that is taken twice by one cpu is an Oops, as is letting go of another’s', () => {
    const { cpu, another } = bareMachine();
    const other = another().cpu;
    spinLock(cpu, A, CLASS_SPACES);
    expect(() => spinLock(cpu, A, CLASS_SPACES)).toThrow(/twice/);
    expect(() => spinUnlock(other, A)).toThrow(Oops);
    spinUnlock(cpu, A);
  });

  test('that somebody sleeps on stays marked, so that everybody is woken in the end', () => {
    const { cpu, words } = bareMachine();
    spinLock(cpu, A, CLASS_SPACES);
    words[A] = (words[A] as number) | WAITED;
    expect(spinHeld(cpu, A)).toBe(true);
    spinUnlock(cpu, A);
    expect(words[A]).toBe(0);
  });

  test('hands a wake-up on that came too late for it', () => {
    const { cpu, words, another } = bareMachine();
    const hasty = another().cpu;
    spinLock(cpu, A, CLASS_SPACES);
    const woken = vi.spyOn(Atomics, 'notify');
    try {
      expect(spinLockWithin(hasty, A, CLASS_SPACES, 0)).toBe(false);
      expect(woken).toHaveBeenCalledWith(words, A, 1);
    } finally {
      woken.mockRestore();
    }
    spinUnlock(cpu, A);
  });

  test('of a dead cpu is released by its tag, one of a living cpu is not', () => {
    const { cpu, another, words } = bareMachine();
    const dead = another().cpu;
    spinLock(dead, A, CLASS_SPACES);
    expect(spinReap(cpu, A, cpu.tag)).toBe(false);
    expect(spinReap(cpu, A, dead.tag)).toBe(true);
    expect(words[A]).toBe(0);
    expect(spinReap(cpu, A, dead.tag)).toBe(false);
  });

  test('more of them than the slot can name are an Oops, before the lock is taken', () => {
    const { cpu, words } = bareMachine();
    cpu.heldDepth = HELD_SLOTS;
    expect(() => spinLock(cpu, A, CLASS_SPACES)).toThrow(/holds more than/);
    expect(words[A]).toBe(0);
  });
});

describe('lockdep', () => {
  test('reports the first inversion with both stacks, also when another cpu saw the other order', () => {
    const { cpu, another } = bareMachine();
    const other = another().cpu;
    spinLock(cpu, A, CLASS_TREE);
    spinLock(cpu, B, CLASS_FRAMES);
    spinUnlock(cpu, B);
    spinUnlock(cpu, A);
    spinLock(other, B, CLASS_FRAMES);
    expect(() => spinLock(other, A, CLASS_TREE)).toThrow(
      /lock order: frame pool > tree lock inverts an order seen before[\s\S]*now:[\s\S]*before:[\s\S]*spinlock\.test/,
    );
  });

  test('says nothing about the same order again, nor about two locks of one class', () => {
    const { cpu, another } = bareMachine();
    const other = another().cpu;
    for (const who of [cpu, other]) {
      spinLock(who, A, CLASS_TREE);
      spinLock(who, B, CLASS_FRAMES);
      spinUnlock(who, A);
      spinUnlock(who, B);
      spinLock(who, A, CLASS_TREE);
      spinLock(who, B, CLASS_TREE);
      spinUnlock(who, B);
      spinUnlock(who, A);
    }
  });
});
