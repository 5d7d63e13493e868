/**
 * The first modelled thread of a crew, which also leads it: puts memory back, starts executions, looks at how they ended, and keeps
 * the frontier of schedules that are still to be tried.
 *
 * The search is over schedules as lists of deviations: (position, thread) pairs, where the default is that the running thread goes
 * on, and that the next one in turn follows when it cannot. Every execution finds its own further deviations behind its last
 * one, so each schedule is run once. What is left out, and why nothing is lost by it, is in README.md.
 */
import type { End, Model } from '../model.ts';
import { isPromise, ModelError } from '../validate.ts';
import { type Actor, forgetObjects, textOf } from './actor.ts';
import * as B from './board/header.ts';
import * as L from './board/location.ts';
import type { BoardMemory } from './board/memory.ts';
import { CHUNK_SHIFT, FAILURE_AT, RESULT_BYTES, SCRIPT, SCRIPT_ENTRIES, TRACE, threadAt } from './board/places.ts';
import * as R from './board/record.ts';
import * as T from './board/thread.ts';
import {
  COMMAND_END,
  COMMAND_PREPARE,
  COMMAND_RUN,
  FAILURE_CHECK,
  FAILURE_MODEL,
  FAILURE_NONE,
  FAILURE_OUTCOME,
  FAILURE_SCRIPT,
  KILL,
  MODE_TRACK,
  NEVER,
  OLDER,
  STATUS_DEAD,
  STATUS_READY,
  STRATEGY_PCT,
  STRATEGY_SCRIPT,
} from './board/values.ts';
import { clearClocks } from './clocks.ts';
import { numberLocation, Region, type RegionMemory } from './regions.ts';
import type { Turn } from './turn.ts';

export const NOT_DETERMINISTIC =
  'the same schedule ran in two ways: a model must not depend on Math.random, Date, or what an earlier execution left in variables';

/* The host's own: the transform replaces the thread's. */
const { set: setBytes, slice: sliceBytes } = Uint8Array.prototype;

/** Mark of a place where the running thread could not go on. */
const FREELY = -2;

/** One schedule that is still to be tried: a deviation more than its parent's. */
interface Node {
  readonly parent: Node | undefined;
  /** What the parent's execution had there; -1: not known. Another thing there means that they do not begin the same way. */
  readonly mark: number;
  readonly position: number;
  readonly action: number;
  readonly preemptions: number;
  readonly depth: number;
  readonly killed: boolean;
}

/** A schedule as it travels: position, action, position, action... */
export interface Prefix {
  readonly script: readonly number[];
  readonly preemptions: number;
}

export interface Failure {
  readonly kind: number;
  readonly thread: number;
  readonly text: string;
  readonly script: readonly number[];
}

export interface Ended {
  readonly failure: Failure | undefined;
  readonly redundant: boolean;
  readonly steps: number;
  /** JSON of the results, or undefined for an execution that failed. */
  readonly outcome: string | undefined;
}

export interface Totals {
  executions: number;
  redundant: number;
  steps: number;
}

export interface RunOptions {
  readonly recording?: boolean;
  readonly tolerant?: boolean;
  /** As part of the search: with sleep sets, where they are on. */
  readonly searching?: boolean;
  readonly strategy?: number;
  readonly seed?: number;
  /** Random: chance of a preemption at a choice, 0 to 1. */
  readonly chance?: number;
  /** PCT: number of priority changes plus one. */
  readonly depth?: number;
  /** PCT: about how many choices an execution has. */
  readonly length?: number;
}

export class Leader {
  readonly totals: Totals = { executions: 0, redundant: 0, steps: 0 };
  /** Outcome -> how often. */
  readonly outcomes = new Map<string, number>();
  /** Off for comparing: every access to a shared word is a choice, and nothing is pruned. */
  reduction = true;
  bound = 0;
  private readonly _actor: Actor;
  private readonly _turn: Turn;
  private readonly _board: Int32Array;
  private readonly _locations: Int32Array;
  private readonly _dirty: Int32Array;
  private readonly _texts: Uint16Array;
  private readonly _failureText: Uint8Array;
  private readonly _regions: Region[];
  private readonly _chunks = new Map<number, { region: Region; chunk: number }>();
  private readonly _initial: Uint8Array[];
  private readonly _model: Model<unknown>;
  private readonly _threads: number;
  private readonly _mortal: boolean[];
  private readonly _legal: ReadonlySet<string> | undefined;
  private _frontier: Node[] = [];
  private _foreign = new Map<Node, Prefix>();
  /** Masks of the threads that touch a location, as they were when the round began. */
  private _known = new Int32Array(L.WORDS);

  constructor(actor: Actor, memory: BoardMemory, regions: readonly RegionMemory[]) {
    this._actor = actor;
    this._turn = actor.turn;
    this._board = actor.turn.board;
    this._model = actor.model;
    this._threads = actor.model.threads.length;
    this._mortal = actor.model.threads.map((thread) => thread.mortal === true);
    this._locations = new Int32Array(memory.locations);
    this._dirty = new Int32Array(memory.dirty);
    this._texts = new Uint16Array(memory.text, 0, FAILURE_AT / 2);
    this._failureText = new Uint8Array(memory.text, FAILURE_AT);
    this._regions = regions.map((region) => new Region(region));
    this._initial = this._regions.map((region) => sliceBytes.call(region.bytes));
    this._legal = actor.model.outcomes === undefined ? undefined : new Set(actor.model.outcomes);
  }

  /* Executions. */

  /** Runs one execution. `script` is position, action, ... in the order of positions. */
  execute(script: readonly number[], options: RunOptions = {}): Ended {
    const board = this._board;
    this._restore();
    this._begin(script, options);
    const actor = this._actor;
    const turn = this._turn;
    turn.setMode(MODE_TRACK);
    actor.prepare();
    let over = false;
    if (this._threads > 1) turn.command(1, COMMAND_PREPARE);
    else over = actor.start();
    while (!over) {
      const command = turn.park();
      if (command === COMMAND_RUN) over = actor.run();
      else if (command === COMMAND_END) over = true;
      else throw new Error(`the leader was sent command ${command}`);
    }
    turn.setMode(MODE_TRACK);
    this.totals.executions++;
    this.totals.steps += board[B.TRACE] as number;
    const redundant = board[B.REDUNDANT] !== 0;
    if (redundant) this.totals.redundant++;
    let outcome: string | undefined;
    const followed = options.strategy === undefined || options.strategy === STRATEGY_SCRIPT;
    if (board[B.FAILURE] === FAILURE_NONE && followed && options.tolerant !== true && board[B.NEXT] !== NEVER)
      turn.note(FAILURE_SCRIPT, `the execution has ended before decision ${board[B.NEXT]} of the schedule`);
    turn.setMode(MODE_TRACK);
    if (board[B.FAILURE] === FAILURE_NONE) outcome = this._check();
    const kind = board[B.FAILURE] as number;
    if (kind === FAILURE_MODEL) throw new ModelError(this._failure());
    const failure =
      kind === FAILURE_NONE
        ? undefined
        : {
            kind,
            thread: board[B.FAILED_THREAD] as number,
            text: this._failure(),
            script:
              options.strategy !== undefined && options.strategy !== STRATEGY_SCRIPT
                ? this._logged()
                : options.searching === true
                  ? this._spelt(script)
                  : script,
          };
    return { failure, redundant, steps: board[B.STEP] as number, outcome };
  }

  /** The schedule that was followed, for an execution in which nobody is put to sleep by the reduction: other threads are usual there. */
  private _spelt(script: readonly number[]): number[] {
    const board = this._board;
    const chosen = new Map<number, number>();
    const free = new Set<number>();
    for (let i = 0; i < (board[B.TRACE] as number); i++) {
      const at = TRACE + i * R.WORDS;
      const what = board[at + R.WHAT] as number;
      if ((what & R.WHAT_FREE) === 0) continue;
      const position = board[at + R.POSITION] as number;
      free.add(position);
      if ((what & R.WHAT_THREAD) !== board[at + R.LOCATION]) chosen.set(position, what & R.WHAT_THREAD);
    }
    for (let i = 0; i < script.length; i += 2)
      if (!free.has(script[i] as number)) chosen.set(script[i] as number, script[i + 1] as number);
    return [...chosen].sort(([a], [b]) => a - b).flat();
  }

  private _failure(): string {
    return new TextDecoder().decode(sliceBytes.call(this._failureText, 0, this._board[B.TEXT] as number));
  }

  private _begin(script: readonly number[], options: RunOptions): void {
    const board = this._board;
    const threads = this._threads;
    board[B.STEP] = 0;
    board[B.LIMIT] = this._model.steps ?? 20_000;
    board[B.SCRIPT_AT] = 0;
    if (script.length > SCRIPT_ENTRIES * 2 - 2) throw new Error('the schedule is too long');
    for (let i = 0; i < script.length; i++) board[SCRIPT + i] = script[i] as number;
    board[SCRIPT + script.length] = NEVER;
    board[B.NEXT] = board[SCRIPT] as number;
    board[B.ENABLED] = (1 << threads) - 1;
    board[B.PAUSED] = 0;
    board[B.ASLEEP] = 0;
    board[B.REDUNDANT] = 0;
    board[B.RECORDINGS] = 0;
    board[B.JOINED] = 0;
    board[B.FAILURE] = FAILURE_NONE;
    board[B.FAILED_THREAD] = 0;
    board[B.TEXT] = 0;
    board[B.IDLE] = 0;
    board[B.CLOCK] = 0;
    board[B.TRACE] = 0;
    board[B.TICKET] = 0;
    board[B.EXECUTION] = ((board[B.EXECUTION] as number) + 1) | 0;
    board[B.THREADS] = threads;
    board[B.TIMEOUTS] = this._model.timeouts === 'allow' ? 1 : 0;
    // Where races are not looked for, plain accesses are where the schedule may change.
    board[B.POINTS] = this._model.points === 'all' || this._model.races === false ? 1 : 0;
    board[B.RACES] = this._model.races === false ? 0 : 1;
    board[B.RECORDING] = options.recording === true ? 1 : 0;
    board[B.HISTORY] = 0;
    board[B.REMEMBER] = this.reduction && options.searching === true && !asksForOld(script) ? 0 : 1;
    board[B.REDUCE] = options.searching === true && this.reduction ? 1 : 0;
    board[B.TOLERANT] = options.tolerant === true ? 1 : 0;
    board[B.STRATEGY] = options.strategy ?? STRATEGY_SCRIPT;
    clearClocks(board);
    for (let t = 0; t < threads; t++) {
      const at = threadAt(t);
      board[at + T.STATUS] = STATUS_READY;
      board[at + T.STARTED] = 0;
      board[at + T.STUBBORN] = 0;
      board[at + T.RESULT] = 0;
    }
    if (options.strategy !== undefined && options.strategy !== STRATEGY_SCRIPT) this._chances(options);
  }

  private _chances(options: RunOptions): void {
    const board = this._board;
    let x = Math.imul((options.seed ?? 1) | 0, 0x9e3779b1) ^ 0x5bd1e995;
    const next = (): number => {
      x ^= x << 13;
      x ^= x >>> 17;
      x ^= x << 5;
      return x >>> 0;
    };
    for (let i = 0; i < 8; i++) next();
    board[B.RANDOM] = next() | 1;
    board[B.CHANCE] = Math.round((options.chance ?? 0.05) * 65536);
    const changes =
      options.strategy === STRATEGY_PCT ? Math.max(0, Math.min(B.CHANGES_MOST, (options.depth ?? 3) - 1)) : 0;
    board[B.CHANGE_COUNT] = changes;
    for (let i = 0; i < changes; i++) board[B.CHANGES + i] = next() % Math.max(1, options.length ?? 200);
    const order = Array.from({ length: this._threads }, (_, i) => i);
    for (let i = order.length - 1; i > 0; i--) {
      const j = next() % (i + 1);
      [order[i], order[j]] = [order[j] as number, order[i] as number];
    }
    order.forEach((thread, i) => {
      board[threadAt(thread) + T.PRIORITY] = i + 1;
    });
  }

  /** Puts back all memory that the last execution, its preparation and its check have changed. */
  private _restore(): void {
    const board = this._board;
    const count = board[B.DIRTY] as number;
    for (let i = 0; i < count; i++) {
      const key = this._dirty[i] as number;
      let place = this._chunks.get(key);
      if (place === undefined) {
        const region = this._regions.find(
          ({ base, bytes }) => key >= base >> CHUNK_SHIFT && key <= (base + bytes.length - 1) >> CHUNK_SHIFT,
        );
        if (region === undefined) throw new Error(`chunk ${key} is of no region`);
        place = { region, chunk: key - (region.base >> CHUNK_SHIFT) };
        this._chunks.set(key, place);
      }
      const { region, chunk } = place;
      const initial = this._initial[this._regions.indexOf(region)] as Uint8Array;
      const from = chunk << CHUNK_SHIFT;
      setBytes.call(region.bytes, initial.subarray(from, from + (1 << CHUNK_SHIFT)), from);
      region.dirty[chunk] = 0;
    }
    board[B.DIRTY] = 0;
  }

  /** The results as JSON. */
  private _results(): string {
    const board = this._board;
    const texts: string[] = [];
    for (let t = 0; t < this._threads; t++) {
      const at = threadAt(t);
      if (board[at + T.STATUS] === STATUS_DEAD) {
        texts.push('null');
        continue;
      }
      const start = (t * RESULT_BYTES) / 2;
      let text = '';
      for (let i = 0; i < (board[at + T.RESULT] as number); i++)
        text += String.fromCharCode(this._texts[start + i] as number);
      texts.push(text);
    }
    return `[${texts.join(',')}]`;
  }

  private _check(): string {
    const board = this._board;
    const outcome = this._results();
    const { check } = this._model;
    if (check !== undefined) {
      const died = Array.from({ length: this._threads }, (_, t) => board[threadAt(t) + T.STATUS] === STATUS_DEAD);
      const values = JSON.parse(outcome) as unknown[];
      const results = values.map((value, t) => (died[t] ? undefined : value));
      try {
        forgetObjects(); // it looks as another thread would
        const end = { shared: this._actor.shared, results, died } as End<unknown>;
        if (isPromise(check.call(this._model, end)))
          throw new Error('check returned a promise: it is one synchronous call');
      } catch (error) {
        this._turn.note(FAILURE_CHECK, textOf(error));
        this._turn.setMode(MODE_TRACK);
      }
    }
    if (this._legal !== undefined && !this._legal.has(outcome)) {
      this._turn.note(FAILURE_OUTCOME, `the results ${outcome} are not among those that may come up`);
      this._turn.setMode(MODE_TRACK);
    }
    return outcome;
  }

  private _logged(): number[] {
    const count = (this._board[B.SCRIPT_AT] as number) * 2;
    return Array.from(this._board.subarray(SCRIPT, SCRIPT + count));
  }

  /** Number of the decisions in the last execution. */
  get steps(): number {
    return this._board[B.STEP] as number;
  }

  /** Threads with an access in the last execution, bit by bit. */
  threadsSeen(): number {
    const board = this._board;
    let seen = board[B.JOINED] as number;
    for (let i = 0; i < (board[B.TRACE] as number); i++) {
      const what = board[TRACE + i * R.WORDS + R.WHAT] as number;
      if ((what & R.WHAT_FREE) === 0) seen |= 1 << (what & R.WHAT_THREAD);
    }
    return seen;
  }

  /* Search. */

  begin(prefixes: readonly Prefix[], bound: number): void {
    this.bound = bound;
    this._frontier = [];
    this._foreign = new Map();
    this.add(prefixes);
    this._known = this._locations.slice(0, ((this._board[B.LOCATIONS] as number) + 1) * L.WORDS);
    this._board[B.GREW] = 0;
  }

  add(prefixes: readonly Prefix[]): void {
    for (const prefix of prefixes) {
      const { script, preemptions } = prefix;
      const position = script.length === 0 ? -1 : (script[script.length - 2] as number);
      const killed = script.some((action, i) => i % 2 === 1 && action === KILL);
      const node: Node = { parent: undefined, mark: -1, position, action: 0, preemptions, depth: 0, killed };
      this._foreign.set(node, prefix);
      this._frontier.push(node);
    }
  }

  /** Counts an execution's results. */
  count(outcome: string): void {
    this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1);
  }

  get pending(): number {
    return this._frontier.length;
  }

  /** Tries the next schedule. Returns its failure, if it has one. */
  step(): Failure | undefined {
    const node = this._frontier.pop();
    if (node === undefined) return undefined;
    const ended = this.execute(this._scriptOf(node), { searching: true });
    if (ended.failure?.kind === FAILURE_SCRIPT) throw new ModelError(`${NOT_DETERMINISTIC} (${ended.failure.text})`);
    if (ended.failure !== undefined) return ended.failure;
    if (ended.outcome !== undefined) this.count(ended.outcome);
    this._branch(node);
    return undefined;
  }

  private _branch(node: Node): void {
    const board = this._board;
    const known = this._known;
    // What repeats another execution is explored from there.
    const records = board[B.REDUNDANT] === 0 ? (board[B.TRACE] as number) : (board[B.REDUNDANT] as number) - 1;
    const mayPreempt = node.preemptions < this.bound;
    for (let i = 0; i < records; i++) {
      const at = TRACE + i * R.WORDS;
      const position = board[at + R.POSITION] as number;
      const what = board[at + R.WHAT] as number;
      const thread = what & R.WHAT_THREAD;
      if (position <= node.position) {
        if (position === node.position && node.mark !== -1) this._compare(node, at);
        continue;
      }
      if ((what & R.WHAT_VALUE) !== 0) {
        const older = mayPreempt ? (board[at + R.OTHERS] as number) : 0;
        for (let which = 1; which <= older; which++)
          this._push(node, position, OLDER - which, node.preemptions + 1, -1); // how many there are may grow
        continue;
      }
      const free = (what & R.WHAT_FREE) !== 0;
      if (!free && !node.killed && this._mortal[thread]) this._push(node, position, KILL, node.preemptions, -1);
      let others = board[at + R.OTHERS] as number;
      if (!free) {
        if (!mayPreempt || (what & R.WHAT_POINT) === 0) continue;
        if (this.reduction) {
          const location = board[at + R.LOCATION] as number;
          const mask = location === 0 ? L.ANYBODY : maskOf(known, location);
          if ((L.conflicting(mask, (what & R.WHAT_WRITE) !== 0) & ~(1 << thread)) === 0) continue;
        }
      }
      if (!mayPreempt) others &= L.THREADS;
      for (let other = 0; others !== 0; other++, others >>= 1) {
        if ((others & 1) === 0) continue;
        const costs = free && other < R.RELUCTANT_SHIFT ? 0 : 1;
        const several = (what & R.WHAT_SEVERAL) !== 0;
        const mark = several ? -1 : free ? FREELY : (board[at + R.LOCATION] as number) * 16 + thread;
        this._push(node, position, other % R.RELUCTANT_SHIFT, node.preemptions + costs, mark);
      }
    }
  }

  private _push(parent: Node, position: number, action: number, preemptions: number, mark: number): void {
    const killed = parent.killed || action === KILL;
    this._frontier.push({ parent, mark, position, action, preemptions, depth: parent.depth + 1, killed });
  }

  /** The record at a schedule's last deviation must be what its parent saw there. */
  private _compare(node: Node, at: number): void {
    const board = this._board;
    const what = board[at + R.WHAT] as number;
    if ((what & (R.WHAT_VALUE | R.WHAT_SEVERAL)) !== 0) return;
    const free = (what & R.WHAT_FREE) !== 0;
    const found = free ? FREELY : (board[at + R.LOCATION] as number) * 16 + (what & R.WHAT_THREAD);
    if (found !== node.mark) throw new ModelError(NOT_DETERMINISTIC);
  }

  /** What the last execution did: threads, locations, and how it ended. */
  fingerprint(): string {
    const board = this._board;
    let hash = 0;
    for (let i = 0; i < (board[B.TRACE] as number); i++) {
      const at = TRACE + i * R.WORDS;
      hash = Math.imul(hash ^ (board[at + R.WHAT] as number), 0x01000193);
      hash = Math.imul(hash ^ (board[at + R.LOCATION] as number), 0x01000193);
    }
    return `${board[B.TRACE]} ${hash} ${board[B.FAILURE]} ${this._results()}`;
  }

  private _scriptOf(node: Node): number[] {
    const entries: number[] = [];
    let at: Node | undefined = node;
    let prefix: Prefix | undefined;
    for (; at !== undefined; at = at.parent) {
      prefix = this._foreign.get(at);
      if (prefix !== undefined) break;
      entries.push(at.action, at.position);
    }
    entries.reverse();
    return prefix === undefined ? entries : [...prefix.script, ...entries];
  }

  /** Gives away up to half of the frontier, those with the most work below them. */
  donate(): Prefix[] {
    const count = Math.floor(this._frontier.length / 2);
    return this._frontier
      .splice(0, count)
      .map((node) => ({ script: this._scriptOf(node), preemptions: node.preemptions }));
  }

  /** The whole frontier, for a checkpoint. */
  frontier(): Prefix[] {
    return this._frontier.map((node) => ({ script: this._scriptOf(node), preemptions: node.preemptions }));
  }

  /** Whether some location turned out to be shared that was not known to be when the round began. */
  get grew(): boolean {
    if (this._board[B.GREW] === 0) return false;
    const count = (this._board[B.LOCATIONS] as number) + 1;
    for (let i = 1; i < count; i++) {
      const before = maskOf(this._known, i);
      const now = maskOf(this._locations, i);
      if (now !== before && sharing(now) !== sharing(before)) return true;
    }
    return false;
  }

  /** Byte address and mask of every location touched, in turn. */
  locations(): number[] {
    const count = (this._board[B.LOCATIONS] as number) + 1;
    return Array.from(this._locations.subarray(L.WORDS, count * L.WORDS));
  }

  /** What other crews know. */
  learn(pairs: readonly number[]): void {
    const shift = this._model.granule === 1 ? 0 : this._model.granule === 2 ? 1 : 2;
    for (let i = 0; i < pairs.length; i += 2) {
      const address = pairs[i] as number;
      const region = this._regions.find(({ base, bytes }) => address >= base && address < base + bytes.length);
      if (region === undefined) throw new ModelError(`address ${address} is of no region: the program has changed`);
      const granule = (address - region.base) >> shift;
      let number = region.numbers[granule] as number;
      if (number === 0) {
        number = numberLocation(this._board, this._locations, region, granule);
        this._locations[number * L.WORDS + L.ADDRESS] = address;
      }
      const mask = number * L.WORDS + L.MASK;
      this._locations[mask] = (this._locations[mask] as number) | (pairs[i + 1] as number);
    }
  }
}

function asksForOld(script: readonly number[]): boolean {
  for (let i = 1; i < script.length; i += 2) if ((script[i] as number) < OLDER) return true;
  return false;
}

/** A location's mask in a list, 0 where the list has none of it. */
function maskOf(locations: Int32Array, location: number): number {
  const at = location * L.WORDS + L.MASK;
  return at < locations.length ? (locations[at] as number) : 0;
}

/** The part of a mask that decides where the schedule may change: 0 unless two threads meet and one writes. */
function sharing(mask: number): number {
  const writers = L.conflicting(mask, false);
  const all = L.conflicting(mask, true);
  return writers === 0 || (all & (all - 1)) === 0 ? 0 : mask;
}
