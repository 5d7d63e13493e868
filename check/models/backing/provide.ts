/** Pages that were read beforehand, with nothing held, and are put into the cache: `populate` where a thread cannot read. */

import type { Vpn } from '../../../src/base/brands.ts';
import { absentPages, providePages } from '../../../src/fault/absent.ts';
import type { Faulter } from '../../../src/fault/faulter.ts';
import { MAP_SHARED } from '../../../src/index.ts';
import type { Model } from '../../model.ts';
import { audit, BASE, byteOf, type Hands, hands, machineModel, P } from '../world.ts';
import { counting, describe, type FileWorld, fileWorld, isFile, mapFile, READS } from './index.ts';

const ELSEWHERE: number = BASE + 0x1000_0000;

/** The steps of `populate` for one page: which one, its bytes, into the cache. The bytes are made here; nobody is asked for them. */
function bring({ space }: Hands, between: () => void = () => undefined): string {
  const faulter = (space as unknown as { _open: { faulter: Faulter } })._open.faulter;
  const vpn = (BASE / P) as Vpn;
  const pages = absentPages(faulter, vpn, 1);
  between();
  if (pages === undefined) return 'there';
  providePages(faulter, vpn, pages, new Uint8Array(P).fill(byteOf(1, 0)));
  return 'brought';
}

const provideRead = machineModel<FileWorld>({
  name: 'provide-read',
  title: 'a page is put into the cache that another thread reads itself',
  invariant: 'I9, I21: who comes first decides; both see the file',
  preemptions: 2,
  longPreemptions: 3,
  setup: () =>
    fileWorld(({ machine, space }) => {
      mapFile(space, machine.createFile('counted', { file: 1 }, P), BASE, 1, MAP_SHARED);
    }),
  describe,
  threads: [
    {
      name: 'bringer',
      prepare: counting,
      run: (all: Hands) => {
        bring(all);
        return isFile(all.space, BASE, 1, 0);
      },
    },
    { name: 'reader', prepare: counting, run: ({ space }: Hands) => isFile(space, BASE + 4, 1, 0) },
  ],
  check({ shared }) {
    audit(shared);
    const reads = shared.io[READS] as number;
    if (reads > 1) throw new Error(`the page was read ${reads} times`);
  },
  outcomes: ['[true,true]'],
});

const provideMunmap = machineModel<FileWorld>({
  name: 'provide-munmap',
  title: 'a page is put into the cache of a file that goes away, and whose record becomes another file’s',
  invariant: 'I7, I21: never a page of the old file in the new one',
  preemptions: 2,
  longPreemptions: 3,
  setup: () =>
    fileWorld(({ machine, space }) => {
      const file = machine.createFile('counted', { file: 1 }, P);
      mapFile(space, file, BASE, 1, MAP_SHARED);
      file.close();
    }),
  describe,
  threads: [
    {
      name: 'bringer',
      prepare: counting,
      run: (all: Hands) => {
        bring(all);
        return 0;
      },
    },
    {
      name: 'mapper',
      prepare: counting,
      run: ({ machine, space }: Hands) => {
        space.munmap(BASE, P);
        machine.drain();
        const file = machine.createFile('counted', { file: 2 }, P);
        mapFile(space, file, ELSEWHERE, 1, MAP_SHARED);
        return isFile(space, ELSEWHERE, 2, 0);
      },
    },
  ],
  check({ shared }) {
    audit(shared);
    const seen = isFile(hands(shared).space, ELSEWHERE, 2, 0);
    if (seen !== true) throw new Error('the new file has another one’s bytes');
  },
  outcomes: ['[0,true]'],
});

export const provideModels = [provideRead, provideMunmap] as unknown as readonly Model<unknown>[];
