/** What is retired late, when the thread that takes it over dies, or the one that has retired it. */
import { FREE, LIVE, ownedBy, R_LINK, R_STATE, RETIRED } from '../../../src/memory/ownership.ts';
import { releaseSpinlocks } from '../../../src/recovery/reap-steps.ts';
import type { Kernel } from '../../../src/space/kernel.ts';
import { load, store } from '../../../src/sync/atomics.checked.ts';
import { C_RETIRE_LATE } from '../../../src/sync/control.layout.ts';
import type { End, Model, ThreadContext } from '../../model.ts';
import { machineModel, type World } from '../world.ts';
import { type Actor, actor, actorAs, type Cast, cast, cpuOf } from './roles.ts';
import { besideTheLists, describe, KIND, kernel, OBJECT, OTHER, waits } from './words.ts';

const OBJECTS: readonly number[] = [OBJECT, OTHER];

/** Our objects bear the name of whoever has retired them, as a slab's do. */
function keepsObjects(k: Kernel): Kernel {
  const { cpu, rcu, words } = k;
  rcu.registerReclaimer(KIND, {
    linkOf: (object) => object + R_LINK,
    free(object) {
      if (load(words, object + R_STATE) === FREE) throw new Error('an object was freed twice');
      store(words, object + R_STATE, FREE);
    },
    markRetired: (object) => store(words, object + R_STATE, ownedBy(RETIRED, cpu.tag)),
  });
  return k;
}

function retire({ cpu, rcu, words }: Kernel, object: number): void {
  store(words, object + R_STATE, ownedBy(RETIRED, cpu.tag));
  rcu.retire(KIND, object);
}

/** Has retired one object late. */
const owner = {
  name: 'owner',
  prepare: actorAs('owner', (k, world) => {
    keepsObjects(k);
    besideTheLists(k, kernel(world), () => retire(k, OBJECT));
  }),
};
/** What the first call takes over, the second one frees. */
const taker = {
  name: 'taker',
  prepare: actorAs('taker', keepsObjects),
  run: ({ k: { rcu }, cpus }: Actor) => {
    for (let i = 0; i < 2; i++) rcu.freeRetired(cpuOf(cpus, 'owner'));
  },
};
/** As reap.ts: locks, after what they protect was repaired; the lists; what bears the dead thread's name. */
const reaperOf = (role: 'owner' | 'taker') => ({
  name: 'reaper',
  prepare: (world: Cast): Actor => {
    const all = actor(world);
    keepsObjects(all.k);
    return all;
  },
  run: ({ k, cpus }: Actor, context: ThreadContext) => {
    if (!context.join(role)) return;
    const dead = cpuOf(cpus, role);
    releaseSpinlocks(k, dead);
    k.rcu.dropLists(dead);
    for (const object of OBJECTS) if (load(k.words, object + R_STATE) === ownedBy(RETIRED, dead + 1)) retire(k, object);
  },
});

function allFree({ shared, died }: End<World>): void {
  const { rcu, words } = keepsObjects(kernel(shared));
  for (let round = 0; round < 4; round++) rcu.freeAllRetired();
  for (const object of OBJECTS) {
    const state = words[object + R_STATE];
    const untouched = state === LIVE && died[0];
    if (state !== FREE && !untouched) throw new Error(`an object is left in state ${state}`);
  }
  if (rcu.pendingRetired() !== 0) throw new Error('something is still pending');
}

const thiefDies = machineModel<Cast>({
  name: 'rcu-late-thief',
  title: 'a thread dies anywhere in taking over what another one has retired late, while that one retires more',
  invariant: 'I27: what a dead thread was taking over is freed once, by the owner of the lists or by whoever reaps',
  preemptions: 1,
  longPreemptions: 2,
  setup: () => {
    const world = cast();
    const words = new Int32Array(world.machine.control);
    for (const object of OBJECTS) words[object + R_STATE] = LIVE;
    return world;
  },
  describe,
  waits,
  threads: [
    {
      ...owner,
      run: ({ k }: Actor, context: ThreadContext) => {
        retire(k, OTHER);
        context.join('reaper');
        k.rcu.freeRetired(k.cpu.id);
        if (load(k.words, k.cpu.base + C_RETIRE_LATE + KIND) !== 0) throw new Error('its owner has forgotten it');
      },
    },
    { ...taker, mortal: true },
    reaperOf('taker'),
  ],
  check: allFree,
});

const ownerDies = machineModel<Cast>({
  ...thiefDies,
  name: 'rcu-late-owner',
  title: 'a thread that has retired an object late dies anywhere in retiring another, while somebody takes them over',
  invariant: 'I27: what a dead thread has retired late is freed once, by who takes it over or by whoever reaps',
  threads: [
    {
      ...owner,
      mortal: true,
      run: ({ k }: Actor) => {
        retire(k, OTHER);
        k.rcu.freeRetired(k.cpu.id);
      },
    },
    taker,
    reaperOf('owner'),
  ],
});

export const lateModels = [thiefDies, ownerDies] as unknown as readonly Model<unknown>[];
