import { describe, expect, test } from 'vitest';
import { bareMachine, bareSpace, meeting } from '../../test/kernel.ts';
import { descriptorText } from '../backing/descriptor.ts';
import { pageTryLock, pageUnlock } from '../backing/page-lock.ts';
import { P_REFS } from '../memory/page.layout.ts';
import { MM_FREE, MM_MMAP_LOCK, MM_STATE } from '../paging/mm.layout.ts';
import {
  C_HELD,
  C_SERIAL,
  C_STATE,
  CPU_ATTACHED,
  CPU_DEAD,
  CPU_FREE,
  CPU_GAVE_UP,
  SPACE_LOCK,
} from '../sync/control.layout.ts';
import { attachCpu, attachingBy, type Cpu, leaveCpu } from '../sync/cpu.ts';
import { leaveUnfinished, reapCpu, reapThread } from './reap.ts';
import { releasePageLocks } from './reap-steps.ts';

/** The bit of mmap_lock's state that says that somebody waits: see rwsem.ts. */
const QUEUED = 0x100;

describe('whoever reaps', () => {
  test('takes nobody but the thread of the serial that he was given', () => {
    const { kernel, words, another } = bareMachine();
    const other = another().cpu;
    const serial = (words[other.base + C_SERIAL] as number) - 1;
    expect(reapCpu(kernel, other.id, { serial })).toBe(false);
    expect(words[other.base + C_STATE]).toBe(CPU_ATTACHED);
  });

  test('looks again when the slot changes hands before he has claimed it', () => {
    const { kernel, words, another } = bareMachine();
    const { cpu } = another();
    const reaped: boolean[] = [];
    let next: Cpu | undefined;
    const change = (kind: string, index: number): void => {
      if (kind !== 'compareExchange' || index !== cpu.base + C_STATE || next !== undefined) return;
      leaveCpu(cpu);
      next = another().cpu;
    };
    meeting(() => reaped.push(reapCpu(kernel, cpu.id, { serial: cpu.serial })), change);
    expect([reaped, next?.id]).toEqual([[false], cpu.id]);
    expect([words[cpu.base + C_STATE], next?.hasItsSlot]).toEqual([CPU_ATTACHED, true]);
  });

  test('finds the thread by its number wherever it died while it left its slot', () => {
    for (let at = 0, isOver = false; !isOver; at++) {
      const { kernel, cpu, words } = bareMachine();
      const leaving = attachCpu(words, cpu.floats, 77);
      let accesses = 0;
      const die = (): void => {
        if (accesses++ === at) throw new Error('killed');
      };
      isOver = meeting(() => leaveCpu(leaving), die);
      const reaped = reapThread(kernel, 77);
      expect([at, reaped, words[leaving.base + C_STATE]]).toEqual([at, isOver ? 0 : 1, CPU_FREE]);
      if (isOver) expect(at).toBeGreaterThan(4);
    }
  });

  test('buries nobody before he could let go of the lock of a space that went with the dead thread', () => {
    const { kernel, words, another } = bareMachine();
    const [first, second] = [another(), another()];
    const { mm } = bareSpace(first);
    const [state, queue] = [mm + MM_MMAP_LOCK, mm + MM_MMAP_LOCK + 2];
    const reap = (): boolean => reapCpu(kernel, first.cpu.id);
    // By the time of the burial somebody has come to wait for the lock, and the second thread has died with the queue in hand.
    const die = (kind: string, index: number): void => {
      if (kind !== 'compareExchange' || index !== SPACE_LOCK || words[queue] !== 0) return;
      words[state] = QUEUED;
      words[queue] = second.cpu.tag;
      words[second.cpu.base + C_HELD] = queue;
    };
    expect(() => meeting(reap, die)).toThrow(/has held/);
    expect(words[first.cpu.base + C_STATE]).not.toBe(CPU_FREE);
    expect(reapCpu(kernel, second.cpu.id)).toBe(true);
    const cpus = [first, second, kernel].map(({ cpu }) => words[cpu.base + C_STATE]);
    expect(cpus).toEqual([CPU_FREE, CPU_FREE, CPU_ATTACHED]);
    expect([words[mm + MM_STATE], words[state], words[queue]]).toEqual([MM_FREE, 0, 0]);
  });

  test('does not take a dead thread for the one that had its slot before', () => {
    const { kernel, words, another } = bareMachine();
    const other = another().cpu;
    const serial = words[other.base + C_SERIAL] as number;
    words[other.base + C_STATE] = CPU_DEAD;
    expect([serial - 1, serial].map((each) => reapCpu(kernel, other.id, { serial: each }))).toEqual([false, true]);
  });

  test('finds the thread that died while it took a slot', () => {
    const { kernel, words, another } = bareMachine();
    const other = another().cpu;
    words[other.base + C_STATE] = attachingBy(77);
    expect(reapThread(kernel, 76)).toBe(0);
    expect(reapThread(kernel, 77)).toBe(1);
  });

  test('of a dead thread’s page lock makes its page one that the cache alone holds', () => {
    const { kernel, cpu, words, another } = bareMachine();
    const file = kernel.files.create(descriptorText('x', {}), 4 * 4096, {
      read: (_position, targets) => targets.length * 4096,
      close: () => undefined,
    });
    const page = kernel.files.fetch(file, 1);
    pageUnlock(cpu, page);
    const dead = another().cpu;
    expect(pageTryLock(dead, page)).toBe(true);
    words[page + P_REFS] = 0; // it was about to be reclaimed
    releasePageLocks(kernel, dead.id);
    expect(words[page + P_REFS]).toBe(1);
    kernel.files.close(file, cpu.id);
  });
});

describe('a thread that leaves with work unfinished', () => {
  test.each([0, 9])('is there for the reaper, also when its call has given up and cpu %i - 1 is at it', (tag) => {
    const { kernel, cpu, words } = bareMachine();
    words[cpu.base + C_STATE] = CPU_GAVE_UP | (tag << 8);
    leaveUnfinished(kernel);
    expect(words[cpu.base + C_STATE]).toBe(CPU_DEAD | (tag << 8));
  });
});
