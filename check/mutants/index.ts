/** All mutants. Only the tests import them. */
import { backingMutants } from './backing.ts';
import { comingMutants } from './coming.ts';
import { deathMutants } from './death.ts';
import { futexMutants } from './futex.ts';
import { memoryMutants } from './memory.ts';
import type { Mutant } from './mutant.ts';
import { spaceMutants } from './space.ts';
import { syncMutants } from './sync.ts';
import { syncDeathMutants } from './sync-deaths.ts';

export const mutants: readonly Mutant[] = [
  ...syncMutants,
  ...syncDeathMutants,
  ...futexMutants,
  ...memoryMutants,
  ...spaceMutants,
  ...comingMutants,
  ...backingMutants,
  ...deathMutants,
];
