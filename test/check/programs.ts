/** Small random programs over a few shared words: what the reduced search must find all outcomes of. */
import { add, cas, load, notify, peek, peekRacy, poke, store, wait } from '#atomics';
import { defineModel, type Model } from '../../check/model.ts';

interface Words {
  readonly words: Int32Array;
}
type Step = readonly [kind: string, word: number, value: number];

export const PROGRAMS = 40;
const WORDS = 3;

function randomOf(seed: number): (below: number) => number {
  let x = (seed + 1) * 0x9e3779b1;
  return (below) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % below;
  };
}

export function programOf(seed: number): Step[][] {
  const random = randomOf(seed);
  const threads = 2 + random(2);
  const length = threads === 2 ? 5 : 3;
  const kinds = ['load', 'load', 'store', 'store', 'add', 'cas', 'await', 'peek', 'poke', 'marked'];
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
    case 'peek':
      return peek(words, word);
    case 'marked':
      return peekRacy(words, word, 'returns old values too');
    default:
      poke(words, word, value + 10);
      return -1;
  }
}

export const models: readonly Model<Words>[] = Array.from({ length: PROGRAMS }, (_, seed) =>
  defineModel<Words>({
    name: `program-${seed}`,
    title: 'a random program',
    invariant: 'none',
    preemptions: 2,
    races: false,
    points: 'all',
    timeouts: 'allow',
    setup: () => ({ words: new Int32Array(new SharedArrayBuffer(64)) }),
    threads: programOf(seed).map((steps, i) => ({
      name: `t${i}`,
      run: ({ words }: Words) => {
        const seen = steps.map((step) => perform(words, step));
        // The last thread to end tells what the memory is.
        const ended = add(words, 8, 1);
        return ended === programOf(seed).length - 1 ? [...seen, ...Array.from(words.subarray(0, WORDS))] : seen;
      },
    })),
  }),
);
