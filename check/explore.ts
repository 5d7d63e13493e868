/** Runs crews: exhausts a model up to a bound, samples it, replays a schedule, and makes a failing schedule small. */
import { availableParallelism } from 'node:os';
import { type Checkpoint, isScript, programOf, validCheckpoint } from './checkpoint.ts';
import { CheckerError, Crew } from './crews.ts';
import { FAILURE_OUTCOME, FAILURE_SCRIPT, STRATEGY_PCT, STRATEGY_RANDOM } from './engine/board/values.ts';
import type { Ended, Failure, Prefix, RunOptions, Totals } from './engine/leader.ts';
import type { Facts, ModelSource, Order } from './engine/protocol.ts';
import type { Recorded } from './engine/recorder.ts';
import { letterOf } from './schedule.ts';

export { CheckerError, type Checkpoint, type Facts, type ModelSource, type Recorded };
export type Strategy = 'exhaustive' | 'random' | 'pct';

export interface CheckOptions {
  readonly strategy?: Strategy;
  /** Exhaustive: the bound. Default: the model's. */
  readonly preemptions?: number;
  /** Stop after so many seconds, or executions; several crews may run a few executions more. */
  readonly seconds?: number | undefined;
  readonly executions?: number | undefined;
  /** Crews. Default: one for each core. */
  readonly jobs?: number;
  /** First processor to use, where crews can be pinned. */
  readonly processor?: number;
  /** Random and PCT. */
  readonly seed?: number;
  /** Random: chance of a preemption at each choice. Default 0.05. */
  readonly chance?: number;
  /** PCT: a bug that needs `depth` ordered events is found with probability at least 1 / (threads * steps^(depth - 1)) in an execution. Default 3. */
  readonly depth?: number;
  /** Off: every access is a choice and nothing is pruned. For comparing. */
  readonly reduction?: boolean;
  /** Seconds without a word after which a crew is taken to be stuck. Default 60. */
  readonly patience?: number;
  /** Go on from here. */
  readonly from?: Checkpoint | undefined;
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal | undefined;
}

export interface Progress {
  readonly bound: number;
  readonly executions: number;
  readonly pending: number;
  readonly seconds: number;
}

export interface CheckResult {
  readonly model: string;
  readonly facts: Facts;
  /** `exhausted`: every schedule within the bound was run, and none failed. `stopped`: a limit came first, none failed so far. */
  readonly verdict: 'exhausted' | 'failed' | 'stopped';
  readonly strategy: Strategy;
  /** Bound exhausted, or being searched. */
  readonly bound: number;
  readonly executions: number;
  /** Executions that turned out to repeat others. */
  readonly redundant: number;
  readonly steps: number;
  readonly seconds: number;
  readonly crews: number;
  readonly outcomes: readonly (readonly [string, number])[];
  readonly failure: Failure | undefined;
  /** Executions until it was found. */
  readonly foundAfter: number | undefined;
  readonly checkpoint: Checkpoint | undefined;
}

/* Searching. */

interface Round {
  readonly grew: boolean;
  readonly stopped: boolean;
  readonly failure: Failure | undefined;
  readonly frontier: Prefix[];
}

const DONATE_FROM = 16;

class Search {
  readonly crews: Crew[] = [];
  readonly started = performance.now();
  bound = 0;
  known: number[] = [];
  outcomes = new Map<string, number>();
  earlier = 0;
  private readonly _source: ModelSource;
  private readonly _options: CheckOptions;
  private readonly _jobs: number;

  constructor(source: ModelSource, options: CheckOptions) {
    this._source = source;
    this._options = options;
    this._jobs = options.jobs ?? availableParallelism();
  }

  async open(): Promise<Facts> {
    const crew = await this._start();
    this.crews.push(crew);
    return crew.facts as Facts;
  }

  private _start(): Promise<Crew> {
    const { processor = 0, patience } = this._options;
    return Crew.start(this._source, processor + this.crews.length, patience);
  }

  close(): void {
    for (const crew of this.crews) crew.close();
  }

  get seconds(): number {
    return (performance.now() - this.started) / 1000;
  }

  get totals(): Totals {
    const sum = { executions: 0, redundant: 0, steps: 0 };
    for (const { totals } of this.crews) {
      sum.executions += totals.executions;
      sum.redundant += totals.redundant;
      sum.steps += totals.steps;
    }
    return sum;
  }

  /** Runs one order on all crews until none has anything left, a schedule fails, or a limit is met. */
  async round(
    first: (crew: Crew, i: number) => Order,
    parallel: boolean,
    prefixes: readonly Prefix[] = [],
  ): Promise<Round> {
    const { seconds, executions, signal, onProgress } = this._options;
    return await new Promise<Round>((resolve, reject) => {
      let grew = false;
      let stopped = false;
      let stopping = false;
      let failure: Failure | undefined;
      let opening = false;
      const frontier: Prefix[] = [];
      const spare: Prefix[] = [...prefixes];
      const asked = new Set<Crew>();
      const stop = (): void => {
        if (stopping) return;
        stopping = true;
        for (const crew of this.crews) if (crew.busy) crew.send({ type: 'stop' });
      };
      const over = (): void => {
        clearInterval(timer);
        signal?.removeEventListener('abort', stop);
        for (const crew of this.crews) crew.onReport = () => undefined;
      };
      const finish = (): void => {
        over();
        frontier.push(...spare);
        resolve({ grew, stopped: stopped || (stopping && failure === undefined), failure, frontier });
      };
      const settle = (): void => {
        if (this.crews.some((crew) => crew.busy) || opening) return;
        finish();
      };
      const balance = (): void => {
        if (stopping || !parallel) return;
        const idle = this.crews.filter((crew) => !crew.busy);
        if (
          idle.length === 0 &&
          this.crews.length < this._jobs &&
          !opening &&
          this.seconds > 1 &&
          this.crews.some((c) => c.pending >= DONATE_FROM)
        ) {
          opening = true;
          this._start().then(
            (crew) => {
              opening = false;
              this.crews.push(crew);
              listen(crew);
              balance();
              settle();
            },
            (error) => {
              over();
              reject(error);
            },
          );
        }
        if (idle.length === 0) return;
        const rich = this.crews.filter((crew) => crew.busy && crew.pending >= DONATE_FROM && !asked.has(crew));
        rich.sort((a, b) => b.pending - a.pending);
        const giver = rich[0];
        if (giver === undefined) return;
        asked.add(giver);
        giver.send({ type: 'donate' });
      };
      const listen = (crew: Crew): void => {
        crew.onReport = (report) => {
          switch (report.type) {
            case 'broken':
              over();
              reject(new CheckerError(report.text));
              return;
            case 'progress':
              if (executions !== undefined && this.earlier + this.totals.executions >= executions) stop();
              balance();
              return;
            case 'donated': {
              asked.delete(crew);
              spare.push(...report.prefixes);
              hire();
              return;
            }
            case 'failure':
              Object.assign(crew.totals, report.totals);
              crew.busy = false;
              if (failure === undefined || report.failure.script.length < failure.script.length)
                failure = report.failure;
              stop();
              settle();
              return;
            case 'idle':
              Object.assign(crew.totals, report.totals);
              crew.busy = false;
              crew.pending = 0;
              grew ||= report.grew;
              stopped ||= report.stopped;
              this.learn(report.known);
              for (const [outcome, count] of report.outcomes)
                this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + count);
              frontier.push(...report.frontier);
              if (report.stopped) stop();
              hire();
              balance();
              settle();
              return;
          }
        };
      };
      const hire = (): void => {
        if (stopping) return;
        for (const crew of this.crews) {
          if (crew.busy || spare.length === 0) continue;
          crew.busy = true;
          const order = first(crew, this.crews.indexOf(crew));
          const most = Math.max(1, (executions ?? Number.POSITIVE_INFINITY) - this.earlier - this.totals.executions);
          crew.send(order.type === 'explore' ? { ...order, most, prefixes: spare.splice(0) } : order);
        }
      };
      const timer = setInterval(() => {
        try {
          onProgress?.({
            bound: this.bound,
            executions: this.earlier + this.totals.executions,
            pending: this.crews.reduce((sum, crew) => sum + crew.pending, 0),
            seconds: this.seconds,
          });
        } catch (error) {
          over();
          reject(error);
          return;
        }
        if (seconds !== undefined && this.seconds > seconds) stop();
        balance();
      }, 100);
      signal?.addEventListener('abort', stop);
      this.crews.forEach(listen);
      if (prefixes.length > 0) hire();
      else {
        this.crews.forEach((crew, i) => {
          crew.busy = true;
          crew.send(first(crew, i));
        });
      }
      if (signal?.aborted === true) stop();
    });
  }

  learn(pairs: readonly number[]): void {
    const masks = new Map<number, number>();
    for (const list of [this.known, pairs]) {
      for (let i = 0; i < list.length; i += 2)
        masks.set(list[i] as number, (masks.get(list[i] as number) ?? 0) | (list[i + 1] as number));
    }
    this.known = [...masks].flat();
  }
}

const RANGES: readonly (readonly [keyof CheckOptions, number, number, boolean])[] = [
  ['preemptions', 0, 1000, true],
  ['seconds', 0, Number.POSITIVE_INFINITY, false],
  ['executions', 1, Number.MAX_SAFE_INTEGER, true],
  ['jobs', 1, 256, true],
  ['processor', 0, 65_535, true],
  ['seed', 0, 0x7fffffff, true],
  ['chance', 0, 1, false],
  ['patience', 1, 86_400, false],
  ['depth', 1, 9, true],
];

function refuseSource(source: ModelSource): void {
  const { url, name } = (source ?? {}) as Partial<ModelSource>;
  if (typeof url !== 'string' || typeof name !== 'string')
    throw new TypeError('a source is { url, name, transform }: the URL of a module, and the name of one of its models');
}

function refuse(options: CheckOptions): void {
  if (typeof options !== 'object' || options === null) throw new TypeError('the options are an object');
  const { strategy } = options;
  if (strategy !== undefined && !['exhaustive', 'random', 'pct'].includes(strategy))
    throw new RangeError(`strategy must be exhaustive, random or pct, got ${String(strategy)}`);
  for (const [name, least, most, whole] of RANGES) {
    const value = options[name] as number | undefined;
    if (value === undefined || (value >= least && value <= most && (!whole || Number.isInteger(value)))) continue;
    throw new RangeError(
      `${name} must be a ${whole ? 'whole ' : ''}number from ${least} to ${most}, got ${String(value)}`,
    );
  }
}

/** Checks one model. Throws CheckerError when the checker cannot do its work, RangeError for options out of range. */
export async function check(source: ModelSource, options: CheckOptions = {}): Promise<CheckResult> {
  refuseSource(source);
  refuse(options);
  const strategy = options.strategy ?? 'exhaustive';
  const search = new Search(source, options);
  try {
    const facts = await search.open();
    const ended =
      strategy === 'exhaustive'
        ? await exhaust(search, source, facts, options)
        : await sample(search, options, strategy);
    let { failure } = ended;
    const foundAfter = failure === undefined ? undefined : search.earlier + search.totals.executions;
    if (failure !== undefined && failure.kind !== FAILURE_SCRIPT)
      failure = await minimise(search.crews[0] as Crew, failure);
    const missing = facts.outcomes?.filter((outcome) => !search.outcomes.has(outcome)) ?? [];
    // Within fewer preemptions than the model's own some may not come up.
    const whole = search.bound >= facts.preemptions;
    if (failure === undefined && ended.verdict === 'exhausted' && whole && missing.length > 0) {
      const text = `these results never came up: ${missing.join(', ')}`;
      failure = { kind: FAILURE_OUTCOME, thread: 0, text, script: [] };
    }
    const { executions, redundant, steps } = search.totals;
    return {
      model: source.name,
      facts,
      verdict: failure === undefined ? ended.verdict : 'failed',
      strategy,
      bound: search.bound,
      executions: search.earlier + executions,
      redundant,
      steps,
      seconds: search.seconds,
      crews: search.crews.length,
      outcomes: [...search.outcomes].sort(([a], [b]) => (a < b ? -1 : 1)),
      failure,
      foundAfter,
      checkpoint: ended.checkpoint,
    };
  } finally {
    search.close();
  }
}

interface EndedSearch {
  readonly verdict: 'exhausted' | 'stopped';
  readonly failure: Failure | undefined;
  readonly checkpoint: Checkpoint | undefined;
}

const EVERYTHING: readonly Prefix[] = [{ script: [], preemptions: 0 }];

async function exhaust(search: Search, source: ModelSource, facts: Facts, options: CheckOptions): Promise<EndedSearch> {
  const from = options.from === undefined ? undefined : validCheckpoint(options.from, source, options.preemptions);
  const last = options.preemptions ?? from?.preemptions ?? facts.preemptions;
  let prefixes = EVERYTHING;
  let grewBefore = false;
  if (from !== undefined) {
    search.bound = from.bound;
    search.known = [...from.known];
    search.earlier = from.executions;
    search.outcomes = new Map(from.outcomes);
    prefixes = from.frontier;
    grewBefore = from.grew;
  }
  for (; search.bound <= last; search.bound++) {
    for (;;) {
      const { known, bound } = search;
      if (prefixes === EVERYTHING) search.outcomes.clear();
      const order = (): Order => ({
        type: 'explore',
        prefixes: [],
        bound,
        known,
        reduction: options.reduction !== false,
        most: Number.POSITIVE_INFINITY,
      });
      const ended = await search.round(order, true, prefixes);
      if (ended.failure !== undefined) return { verdict: 'stopped', failure: ended.failure, checkpoint: undefined };
      if (ended.stopped) {
        const checkpoint: Checkpoint = {
          version: 2,
          model: source.name,
          program: programOf(source),
          bound,
          preemptions: last,
          known: search.known,
          frontier: ended.frontier,
          executions: search.earlier + search.totals.executions,
          outcomes: [...search.outcomes],
          grew: ended.grew || grewBefore,
        };
        return { verdict: 'stopped', failure: undefined, checkpoint };
      }
      prefixes = EVERYTHING;
      const again = ended.grew || grewBefore;
      grewBefore = false;
      if (!again || options.reduction === false) break;
    }
  }
  search.bound = last;
  return { verdict: 'exhausted', failure: undefined, checkpoint: undefined };
}

async function sample(search: Search, options: CheckOptions, strategy: Strategy): Promise<EndedSearch> {
  const run: RunOptions = {
    strategy: strategy === 'pct' ? STRATEGY_PCT : STRATEGY_RANDOM,
    chance: options.chance ?? 0.05,
    depth: options.depth ?? 3,
  };
  const jobs = options.jobs ?? availableParallelism();
  while (search.crews.length < jobs) await search.open();
  const most = options.executions ?? (options.seconds === undefined ? 10_000 : Number.POSITIVE_INFINITY);
  const ended = await search.round(
    (_, i) => ({
      type: 'sample',
      options: run,
      seed: (options.seed ?? 1) + i,
      stride: jobs,
      most: Math.ceil(most / jobs),
    }),
    false,
  );
  return { verdict: 'stopped', failure: ended.failure, checkpoint: undefined };
}

/** Leaves out every deviation without which the same kind of failure still comes. */
export async function minimise(crew: Crew, failure: Failure): Promise<Failure> {
  const again = await crew.run(failure.script);
  if (again.failure?.kind !== failure.kind)
    throw new CheckerError(
      `a failure does not come again (${failure.text.split('\n')[0]}): the model is not deterministic`,
    );
  let best = failure;
  let size = Math.max(1, best.script.length >> 2);
  for (;;) {
    let smaller = false;
    for (let from = best.script.length / 2 - size; from > -size; from -= size) {
      const start = Math.max(0, from);
      const script = [...best.script.slice(0, start * 2), ...best.script.slice((start + size) * 2)];
      if (script.length === best.script.length) continue;
      const ended = await crew.run(script, { tolerant: true });
      if (ended.failure?.kind !== failure.kind) continue;
      best = { ...ended.failure, script };
      smaller = true;
    }
    if (size > 1) size >>= 1;
    else if (!smaller) break;
  }
  // What is left is followed to the letter from now on.
  const ended = await crew.run(best.script);
  return ended.failure?.kind === failure.kind ? { ...ended.failure, script: best.script } : failure;
}

export interface Replayed {
  readonly facts: Facts;
  readonly ended: Ended;
  /** All accesses in order, with stacks. */
  readonly recorded: readonly Recorded[];
  /** Names of the addresses in it. */
  readonly names: ReadonlyMap<number, string>;
}

/** Runs one schedule, and records it. Throws RangeError for a schedule of more threads than the model has. */
export async function replay(source: ModelSource, script: readonly number[]): Promise<Replayed> {
  refuseSource(source);
  if (!isScript(script))
    throw new RangeError('a schedule is position, action, position, action ..., with rising positions');
  const crew = await Crew.start(source);
  try {
    const { threads } = crew.facts as Facts;
    const missing = script.find((action, i) => i % 2 === 1 && action >= threads.length);
    if (missing !== undefined) {
      const known = threads.map((name, i) => `${letterOf(i)} (${name})`).join(', ');
      throw new RangeError(`there is no thread ${letterOf(missing)}; the threads are ${known}`);
    }
    const recorded: Recorded[] = [];
    const names = new Map<number, string>();
    let heard = 0;
    let all = Number.POSITIVE_INFINITY;
    let complete: () => void = () => undefined;
    const done = new Promise<void>((resolve) => {
      complete = resolve;
    });
    crew.onReport = (report) => {
      if (report.type === 'ran') all = report.recordings;
      else if (report.type === 'recorded') {
        heard++;
        recorded.push(...report.recorded);
        for (const [address, name] of report.names) names.set(address, name);
      }
      if (heard >= all) complete();
    };
    const ended = await crew.run(script, { recording: true });
    await done;
    recorded.sort((a, b) => a.order - b.order || a.position - b.position);
    return { facts: crew.facts as Facts, ended, recorded, names };
  } finally {
    crew.close();
  }
}
