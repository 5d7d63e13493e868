/**
 * Performs an access, as far as the checker goes: who has touched what, in which order, whether it races, and whom it
 * wakes.
 */
import type { Access } from './access.ts';
import * as B from './board/header.ts';
import * as L from './board/location.ts';
import { CHUNK_SHIFT } from './board/places.ts';
import * as R from './board/record.ts';
import * as T from './board/thread.ts';
import { FAILURE_RACE } from './board/values.ts';
import type { Clocks } from './clocks.ts';
import type { History } from './history.ts';
import { PAGE_BYTES, PLAIN, WRITE } from './kinds.ts';
import { markDirty, numberLocation, type Region } from './regions.ts';
import type { SpinWatch } from './spin.ts';
import { noteRead, wakeSleepers, wakeSpinners } from './threads.ts';
import { traceAccess } from './trace.ts';
import type { Turn } from './turn.ts';

export interface PerformerParts {
  readonly clocks: Clocks;
  readonly history: History;
  readonly spin: SpinWatch;
  readonly locations: Int32Array;
  readonly dirty: Int32Array;
  /** Of a location's bytes, as a power of two. */
  readonly shift: number;
}

export class Performer {
  /**
   * What it reads says that the thread spins: it pauses before its next access. This one must be what it was
   * announced as.
   */
  spinning = false;
  private readonly _turn: Turn;
  private readonly _board: Int32Array;
  private readonly _me: number;
  private readonly _clocks: Clocks;
  private readonly _history: History;
  private readonly _spin: SpinWatch;
  private readonly _locations: Int32Array;
  private readonly _dirty: Int32Array;
  private readonly _shift: number;

  constructor(turn: Turn, parts: PerformerParts) {
    this._turn = turn;
    this._board = turn.board;
    this._me = turn.me;
    this._clocks = parts.clocks;
    this._history = parts.history;
    this._spin = parts.spin;
    this._locations = parts.locations;
    this._dirty = parts.dirty;
    this._shift = parts.shift;
  }

  /** `unchanged`: an Atomics operation that leaves the word as it is counts as a look. */
  perform(access: Access, unchanged: boolean): void {
    const { address, bytes, conflicts } = access;
    wakeSleepers(this._board, address, address + bytes, conflicts);
    this._touch(access);
    if (!access.writes || unchanged) this._hasRead(access);
    else if (access.kind !== 'notify') this._hasWritten(access);
  }

  /** Marks what will be written, also outside an execution: the leader puts it back. */
  markWritten(region: Region, from: number, to: number): void {
    markDirty(this._board, this._dirty, region, from, to);
  }

  /**
   * Each location of the access: one for an element, or for a whole page of frame data; more where elements are
   * wider.
   */
  private _touch(access: Access): void {
    const region = access.region as Region;
    const { byte, wide, conflicts } = access;
    const last = wide ? byte : byte + access.bytes - 1;
    const step = 1 << this._shift;
    // Of several locations, the record names one in which others meet this access.
    let named = 0;
    let shared = false;
    for (let at = byte; at <= last; at += step) {
      const number = this._numberOf(region, at);
      const touched = this._noteThread(access, number, conflicts);
      const meets = (L.conflicting(touched, conflicts) & ~(1 << this._me)) !== 0;
      if (meets || !shared) named = number;
      shared ||= meets;
      if (access.kind !== 'notify') this._order(access, number, region.base + at, touched);
    }
    const several = last >= ((byte >> this._shift) + 1) << this._shift ? R.WHAT_SEVERAL : 0;
    const what = several | (conflicts ? R.WHAT_WRITE : 0) | (access.point ? R.WHAT_POINT : 0);
    traceAccess(this._board, this._me, access.position, what, named);
  }

  /** The location of a byte. */
  private _numberOf(region: Region, byte: number): number {
    const granule = byte >> this._shift;
    const known = region.numbers[granule] as number;
    if (known !== 0) return known;
    const number = numberLocation(this._board, this._locations, region, granule);
    this._locations[number * L.WORDS + L.ADDRESS] = region.base + byte;
    return number;
  }

  /** Adds this thread to those that touch the location. Returns the mask as it was. */
  private _noteThread(access: Access, number: number, conflicts: boolean): number {
    const me = this._me;
    const at = number * L.WORDS + L.MASK;
    const touched = this._locations[at] as number;
    const marked = access.kind === 'racyPeek' ? L.MARKED : 0;
    const bits = conflicts ? 1 << (L.WRITERS_SHIFT + me) : marked | (1 << me);
    if ((touched & bits) !== bits) {
      this._locations[at] = touched | bits;
      this._board[B.GREW] = 1;
    }
    return touched;
  }

  /** What the access is ordered after, what is ordered after it, and whether it races. */
  private _order(access: Access, number: number, address: number, touched: number): void {
    const { classes, bytes, writes, atomic } = access;
    const board = this._board;
    const clocks = this._clocks;
    if (writes) clocks.wrote(number);
    // A read that is marked as racing takes any value; a marked write is still a write to everybody else.
    if (board[B.RACES] === 1 && classes !== 0) {
      const rival = clocks.access(number, writes, (classes & PLAIN) !== 0);
      if (rival !== -1) this._race(access, rival, address);
    }
    if (atomic && access.kind !== 'store') clocks.acquire(number, bytes);
    if (!writes) return;
    const remembered = (touched & L.MARKED) !== 0 || board[B.REMEMBER] === 1;
    if (remembered && !access.wide && bytes === 1 << this._shift) this._history.wrote(number, access.found as number);
    if (atomic) clocks.release(number, bytes);
    else clocks.forget(number);
  }

  private _hasRead(access: Access): void {
    const { address, wide } = access;
    this._board[this._turn.at + T.LAST_READ] = address;
    noteRead(this._board, this._me, address, wide);
    if (this._spin.read(access.kind, address, access.old ?? access.found)) this.spinning = true;
    if (access.writes) this._mark(access);
  }

  private _hasWritten(access: Access): void {
    const { address } = access;
    this._spin.reset();
    if (access.classes !== WRITE) this._board[this._turn.at + T.STUBBORN] = 0;
    this._board[B.IDLE] = 0;
    wakeSpinners(this._board, address, address + access.bytes);
    this._mark(access);
  }

  private _mark(access: Access): void {
    const region = access.region as Region;
    const { byte } = access;
    if (access.wide) this.markWritten(region, byte, byte + PAGE_BYTES);
    else if (region.dirty[byte >> CHUNK_SHIFT] === 0) this.markWritten(region, byte, byte + access.bytes);
  }

  private _race(access: Access, rival: number, address: number): never {
    const { names } = this._turn;
    const mine = `${names[this._me]} (${access.kind}, step ${access.position})`;
    this._turn.fail(
      FAILURE_RACE,
      `data race on @${address}: ${mine} and ${names[rival]}, not ordered, at least one of them plain`,
    );
  }
}
