/** The boundary of public calls, with work that fails as the test says. */
import { describe, expect, test } from 'vitest';
import { type BareMachine, bareMachine } from '../../test/kernel.ts';
import { VmError } from '../base/errors.ts';
import type { Kernel } from '../space/kernel.ts';
import { C_STATE, CPU_ATTACHED, CPU_DEAD, CPU_GAVE_UP, SPACE_LOCK } from '../sync/control.layout.ts';
import { CLASS_SPACES } from '../sync/lock-classes.ts';
import { giveUp, spinLock } from '../sync/spinlock.ts';
import { enterCall, lastCall, publicCall } from './public-call.ts';
import { reapCpu } from './reap.ts';

const timeOut = (): VmError => new VmError('ETIMEDOUT', 'lock', 'somebody has it');

describe('a public call that others may help', () => {
  /** Another cpu's work waits for somebody; the call's own first attempt ends as given. */
  function scene(first: (kernel: BareMachine['kernel']) => never) {
    const { kernel, words, another } = bareMachine();
    const idle = another();
    words[idle.cpu.base + C_STATE] = CPU_GAVE_UP;
    let tried = 0;
    const call = (): number =>
      publicCall(kernel, 'munmap', () => {
        if (++tried === 1) first(kernel);
        return tried;
      });
    return { call, tried: () => tried, isIdleFree: () => words[idle.cpu.base + C_STATE] === CPU_ATTACHED };
  }

  test('is tried again when it has failed with nothing changed', () => {
    const { call, isIdleFree } = scene(() => {
      throw timeOut();
    });
    expect([call(), isIdleFree()]).toEqual([2, true]);
  });

  test('is not when it has given up half-way: it was finished, and others may have built on that', () => {
    const { call, tried } = scene((kernel) => giveUp(kernel.cpu, timeOut()));
    expect(call).toThrow(/ETIMEDOUT/);
    expect(tried()).toBe(1);
  });
});

describe('the last call of a thread', () => {
  test.each([
    [1, 2, CPU_ATTACHED],
    [2, 2, CPU_DEAD],
  ])('whose work fails %i times is tried %i times; then whoever reaps has the rest', (failures, tries, state) => {
    const { kernel, cpu, words } = bareMachine();
    let tried = 0;
    lastCall(kernel, () => {
      if (++tried <= failures) throw timeOut();
    });
    expect([tried, words[cpu.base + C_STATE]]).toEqual([tries, state]);
  });

  test('ends with what is none of the library’s, and leaves the rest to whoever reaps', () => {
    const { kernel, cpu, words } = bareMachine();
    const broken = new RangeError('stack');
    let tried = 0;
    const last = (): void =>
      lastCall(kernel, () => {
        tried++;
        throw broken;
      });
    expect(last).toThrow(broken);
    expect([tried, words[cpu.base + C_STATE]]).toEqual([1, CPU_DEAD]);
  });
});

describe('an error of the engine while a cpu finishes others’ work', () => {
  /** `helper`'s next finishing ends in the middle of it. */
  function scene() {
    const bare = bareMachine();
    const [helper, idle] = [bare.another(), bare.another()];
    const { dropLists } = helper.rcu;
    let isBroken = true;
    helper.rcu.dropLists = (dead) => {
      if (isBroken) {
        isBroken = false;
        throw new RangeError('Maximum call stack size exceeded');
      }
      dropLists.call(helper.rcu, dead);
    };
    const state = (cpu: { base: number }): number => bare.words[cpu.base + C_STATE] as number;
    return { ...bare, helper, idle, state, broke: () => !isBroken };
  }

  test('leaves it with work of its own, which its next call does, and the others’ with it', () => {
    const { helper, idle, words, state, broke } = scene();
    words[idle.cpu.base + C_STATE] = CPU_GAVE_UP;
    let tried = 0;
    const call = (): number =>
      publicCall(helper, 'load8', () => {
        if (++tried === 1) throw timeOut();
        return tried;
      });
    expect(call).toThrow(/ETIMEDOUT|somebody/);
    expect(broke()).toBe(true);
    expect(publicCall(helper, 'load8', () => 'done')).toBe('done');
    expect([state(helper.cpu), state(idle.cpu)]).toEqual([CPU_ATTACHED, CPU_ATTACHED]);
  });

  test('in a reaping: the dead thread is buried by the next one', () => {
    const { helper, idle, state } = scene();
    expect(() => reapCpu(helper, idle.cpu.id)).toThrow(RangeError);
    expect(state(helper.cpu)).not.toBe(CPU_ATTACHED);
    publicCall(helper, 'reap', () => undefined);
    expect([state(helper.cpu), state(idle.cpu) & 0xff]).toEqual([CPU_ATTACHED, 0]);
  });
});

describe('a call that the engine has ended with a lock in hand', () => {
  const enter: Record<string, (k: Kernel, look: () => void) => void> = {
    'a public call': (k, look) => publicCall(k, 'mmap', look),
    'the last call': (k, look) => lastCall(k, look),
    'a fault': (k, look) => {
      enterCall(k, 'load8');
      look();
    },
  };

  test.each([
    ['inCall', 'a public call'],
    ['inCall', 'the last call'],
    ['inFault', 'a public call'],
    ['inFault', 'the last call'],
    ['inFault', 'a fault'],
  ] as const)('(%s) has let go of it when %s begins', (mark, next) => {
    const { kernel, cpu, words } = bareMachine();
    spinLock(cpu, SPACE_LOCK, CLASS_SPACES);
    cpu[mark] = true;
    const seen: unknown[] = [];
    enter[next]?.(kernel, () => seen.push(words[SPACE_LOCK], cpu.heldDepth, cpu.gaveUp));
    expect([seen, cpu[mark]]).toEqual([[0, 0, undefined], false]);
  });
});
