/** All models of the memory manager. */
import type { Model } from '../model.ts';

export const models: readonly Model<unknown>[] = [];
