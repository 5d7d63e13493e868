import { describe, expect, it } from 'vitest';
import { linearizable, type Operation, type SequentialModel } from './linearizability.ts';

type Op = Operation<number, number>;
const op = (thread: string, name: string, args: number, result: number, call: number, end: number | undefined): Op => ({
  thread,
  name,
  args,
  result,
  call,
  return: end,
});

const register: SequentialModel<number, number, number> = {
  initial: 0,
  apply: (value, { name, args }) => [name === 'write' ? [args, 0] : [value, value]],
  key: String,
};

const queue: SequentialModel<readonly number[], number, number> = {
  initial: [],
  apply: (items, { name, args }) => {
    if (name === 'put') return [[[...items, args], 0]];
    return [items.length === 0 ? [items, -1] : [items.slice(1), items[0] as number]];
  },
  key: (items) => items.join(),
};

describe('linearizable', () => {
  it('accepts what some order explains', () => {
    expect(
      linearizable(
        [op('a', 'write', 1, 0, 0, 10), op('b', 'read', 0, 0, 1, 9), op('b', 'read', 0, 1, 9, 12)],
        register,
      ),
    ).toBe(undefined);
    expect(
      linearizable([op('a', 'put', 1, 0, 0, 5), op('b', 'put', 2, 0, 0, 5), op('a', 'take', 0, 2, 6, 7)], queue),
    ).toBe(undefined);
  });

  it('refuses a value that was overwritten before the read began', () => {
    const why = linearizable(
      [op('a', 'write', 1, 0, 0, 1), op('a', 'write', 2, 0, 2, 3), op('b', 'read', 0, 1, 4, 5)],
      register,
    );
    expect(why).toMatch(/not linearizable; the longest order that fits has 2 of 3 calls/);
  });

  it('refuses two reads that see two writes in different orders', () => {
    const history = [op('a', 'write', 1, 0, 0, 20), op('b', 'read', 0, 1, 1, 2), op('c', 'read', 0, 0, 3, 4)];
    expect(linearizable(history, register)).toMatch(/not linearizable/);
  });

  it('tries all that an operation may do', () => {
    // A read of a fading value finds it, or nothing.
    const fading: SequentialModel<number, number, number> = {
      initial: 5,
      apply: (value) => [
        [value, value],
        [value, 0],
      ],
      key: String,
    };
    const reads = [op('a', 'read', 0, 0, 0, 1), op('a', 'read', 0, 5, 2, 3)];
    expect(linearizable(reads, fading)).toBe(undefined);
    expect(linearizable([...reads, op('a', 'read', 0, 7, 4, 5)], fading)).toMatch(/not linearizable/);
  });

  it('refuses a queue that gives an item twice', () => {
    const history = [op('a', 'put', 1, 0, 0, 1), op('a', 'take', 0, 1, 2, 3), op('b', 'take', 0, 1, 2, 3)];
    expect(linearizable(history, queue)).toMatch(/not linearizable/);
  });

  it('lets a call that never came back have happened, or not', () => {
    const never = op('a', 'write', 7, 0, 0, undefined);
    expect(linearizable([never, op('b', 'read', 0, 7, 5, 6)], register)).toBe(undefined);
    expect(linearizable([never, op('b', 'read', 0, 0, 5, 6)], register)).toBe(undefined);
    expect(linearizable([never, op('b', 'read', 0, 8, 5, 6)], register)).toMatch(/not linearizable/);
  });
});
