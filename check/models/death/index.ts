/**
 * I27: a thread dies before any of its accesses in a call; another one, told of it, reaps it and works on. The death is a step of the
 * search like any other.
 */
import { MAP_FIXED, MAP_FIXED_NOREPLACE, MAP_PRIVATE, PROT_READ, type Space } from '../../../src/index.ts';
import type { Model, ThreadContext } from '../../model.ts';
import { ANON, audit, BASE, type Hands, hands, look, machineModel, makeFile, mapAnon, P, put, RW } from '../world.ts';
import { giveUpModels } from './give-up.ts';
import { type Bereaved, bereaved, type Mortal, mortal, mortalWorld } from './mortal.ts';

interface Case {
  readonly name: string;
  readonly title: string;
  /** What may be there afterwards at the page, as `look` says it; the survivor asks before it changes anything. */
  readonly after: readonly (number | string)[];
  readonly act: (space: Space) => void;
  readonly arrange?: (hands: Hands) => void;
  readonly preemptions?: number;
}

const P1: number = BASE + P;

function deathModel({ name, title, act, after, arrange, preemptions }: Case): Model<Mortal> {
  return machineModel<Mortal>({
    name: `death-${name}`,
    title: `a thread dies anywhere in ${title}; another one reaps it and uses the same pages`,
    invariant: 'I27: the machine works on: the layout is the old or the new one, nothing is lost, nobody hangs',
    preemptions: preemptions ?? 1,
    longPreemptions: 2,
    timeouts: 'allow',
    setup: () =>
      mortalWorld({}, (all) => {
        mapAnon(all.space, BASE, 3);
        all.space.store32(P1, 1);
        arrange?.(all);
      }),
    threads: [
      {
        name: 'victim',
        mortal: true,
        prepare: mortal,
        run: ({ space }: Hands) => {
          act(space);
          return 0;
        },
      },
      {
        name: 'survivor',
        prepare: bereaved,
        run: ({ machine, space, world }: Bereaved, context: ThreadContext) => {
          if (context.join('victim') && !machine.reapNow(world.victim[0] as number))
            throw new Error('there was nobody to reap');
          const there = look(space, P1);
          const mapped = space.maps().some(({ start, end }) => start <= P1 && P1 < end);
          if (mapped !== (there !== 'SEGV_MAPERR'))
            throw new Error(`the page is ${there}, but in the layout: ${mapped}`);
          audit(world);
          // The same pages are good for everything.
          space.mmap({ addr: P1, length: P, prot: RW, flags: ANON | MAP_FIXED });
          if (put(space, P1, 5) !== 'ok' || look(space, P1) !== 5) throw new Error('the page cannot be used');
          space.munmap(P1, P);
          if (look(space, P1) !== 'SEGV_MAPERR') throw new Error('the page cannot be unmapped');
          return there;
        },
      },
    ],
    check({ shared, results }) {
      audit(shared);
      if (!after.includes(results[1] as number | string)) throw new Error(`afterwards the page is ${results[1]}`);
    },
  });
}

const file = ({ machine, space }: Hands): void => {
  const mapped = machine.attachFile(makeFile(machine, 1, 4));
  space.mmap({
    addr: BASE + 16 * P,
    length: 2 * P,
    prot: PROT_READ,
    flags: MAP_PRIVATE | MAP_FIXED_NOREPLACE,
    file: mapped,
    offset: 0,
  });
};

export const deathModels = [
  deathModel({
    name: 'mmap',
    title: 'mmap of a hole',
    after: [1],
    act: (space) => space.mmap({ length: P, prot: RW, flags: ANON }),
  }),
  deathModel({
    name: 'munmap',
    title: 'munmap of a written page',
    after: [1, 'SEGV_MAPERR'],
    act: (space) => space.munmap(P1, P),
  }),
  deathModel({
    name: 'mprotect',
    title: 'mprotect to read-only, which splits the mapping',
    after: [1],
    act: (space) => space.mprotect(P1, P, PROT_READ),
  }),
  deathModel({
    name: 'fixed',
    title: 'MAP_FIXED over a written page',
    // Dying half way may leave the range empty: see docs/locking.md.
    after: [1, 0, 'SEGV_MAPERR'],
    act: (space) => space.mmap({ addr: P1, length: P, prot: RW, flags: ANON | MAP_FIXED }),
  }),
  deathModel({
    name: 'fault-anon',
    title: 'a write fault',
    after: [1],
    act: (space) => space.store32(BASE, 7),
  }),
  deathModel({
    name: 'fault-file',
    title: 'a read fault on a file, its I/O included',
    after: [1],
    arrange: file,
    act: (space) => space.load32(BASE + 16 * P),
  }),
  machineModel<Mortal>({
    name: 'death-munmap-bystander',
    title: 'a thread dies anywhere in munmap, while another one faults in the same range and a third reaps',
    invariant: 'I27: who meets the dead thread’s locks and half-done work goes on once it is reaped',
    preemptions: 0,
    longPreemptions: 1,
    timeouts: 'allow',
    setup: () =>
      mortalWorld({}, ({ space }) => {
        mapAnon(space, BASE, 3);
        space.store32(P1, 1);
      }),
    threads: [
      {
        name: 'victim',
        mortal: true,
        prepare: mortal,
        run: ({ space }: Hands) => {
          space.munmap(BASE, P);
          return 0;
        },
      },
      {
        name: 'survivor',
        prepare: bereaved,
        run: ({ machine, space, world }: Bereaved, context: ThreadContext) => {
          if (context.join('victim')) machine.reapNow(world.victim[0] as number);
          return look(space, P1);
        },
      },
      { name: 'bystander', prepare: hands, run: ({ space }: Hands) => put(space, BASE, 7) },
    ],
    check({ shared, results }) {
      audit(shared);
      if (results[2] !== 'ok' && results[2] !== 'SEGV_MAPERR') throw new Error(`the bystander got ${results[2]}`);
    },
  }),
  ...giveUpModels,
] as unknown as readonly Model<unknown>[];
