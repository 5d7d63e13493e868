/**
 * Whole calls against a map of one page: every history must be one that a single thread could have had (linearizability). What
 * takes something away is not one step but two: from the moment that faults see the new layout until the last translation of the old
 * one is gone, the page fades, and an access finds the one or the other, the older one perhaps after the newer one. In Linux it is
 * the same.
 */
import { MAP_FIXED, MAP_FIXED_NOREPLACE, PROT_READ, type Space, VmError } from '../../../src/index.ts';
import { linearizable, type Operation, type SequentialModel } from '../../linearizability.ts';
import type { Model, ThreadContext } from '../../model.ts';
import {
  ANON,
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
  RW,
  type World,
} from '../world.ts';

const PAGE: number = BASE + P;

type Act =
  | { readonly name: 'mmap' | 'fixed' | 'munmap' | 'load' }
  | { readonly name: 'store'; readonly value: number }
  | { readonly name: 'protect'; readonly write: boolean };
/** The first and the second step of a call that takes something away. */
type Step = Act | { readonly name: 'fade'; readonly to: 'none' | 'read-only' } | { readonly name: 'gone' };

/** What is there: nothing, or a page, its word, whether it may be written, and what it is about to become. */
type Page =
  | { readonly value: number; readonly write: boolean; readonly fading?: 'none' | 'read-only' | undefined }
  | undefined;

function perform(space: Space, act: Act): number | string {
  try {
    switch (act.name) {
      case 'mmap':
      case 'fixed': {
        const how = act.name === 'fixed' ? MAP_FIXED : MAP_FIXED_NOREPLACE;
        space.mmap({ addr: PAGE, length: P, prot: RW, flags: ANON | how });
        return 'ok';
      }
      case 'munmap':
        space.munmap(PAGE, P);
        return 'ok';
      case 'protect':
        space.mprotect(PAGE, P, act.write ? RW : PROT_READ);
        return 'ok';
      case 'load':
        return look(space, PAGE);
      case 'store':
        return put(space, PAGE, act.value);
    }
  } catch (error) {
    if (error instanceof VmError) return error.code;
    throw error;
  }
}

const FRESH: Page = { value: 0, write: true };
type Result = number | string;

const sequential: SequentialModel<Page, Step, Result> = {
  initial: { value: 1, write: true },
  apply(page, { args }) {
    const fading = page?.fading;
    switch (args.name) {
      case 'load':
        if (page === undefined) return [[page, 'SEGV_MAPERR']];
        return fading === 'none'
          ? [
              [page, page.value],
              [page, 'SEGV_MAPERR'],
            ]
          : [[page, page.value]];
      case 'store': {
        if (page === undefined) return [[page, 'SEGV_MAPERR']];
        const stored = [{ ...page, value: args.value }, 'ok'] as const;
        if (fading !== undefined) return [stored, [page, fading === 'none' ? 'SEGV_MAPERR' : 'SEGV_ACCERR']];
        return [page.write ? stored : [page, 'SEGV_ACCERR']];
      }
      case 'gone':
        if (fading === undefined) return page === undefined || !page.write ? [[page, 'ok']] : [];
        return fading === 'none' ? [[undefined, 'ok']] : [[{ value: page?.value ?? 0, write: false }, 'ok']];
    }
    // The others exclude each other.
    if (fading !== undefined) return [];
    switch (args.name) {
      case 'mmap':
        return [page === undefined ? [FRESH, 'ok'] : [page, 'EEXIST']];
      case 'fixed':
        return [[FRESH, 'ok']];
      case 'fade':
        return [[page === undefined ? page : { ...page, fading: args.to }, 'ok']];
      default: // protect to read and write
        return [page === undefined ? [page, 'ENOMEM'] : [{ ...page, write: true }, 'ok']];
    }
  },
  key: (page) => JSON.stringify(page) ?? 'none',
};

/** The steps of a call, in any order that the model allows. */
function steps(call: Operation<Act, Result>): Operation<Step, Result>[] {
  const { args } = call;
  const fades = args.name === 'munmap' ? 'none' : args.name === 'protect' && !args.write ? 'read-only' : undefined;
  if (fades === undefined || call.result !== 'ok') return [call];
  return [
    { ...call, name: `${call.name} begins`, args: { name: 'fade', to: fades } },
    { ...call, name: `${call.name} ends`, args: { name: 'gone' } },
  ];
}

function historyModel(
  name: string,
  title: string,
  programs: readonly (readonly Act[])[],
  preemptions: number,
): Model<World> {
  return machineModel<World>({
    name,
    title,
    invariant:
      'the calls have an order that fits their times and a map of one page, in which what is taken away fades first',
    preemptions,
    setup: () =>
      makeWorld({}, ({ space }) => {
        mapAnon(space, BASE, 3);
        space.store32(PAGE, 1);
        return {};
      }),
    threads: programs.map((program, thread) => ({
      name: 'abc'[thread] as string,
      prepare: hands,
      run: ({ space }: Hands, context: ThreadContext) =>
        program.map((act) => {
          const call = context.now();
          return { call, result: perform(space, act), return: context.now() };
        }),
    })),
    check({ shared, results }) {
      audit(shared);
      const history = programs.flatMap((program, thread) =>
        program.map((args, i): Operation<Act, Result> => {
          const times = (results[thread] as Pick<Operation<Act, Result>, 'call' | 'result' | 'return'>[])[i];
          if (times === undefined) throw new Error(`call ${i} of thread ${thread} is missing`);
          return { thread: 'abc'[thread] as string, name: args.name, args, ...times };
        }),
      );
      // What is there at the end is the last call of all.
      const end = Number.MAX_SAFE_INTEGER;
      const last = look(hands(shared).space, PAGE);
      history.push({ thread: 'end', name: 'load', args: { name: 'load' }, result: last, call: end, return: end });
      const why = linearizable(history.flatMap(steps), sequential);
      if (why !== undefined) throw new Error(why);
    },
  });
}

const mmap: Act = { name: 'mmap' };
const fixed: Act = { name: 'fixed' };
const munmap: Act = { name: 'munmap' };
const load: Act = { name: 'load' };
const store = (value: number): Act => ({ name: 'store', value });
const protect = (write: boolean): Act => ({ name: 'protect', write });

export const historyModels: readonly Model<World>[] = [
  historyModel(
    'history-map',
    'munmap, mmap without replacing, loads and stores of one page by two threads',
    [
      [munmap, mmap, store(2), load],
      [load, store(3), mmap, load],
    ],
    2,
  ),
  historyModel(
    'history-replace',
    'MAP_FIXED over a page that another thread reads and writes',
    [
      [fixed, load, store(2), load],
      [load, store(3), load, load],
    ],
    2,
  ),
  historyModel(
    'history-protect',
    'mprotect to read-only and back against loads and stores of the page',
    [
      [protect(false), load, store(2), protect(true), store(4)],
      [store(3), load, store(5), load],
    ],
    2,
  ),
  historyModel(
    'history-three',
    'munmap, MAP_FIXED and a user of the page, a thread each',
    [
      [munmap, mmap],
      [fixed, load],
      [store(3), load],
    ],
    1,
  ),
];
