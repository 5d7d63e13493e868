/** All models of the library that must hold. (Those of the hazards are in a bundle of their own: some of them must fail.) */
import type { Model } from '../model.ts';
import { backingModels } from './backing/index.ts';
import { provideModels } from './backing/provide.ts';
import { deathModels } from './death/index.ts';
import { memoryModels } from './memory/index.ts';
import { comingModels } from './space/coming.ts';
import { historyModels } from './space/history.ts';
import { spaceModels } from './space/index.ts';
import { syncModels } from './sync/index.ts';

export const models: readonly Model<unknown>[] = [
  ...syncModels,
  ...memoryModels,
  ...(spaceModels as unknown as readonly Model<unknown>[]),
  ...(historyModels as unknown as readonly Model<unknown>[]),
  ...comingModels,
  ...backingModels,
  ...provideModels,
  ...deathModels,
];
