/** What a crew's threads, the crew's process and the checker say to each other. */
import type { BoardMemory } from './board/memory.ts';
import type { Ended, Failure, Prefix, RunOptions, Totals } from './leader.ts';
import type { Recorded } from './recorder.ts';
import type { RegionMemory } from './regions.ts';

/** Where a model comes from. */
export interface ModelSource {
  /** URL of a module that exports `models`, an array or a function that returns one. */
  readonly url: string;
  readonly name: string;
  /** Rewrite what the module imports (see transform/). */
  readonly transform: boolean;
}

export interface ThreadData {
  readonly source: ModelSource;
  readonly me: number;
  readonly memory: BoardMemory | undefined;
  readonly shared: unknown;
  readonly regions: readonly RegionMemory[] | undefined;
}

/** From the checker to a crew's leader. */
export type Order =
  | {
      readonly type: 'explore';
      readonly prefixes: readonly Prefix[];
      readonly bound: number;
      readonly known: readonly number[];
      readonly reduction: boolean;
      readonly most: number;
    }
  | { readonly type: 'more'; readonly prefixes: readonly Prefix[] }
  | { readonly type: 'donate' }
  | { readonly type: 'stop' }
  | { readonly type: 'run'; readonly script: readonly number[]; readonly options: RunOptions }
  | {
      readonly type: 'sample';
      readonly options: RunOptions;
      readonly seed: number;
      readonly stride: number;
      readonly most: number;
    }
  | { readonly type: 'quit' };

export interface Facts {
  readonly threads: readonly string[];
  readonly title: string;
  readonly invariant: string;
  readonly preemptions: number;
  readonly longPreemptions: number;
  readonly outcomes: readonly string[] | undefined;
}

/** From a crew to the checker. */
export type Report =
  | { readonly type: 'ready'; readonly facts: Facts }
  | { readonly type: 'progress'; readonly totals: Totals; readonly pending: number }
  | { readonly type: 'donated'; readonly prefixes: readonly Prefix[] }
  | { readonly type: 'failure'; readonly failure: Failure; readonly totals: Totals }
  | {
      readonly type: 'idle';
      readonly totals: Totals;
      readonly grew: boolean;
      readonly known: readonly number[];
      readonly outcomes: readonly (readonly [string, number])[];
      readonly frontier: readonly Prefix[];
      readonly stopped: boolean;
    }
  /** `recordings`: how many `recorded` there are for it, some still on their way. */
  | { readonly type: 'ran'; readonly ended: Ended; readonly recordings: number }
  | {
      readonly type: 'recorded';
      readonly recorded: readonly Recorded[];
      readonly names: readonly (readonly [number, string])[];
    }
  | { readonly type: 'broken'; readonly text: string };
