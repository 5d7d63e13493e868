/** The same properties in deep, narrow trees, where splits and merges of nodes are the rule. */
import { vi } from 'vitest';

vi.mock('../base/tunables.ts', async (original) => ({
  ...(await original<typeof import('../base/tunables.ts')>()),
  TREE_FANOUT: 4,
  TREE_MIN: 2,
  MAGAZINE: 3,
  RETIRE_BATCH: 2,
}));

await import('./layout-property.test.ts');
await import('./tree.test.ts');
