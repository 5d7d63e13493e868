import { describe, expect, test } from 'vitest';
import { type BareMachine, bareMachine } from '../../test/kernel.ts';
import type { Pfn } from '../base/brands.ts';
import type { Kernel } from '../space/kernel.ts';
import { C_COUNTERS, C_FRAME_GIVEN, C_FRAME_TAKEN } from '../sync/control.layout.ts';
import { COUNTER } from '../trace/counters.ts';
import { COUNT_BITS, COUNT_MASK } from './frame-counts.ts';
import { CACHED, KEPT, LIVE, OWNED, ownedBy, RETIRED } from './ownership.ts';
import { P_STATE } from './page.layout.ts';

type Which = 'frames.allocated' | 'frames.freed';

/** A victim that has allocated and freed a few frames, and holds one, and what its death may have left of the next step. */
function victimOf({ kernel, words, another }: BareMachine): {
  dead: Kernel;
  thief: Kernel;
  pfn: Pfn;
  count(which: Which): number;
  leave(which: Which, state: number): void;
} {
  const dead = another();
  const thief = another();
  for (let i = 0; i < 3; i++) dead.frames.free(dead.frames.alloc());
  const pfn = dead.frames.alloc();
  const at = (which: Which): number => ((dead.cpu.base + C_COUNTERS) >> 1) + COUNTER[which];
  return {
    dead,
    thief,
    pfn,
    count: (which) => kernel.floats[at(which)] as number,
    leave(which, state) {
      const note = dead.cpu.base + (which === 'frames.allocated' ? C_FRAME_TAKEN : C_FRAME_GIVEN);
      words[note] = (pfn << COUNT_BITS) | ((kernel.floats[at(which)] as number) & COUNT_MASK);
      words[kernel.frames.pageOf(pfn) + P_STATE] = state;
    },
  };
}

const reap = (kernel: Kernel, dead: Kernel): number =>
  kernel.frames.reap(
    dead.cpu.tag,
    () => false,
    (page) => kernel.frames.free(kernel.frames.pfnOf(page)),
  );

describe('the counts of a dead cpu', () => {
  test.each([
    ['frames.allocated', 'it had not taken the frame yet', (d: number) => ownedBy(CACHED, d), 0],
    ['frames.allocated', 'it had kept the frame for itself, and not taken it yet', (d: number) => ownedBy(KEPT, d), 0],
    ['frames.allocated', 'a thief was first', (_: number, t: number) => ownedBy(OWNED, t), 0],
    ['frames.allocated', 'a thief was first and has used it', () => LIVE, 0],
    ['frames.allocated', 'it had taken the frame', (d: number) => ownedBy(OWNED, d), 1],
    ['frames.freed', 'it owned the frame still', (d: number) => ownedBy(OWNED, d), 0],
    ['frames.freed', 'the frame was retired still', (d: number) => ownedBy(RETIRED, d), 0],
    ['frames.freed', 'it had given the frame back', (d: number) => ownedBy(CACHED, d), 1],
    ['frames.freed', 'it had given the frame back, for itself', (d: number) => ownedBy(KEPT, d), 1],
    ['frames.freed', 'a thief has it already', (_: number, t: number) => ownedBy(OWNED, t), 1],
    ['frames.freed', 'a thief has put it to use', () => LIVE, 1],
    ['frames.freed', 'a thief has retired it', (_: number, t: number) => ownedBy(RETIRED, t), 1],
  ] as const)('%s: %s', (which, _what, state, counted) => {
    const machine = bareMachine(1024);
    const { dead, thief, count, leave } = victimOf(machine);
    const before = count(which);
    leave(which, state(dead.cpu.tag, thief.cpu.tag));
    reap(machine.kernel, dead);
    expect(count(which) - before).toBe(counted);
    reap(machine.kernel, dead); // by another reaper, when the first has died
    expect(count(which) - before).toBe(counted);
  });

  test('are not touched by a note whose step was counted', () => {
    const machine = bareMachine(1024);
    const { dead, count } = victimOf(machine);
    const before = [count('frames.allocated'), count('frames.freed')];
    expect(before).toEqual([4, 3]);
    reap(machine.kernel, dead);
    expect([count('frames.allocated'), count('frames.freed')]).toEqual(before);
    expect(machine.kernel.frames.census()).toMatchObject({ owned: 0, live: 0, retired: 0 });
  });

  test('are settled once when the reaper dies before it has taken the note back', () => {
    const machine = bareMachine(1024);
    const { dead, pfn, count, leave } = victimOf(machine);
    const before = count('frames.allocated');
    leave('frames.allocated', ownedBy(OWNED, dead.cpu.tag));
    const note = machine.words[dead.cpu.base + C_FRAME_TAKEN] as number;
    reap(machine.kernel, dead);
    machine.words[dead.cpu.base + C_FRAME_TAKEN] = note;
    machine.words[machine.kernel.frames.pageOf(pfn) + P_STATE] = ownedBy(OWNED, dead.cpu.tag);
    reap(machine.kernel, dead);
    expect(count('frames.allocated') - before).toBe(1);
  });
});
