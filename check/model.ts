/**
 * What a model is: a small program for two to four threads, an invariant, and the bound within which every interleaving is
 * tried. The threads are real Workers and run real code; the checker decides at each access to shared memory who goes on.
 */

/** What a thread's `run` gets besides what it prepared. */
export interface ThreadContext {
  /** Number of the thread, 0 for the first. */
  readonly thread: number;
  /** A clock for histories, with a number of its own for each reading. Readings of different threads are explored in every order. */
  now(): number;
  /** Lets the others run until the named thread has ended or died. Costs no preemption. True if it died. */
  join(name: string): boolean;
  /** A place where the schedule may change although no shared word is touched. */
  yield(): void;
}

export interface ThreadSpec<Shared, Local = unknown, Result = unknown> {
  /** A word of its own for the column of the report. */
  readonly name: string;
  /** The checker may end the thread before any of its accesses (once in an execution), as a terminated Worker ends. */
  readonly mortal?: boolean;
  /** Makes this thread's own objects. Called before each execution, for all threads in turn; its accesses are not scheduled. */
  prepare?(shared: Shared): Local;
  /** What is explored. Whatever it throws is a failure. The result must survive JSON, 1,024 characters at most. */
  run(local: Local, context: ThreadContext): Result;
}

/** How an execution ended, for `check`. */
export interface End<Shared, Result = unknown> {
  readonly shared: Shared;
  /** By thread number; undefined for one that died. */
  readonly results: readonly (Result | undefined)[];
  readonly died: readonly boolean[];
}

export interface Model<Shared = unknown> {
  /** Letters, digits, '-', '_', '.', ':'; what the command line calls it. */
  readonly name: string;
  /** One line: what runs against what. */
  readonly title: string;
  /** What must hold, with its number if it has one. Printed with a failure. */
  readonly invariant: string;
  // biome-ignore lint/suspicious/noExplicitAny: what a thread prepares and returns is between it and `check`
  readonly threads: readonly ThreadSpec<Shared, any, any>[];
  /** Preemptions up to which the search is exhausted by default. */
  readonly preemptions: number;
  /** The same for the long set. Default: one more. */
  readonly longPreemptions?: number;
  /**
   * Makes the shared memory, once. What it returns is cloned to the other threads; every SharedArrayBuffer in it is watched and
   * put back to what it is now before each execution.
   */
  setup(): Shared;
  /** Looks at the end of each execution, in a thread of the checker's; its accesses are not scheduled. Throws if something is wrong. */
  // biome-ignore lint/suspicious/noExplicitAny: see threads
  check?(end: End<Shared, any>): void;
  /** The complete set of results, each as JSON of the array of the threads' results. Another one is a failure, and so is one that never comes up in an exhausted search. */
  readonly outcomes?: readonly string[];
  /**
   * `report` (default): a wait with a time limit that ends only because nobody else can go on is a failure, a lost wake-up. `allow`:
   * the clock jumps and the wait times out.
   */
  readonly timeouts?: 'report' | 'allow';
  /** Which accesses the schedule may change at: those that can order threads (`sync`, default; plain ones are checked for races instead), or `all`. */
  readonly points?: 'sync' | 'all';
  /** Whether plain accesses that are not ordered are reported. Default true. */
  readonly races?: boolean;
  /** Most accesses of one execution; more are a livelock. Default 20,000. */
  readonly steps?: number;
  /** Bytes that are one location: 4 (default), or 1 or 2 where threads share smaller elements. */
  readonly granule?: 1 | 2 | 4;
  /** The meaning of a word: buffer number (in the order found in Shared), byte offset. */
  describe?(shared: Shared, buffer: number, byte: number): string | undefined;
  /** The meaning of a value of a word; undefined where the number says it. */
  value?(shared: Shared, buffer: number, byte: number, value: number): string | undefined;
  /**
   * What somebody that sleeps on this word waits for, and who holds it; asked when an execution is stuck. `threadOf` gives
   * the name of the thread that runs on a thread of the host (worker_threads' threadId).
   */
  waits?(
    shared: Shared,
    buffer: number,
    byte: number,
    threadOf: (hostThread: number) => string | undefined,
  ): string | undefined;
  /**
   * Ranges of words whose plain accesses are meant to race, with the reason, as [buffer, first byte, byte behind the last, why]. Their
   * reads may return old values.
   */
  racy?(shared: Shared): readonly (readonly [number, number, number, string])[];
  /** Ranges of words whose accesses are not explored and not checked, as [buffer, first byte, byte behind the last]. */
  ignore?(shared: Shared): readonly (readonly [number, number, number])[];
}

/** Lets the compiler infer what a model shares. */
export function defineModel<Shared>(model: Model<Shared>): Model<Shared> {
  return model;
}
