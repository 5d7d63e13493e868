import { describe, expect, test } from 'vitest';
import { bareMachine } from '../../test/kernel.ts';
import type { Kernel } from '../space/kernel.ts';
import { C_STATE, CPU_ATTACHED, CPU_DEAD, CPU_FREE, CPU_GAVE_UP } from '../sync/control.layout.ts';
import { inHands, takeUp, waitingGroups } from './waiting.ts';

/** Cpus 0 (who looks) to 4, each with the state that is given: `[kind, the cpu that is at it]`. */
function scene(states: Readonly<Record<number, readonly [number, number?]>>) {
  const bare = bareMachine();
  const kernels: Kernel[] = [bare.kernel, ...Array.from({ length: 4 }, () => bare.another())];
  const at = (id: number): number => (kernels[id] as Kernel).cpu.base + C_STATE;
  for (const [id, [kind, by = -1]] of Object.entries(states)) bare.words[at(Number(id))] = inHands(kind, by + 1);
  const groups = () =>
    waitingGroups(bare.kernel)
      .map(({ cpus, root }) => ({ cpus, root }))
      .sort((a, b) => a.root - b.root);
  return { ...bare, groups, at };
}

describe('whose work waits', () => {
  test('is each cpu that is dead or has given up, by itself, when nobody is at it', () => {
    const { groups } = scene({ 1: [CPU_DEAD], 2: [CPU_GAVE_UP], 3: [CPU_ATTACHED] });
    expect(groups()).toEqual([
      { cpus: [1], root: 1 },
      { cpus: [2], root: 2 },
    ]);
  });

  test('is not what a living thread is at, nor what hangs from that', () => {
    const { groups } = scene({ 1: [CPU_DEAD, 3], 2: [CPU_DEAD, 1], 4: [CPU_GAVE_UP, 4] });
    expect(groups()).toEqual([]);
  });

  test('goes together with what it was at itself', () => {
    const { groups } = scene({ 1: [CPU_DEAD], 2: [CPU_DEAD, 1], 3: [CPU_GAVE_UP, 2], 4: [CPU_GAVE_UP] });
    expect(groups()).toEqual([
      { cpus: [1, 2, 3], root: 1 },
      { cpus: [4], root: 4 },
    ]);
  });

  test('is this cpu’s own, with what it had begun; what it is not at any more by itself', () => {
    expect(scene({ 0: [CPU_GAVE_UP], 1: [CPU_DEAD, 0] }).groups()).toEqual([{ cpus: [0, 1], root: 0 }]);
    expect(scene({ 0: [CPU_GAVE_UP, 0] }).groups()).toEqual([{ cpus: [0], root: 0 }]);
    expect(scene({ 1: [CPU_DEAD, 0] }).groups()).toEqual([{ cpus: [1], root: 1 }]);
  });

  test('is a ring of dead that have each other’s, and one that died at its own', () => {
    const { groups } = scene({ 1: [CPU_DEAD, 2], 2: [CPU_DEAD, 3], 3: [CPU_DEAD, 1], 4: [CPU_DEAD, 4] });
    expect(groups()).toEqual([
      { cpus: [1, 2, 3], root: 1 },
      { cpus: [4], root: 4 },
    ]);
  });

  test('is that of a cpu whose finisher has left', () => {
    expect(scene({ 1: [CPU_DEAD, 2], 2: [CPU_FREE] }).groups()).toEqual([{ cpus: [1], root: 1 }]);
  });
});

describe('a group', () => {
  test('is taken up whole', () => {
    const { kernel, words, at } = scene({ 1: [CPU_DEAD], 2: [CPU_GAVE_UP, 1] });
    const [group] = waitingGroups(kernel);
    expect(group && takeUp(kernel, group)).toBe(true);
    expect([words[at(1)], words[at(2)]]).toEqual([inHands(CPU_DEAD, 1), inHands(CPU_GAVE_UP, 1)]);
  });

  test('is left as it was when somebody else was first with one of it, also if that one dies meanwhile', () => {
    const { kernel, words, at } = scene({ 1: [CPU_GAVE_UP], 2: [CPU_DEAD, 1], 3: [CPU_DEAD, 1] });
    const [group] = waitingGroups(kernel);
    words[at(3)] = inHands(CPU_DEAD, 5);
    expect(group && takeUp(kernel, group)).toBe(false);
    expect([1, 2, 3].map((id) => words[at(id)])).toEqual([CPU_GAVE_UP, inHands(CPU_DEAD, 2), inHands(CPU_DEAD, 5)]);
  });
});
