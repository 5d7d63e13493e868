// biome-ignore-all lint/complexity/noCommaOperator: a thread of a litmus test is a line: do this, do that, result
/**
 * Litmus tests of the checker itself: programs whose outcomes, or whose failure, are known. They pass when the search finds
 * exactly that.
 */
import { add, cas, load, notify, pause, peek, peekRacy, poke, pokeRacy, store, wait } from '#atomics';
import { defineModel, type Model } from '../model.ts';

interface Words {
  readonly words: Int32Array;
}

const words = (): Words => ({ words: new Int32Array(new SharedArrayBuffer(64)) });
const named =
  (...names: string[]) =>
  (_: unknown, _buffer: number, byte: number): string | undefined =>
    names[byte >> 2];

/** A litmus test, and what the checker must say of it. */
export interface Litmus {
  // biome-ignore lint/suspicious/noExplicitAny: models of different shared types in one list
  readonly model: Model<any>;
  /** The failure it must find; undefined: none. */
  readonly fails?: RegExp;
}

const storeBuffering = defineModel<Words>({
  name: 'litmus-store-buffering',
  title: 'each thread stores its own word and loads the other one',
  invariant: 'all Atomics are in one order: at least one load sees the other store',
  preemptions: 2,
  setup: words,
  describe: named('x', 'y'),
  threads: [
    { name: 'a', run: ({ words }: Words) => (store(words, 0, 1), load(words, 1)) },
    { name: 'b', run: ({ words }: Words) => (store(words, 1, 1), load(words, 0)) },
  ],
  outcomes: ['[0,1]', '[1,0]', '[1,1]'],
});

const messagePassing = defineModel<Words>({
  name: 'litmus-message-passing',
  title: 'a plain message behind an Atomics flag',
  invariant: 'who sees the flag sees the message, and there is no race',
  preemptions: 2,
  setup: words,
  describe: named('message', 'flag'),
  threads: [
    { name: 'sender', run: ({ words }: Words) => (poke(words, 0, 42), store(words, 1, 1), 0) },
    { name: 'receiver', run: ({ words }: Words) => (load(words, 1) === 1 ? peek(words, 0) : -1) },
  ],
  outcomes: ['[0,-1]', '[0,42]'],
});

const messageRace = defineModel<Words>({
  ...messagePassing,
  name: 'litmus-message-race',
  title: 'the same, but the flag is plain too',
  invariant: 'a plain flag orders nothing: the checker must report the race',
  threads: [
    { name: 'sender', run: ({ words }: Words) => (poke(words, 0, 42), poke(words, 1, 1), 0) },
    { name: 'receiver', run: ({ words }: Words) => (peek(words, 1) === 1 ? peek(words, 0) : -1) },
  ],
});

const iriw = defineModel<Words>({
  name: 'litmus-iriw',
  title: 'independent reads of independent writes, two writers and two readers',
  invariant: 'both readers see the two stores in the same order: [1,0] and [1,0] never come together',
  preemptions: 4,
  setup: words,
  describe: named('x', 'y'),
  threads: [
    { name: 'x', run: ({ words }: Words) => (store(words, 0, 1), 0) },
    { name: 'y', run: ({ words }: Words) => (store(words, 1, 1), 0) },
    { name: 'xy', run: ({ words }: Words) => `${load(words, 0)}${load(words, 1)}` },
    { name: 'yx', run: ({ words }: Words) => `${load(words, 1)}${load(words, 0)}` },
  ],
  outcomes: ['00', '01', '10', '11'].flatMap((xy) =>
    ['00', '01', '10', '11'].filter((yx) => !(xy === '10' && yx === '10')).map((yx) => `[0,0,"${xy}","${yx}"]`),
  ),
});

const lostWakeUp = defineModel<Words>({
  name: 'litmus-lost-wake-up',
  title: 'the sleeper looks, then sleeps on a word that the waker does not change',
  invariant: 'a wake-up between the look and the sleep is not lost',
  preemptions: 2,
  setup: words,
  describe: named('ready', 'bell'),
  threads: [
    {
      name: 'sleeper',
      run: ({ words }: Words) => {
        if (load(words, 0) === 0) wait(words, 1, 0, Number.POSITIVE_INFINITY);
        return load(words, 0);
      },
    },
    { name: 'waker', run: ({ words }: Words) => (store(words, 0, 1), notify(words, 1, 1), 0) },
  ],
});

const wakeUp = defineModel<Words>({
  ...lostWakeUp,
  name: 'litmus-wake-up',
  title: 'the same, sleeping on the very word that the waker changes',
  threads: [
    {
      name: 'sleeper',
      run: ({ words }: Words) => {
        if (load(words, 0) === 0) wait(words, 0, 0, Number.POSITIVE_INFINITY);
        return load(words, 0);
      },
    },
    { name: 'waker', run: ({ words }: Words) => (store(words, 0, 1), notify(words, 0, 1), 0) },
  ],
  outcomes: ['[1,0]'],
});

const missedNotify = defineModel<Words>({
  ...wakeUp,
  name: 'litmus-missed-notify',
  title: 'two sleepers on one word, and a waker that notifies one of them',
  invariant: 'everybody who sleeps is woken',
  threads: [
    wakeUp.threads[0] as (typeof wakeUp.threads)[0],
    { ...(wakeUp.threads[0] as (typeof wakeUp.threads)[0]), name: 'other' },
    { name: 'waker', run: ({ words }: Words) => (store(words, 0, 1), notify(words, 0, 1), 0) },
  ],
  outcomes: [],
});

/** A stack of nodes 1 and 2 in words: 0 is the head, n the next of node n. Popping looks at the head, then swaps it. */
function pop(words: Int32Array): number {
  for (;;) {
    const head = load(words, 0);
    if (head === 0) return 0;
    if (cas(words, 0, head, load(words, head)) === head) return head;
  }
}
function push(words: Int32Array, node: number): void {
  for (;;) {
    const head = load(words, 0);
    store(words, node, head);
    if (cas(words, 0, head, node) === head) return;
  }
}
const aba = defineModel<Words>({
  name: 'litmus-aba',
  title: 'a lock-free stack without a tag: pop against pop, pop, push',
  invariant: 'no node is in two hands',
  preemptions: 2,
  setup: () => {
    const shared = words();
    shared.words.set([1, 2, 0]);
    return shared;
  },
  describe: named('head', 'next of 1', 'next of 2'),
  threads: [
    { name: 'slow', run: ({ words }: Words) => [pop(words), pop(words)] },
    {
      name: 'quick',
      run: ({ words }: Words) => {
        const first = pop(words);
        const second = pop(words);
        if (first !== 0) push(words, first);
        return first === 0 ? [] : [second];
      },
    },
  ],
  check({ results }) {
    const held = (results.flat() as number[]).filter((node) => node !== 0);
    if (new Set(held).size !== held.length) throw new Error(`one node has two owners: ${JSON.stringify(results)}`);
  },
});

function counterIn(lock: (words: Int32Array) => void, unlock: (words: Int32Array) => void) {
  return {
    run: ({ words }: Words) => {
      lock(words);
      poke(words, 1, peek(words, 1) + 1);
      unlock(words);
      return 0;
    },
  };
}
const brokenSpin = counterIn(
  (words) => {
    while (load(words, 0) === 1);
    store(words, 0, 1);
  },
  (words) => store(words, 0, 0),
);
const brokenSpinlock = defineModel<Words>({
  name: 'litmus-broken-spinlock',
  title: 'a spinlock that tests and sets in two steps',
  invariant: 'one thread at a time is inside',
  preemptions: 2,
  setup: words,
  describe: named('lock', 'counter'),
  threads: [
    { name: 'a', ...brokenSpin },
    { name: 'b', ...brokenSpin },
  ],
  check({ shared }) {
    if (peek((shared as Words).words, 1) !== 2) throw new Error('an increment was lost');
  },
});
const goodSpin = counterIn(
  (words) => {
    while (cas(words, 0, 0, 1) !== 0);
  },
  (words) => store(words, 0, 0),
);
const spinlock = defineModel<Words>({
  ...brokenSpinlock,
  name: 'litmus-spinlock',
  title: 'a spinlock that tests and sets in one step',
  threads: [
    { name: 'a', ...goodSpin },
    { name: 'b', ...goodSpin },
  ],
});

const both = (first: number, second: number) => ({
  run: ({ words }: Words) => {
    for (const at of [first, second]) while (cas(words, at, 0, 1) !== 0) wait(words, at, 1, Number.POSITIVE_INFINITY);
    for (const at of [second, first]) {
      store(words, at, 0);
      notify(words, at, 1);
    }
    return 0;
  },
});
const deadlock = defineModel<Words>({
  name: 'litmus-deadlock',
  title: 'two locks, taken in opposite orders',
  invariant: 'somebody can always go on',
  preemptions: 2,
  setup: words,
  describe: named('first lock', 'second lock'),
  threads: [
    { name: 'a', ...both(0, 1) },
    { name: 'b', ...both(1, 0) },
  ],
});
const ordered = defineModel<Words>({
  ...deadlock,
  name: 'litmus-lock-order',
  title: 'two locks, taken in the same order',
  threads: [
    { name: 'a', ...both(0, 1) },
    { name: 'b', ...both(0, 1) },
  ],
});

const polite = (mine: number, other: number) => ({
  run: ({ words }: Words) => {
    for (;;) {
      store(words, mine, 1);
      if (load(words, other) === 0) break;
      store(words, mine, 0); // after you
    }
    store(words, mine, 0);
    return 0;
  },
});
const livelock = defineModel<Words>({
  name: 'litmus-livelock',
  title: 'two threads which each step back for the other one, for ever',
  invariant: 'every execution comes to an end',
  preemptions: 2,
  steps: 400,
  setup: words,
  describe: named('a wants', 'b wants'),
  threads: [
    { name: 'a', ...polite(0, 1) },
    { name: 'b', ...polite(1, 0) },
  ],
});

/* Spins and waits may end before anybody has done anything. */

const boundedRetry = defineModel<Words>({
  name: 'litmus-bounded-retry',
  title: 'a reader that looks ten times, and gives up',
  invariant: 'a spin with a limit may reach it, whatever the others could do meanwhile',
  preemptions: 2,
  setup: words,
  describe: named('ready'),
  threads: [
    {
      name: 'reader',
      run: ({ words }: Words) => {
        for (let i = 0; i < 10; i++) if (load(words, 0) === 1) return 'seen';
        return 'gave up';
      },
    },
    { name: 'writer', run: ({ words }: Words) => (store(words, 0, 1), 0) },
  ],
  outcomes: ['["gave up",0]', '["seen",0]'],
});
const realTime = defineModel<Words>({
  name: 'litmus-real-time',
  title: 'two calls of one thread and a call of another one, on words of their own',
  invariant: 'none: which call returns before which one begins is explored even where no word is shared',
  preemptions: 1,
  setup: words,
  describe: named('x', 'y'),
  threads: [0, 1].map((thread) => ({
    name: 'ab'[thread] as string,
    run: ({ words }: Words, context) => {
      const times: number[] = [];
      for (let i = thread; i < 2; i++) {
        times.push(context.now());
        add(words, thread, 1);
        times.push(context.now());
      }
      return times;
    },
  })),
  check({ results }) {
    const [[, returned = 0, called = 0] = [], [first = 0, last = 0] = []] = results as number[][];
    if (returned < first && last < called) throw new Error('b was called and returned between the calls of a');
  },
});
const spinThenSleep = defineModel<Words>({
  ...lostWakeUp,
  name: 'litmus-spin-then-sleep',
  title: 'the sleeper of the lost wake-up spins a while before it sleeps',
  threads: [
    {
      name: 'sleeper',
      run: ({ words }: Words) => {
        for (let i = 0; i < 3; i++) {
          if (load(words, 0) === 1) return 1;
          pause();
        }
        wait(words, 1, 0, Number.POSITIVE_INFINITY);
        return load(words, 0);
      },
    },
    lostWakeUp.threads[1] as (typeof lostWakeUp.threads)[1],
  ],
});
const timeLimit = defineModel<Words>({
  name: 'litmus-time-limit',
  title: 'a wait with a time limit against a store and a notify',
  invariant: 'the limit may be over at any time, though others could go on',
  preemptions: 2,
  timeouts: 'allow',
  setup: words,
  describe: named('ready'),
  threads: [
    { name: 'sleeper', run: ({ words }: Words) => wait(words, 0, 0, 5) },
    { name: 'waker', run: ({ words }: Words) => (store(words, 0, 1), notify(words, 0, 1)) },
  ],
  outcomes: ['["not-equal",0]', '["ok",1]', '["timed-out",0]'],
});

/* Marked plain reads may return old values. */

const WEAK = 'a litmus test of marked reads';
const markedFlag = defineModel<Words>({
  name: 'litmus-marked-flag',
  title: 'a message behind a flag, both read by marked plain reads',
  invariant: 'nothing orders the reads: who sees the flag may see the old message',
  preemptions: 2,
  setup: words,
  describe: named('message', 'flag'),
  threads: [
    { name: 'sender', run: ({ words }: Words) => (store(words, 0, 1), store(words, 1, 1), 0) },
    { name: 'receiver', run: ({ words }: Words) => `${peekRacy(words, 1, WEAK)}${peekRacy(words, 0, WEAK)}` },
  ],
  outcomes: ['[0,"00"]', '[0,"01"]', '[0,"10"]', '[0,"11"]'],
});
const markedBehindFlag = defineModel<Words>({
  ...markedFlag,
  name: 'litmus-marked-behind-flag',
  title: 'the same, the flag read with Atomics',
  invariant: 'who sees the flag sees the message: the old one is hidden by what happened before',
  threads: [
    markedFlag.threads[0] as (typeof markedFlag.threads)[0],
    { name: 'receiver', run: ({ words }: Words) => `${load(words, 1)}${peekRacy(words, 0, WEAK)}` },
  ],
  outcomes: ['[0,"00"]', '[0,"01"]', '[0,"11"]'],
});
const markedWrite = defineModel<Words>({
  ...markedFlag,
  name: 'litmus-marked-write',
  title: 'the same, the flag written by a marked plain write',
  invariant: 'a plain write orders nothing, even for an Atomics load: who sees the flag may see the old message',
  threads: [
    { name: 'sender', run: ({ words }: Words) => (store(words, 0, 1), pokeRacy(words, 1, 1, WEAK), 0) },
    { name: 'receiver', run: ({ words }: Words) => `${load(words, 1)}${peekRacy(words, 0, WEAK)}` },
  ],
});
const markedBuffering = defineModel<Words>({
  ...storeBuffering,
  name: 'litmus-marked-store-buffering',
  title: 'each thread stores its own word with Atomics, and reads the other one by a marked plain read',
  invariant: 'a plain read is in no order with the Atomics: both may miss the other store',
  threads: [
    { name: 'a', run: ({ words }: Words) => (store(words, 0, 1), peekRacy(words, 1, WEAK)) },
    { name: 'b', run: ({ words }: Words) => (store(words, 1, 1), peekRacy(words, 0, WEAK)) },
  ],
  outcomes: ['[0,0]', '[0,1]', '[1,0]', '[1,1]'],
});
const markedTwice = defineModel<Words>({
  name: 'litmus-marked-coherence',
  title: 'two marked reads of a word that is stored twice',
  invariant: 'plain reads need not be coherent: any two of the three values',
  preemptions: 2,
  setup: words,
  describe: named('x'),
  threads: [
    { name: 'writer', run: ({ words }: Words) => (store(words, 0, 1), store(words, 0, 2), 0) },
    { name: 'reader', run: ({ words }: Words) => `${peekRacy(words, 0, WEAK)}${peekRacy(words, 0, WEAK)}` },
  ],
  outcomes: ['00', '01', '02', '10', '11', '12', '20', '21', '22'].map((both) => `[0,"${both}"]`),
});
const markedOwn = defineModel<Words>({
  name: 'litmus-marked-own',
  title: 'a marked read of a word that the thread itself has added to',
  invariant: 'what one’s own addition has replaced is not seen again; who adds first may miss the other’s addition',
  preemptions: 2,
  setup: words,
  describe: named('x'),
  threads: [
    { name: 'a', run: ({ words }: Words) => (add(words, 0, 1), peekRacy(words, 0, WEAK)) },
    { name: 'b', run: ({ words }: Words) => (add(words, 0, 10), peekRacy(words, 0, WEAK)) },
  ],
  outcomes: ['[1,11]', '[11,10]', '[11,11]'],
});

export const litmus: readonly Litmus[] = [
  { model: storeBuffering },
  { model: messagePassing },
  { model: messageRace, fails: /data race on (message|flag)/ },
  { model: iriw },
  { model: lostWakeUp, fails: /nobody can go on\nsleeper sleeps on bell \(0, as in the beginning\)/ },
  { model: wakeUp },
  { model: missedNotify, fails: /(sleeper|other) sleeps on ready/ },
  { model: aba, fails: /one node has two owners/ },
  { model: brokenSpinlock, fails: /data race on counter|an increment was lost/ },
  { model: spinlock },
  {
    model: deadlock,
    fails: /a sleeps on second lock \(1, written last by b\)\nb sleeps on first lock \(1, written last by a\)/,
  },
  { model: ordered },
  { model: livelock, fails: /no end after 400 steps/ },
  { model: realTime, fails: /b was called and returned between/ },
  { model: boundedRetry },
  { model: spinThenSleep, fails: /sleeper sleeps on bell/ },
  { model: timeLimit },
  { model: markedFlag },
  { model: markedBehindFlag },
  { model: markedWrite },
  { model: markedBuffering },
  { model: markedTwice },
  { model: markedOwn },
];

export const models: readonly Model<unknown>[] = litmus.map(({ model }) => model);
