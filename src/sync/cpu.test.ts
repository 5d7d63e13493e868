import { describe, expect, test } from 'vitest';
import { bareMachine, meeting } from '../../test/kernel.ts';
import { Oops } from '../base/errors.ts';
import {
  C_RETIRE_OPEN_COUNT,
  C_SERIAL,
  C_STATE,
  C_THREAD,
  CPU_ATTACHED,
  CPU_FREE,
  CPU_LEFT,
  CPUS_USED,
} from './control.layout.ts';
import { attachCpu, detachCpu, leaveCpu } from './cpu.ts';

describe('cpus', () => {
  test('get the lowest free slot, a serial of their own, and the 65th is EAGAIN', () => {
    const { cpu, words } = bareMachine();
    const all = [cpu];
    for (let i = 1; i < 64; i++) all.push(attachCpu(words, cpu.floats, i));
    expect(all.map(({ id }) => id)).toEqual(Array.from({ length: 64 }, (_, i) => i));
    expect(new Set(all.map(({ serial }) => serial)).size).toBe(64);
    expect(() => attachCpu(words, cpu.floats, 64)).toThrow(/EAGAIN: all 64 cpus/);
    detachCpu(words, 17);
    expect(attachCpu(words, cpu.floats, 64).id).toBe(17);
    expect(words[CPUS_USED]).toBe(64);
  });

  test('that leave something waiting for a grace period leave it to the next owner of the slot, if no other is free', () => {
    const { cpu, another, words } = bareMachine();
    const other = another().cpu;
    words[other.base + C_RETIRE_OPEN_COUNT] = 1;
    detachCpu(words, other.id);
    expect(words[other.base + C_STATE]).toBe(CPU_LEFT);
    const all = Array.from({ length: 62 }, () => attachCpu(words, cpu.floats, 0).id);
    expect(all).not.toContain(other.id);
    expect(attachCpu(words, cpu.floats, 0).id).toBe(other.id);
    expect([words[other.base + C_STATE], words[other.base + C_RETIRE_OPEN_COUNT]]).toEqual([CPU_ATTACHED, 1]);
    expect(() => attachCpu(words, cpu.floats, 0)).toThrow(/EAGAIN/);
    words[other.base + C_RETIRE_OPEN_COUNT] = 0;
    detachCpu(words, other.id);
    expect(words[other.base + C_STATE]).toBe(CPU_FREE);
  });

  test('that leave write nothing into a slot that another thread may have taken', () => {
    for (let at = 0, isOver = false; !isOver; at++) {
      const { cpu, words } = bareMachine();
      const leaving = attachCpu(words, cpu.floats, 77);
      let accesses = 0;
      let next = cpu;
      const attach = (): void => {
        if (accesses++ === at) next = attachCpu(words, cpu.floats, 78);
      };
      meeting(() => leaveCpu(leaving), attach);
      isOver = next === cpu;
      if (isOver) expect(at).toBeGreaterThan(4);
      else {
        const { base, serial } = next;
        const slot = [C_THREAD, C_SERIAL, C_STATE].map((word) => words[base + word]);
        expect([at, ...slot]).toEqual([at, 78, serial, CPU_ATTACHED]);
      }
    }
  });

  test('stop when one of them has found a broken rule, but not for a callback’s mistake', () => {
    const { cpu, another } = bareMachine();
    const other = another().cpu;
    cpu.noteOops(new Error('not ours'));
    cpu.noteOops(new Oops('H1', 'a callback'));
    other.checkAlive();
    cpu.noteOops(new Oops('I5', 'broken'));
    expect(() => other.checkAlive()).toThrow(/poisoned by cpu 0/);
  });

  test('may block on shared memory', () => {
    expect(bareMachine().cpu.canBlock).toBe(true);
  });
});
