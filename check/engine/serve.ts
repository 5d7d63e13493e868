/**
 * The leader's side of the talk with the checker: it does what it is asked in slices, and hears the next order
 * between two of them.
 */
import type { MessagePort } from 'node:worker_threads';
import { ModelError } from '../validate.ts';
import { textOf } from './actor.ts';
import * as B from './board/header.ts';
import type { Failure, Leader, RunOptions } from './leader.ts';
import type { Names } from './names.ts';
import type { Order, Report } from './protocol.ts';

/** Milliseconds of search between two looks at the messages. */
const SLICE_MS = 40;
/** What an execution is taken to have, decisions, before the first one has shown it. */
const USUAL_LENGTH = 200;

/** Something to be done execution by execution. */
interface Work {
  /** Nothing is left. */
  readonly over: boolean;
  /** Runs one execution, and returns its failure. */
  step(): Failure | undefined;
}

export class Service {
  /** What other threads and this one have recorded of the execution that is asked for. */
  readonly recorded: Report[] = [];
  private readonly _port: MessagePort;
  private readonly _leader: Leader;
  private readonly _board: Int32Array;
  private readonly _names: Names;
  private _work: Work | undefined;
  /** Executions that it may still run. */
  private _most = Number.POSITIVE_INFINITY;

  constructor(port: MessagePort, leader: Leader, board: Int32Array, names: Names) {
    this._port = port;
    this._leader = leader;
    this._board = board;
    this._names = names;
  }

  /** Does what it is told from now on. */
  listen(): void {
    this._port.on('message', (order: Order) => this._safely(() => this._obey(order)));
  }

  private _obey(order: Order): void {
    const leader = this._leader;
    switch (order.type) {
      case 'explore':
        leader.reduction = order.reduction;
        leader.learn(order.known);
        leader.outcomes.clear();
        leader.begin(order.prefixes, order.bound);
        this._most = order.most;
        this._begin(searching(leader));
        break;
      case 'sample':
        leader.outcomes.clear();
        this._most = order.most;
        this._begin(sampling(leader, order.options, order.seed, order.stride));
        break;
      case 'more':
        leader.add(order.prefixes);
        if (this._work === undefined) this._begin(searching(leader));
        break;
      case 'donate':
        // Samples leave the frontier empty.
        this._say({ type: 'donated', prefixes: this._work === undefined ? [] : leader.donate() });
        break;
      case 'stop':
        if (this._work !== undefined) this._finish(true);
        break;
      case 'run':
        this._run(order.script, order.options);
        break;
      case 'quit':
        process.exit(0);
    }
  }

  private _begin(work: Work): void {
    this._work = work;
    setImmediate(() => this._slice());
  }

  private _slice(): void {
    if (this._work === undefined) return;
    this._safely(() => {
      if (!this._workUntil(performance.now() + SLICE_MS)) return;
      const { totals, pending } = this._leader;
      this._say({ type: 'progress', totals: { ...totals }, pending });
      setImmediate(() => this._slice());
    });
  }

  /** Returns false when there is no more to do. */
  private _workUntil(time: number): boolean {
    const work = this._work as Work;
    while (performance.now() < time) {
      if (work.over) {
        this._finish(false);
        return false;
      }
      const failure = work.step();
      if (failure !== undefined) {
        this._work = undefined;
        const totals = { ...this._leader.totals };
        this._say({ type: 'failure', failure: this._names.legible(failure), totals });
        return false;
      }
      if (--this._most <= 0) {
        this._finish(true);
        return false;
      }
    }
    return true;
  }

  private _finish(stopped: boolean): void {
    const leader = this._leader;
    this._work = undefined;
    this._say({
      type: 'idle',
      totals: { ...leader.totals },
      grew: leader.grew,
      known: leader.locations(),
      outcomes: [...leader.outcomes],
      frontier: stopped ? leader.frontier() : [],
      stopped,
    });
  }

  private _run(script: readonly number[], options: RunOptions): void {
    this.recorded.length = 0;
    const ended = this._leader.execute(script, options);
    for (const report of this.recorded) this._say(report);
    const failure = ended.failure === undefined ? undefined : this._names.legible(ended.failure);
    this._say({ type: 'ran', ended: { ...ended, failure }, recordings: this._board[B.RECORDINGS] as number });
  }

  private _safely(act: () => void): void {
    try {
      act();
    } catch (error) {
      this._say({ type: 'broken', text: reasonOf(error) });
    }
  }

  private _say(report: Report): void {
    this._port.postMessage(report);
  }
}

/** The frontier, schedule by schedule. */
function searching(leader: Leader): Work {
  return {
    get over() {
      return leader.pending === 0;
    },
    step: () => leader.step(),
  };
}

/** Executions by chance, each with a seed of its own, without an end. */
function sampling(leader: Leader, options: RunOptions, first: number, stride: number): Work {
  let seed = first;
  return {
    over: false,
    step: () => {
      const ended = leader.execute([], { ...options, seed, length: leader.steps || USUAL_LENGTH });
      seed += stride;
      if (ended.outcome !== undefined) leader.count(ended.outcome);
      return ended.failure;
    },
  };
}

/** Without a stack where the message says it all. */
export function reasonOf(error: unknown): string {
  return error instanceof ModelError ? error.message : textOf(error);
}
