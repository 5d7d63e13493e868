/** Lookups and dumps of the layout (`maps`). */
import type { Vpn } from '../../../src/base/brands.ts';
import { PROT_READ } from '../../../src/index.ts';
import { rootOf } from '../../../src/space/layout.ts';
import type { Model } from '../../model.ts';
import { type Hands, hands, machineModel, P, RW, type World } from '../world.ts';
import { P0, P2, threePages } from './pages.ts';

const rootLookup = machineModel<World>({
  name: 'root-lookup',
  title: 'a lookup and a dump of the layout, while the mappings around are split, merged and replaced',
  invariant: 'I1: a lookup returns a VMA that was published at some instant of the call; a dump is one layout',
  preemptions: 4,
  setup: () => threePages(),
  threads: [
    {
      name: 'writer',
      prepare: hands,
      run: ({ space }: Hands) => {
        space.mprotect(P0, P, PROT_READ); // splits
        space.mprotect(P0, P, RW); // merges
        return 0;
      },
    },
    {
      name: 'reader',
      prepare: hands,
      run: ({ machine: { kernel: k }, space }: Hands) => {
        const mm = space.handle.space as never;
        const rights = k.rcu.walking(() => {
          const v = k.tree.find(rootOf(k, mm), (P2 / P) as Vpn);
          return v === 0 ? 'missed' : `${k.vmas.flags(v) & 3}`;
        });
        const maps = space.maps().map(({ start, end, prot }) => `${(start - P0) / P}-${(end - P0) / P}:${prot}`);
        return `${rights} ${maps.join(' ')}`;
      },
    },
  ],
  outcomes: ['[0,"3 0-3:3"]', '[0,"3 0-1:1 1-3:3"]'],
});

export const lookupModels: readonly Model<never>[] = [rootLookup] as unknown as readonly Model<never>[];
