import { expect, test } from 'vitest';
import { DESIGN_NAMES, DESIGNS, designById, designByName } from './designs.ts';

test('each design has a name and a number of its own, by which every thread finds the same', () => {
  expect(DESIGNS.map(({ name }) => name).sort()).toEqual([...DESIGN_NAMES].sort());
  expect(new Set(DESIGNS.map(({ id }) => id)).size).toBe(DESIGNS.length);
  for (const design of DESIGNS) {
    expect(designByName(design.name)).toBe(design);
    expect(designById(design.id)).toBe(design);
  }
  expect([designByName('none'), designById(0), designById(99)]).toEqual([undefined, undefined, undefined]);
});
