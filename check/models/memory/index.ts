/** The slab and the frame allocator, with magazines small enough that every call meets the shared pool. */
import type { Pfn } from '../../../src/base/brands.ts';
import { CACHED, FREE, KEPT, LIVE, OWNED, stateKind } from '../../../src/memory/ownership.ts';
import { P_LINK, P_STATE } from '../../../src/memory/page.layout.ts';
import type { Kernel } from '../../../src/space/kernel.ts';
import { poke } from '../../../src/sync/atomics.checked.ts';
import { FRAME_BUMP } from '../../../src/sync/control.layout.ts';
import type { Model } from '../../model.ts';
import { BASE, hands, machineModel, makeWorld, mapAnon, P, type World } from '../world.ts';

const kernel = (world: World): Kernel => hands(world).machine.kernel;

function slabUser(name: string) {
  return {
    name,
    prepare: kernel,
    run: ({ slabs: { vma } }: Kernel) => {
      const taken = [vma.alloc(), vma.alloc(), vma.alloc(), vma.alloc()];
      vma.free(taken[0] as number);
      vma.free(taken[1] as number);
      const again = [vma.alloc(), vma.alloc()];
      for (const record of [taken[2] as number, again[0] as number]) vma.free(record);
      vma.free(again[1] as number);
      vma.flush();
      return [taken[3], ...taken.slice(0, 3), ...again];
    },
  };
}

const slab = machineModel<World>({
  name: 'slab',
  title: 'two threads take records from a slab and give them back, through refills and drains',
  invariant: 'no record is in two hands at once; at the end each is free but for those kept (I26)',
  preemptions: 4,
  setup: () => makeWorld({}, () => ({})),
  threads: [slabUser('a'), slabUser('b')],
  check({ shared, results }) {
    const kept = results.map((result) => (result as number[])[0]);
    if (kept[0] === kept[1]) throw new Error(`record ${kept[0]} has two owners`);
    const { owned, live } = hands(shared).machine.kernel.slabs.vma.census();
    if (owned !== 2 || live !== 0)
      throw new Error(`${owned} records are owned, not the 2 that were kept; ${live} live`);
  },
});

function frameUser(name: string) {
  return {
    name,
    prepare: kernel,
    run: ({ frames }: Kernel) => {
      const taken: number[] = [];
      for (let i = 0; i < 3; i++) {
        const pfn = frames.alloc();
        if (pfn !== 0) taken.push(pfn);
      }
      const kept = taken.length > 1 ? taken.slice(1) : taken;
      if (taken.length > 1) frames.free(taken[0] as Pfn);
      frames.flush();
      return kept;
    },
  };
}

/** A machine of which all but `free` frames are in use. */
function fullWorld(free: number): World {
  return makeWorld({}, ({ machine, space }) => {
    const pages = machine.kernel.frames.total - 1 - free;
    mapAnon(space, BASE, pages);
    for (let i = 0; i < pages; i++) space.store32(BASE + i * P, 1);
    machine.kernel.frames.flush();
    return {};
  });
}

/** Every frame is in use as before, in the hands of one of the threads, or free. */
function checkFrames(world: World, results: number[][], free: number): void {
  const kept = results.flat();
  if (new Set(kept).size !== kept.length) throw new Error(`a frame has two owners: ${JSON.stringify(results)}`);
  const { frames: pool, words } = hands(world).machine.kernel;
  const counts: Record<number, number> = {};
  for (let pfn = 1; pfn < pool.total; pfn++) {
    const kind =
      pfn >= (words[FRAME_BUMP] as number) ? FREE : stateKind(words[pool.pageOf(pfn as Pfn) + P_STATE] as number);
    counts[kind] = (counts[kind] ?? 0) + 1;
  }
  const spare = (counts[FREE] ?? 0) + (counts[CACHED] ?? 0) + (counts[KEPT] ?? 0);
  if ((counts[OWNED] ?? 0) !== kept.length)
    throw new Error(`${counts[OWNED]} frames are owned, ${kept.length} were kept`);
  if (spare !== free - kept.length) throw new Error(`${spare} frames are free, not ${free - kept.length}`);
  if (counts[LIVE] !== pool.total - 1 - free) throw new Error(`${counts[LIVE]} frames are live`);
}

const frames = machineModel<World>({
  name: 'frames',
  title: 'two threads take the last frames of the machine and give some back',
  invariant: 'no frame is in two hands; none is lost; when there is none, alloc says so',
  preemptions: 4,
  setup: () => fullWorld(4),
  threads: [frameUser('a'), frameUser('b')],
  check: ({ shared, results }) => checkFrames(shared, results as number[][], 4),
});

/** Gives a frame back as a chain of one, takes it or another again, and what the others keep. */
function thief(name: string) {
  return {
    name,
    prepare: kernel,
    run: ({ frames, words }: Kernel) => {
      const use = (pfn: Pfn): void => poke(words, frames.pageOf(pfn) + P_LINK, 0);
      const kept: number[] = [];
      const own = frames.alloc();
      if (own !== 0) {
        use(own);
        frames.markRetired(frames.pageOf(own));
        frames.freeRetired(frames.pageOf(own));
      }
      for (let i = 0; i < 2; i++) {
        const pfn = frames.alloc() || frames.steal();
        if (pfn === 0) continue;
        use(pfn);
        kept.push(pfn);
      }
      frames.flush();
      return kept;
    },
  };
}

const framesStolen = machineModel<World>({
  name: 'frames-stolen',
  title: 'two threads take the last frames, give some back, and steal what the other has in its cache',
  invariant: 'no frame is in two hands; none is lost; nothing done with a frame races with its next owner',
  preemptions: 3,
  setup: () => fullWorld(2),
  threads: [thief('a'), thief('b')],
  check: ({ shared, results }) => checkFrames(shared, results as number[][], 2),
});

export const memoryModels = [slab, frames, framesStolen] as unknown as readonly Model<unknown>[];
