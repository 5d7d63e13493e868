import { describe, expect, test } from 'vitest';
import { bareMachine } from '../../test/kernel.ts';
import { descriptorText } from '../backing/descriptor.ts';
import { pageTryLock, pageUnlock } from '../backing/page-lock.ts';
import { P_REFS } from '../memory/page.layout.ts';
import { C_SERIAL, C_STATE, CPU_ATTACHED, CPU_DEAD, CPU_GAVE_UP } from '../sync/control.layout.ts';
import { attachingBy } from '../sync/cpu.ts';
import { leaveUnfinished, reapCpu, reapThread } from './reap.ts';
import { releasePageLocks } from './reap-steps.ts';

describe('whoever reaps', () => {
  test('takes nobody but the thread of the serial that he was given', () => {
    const { kernel, words, another } = bareMachine();
    const other = another().cpu;
    const serial = (words[other.base + C_SERIAL] as number) - 1;
    expect(reapCpu(kernel, other.id, { serial })).toBe(false);
    expect(words[other.base + C_STATE]).toBe(CPU_ATTACHED);
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
