/**
 * Calls that give up: a thread dies with a lock, another one meets the lock in the middle of a call and does not wait for ever. Its
 * cpu is recovered by the code that reaps.
 */
import { MAP_FIXED_NOREPLACE, MAP_PRIVATE, PROT_READ, type Space, VmError } from '../../../src/index.ts';
import type { Model, ThreadContext } from '../../model.ts';
import { audit, BASE, type Hands, look, machineModel, makeFile, mapAnon, P, put, wordOf } from '../world.ts';
import { type Bereaved, bereaved, type Mortal, mortal, mortalWorld } from './mortal.ts';

interface Case {
  readonly name: string;
  readonly title: string;
  readonly arrange: (hands: Hands) => void;
  readonly victim: (space: Space) => unknown;
  readonly other: (space: Space) => number | string;
  /** What is done when the dead one has been reaped. */
  readonly again: (space: Space) => number | string;
  /** What both come to, unless the first is given up. */
  readonly result: number | string;
  /** Who reaps: the thread that gave up, or a third one when both others have ended. */
  readonly reaper: 'other' | 'third';
}

/** Where a file is mapped twice, far apart. */
const HERE: number = BASE + 0x100000;
const THERE: number = BASE + 0x40000000;

function giveUpModel({ name, title, arrange, victim, other, again, result, reaper }: Case): Model<Mortal> {
  const afterwards = ({ machine, space, world }: Bereaved, context: ThreadContext): number | string => {
    if (context.join('victim')) machine.reapNow(world.victim[0] as number);
    return again(space);
  };
  return machineModel<Mortal>({
    name: `give-up-${name}`,
    title: `a thread dies anywhere in ${title}; ${reaper === 'other' ? 'that one' : 'a third'} reaps`,
    invariant: 'I27: a call that gives up leaves nothing behind once the dead thread is reaped, and works then',
    preemptions: 0,
    longPreemptions: 1,
    timeouts: 'allow',
    // Each comes up: the call is made in time, or is given up.
    outcomes: [result, 'ETIMEDOUT'].map((first) =>
      JSON.stringify(reaper === 'other' ? [null, [first, result]] : [null, [first], result]),
    ),
    setup: () => mortalWorld({ stallTimeout: 1 }, arrange),
    threads: [
      { name: 'victim', mortal: true, prepare: mortal, run: ({ space }: Hands) => void victim(space) },
      {
        name: 'other',
        prepare: (world: Mortal) => warm(bereaved(world)),
        run: (all: Bereaved, context: ThreadContext) => {
          const first = unlessGivenUp(() => other(all.space));
          return reaper === 'other' ? [first, afterwards(all, context)] : [first];
        },
      },
      ...(reaper === 'other'
        ? []
        : [
            {
              name: 'third',
              prepare: bereaved,
              run: (all: Bereaved, context: ThreadContext) => {
                context.join('other');
                return afterwards(all, context);
              },
            },
          ]),
    ],
    check({ shared }) {
      audit(shared);
    },
  });
}

/** Leaves records and frames in the cpu's magazines: whoever recovers it takes them. */
function warm(all: Bereaved): Bereaved {
  const { machine, space } = all;
  mapAnon(space, BASE + 32 * P, 2);
  for (const page of [32, 33]) space.store32(BASE + page * P, 1);
  space.munmap(BASE + 32 * P, 2 * P);
  machine.drain();
  return all;
}

function unlessGivenUp<T>(act: () => T): T | 'ETIMEDOUT' {
  try {
    return act();
  } catch (error) {
    if (error instanceof VmError && error.code === 'ETIMEDOUT') return 'ETIMEDOUT';
    throw error;
  }
}

/** The first page is behind the mapping at `touched`. */
function mapTwice({ machine, space }: Hands, touched: number): void {
  const file = machine.attachFile(makeFile(machine, 1, 2));
  for (const addr of [HERE, THERE]) {
    space.mmap({ addr, length: 2 * P, prot: PROT_READ, flags: MAP_PRIVATE | MAP_FIXED_NOREPLACE, file });
  }
  space.load32(touched);
}

/** The munmap that was given up has been done in the end. New memory is new. */
function unmappedWhole(space: Space): number | string {
  if (space.maps().some(({ start }) => start === THERE)) throw new Error('an munmap was not finished');
  for (let at = BASE; at < BASE + 12 * P; at += 2 * P) {
    mapAnon(space, at, 1);
    if (put(space, at, 1) !== 'ok') throw new Error('there is no new memory');
  }
  return look(space, THERE);
}

export const giveUpModels = [
  giveUpModel({
    name: 'fault',
    title: 'munmap of a written page, while another faults in the same page table',
    arrange: ({ space }) => {
      mapAnon(space, BASE, 3);
      space.store32(BASE, 1);
    },
    victim: (space) => space.munmap(BASE, P),
    other: (space) => put(space, BASE + P, 7),
    again: (space) => put(space, BASE + P, 8),
    result: 'ok',
    reaper: 'third',
  }),
  giveUpModel({
    name: 'rmap',
    title: 'munmap of a page of a file, while another reads the same page elsewhere',
    arrange: (all) => mapTwice(all, HERE),
    victim: (space) => space.munmap(HERE, 2 * P),
    other: (space) => look(space, THERE),
    again: (space) => look(space, THERE),
    result: wordOf(1, 0),
    reaper: 'other',
  }),
  giveUpModel({
    name: 'munmap',
    title: 'a fault on a page of a file, while another unmaps the same page elsewhere',
    arrange: (all) => mapTwice(all, THERE),
    victim: (space) => space.load32(HERE),
    other: (space) => {
      space.munmap(THERE, 2 * P);
      return 'SEGV_MAPERR';
    },
    again: unmappedWhole,
    result: 'SEGV_MAPERR',
    reaper: 'other',
  }),
] as unknown as readonly Model<unknown>[];
