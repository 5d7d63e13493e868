/**
 * Slabs: records of one size, cut from chunks that keep their kind for ever (so a stale index never points into the middle of
 * another kind). A cpu allocates from a private magazine and touches the shared list once a half magazine.
 *
 * Every record begins with `state` (see ownership.ts) and `link` (free list, retire list).
 */
import { add, cas, peek, peekRacy, poke, store } from '#atomics';
import { oops } from '../base/assert.ts';
import { VmError } from '../base/errors.ts';
import { MAGAZINE } from '../base/tunables.ts';
import { ARENA_BUMP, ARENA_LOCK, LINE, SLAB_LINES } from '../sync/control.layout.ts';
import type { Cpu } from '../sync/cpu.ts';
import { CLASS_ARENA, CLASS_SLAB } from '../sync/lock-classes.ts';
import { cutShort, isHeldBy, spinLock, spinReap, spinUnlock } from '../sync/spinlock.ts';
import { CACHED, FREE, LIVE, OWNED, ownedBy, R_LINK, R_STATE, RETIRED, stateKind, stateTag } from './ownership.ts';
import { CHUNK_WORDS } from './regions.layout.ts';
import type { Regions } from './regions.ts';

const LIST_HEAD = 1;
const FREE_UNDER_LOCK =
  'records become free, and cease to be, under the lock alone; what else others make of theirs is theirs';
const DEAD_ONLY = 'only records in the hands of a dead cpu are acted upon: nobody else writes those';

/** Where a slab gets room for more records. */
export interface ChunkSource {
  /** Index of the first new record and how many there are, or undefined when the region is used up. */
  carve(): { first: number; count: number } | undefined;
  /** Calls `visit` with every record ever carved. */
  forEach(visit: (record: number) => void): void;
}

export class Slab {
  readonly kind: number;
  readonly name: string;
  readonly recordWords: number;
  private readonly _cpu: Cpu;
  private readonly _line: number;
  private readonly _source: ChunkSource;
  private readonly _magazine: Int32Array = new Int32Array(MAGAZINE);
  private _count = 0;

  constructor(cpu: Cpu, kind: number, name: string, recordWords: number, source: ChunkSource) {
    this._cpu = cpu;
    this.kind = kind;
    this.name = name;
    this.recordWords = recordWords;
    this._line = SLAB_LINES + kind * LINE;
    this._source = source;
  }

  /** A record in state OWNED, its other words as its last user left them. Throws ENOMEM. Never waits. */
  alloc(): number {
    if (this._count === 0) this._refill();
    const record = this._magazine[--this._count] as number;
    poke(this._cpu.words, record + R_STATE, ownedBy(OWNED, this._cpu.tag));
    return record;
  }

  /** Takes a published record back into this cpu's hands, to take it apart. Requires: nobody else will. */
  own(record: number): void {
    poke(this._cpu.words, record + R_STATE, ownedBy(OWNED, this._cpu.tag));
  }

  /** The record can be reached by others from now on. */
  publish(record: number): void {
    poke(this._cpu.words, record + R_STATE, LIVE);
  }

  /** The same, where another thread may have taken the record out again already: then it is no longer this cpu's to name. */
  publishUnlocked(record: number): void {
    cas(this._cpu.words, record + R_STATE, ownedBy(OWNED, this._cpu.tag), LIVE); // pairs with markRetiredUnlocked
  }

  /** The same as markRetired, against a thread in `publishUnlocked`. */
  markRetiredUnlocked(record: number): void {
    store(this._cpu.words, record + R_STATE, ownedBy(RETIRED, this._cpu.tag));
  }

  /** The record is unhooked and waits for a grace period in this cpu's list. */
  markRetired(record: number): void {
    poke(this._cpu.words, record + R_STATE, ownedBy(RETIRED, this._cpu.tag));
  }

  /** Takes back a record that nobody can reach. */
  free(record: number): void {
    const state = stateKind(peek(this._cpu.words, record + R_STATE));
    if (state === FREE || state === CACHED) oops('slab', `${this.name} ${record} freed twice`);
    poke(this._cpu.words, record + R_STATE, ownedBy(CACHED, this._cpu.tag));
    if (this._count === MAGAZINE) this._flush(MAGAZINE >> 1);
    this._magazine[this._count++] = record;
  }

  /** Makes sure that the next `count` allocations cannot fail; at most a magazine. Throws ENOMEM. */
  reserve(count: number): void {
    while (this._count < count) this._refill();
  }

  /** Gives the magazine back, when the cpu detaches. */
  flush(): void {
    this._flush(this._count);
  }

  /** Forgets the magazine: a reaper has taken its records, which name this cpu. */
  forget(): void {
    this._count = 0;
  }

  /** What names `tag` is from now on `to`'s. Requires: nobody works under either. */
  rename(tag: number, to: number): void {
    const { words } = this._cpu;
    this._source.forEach((record) => {
      const state = peekRacy(words, record + R_STATE, DEAD_ONLY);
      // By cas: see reap.
      if (stateTag(state) === tag) cas(words, record + R_STATE, state, ownedBy(stateKind(state), to));
    });
  }

  /** Records by state, for conservation checks. Exact only when nobody allocates. */
  census(): { live: number; owned: number; retired: number; free: number } {
    const out = { live: 0, owned: 0, retired: 0, free: 0 };
    this._source.forEach((record) => {
      const kind = stateKind(peek(this._cpu.words, record + R_STATE));
      if (kind === LIVE) out.live++;
      else if (kind === OWNED) out.owned++;
      else if (kind === RETIRED) out.retired++;
      else out.free++;
    });
    return out;
  }

  forEach(visit: (record: number) => void): void {
    this._source.forEach(visit);
  }

  /** Whether word `at` is the lock over this slab's list. */
  isLock(at: number): boolean {
    return at === this._line;
  }

  /** Takes the list's lock from a dead cpu, to be done before anything is allocated. */
  reapLock(deadTag: number): void {
    if (!isHeldBy(this._cpu.words, this._line, deadTag)) return;
    this._rebuild(); // under the dead cpu's lock: whoever dies here leaves it to the next reaper
    spinReap(this._cpu, this._line, deadTag);
  }

  /**
   * Takes over what a dead cpu had in its hands. `settle` is asked about each record that it owned: true if the record is
   * reachable after all (it died between publishing and saying so). Retired ones go to `retire`.
   */
  reap(deadTag: number, settle: (record: number) => boolean, retire: (record: number) => void): number {
    const { words } = this._cpu;
    let found = 0;
    this._source.forEach((record) => {
      const state = peekRacy(words, record + R_STATE, DEAD_ONLY);
      if (stateTag(state) !== deadTag) return;
      found++;
      const kind = stateKind(state);
      if (kind === RETIRED) retire(record);
      // By cas: a record that was published after all may be on its way out in other hands by now.
      else if (kind === OWNED && settle(record)) cas(words, record + R_STATE, state, LIVE);
      else if (cas(words, record + R_STATE, state, ownedBy(OWNED, this._cpu.tag)) === state) this.free(record);
    });
    return found;
  }

  private _refill(): void {
    const { words } = this._cpu;
    spinLock(this._cpu, this._line, CLASS_SLAB);
    try {
      if (peek(words, this._line + LIST_HEAD) === 0) this._carve();
      const want = Math.max(1, MAGAZINE >> 1);
      for (let taken = 0; taken < want && this._count < MAGAZINE; taken++) {
        const head = peek(words, this._line + LIST_HEAD);
        if (head === 0) break;
        poke(words, head + R_STATE, ownedBy(CACHED, this._cpu.tag));
        poke(words, this._line + LIST_HEAD, peek(words, head + R_LINK));
        this._magazine[this._count++] = head;
      }
    } catch (error) {
      throw cutShort(this._cpu, error);
    } finally {
      spinUnlock(this._cpu, this._line);
    }
  }

  private _flush(count: number): void {
    if (count === 0) return;
    const { words } = this._cpu;
    spinLock(this._cpu, this._line, CLASS_SLAB);
    for (let i = 0; i < count; i++) {
      const record = this._magazine[--this._count] as number;
      poke(words, record + R_STATE, FREE);
      poke(words, record + R_LINK, peek(words, this._line + LIST_HEAD));
      poke(words, this._line + LIST_HEAD, record);
    }
    spinUnlock(this._cpu, this._line);
  }

  /** Requires: the slab's lock. */
  private _carve(): void {
    const { words } = this._cpu;
    const chunk = this._source.carve();
    if (chunk === undefined) throw new VmError('ENOMEM', 'alloc', `no room for another ${this.name} record`);
    let head = peek(words, this._line + LIST_HEAD);
    for (let i = chunk.count - 1; i >= 0; i--) {
      const record = chunk.first + i * this.recordWords;
      poke(words, record + R_STATE, FREE);
      poke(words, record + R_LINK, head);
      head = record;
    }
    poke(words, this._line + LIST_HEAD, head);
  }

  /** The owner of the list died in the middle of a change. The states say which records are free. */
  private _rebuild(): void {
    const { words } = this._cpu;
    let head = 0;
    this._source.forEach((record) => {
      if (peekRacy(words, record + R_STATE, FREE_UNDER_LOCK) !== FREE) return;
      poke(words, record + R_LINK, head);
      head = record;
    });
    poke(words, this._line + LIST_HEAD, head);
  }
}

/** Chunks from the arena. The directory word of a chunk is its kind + 1. */
export function arenaSource(cpu: Cpu, regions: Regions, kind: number, recordWords: number): ChunkSource {
  const perChunk = Math.floor(CHUNK_WORDS / recordWords);
  return {
    carve() {
      const { words } = cpu;
      spinLock(cpu, ARENA_LOCK, CLASS_ARENA);
      const chunk = peek(words, ARENA_BUMP);
      if (chunk < regions.chunkCount) {
        poke(words, regions.directory + chunk, kind + 1);
        poke(words, ARENA_BUMP, chunk + 1);
      }
      spinUnlock(cpu, ARENA_LOCK);
      if (chunk >= regions.chunkCount) return undefined;
      return { first: regions.chunks + chunk * CHUNK_WORDS, count: perChunk };
    },
    forEach(visit) {
      const used = peek(cpu.words, ARENA_BUMP);
      for (let chunk = 0; chunk < used; chunk++) {
        if (peek(cpu.words, regions.directory + chunk) !== kind + 1) continue;
        const first = regions.chunks + chunk * CHUNK_WORDS;
        for (let i = 0; i < perChunk; i++) visit(first + i * recordWords);
      }
    },
  };
}

/** A region of its own, handed out by a bump word: the page tables' headers. */
export function regionSource(cpu: Cpu, bump: number, first: number, total: number, recordWords: number): ChunkSource {
  const BATCH = 16;
  return {
    carve() {
      const at = add(cpu.words, bump, BATCH);
      if (at >= total) {
        add(cpu.words, bump, -BATCH);
        return undefined;
      }
      return { first: first + at * recordWords, count: Math.min(BATCH, total - at) };
    },
    forEach(visit) {
      const used = Math.min(total, peek(cpu.words, bump));
      for (let i = 0; i < used; i++) visit(first + i * recordWords);
    },
  };
}
