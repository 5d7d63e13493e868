import { describe, expect, test } from 'vitest';
import { bareMachine } from '../../test/kernel.ts';
import { Oops } from '../base/errors.ts';
import { reapCpu } from '../recovery/reap.ts';
import { C_FUTEX, H_POISON } from './control.layout.ts';
import type { Cpu } from './cpu.ts';
import { bucketOf, checkMayWait, type FutexKey, futexEnqueue, futexReap, futexSleep, futexWake } from './futex.ts';
import { CLASS_FUTEX } from './lock-classes.ts';
import { spinLock } from './spinlock.ts';

const KEY: FutexKey = { owner: 5, serial: 1, address: 4096 };
const queue = (cpu: Cpu, key: FutexKey = KEY): boolean => futexEnqueue(cpu, key, () => true);

describe('the futex queue', () => {
  test('is entered only if the value is as expected, looked at under the lock', () => {
    const { cpu, words } = bareMachine();
    expect(futexEnqueue(cpu, KEY, () => false)).toBe(false);
    expect(words[cpu.base + C_FUTEX]).toBe(0);
    let held = 0;
    futexEnqueue(cpu, KEY, () => {
      held = words[bucketOf(KEY)] as number;
      return true;
    });
    expect(held).toBe(cpu.tag);
    expect(words[cpu.base + C_FUTEX]).toBe(bucketOf(KEY));
  });

  test('wakes as many as asked, and only those of the same owner, serial and address', () => {
    const { cpu, another, words } = bareMachine();
    const sleepers = [
      { ...KEY },
      { ...KEY },
      { ...KEY },
      { ...KEY, owner: 6 },
      { ...KEY, serial: 2 },
      { ...KEY, address: 4100 },
      { ...KEY, address: 4096 + 2 ** 40 },
    ].map((key) => {
      const { cpu: sleeper } = another();
      queue(sleeper, key);
      return sleeper;
    });
    const waiting = (): boolean[] => sleepers.map((sleeper) => words[sleeper.base + C_FUTEX] !== 0);
    expect(futexWake(cpu, KEY, 0)).toBe(0);
    expect(futexWake(cpu, KEY, 2)).toBe(2);
    expect(waiting().filter((waits) => !waits)).toHaveLength(2);
    expect(futexWake(cpu, KEY, Number.POSITIVE_INFINITY)).toBe(1);
    expect(waiting()).toEqual([false, false, false, true, true, true, true]);
    expect(futexWake(cpu, KEY, 1)).toBe(0);
  });

  test('tells who was woken before it slept, and who was not in time', () => {
    const { cpu, another, words } = bareMachine();
    const { cpu: sleeper } = another();
    queue(sleeper);
    futexWake(cpu, KEY, 1);
    expect(futexSleep(sleeper, 1000)).toBe('ok');
    queue(sleeper);
    expect(futexSleep(sleeper, 10)).toBe('timed-out');
    expect([words[sleeper.base + C_FUTEX], futexWake(cpu, KEY, 1)]).toEqual([0, 0]);
  });

  test('forgets the dead, who must not swallow a wake-up', () => {
    const { cpu, another, words } = bareMachine();
    const [dead, alive] = [another().cpu, another().cpu];
    queue(dead);
    queue(alive);
    futexReap(words, dead.id);
    expect(futexWake(cpu, KEY, 1)).toBe(1);
    expect(words[alive.base + C_FUTEX]).toBe(0);
  });

  test('is left in time although a dead thread holds its lock, and nobody is counted who was not woken', () => {
    const { kernel, cpu, another, words } = bareMachine();
    const [sleeper, dead, other, caller, late] = Array.from({ length: 5 }, () => another().cpu) as [
      Cpu,
      Cpu,
      Cpu,
      Cpu,
      Cpu,
    ];
    queue(sleeper);
    queue(other);
    spinLock(dead, bucketOf(KEY), CLASS_FUTEX);
    expect(futexSleep(sleeper, 5)).toBe('timed-out');
    expect(words[sleeper.base + C_FUTEX]).toBe(0);
    expect(() => futexWake(caller, KEY, 1)).toThrow(/ETIMEDOUT/);
    expect(() => queue(late)).toThrow(/ETIMEDOUT/);
    expect(words[late.base + C_FUTEX]).toBe(0);
    reapCpu(kernel, dead.id);
    expect(futexWake(cpu, KEY, 1)).toBe(1);
    expect(words[other.base + C_FUTEX]).toBe(0);
    queue(sleeper);
    expect(futexWake(cpu, KEY, 2)).toBe(1);
  });

  test('a sleeper finds out that the machine is poisoned, whatever its time limit', () => {
    const { cpu, another, words } = bareMachine();
    const { cpu: sleeper } = another();
    for (const limit of [60_000, 200]) {
      queue(sleeper);
      words[H_POISON] = cpu.tag;
      expect(() => futexSleep(sleeper, limit)).toThrow(Oops);
      expect(words[sleeper.base + C_FUTEX]).toBe(0);
      words[H_POISON] = 0;
    }
    queue(sleeper);
    words[H_POISON] = cpu.tag;
    futexWake(cpu, KEY, 1);
    expect(futexSleep(sleeper, 60_000)).toBe('ok'); // it was woken: its next call tells
  });

  test('is not for a machine that is not shared', () => {
    const { cpu } = bareMachine();
    expect(() => checkMayWait(cpu, false)).toThrow(/EDEADLK/);
    checkMayWait(cpu, true);
  });

  test('spreads addresses over its buckets', () => {
    const buckets = new Set(Array.from({ length: 512 }, (_, i) => bucketOf({ owner: 7, serial: 1, address: i * 4 })));
    expect(buckets.size).toBeGreaterThan(50);
  });
});
