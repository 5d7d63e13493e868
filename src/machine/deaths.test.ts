/** What is done about a death that cannot be dealt with yet. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { bareMachine } from '../../test/kernel.ts';
import { VmError } from '../base/errors.ts';
import { Deaths, type Mortuary } from './deaths.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A machine whose reaping fails as often as the test says, and a Worker that ends when told. */
function scene(failures: number) {
  const asked: number[] = [];
  const machine: Mortuary = {
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
  return { deaths, asked, exit: () => exit() };
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
