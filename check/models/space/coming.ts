/** Threads that come and go: attach, one call, close; beside others that do the same, and one that looks for memory in all slots. */
import { CPUS_USED } from '../../../src/sync/control.layout.ts';
import type { Model } from '../../model.ts';
import {
  anotherCpu,
  audit,
  BASE,
  type Hands,
  hands,
  look,
  machineModel,
  makeWorld,
  mapAnon,
  P,
  put,
  type World,
} from '../world.ts';

/** Three written pages, and slots that were used before: the threads get those that are free. */
const used = (cpus: number): World =>
  makeWorld({}, ({ machine, space }) => {
    mapAnon(space, BASE, 3);
    for (let page = 0; page < 3; page++) space.store32(BASE + page * P, page + 1);
    const others = Array.from({ length: cpus }, () => anotherCpu(machine.handle));
    for (const other of others) other.close();
    return {};
  });

/** Attaches, makes one call, and leaves, all of it explored. */
const guest = (name: string, call: (hands: Hands) => unknown) => ({
  name,
  prepare: (world: World) => world,
  run: (world: World) => {
    const machine = anotherCpu(world.machine);
    const space = machine.attachSpace(world.space);
    const seen = call({ machine, space });
    machine.close();
    return seen;
  },
});
/** As `Reclaim` does when no frame is free. */
const walker = {
  name: 'walker',
  prepare: hands,
  run: ({ machine }: Hands) => {
    machine.kernel.rcu.freeAllRetired();
    return 0;
  },
};

/** Nobody is left but the machine's maker and those who were prepared. */
const leftAlone =
  (cpus: number) =>
  ({ shared }: { readonly shared: World }): void => {
    audit(shared);
    const machine = anotherCpu(shared.machine);
    const words = machine.kernel.words;
    const threads = machine.cpus().length - 1;
    machine.close();
    if (threads > cpus) throw new Error(`${threads} of ${words[CPUS_USED]} slots are in use, not ${cpus}`);
  };

const comingBesideReclaim = machineModel<World>({
  name: 'coming-reclaim',
  title: 'a thread attaches, loads a word and closes, while another one frees what all slots have retired',
  invariant: 'a slot’s retire lock is its holder’s, also while the slot changes hands',
  preemptions: 2,
  longPreemptions: 3,
  setup: () => used(2),
  threads: [walker, guest('guest', ({ space }) => look(space, BASE))],
  outcomes: ['[0,1]'],
  check: leftAlone(3),
});

const comingAfterUnmap = machineModel<World>({
  ...comingBesideReclaim,
  name: 'coming-retired',
  title:
    'a thread attaches, unmaps a page and closes; another one comes after it; a third frees what all slots have retired',
  invariant: 'what a thread has retired before it left is freed once, and its slot is not given away before',
  preemptions: 1,
  longPreemptions: 2,
  threads: [
    guest('unmapper', ({ space }) => space.munmap(BASE + P, P)),
    guest('guest', ({ space }) => look(space, BASE)),
    walker,
  ],
  outcomes: ['[null,1,0]'],
});

const comingTogether = machineModel<World>({
  ...comingBesideReclaim,
  name: 'coming-together',
  title: 'two threads attach, store a word and close',
  invariant: 'a slot has one user; who leaves takes nothing from who comes',
  preemptions: 2,
  threads: ['a', 'b'].map((name, i) => guest(name, ({ space }) => put(space, BASE + i * P, 7))),
  outcomes: ['["ok","ok"]'],
});

export const comingModels = [
  comingBesideReclaim,
  comingAfterUnmap,
  comingTogether,
] as unknown as readonly Model<unknown>[];
