/**
 * One modelled thread's side of the schedule, put together: it observes the thread's accesses, decides at each
 * whether the thread goes on, blocks it where it cannot, and performs what it does. All state that others must see is
 * on the board.
 */
import { Blocker } from './block.ts';
import * as B from './board/header.ts';
import type { BoardMemory } from './board/memory.ts';
import * as R from './board/record.ts';
import * as T from './board/thread.ts';
import { MODE_RUN, NEVER } from './board/values.ts';
import { Clocks } from './clocks.ts';
import { Decider } from './decide.ts';
import { History } from './history.ts';
import { WRITE } from './kinds.ts';
import { Observer } from './observe.ts';
import { Performer } from './perform.ts';
import { Recorder } from './recorder.ts';
import type { RegionMemory } from './regions.ts';
import { Sight } from './sight.ts';
import { SpinWatch } from './spin.ts';
import { heldText, standing } from './standing.ts';
import { forgetReads, wakeSleepers } from './threads.ts';
import { traceAccess } from './trace.ts';
import { Killed, Turn } from './turn.ts';

/** An address of no region, for the events of histories. */
const TIMES = 1;
/** The location of an access that conflicts with everything. */
const EVERYTHING = 0;

export interface SchedulerOptions {
  readonly me: number;
  readonly granule: number;
  readonly names: readonly string[];
  /** Whether this thread may die. */
  readonly mortal: boolean;
}

export class Scheduler {
  readonly turn: Turn;
  readonly observer: Observer;
  readonly blocker: Blocker;
  readonly recorder: Recorder;
  private readonly _sight = new Sight();
  private readonly _decider: Decider;
  private readonly _clocks: Clocks;
  private readonly _shift: number;

  constructor(memory: BoardMemory, options: SchedulerOptions) {
    const { me, granule, mortal } = options;
    const turn = new Turn(memory, me, options.names);
    const notes = new Int32Array(memory.notes);
    const clocks = new Clocks(turn.board, notes, me);
    const history = new History(turn.board, notes, new Int32Array(memory.history), me);
    const recorder = new Recorder(me);
    const spin = new SpinWatch();
    const shift = granule === 4 ? 2 : granule === 2 ? 1 : 0;
    const locations = new Int32Array(memory.locations);
    const dirty = new Int32Array(memory.dirty);
    const decider = new Decider(turn, history, recorder, { mortal, shift, standing: () => this._standing() });
    const blocker = new Blocker(turn, decider, recorder);
    const performer = new Performer(turn, { clocks, history, spin, locations, dirty, shift });
    const sight = this._sight;
    this.turn = turn;
    this.observer = new Observer({ turn, sight, decider, blocker, performer, spin, recorder, shift });
    this.blocker = blocker;
    this.recorder = recorder;
    this._decider = decider;
    this._clocks = clocks;
    this._shift = shift;
  }

  watch(regions: readonly RegionMemory[]): void {
    this._sight.watch(regions);
  }

  /** The first decision of an execution: who begins. */
  first(): number {
    return this._decider.choose();
  }

  /** Before this thread's `run`. */
  begin(): void {
    const { turn } = this;
    turn.mode = MODE_RUN;
    turn.dead = false;
    this.observer.begin();
    this.recorder.recorded = [];
    forgetReads(turn.board, turn.me);
    turn.board[turn.at + T.STARTED] = 1;
    this._decider.begin();
  }

  /* For the model. */

  /**
   * An event that others of its kind do not pass: which call returned before which one began is part of what is
   * explored.
   */
  time(): number {
    const { board } = this.turn;
    if (this.turn.mode !== MODE_RUN) return board[B.STEP] as number;
    const position = this._before(TIMES, TIMES + 1);
    wakeSleepers(board, TIMES, TIMES + 1, true);
    this._trace(position);
    // A number of its own, also if others went first.
    const time = board[B.STEP] as number;
    board[B.STEP] = time + 1;
    return time;
  }

  /**
   * A place where the schedule may change: an access that conflicts with everything, so that nothing is passed over
   * by moving it.
   */
  yieldPoint(): void {
    if (this.turn.mode === MODE_RUN) this._trace(this._before(0, NEVER));
  }

  private _before(from: number, to: number): number {
    if (this.turn.dead) throw new Killed();
    return this._decider.before(from, to, WRITE, true);
  }

  private _trace(position: number): void {
    traceAccess(this.turn.board, this.turn.me, position, R.WHAT_WRITE | R.WHAT_POINT, EVERYTHING);
  }

  /** What each thread waits for. */
  private _standing(): string {
    const { board, names } = this.turn;
    return standing(board, names, (address) => {
      const region = this._sight.regionAt(address);
      if (region === undefined) return '';
      const byte = address - region.base;
      const writer = this._clocks.writerOf(region.numbers[byte >> this._shift] as number);
      return heldText(region, byte, names[writer]);
    });
  }
}
