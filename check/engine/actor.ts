/** One thread of a model in its Worker: prepares, runs to its end or to its death, and hands the turn on. */
import type { Model, ThreadContext } from '../model.ts';
import { isPromise } from '../validate.ts';
import * as B from './board/header.ts';
import type { BoardMemory } from './board/memory.ts';
import { RESULT_BYTES, threadAt } from './board/places.ts';
import * as T from './board/thread.ts';
import {
  COMMAND_RUN,
  FAILURE_MODEL,
  FAILURE_THROWN,
  MODE_ABORT,
  MODE_RUN,
  STATUS_DEAD,
  STATUS_DONE,
} from './board/values.ts';
import type { Recorded } from './recorder.ts';
import type { Scheduler } from './scheduler.ts';
import { Aborted, Killed, type Turn } from './turn.ts';

export class Actor {
  readonly scheduler: Scheduler;
  readonly turn: Turn;
  readonly model: Model<unknown>;
  readonly shared: unknown;
  /** Called with what was recorded, when a recorded execution has ended for this thread. */
  onRecorded: (recorded: Recorded[]) => void = () => undefined;
  private readonly _me: number;
  private readonly _results: Uint16Array;
  private readonly _context: ThreadContext;
  private _local: unknown;

  constructor(scheduler: Scheduler, memory: BoardMemory, model: Model<unknown>, shared: unknown) {
    this.scheduler = scheduler;
    this.turn = scheduler.turn;
    this.model = model;
    this.shared = shared;
    this._me = scheduler.turn.me;
    this._results = new Uint16Array(memory.text, this._me * RESULT_BYTES, RESULT_BYTES / 2);
    this._context = {
      thread: scheduler.turn.me,
      now: () => scheduler.time(),
      join: (name) => scheduler.blocker.join(name),
      yield: () => scheduler.yieldPoint(),
    };
  }

  prepare(): void {
    forgetObjects();
    this._local = this.model.threads[this._me]?.prepare?.(this.shared) ?? this.shared;
  }

  /** The last thread that has prepared lets the execution begin. True if all ended in this very call. */
  start(): boolean {
    const { scheduler, turn } = this;
    turn.setMode(MODE_RUN);
    let next: number;
    try {
      next = scheduler.first();
    } catch (error) {
      if (!(error instanceof Aborted)) throw error;
      return this._unwound();
    }
    if (next === this._me) return this.run();
    turn.command(next, COMMAND_RUN);
    return false;
  }

  /** Runs the thread to its end. True if the execution is over and nobody else has the turn. */
  run(): boolean {
    const { scheduler, turn, model } = this;
    let status = STATUS_DONE;
    scheduler.begin();
    // It will tell when others have already gone on: counted while they wait.
    turn.board[B.RECORDINGS] = (turn.board[B.RECORDINGS] as number) + 1;
    try {
      const result = model.threads[this._me]?.run(this._local, this._context);
      if (turn.dead) throw new Killed(); // what it caught was its own death
      this._store(result);
    } catch (error) {
      if (error instanceof Aborted || turn.mode === MODE_ABORT) return this._unwound();
      if (error instanceof Killed || turn.dead) status = STATUS_DEAD;
      else {
        turn.note(FAILURE_THROWN, textOf(error));
        return this._unwound();
      }
    }
    try {
      const over = scheduler.blocker.ended(status);
      this._tell();
      return over;
    } catch (error) {
      if (!(error instanceof Aborted)) throw error;
      return this._unwound();
    }
  }

  private _unwound(): boolean {
    this._tell();
    return this.turn.unwound();
  }

  private _tell(): void {
    if (this.turn.board[B.RECORDING] === 1) this.onRecorded(this.scheduler.recorder.recorded);
  }

  /** It is not the program that is wrong, but the model. */
  private _unfit(why: string): never {
    return this.turn.fail(FAILURE_MODEL, `thread ${this.turn.names[this._me]}: ${why}`);
  }

  private _store(result: unknown): void {
    if (isPromise(result)) this._unfit('run returned a promise: a checked thread is one synchronous call');
    let text: string;
    try {
      text = JSON.stringify(result) ?? 'null';
    } catch (error) {
      this._unfit(`a result does not survive JSON: ${(error as Error).message}`);
    }
    if (text.length > RESULT_BYTES / 2)
      this._unfit(`a result of ${text.length} characters: ${RESULT_BYTES / 2} are possible`);
    for (let i = 0; i < text.length; i++) this._results[i] = text.charCodeAt(i);
    this.turn.board[threadAt(this._me) + T.RESULT] = text.length;
  }
}

/**
 * What libraries remember in this thread of memory that has been put back since (a `Machine` of ours) is no longer true: those that
 * have registered forget it, so that `prepare` and `check` attach anew.
 */
export function forgetObjects(): void {
  const registry = globalThis as { [objects: symbol]: readonly (() => void)[] | undefined };
  for (const forget of registry[Symbol.for('vmspace.checked-objects')] ?? []) forget();
}

export function textOf(error: unknown): string {
  if (error instanceof Error) return error.stack ?? `${error.name}: ${error.message}`;
  try {
    return String(error);
  } catch {
    return 'something that cannot be made a text';
  }
}
