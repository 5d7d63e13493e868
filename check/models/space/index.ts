/** A space: layout changes against faults, table teardown, the TLB and the grace period. One file per call. */

import type { Model } from '../../model.ts';
import { faultModels } from './fault.ts';
import { lookupModels } from './lookup.ts';
import { mmapModels } from './mmap.ts';
import { mprotectModels } from './mprotect.ts';
import { munmapModels } from './munmap.ts';
import { runModels } from './run.ts';

export const spaceModels: readonly Model<never>[] = [
  ...lookupModels,
  ...munmapModels,
  ...mmapModels,
  ...mprotectModels,
  ...faultModels,
  ...runModels,
];
