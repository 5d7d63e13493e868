import { describe, expect, test } from 'vitest';
import { bareMachine } from '../../test/kernel.ts';
import { Patience } from './patience.ts';

describe('patience', () => {
  test('remembers that somebody was seen freeing: what was freed may be there now', () => {
    const patience = new Patience(bareMachine().cpu);
    expect([patience.waitsForFreeing(-1), patience.someFreed]).toEqual([false, false]);
    expect([patience.waitsForFreeing(3), patience.someFreed]).toEqual([true, true]);
  });
});
