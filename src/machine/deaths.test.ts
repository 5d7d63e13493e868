/** What is done about a death that cannot be dealt with yet. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { bareMachine } from '../../test/kernel.ts';
import { VmError } from '../base/errors.ts';
import { reapCpu } from '../recovery/reap.ts';
import { C_STATE, CPU_FREE } from '../sync/control.layout.ts';
import { attachingBy } from '../sync/cpu.ts';
import { Deaths, type Mortuary } from './deaths.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A machine whose reaping fails as often as the test says, and a Worker that ends when told. */
function scene(failures: number) {
  const asked: number[] = [];
  const machine: { -readonly [K in keyof Mortuary]: Mortuary[K] } = {
    kernel: bareMachine().kernel,
    closed: false,
    checkOpen: () => undefined,
    reapNow: () => true,
    reapThread(thread) {
      asked.push(thread);
      if (asked.length <= failures) throw new VmError('ETIMEDOUT', 'lock', 'another dead thread has it');
      return 1;
    },
  };
  const deaths = new Deaths(machine, 'key', undefined);
  let exit = (): void => undefined;
  deaths.watch({
    threadId: 77,
    once(_event, listener) {
      exit = listener;
      return this;
    },
  });
  return { machine, deaths, asked, exit: () => exit() };
}

test('a thread that cannot be reaped when it ends is reaped later, once', () => {
  const { asked, exit } = scene(3);
  exit();
  expect(asked).toEqual([77]);
  vi.runAllTimers();
  expect(asked).toEqual([77, 77, 77, 77]);
});

test('a machine that is closed asks no more', () => {
  const { deaths, asked, exit } = scene(Number.POSITIVE_INFINITY);
  exit();
  deaths.close();
  vi.advanceTimersByTime(10_000);
  expect([asked, vi.getTimerCount()]).toEqual([[77], 0]);
});

test('the end of a watched thread is told to a machine that is closed too: once', () => {
  const { machine, asked, exit } = scene(0);
  machine.closed = true;
  exit();
  vi.runAllTimers();
  expect(asked).toEqual([77]);
});

test('a thread that died while it took a slot, or left it, is reaped by the number of its cpu alone', () => {
  vi.useRealTimers(); // the sign of life that is looked for takes its time by the clock
  const { kernel, words, another } = bareMachine();
  const { id, base, serial } = another().cpu;
  const machine: Mortuary = {
    kernel,
    closed: false,
    checkOpen: () => undefined,
    reapNow: (cpu, named, patience) => reapCpu(kernel, cpu, { serial: named, patience }),
    reapThread: () => 0,
  };
  const deaths = new Deaths(machine, 'key', undefined);
  words[base + C_STATE] = attachingBy(77);
  expect(deaths.reap({ cpu: id, serial }, { confirmed: true })).toBe(false); // the serial may be another owner's
  expect(deaths.reap(id, { confirmed: true })).toBe(true);
  expect([words[base + C_STATE], deaths.reap(id, { confirmed: true })]).toEqual([CPU_FREE, false]);
});
