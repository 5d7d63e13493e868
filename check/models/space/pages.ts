/** Where the models of a space have their pages. */
import type { DesignName } from '../../../src/index.ts';
import { LEAF_PAGES } from '../../../src/paging/table.layout.ts';
import { BASE, makeWorld, mapAnon, P, type World } from '../world.ts';

export const P0 = BASE;
export const P1: number = BASE + P;
export const P2: number = BASE + 2 * P;
/** Bytes that one leaf covers. */
export const LEAF: number = LEAF_PAGES * P;

/** Three pages, of which the middle one has been written: tables and leaf are there. */
export const threePages = (design: DesignName = 'rcu'): World =>
  makeWorld({ design }, ({ space }) => {
    mapAnon(space, P0, 3);
    space.store32(P1, 1);
    return {};
  });
