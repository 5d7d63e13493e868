/** Small random programs over a few shared words: what the reduced search must find all outcomes of. */
import { add, cas, load, notify, pause, peek, peekRacy, poke, store, wait } from '#atomics';
import { defineModel, type Model } from '../../check/model.ts';

interface Words {
  readonly words: Int32Array;
}
type Step = readonly [kind: string, word: number, value: number];

export const PROGRAMS = 40;
const WORDS = 3;

/** What the programs of a family are made of, and how they are explored. */
const FAMILIES = {
  /** Plain accesses are places of the schedule too. */
  plain: { kinds: ['load', 'load', 'store', 'store', 'add', 'cas', 'await', 'peek', 'poke', 'marked'], points: 'all' },
  /** The places of the schedule are those of every model; threads spin, and may die. */
  sync: { kinds: ['load', 'store', 'store', 'add', 'cas', 'await', 'spin', 'retry', 'marked'], points: 'sync' },
} as const;
export type Family = keyof typeof FAMILIES;

function randomOf(seed: number): (below: number) => number {
  let x = (seed + 1) * 0x9e3779b1;
  return (below) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % below;
  };
}

export function programOf(family: Family, seed: number): Step[][] {
  const random = randomOf(seed);
  const threads = 2 + random(2);
  const length = threads === 2 ? 5 : 3;
  const { kinds } = FAMILIES[family];
  return Array.from({ length: threads }, () =>
    Array.from({ length }, (): Step => [kinds[random(kinds.length)] as string, random(WORDS), 1 + random(3)]),
  );
}

function perform(words: Int32Array, [kind, word, value]: Step): number {
  switch (kind) {
    case 'load':
      return load(words, word);
    case 'store':
      store(words, word, value);
      notify(words, word, 1);
      return -1;
    case 'add':
      return add(words, word, value);
    case 'cas':
      return cas(words, word, value - 1, value);
    case 'await':
      // Sleeps while the word is 0, but not for ever.
      return wait(words, word, 0, 5) === 'timed-out' ? -2 : -3;
    case 'spin':
      for (let i = 0; i < 3 && load(words, word) === 0; i++) pause();
      return load(words, word);
    case 'retry':
      for (let i = 0; i < 5; i++) if (load(words, word) === value) return i > 0 ? -5 : -6;
      return -7;
    case 'peek':
      return peek(words, word);
    case 'marked':
      return peekRacy(words, word, 'returns old values too');
    default:
      poke(words, word, value + 10);
      return -1;
  }
}

const programs = (family: Family): Model<Words>[] =>
  Array.from({ length: PROGRAMS }, (_, seed) =>
    defineModel<Words>({
      name: `${family}-${seed}`,
      title: 'a random program',
      invariant: 'none',
      preemptions: 2,
      points: FAMILIES[family].points,
      ...(family === 'plain' ? { races: false } : {}),
      timeouts: 'allow',
      setup: () => ({ words: new Int32Array(new SharedArrayBuffer(64)) }),
      threads: programOf(family, seed).map((steps, i) => ({
        name: `t${i}`,
        mortal: family === 'sync' && i === 0 && seed % 4 === 0,
        run: ({ words }: Words) => {
          const seen = steps.map((step) => perform(words, step));
          // The last thread to end tells what the memory is.
          const ended = add(words, 8, 1);
          return ended === programOf(family, seed).length - 1
            ? [...seen, ...Array.from(words.subarray(0, WORDS))]
            : seen;
        },
      })),
    }),
  );
export const models: readonly Model<Words>[] = [...programs('plain'), ...programs('sync')];
