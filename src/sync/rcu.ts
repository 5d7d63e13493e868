/**
 * Read-copy update by epochs, whose grace period is also the TLB shootdown.
 *
 * A cpu is in a section while its slot is odd: the epoch it entered in, low bit set. Epochs step by 2. An object retired at epoch
 * e (after it was unhooked and, if a translation can reach it, after the generation was bumped) is freed once every odd slot
 * is later than e. Entering stores the slot and *then* loads the generation of each entered space, both sequentially consistent:
 * either the retirer saw the slot, or the section sees the bump (after "epoch-based reclamation", Fraser 2004, and
 * McKenney's classic RCU; crossbeam-epoch is the model for the engineering).
 *
 * Retire lists live in the cpu's slot, under its retire lock: `open` collects, `wait` carries the tag of the epoch it must
 * outlive. Under memory pressure any cpu may free any cpu's list. Objects are linked through a word of their own, so a list
 * has no capacity to run out of.
 */
import { add, cas, exchange, load, notify, now, pause, peek, peekRacy, poke, pokeRacy, store, wait } from '#atomics';
import { DEV } from '#dev';
import { mightSleep, sectionEntered, sectionLeft } from '#lockdep';
import { oops } from '../base/assert.ts';
import { VmError, WouldBlock } from '../base/errors.ts';
import { MAX_CPUS } from '../base/limits.ts';
import { GRACE_SPINS_BEFORE_NUDGE, GRACE_SPINS_BEFORE_WAIT, RETIRE_BACKLOG, RETIRE_BATCH } from '../base/tunables.ts';
import { COUNTER } from '../trace/counters.ts';
import {
  C_ENTRIES,
  C_RETIRE_FREEING,
  C_RETIRE_LATE,
  C_RETIRE_LOCK,
  C_RETIRE_OPEN,
  C_RETIRE_OPEN_COUNT,
  C_RETIRE_TAG,
  C_RETIRE_WAIT,
  C_RETIRE_WAIT_COUNT,
  C_SLOT,
  C_STACK,
  C_THREAD,
  C_WAKE,
  CPU_WORDS,
  CPUS,
  CPUS_USED,
  cpuSlot,
  EPOCH,
  GRACE,
  GRACE_WAITERS,
  RETIRE_KINDS,
  STACK_CHARS,
} from './control.layout.ts';
import type { Cpu } from './cpu.ts';
import { CLASS_RETIRE } from './lock-classes.ts';
import { spinLock, spinLockWithin, spinTryLock, spinUnlock } from './spinlock.ts';

/** What a section must look at again whenever its slot was stored anew: a space's cached translations. */
export interface SectionClient {
  /** How many entries of this thread's sections are for this client. Owned by `Rcu`. */
  sectionDepth: number;
  /** The space's record; 0 for a section in which nothing is translated. */
  readonly sectionMm: number;
  /** Loads the generation with Atomics and drops what it makes stale. */
  revalidate(): void;
  /** The section is left: no cached translation may be used. */
  deactivate(): void;
}

/** Frees the objects of one kind. */
export interface Reclaimer {
  /** Word through which retired objects are linked. */
  linkOf(object: number): number;
  free(object: number): void;
  /** Whether somebody still needs the object: it then waits for another grace period. */
  isAwaited?(object: number): boolean;
  /** Puts this cpu's name on a retired object that it takes over from another cpu's list. */
  markRetired(object: number): void;
}

/** Objects of one kind, linked from `head` to `tail`. */
export interface RetiredChain {
  readonly kind: number;
  head: number;
  tail: number;
  count: number;
}

/** Longest that a layout call waits, after it is done, for the records that it has retired. */
const BACKLOG_WAIT_MS = 50;
/** Longest that a cpu waits for the lock over its own lists, which others hold for a moment to free what is in them. */
const LISTS_PATIENCE_MS = 1000;
const WORTH_A_LOOK = 'how much waits to be freed decides when to look, under the lock, not what is freed';
/** Longest that a thread that must not block spins for a grace period: for others to see the nudge, not for the user to see a stop. */
const SPIN_MS = 10;
const A_SIGN_OF_LIFE = 'a count that moves shows that its thread lives; one that does not shows nothing';

/** A section in which nothing is translated. */
class Walk implements SectionClient {
  sectionDepth = 0;
  readonly sectionMm = 0;
  revalidate(): void {}
  deactivate(): void {}
}

export class Rcu {
  readonly cpu: Cpu;
  /** Nesting of this thread's sections. */
  depth = 0;
  /** Counts the times the slot was stored: translations made under another value are void. */
  sectionSerial = 0;
  private readonly _walk: Walk = new Walk();
  private readonly _entered: SectionClient[] = [];
  /** Whether this cpu has retired something without the lock over its lists: see `_retireLate`. */
  private _late: boolean;
  private readonly _reclaimers: (Reclaimer | undefined)[] = new Array<Reclaimer | undefined>(RETIRE_KINDS).fill(
    undefined,
  );
  /** Nesting that `suspend` has put aside: not 0 while this thread sleeps, does I/O or runs a callback for a section. */
  suspendedDepth = 0;
  /** Nesting of the user's `run`s. Only in them, and in a call itself, a section is open. */
  runs = 0;
  /** Makes cpu `id`, which stays in its section, notice a wish for a grace period at its next access. Set by whoever knows spaces. */
  nudge: (id: number) => void = () => undefined;

  constructor(cpu: Cpu) {
    this.cpu = cpu;
    this._late = this._isLate(cpu.base); // whoever had the slot before may have left some
  }

  registerReclaimer(kind: number, reclaimer: Reclaimer): void {
    this._reclaimers[kind] = reclaimer;
  }

  /* Sections. */

  get inSection(): boolean {
    return this.depth > 0;
  }

  enter(client: SectionClient): void {
    if (this.suspendedDepth !== 0 && client.sectionMm !== 0) this._checkNoFault();
    if (this.depth++ === 0) {
      this._publish();
      if (DEV) sectionEntered(this.cpu);
    }
    if (client.sectionDepth++ === 0) {
      this._entered.push(client);
      client.revalidate();
    }
  }

  /** Throws an Oops in a callback: what it would touch is what its thread is serving a fault for. */
  private _checkNoFault(): void {
    this.endStale(); // the fault may be one that the engine has ended
    if (this.suspendedDepth === 0) return;
    oops('H1', 'a callback (file system, pager) touched mapped memory while its thread was serving a fault');
  }

  leave(client: SectionClient): void {
    if (--client.sectionDepth === 0) {
      this._entered.pop();
      client.deactivate();
    }
    if (--this.depth === 0) {
      this._unpublish();
      if (DEV) sectionLeft(this.cpu);
    }
  }

  /** `leave`, for the end of a `run`. */
  leaveRun(client: SectionClient): void {
    if (this.runs === 0 && this.depth !== 1) this._endSections();
    else this.leave(client);
  }

  /**
   * Ends the section of a call that is over but has not left it: the engine threw in the middle of entering or leaving, since its stack
   * was exhausted.
   */
  endStale(): void {
    if (this.runs > 0 || this.cpu.callbacks > 0) return;
    if (this.depth !== 0 || this.suspendedDepth !== 0 || this._entered.length > 0) this._endSections();
  }

  private _endSections(): void {
    for (const client of this._entered) {
      client.sectionDepth = 0;
      client.deactivate();
    }
    this._entered.length = 0;
    this.depth = 0;
    this.suspendedDepth = 0;
    this._unpublish();
    if (DEV) sectionLeft(this.cpu);
  }

  /** A quiescent point in the middle of a section: every translation made before is void. */
  republish(): void {
    this._publish();
    this.cpu.count(COUNTER['section.republished']);
    for (const client of this._entered) client.revalidate();
  }

  /** Leaves all nesting levels; what it returns goes to `resume`. Every translation made before is void. */
  suspend(): number {
    const depth = this.depth;
    if (depth === 0) return 0;
    this.depth = 0;
    this.suspendedDepth = depth;
    for (const client of this._entered) client.deactivate();
    this._unpublish();
    if (DEV) sectionLeft(this.cpu);
    return depth;
  }

  resume(depth: number): void {
    if (depth === 0) return;
    this.depth = depth;
    this.suspendedDepth = 0;
    this._publish();
    if (DEV) sectionEntered(this.cpu);
    for (const client of this._entered) client.revalidate();
  }

  /** Runs `walk` in a section of no space: what it reaches under RCU stays what it is. */
  walking<T>(walk: () => T): T {
    this.enter(this._walk);
    try {
      return walk();
    } finally {
      this.leave(this._walk);
    }
  }

  /** Runs `sleeper` outside every section of this thread. */
  outside<T>(sleeper: () => T): T {
    const was = this.suspend();
    try {
      return sleeper();
    } finally {
      this.resume(was);
    }
  }

  /** Notes who is in the section, for stall reports (dev builds). */
  noteStack(stack: string): void {
    const { words, base } = this.cpu;
    const length = Math.min(stack.length, STACK_CHARS - 1);
    poke(words, base + C_STACK, length);
    for (let i = 0; i < length; i++) poke(words, base + C_STACK + 1 + i, stack.charCodeAt(i));
  }

  private _publish(): void {
    const { words, base } = this.cpu;
    store(words, base + C_SLOT, load(words, EPOCH) | 1); // then the generations: pairs with bump-then-scan in _blocker
    this.sectionSerial++;
    pokeRacy(words, base + C_ENTRIES, this.sectionSerial, A_SIGN_OF_LIFE);
  }

  private _unpublish(): void {
    const { words, base } = this.cpu;
    store(words, base + C_SLOT, 0);
    this.sectionSerial++;
    if (load(words, GRACE_WAITERS) !== 0) this._wakeWaiters(); // after the slot's store: pairs with _sleep's add, then look
  }

  private _wakeWaiters(): void {
    const { words } = this.cpu;
    store(words, GRACE, (load(words, GRACE) + 1) | 0);
    notify(words, GRACE, Number.POSITIVE_INFINITY);
  }

  /* Grace periods. */

  /** Starts one: its tag, to be handed to `elapsed`. */
  startGracePeriod(): number {
    const { words } = this.cpu;
    const tag = load(words, EPOCH);
    cas(words, EPOCH, tag, (tag + 2) | 0);
    return tag;
  }

  elapsed(tag: number): boolean {
    return this._blocker(tag) === -1;
  }

  /**
   * Waits until every section that was open has passed a quiescent point. Leaves this thread's own sections meanwhile. Throws
   * ETIMEDOUT, naming the cpu, when one stays in its section for the machine's stall limit; WouldBlock on a thread that must not block,
   * when one has not noticed the nudge after a few milliseconds.
   */
  synchronize(): void {
    const tag = this.startGracePeriod();
    const was = this.suspend();
    const { canBlock, stallLimit } = this.cpu;
    try {
      const blocker = this._waitFor(tag, canBlock ? stallLimit : Math.min(stallLimit, SPIN_MS));
      if (blocker !== -1) this._stalled(blocker);
    } finally {
      this.resume(was);
    }
  }

  /** -1, or the cpu that has not left its section after `limit` milliseconds. */
  private _waitFor(tag: number, limit: number): number {
    const { cpu } = this;
    cpu.count(COUNTER['grace.waits']);
    let blocker = this._blocker(tag);
    if (blocker === -1) return -1;
    mightSleep(cpu, 'a grace period');
    const since = now();
    for (let spins = 0; blocker !== -1; spins++) {
      if (spins % GRACE_SPINS_BEFORE_NUDGE === GRACE_SPINS_BEFORE_NUDGE - 1) this.nudge(blocker);
      if (spins < GRACE_SPINS_BEFORE_WAIT) pause();
      else this._sleep(tag, Math.min(1, 0.05 * (spins - GRACE_SPINS_BEFORE_WAIT + 1)));
      if (spins > GRACE_SPINS_BEFORE_WAIT && now() - since > limit) return blocker;
      blocker = this._blocker(tag);
    }
    return -1;
  }

  private _sleep(tag: number, milliseconds: number): void {
    const { cpu } = this;
    if (!cpu.canBlock) {
      pause();
      return;
    }
    const seen = load(cpu.words, GRACE);
    add(cpu.words, GRACE_WAITERS, 1);
    // Whoever leaves its section from here on sees that somebody waits.
    if (this._blocker(tag) !== -1) wait(cpu.words, GRACE, seen, milliseconds);
    add(cpu.words, GRACE_WAITERS, -1);
  }

  /**
   * Whether cpu `id` enters or leaves a section within `milliseconds`, nudged meanwhile: then its thread lives. That it does not shows
   * nothing. Requires: outside sections.
   */
  stirs(id: number, milliseconds: number): boolean {
    const { cpu } = this;
    const { words } = cpu;
    mightSleep(cpu, 'a sign of life of another cpu');
    const entries = peekRacy(words, cpuSlot(id) + C_ENTRIES, A_SIGN_OF_LIFE);
    const slot = load(words, cpuSlot(id) + C_SLOT);
    for (const since = now(); now() - since <= milliseconds; ) {
      if (load(words, cpuSlot(id) + C_SLOT) !== slot) return true;
      if (peekRacy(words, cpuSlot(id) + C_ENTRIES, A_SIGN_OF_LIFE) !== entries) return true;
      this.nudge(id);
      if (cpu.canBlock) wait(words, cpu.base + C_WAKE, load(words, cpu.base + C_WAKE), 1);
      else for (let spins = 0; spins < GRACE_SPINS_BEFORE_NUDGE; spins++) pause();
    }
    return false;
  }

  private _stalled(id: number): never {
    this.cpu.count(COUNTER['grace.stalls']);
    if (!this.cpu.canBlock) throw new WouldBlock('synchronize', `a grace period: ${this.describeSection(id)}`);
    throw new VmError(
      'ETIMEDOUT',
      'synchronize',
      `no grace period for ${this.cpu.stallLimit} ms: ${this.describeSection(id)}`,
    );
  }

  describeSection(id: number): string {
    const { words } = this.cpu;
    const base = cpuSlot(id);
    let stack = '';
    const length = peek(words, base + C_STACK);
    for (let i = 0; i < length; i++) stack += String.fromCharCode(peek(words, base + C_STACK + 1 + i));
    const where = stack === '' ? '' : `, entered at\n${stack}`;
    return `cpu ${id} (thread ${peek(words, base + C_THREAD)}) has not left its section${where}`;
  }

  /** The first cpu still in a section that began at or before `tag`, or -1. */
  private _blocker(tag: number): number {
    const { words } = this.cpu;
    const used = load(words, CPUS_USED);
    for (let id = 0; id < used; id++) {
      const slot = load(words, cpuSlot(id) + C_SLOT);
      if ((slot & 1) !== 0 && (((slot & ~1) - tag) | 0) <= 0) return id;
    }
    return -1;
  }

  /* Retiring. */

  /**
   * Hands an unhooked object over, to be freed after a grace period. Never fails: the object is out of reach already, and its caller
   * could not go back.
   */
  retire(kind: number, object: number): void {
    this.retireChain(kind, object, object, 1);
  }

  /** The same for a chain, already linked from `head` to `tail`. */
  retireChain(kind: number, head: number, tail: number, count: number): void {
    if (this._lockOwnLists()) {
      this._push(kind, head, tail, count);
      spinUnlock(this.cpu, this.cpu.base + C_RETIRE_LOCK);
    } else {
      this._retireLate(kind, head, tail);
    }
  }

  /** Two chains under one lock: what an edit of the tree leaves behind. Either may be empty (0). */
  retireChains(first: RetiredChain, second: RetiredChain): void {
    if (this._lockOwnLists()) {
      if (first.count > 0) this._push(first.kind, first.head, first.tail, first.count);
      if (second.count > 0) this._push(second.kind, second.head, second.tail, second.count);
      spinUnlock(this.cpu, this.cpu.base + C_RETIRE_LOCK);
    } else {
      if (first.count > 0) this._retireLate(first.kind, first.head, first.tail);
      if (second.count > 0) this._retireLate(second.kind, second.head, second.tail);
    }
  }

  /** Locks this cpu's lists. False if another thread does not let go of the lock (it has died with it): see `_retireLate`. */
  private _lockOwnLists(): boolean {
    const { cpu } = this;
    const limit = this._late ? 0 : Math.min(cpu.stallLimit, LISTS_PATIENCE_MS);
    if (!spinLockWithin(cpu, cpu.base + C_RETIRE_LOCK, CLASS_RETIRE, limit)) return false;
    if (this._late) this._listLate();
    return true;
  }

  /**
   * Without the lock over its lists a cpu puts what it retires on a stack of its own beside them. Only the cpu itself puts something
   * there, so a cas is enough; whoever has the lock takes all. It need not be the cpu: an idle thread keeps no memory from others.
   */
  private _retireLate(kind: number, head: number, tail: number): void {
    const { words, base } = this.cpu;
    const at = base + C_RETIRE_LATE + kind;
    this._late = true;
    for (;;) {
      const top = load(words, at);
      poke(words, this._reclaimer(kind).linkOf(tail), top);
      if (cas(words, at, top, head) === top) return; // publishes; pairs with _adoptLate's load
    }
  }

  /** Requires: this cpu's retire lock. */
  private _listLate(): void {
    const { words, base } = this.cpu;
    for (let kind = 0; kind < RETIRE_KINDS; kind++) {
      const chain = this._chain(kind, exchange(words, base + C_RETIRE_LATE + kind, 0));
      if (chain.length > 0) this._push(kind, chain[0] as number, chain.at(-1) as number, chain.length);
    }
    this._late = false;
  }

  /**
   * Another cpu's late objects become its open list, where that is empty. They are named by both for a moment: should this thread die
   * meanwhile, `repairLists` cuts again. The count comes before the cut: see hasRetired. Requires: that cpu's retire lock.
   */
  private _adoptLate(base: number): void {
    const { words } = this.cpu;
    for (let kind = 0; kind < RETIRE_KINDS; kind++) {
      const top = load(words, base + C_RETIRE_LATE + kind);
      if (top === 0 || peek(words, base + C_RETIRE_OPEN + kind) !== 0) continue;
      poke(words, base + C_RETIRE_OPEN + kind, top);
      const { length } = this._chain(kind, top);
      store(words, base + C_RETIRE_OPEN_COUNT, peek(words, base + C_RETIRE_OPEN_COUNT) + length);
      this.cpu.countMany(COUNTER['retire.objects'], length);
      this._cutLate(base, kind);
    }
  }

  /** What the open list names is late no more. Its cpu may be putting more on top. Idempotent. Requires: the retire lock. */
  private _cutLate(base: number, kind: number): void {
    const { words } = this.cpu;
    const at = base + C_RETIRE_LATE + kind;
    const listed = peek(words, base + C_RETIRE_OPEN + kind);
    if (listed === 0 || cas(words, at, listed, 0) === listed) return;
    const chain = this._chain(kind, load(words, at));
    const above = chain[chain.indexOf(listed) - 1];
    if (above !== undefined) poke(words, this._reclaimer(kind).linkOf(above), 0);
  }

  /** Whether something is late that cpu slot `base` has retired. */
  private _isLate(base: number): boolean {
    for (let kind = 0; kind < RETIRE_KINDS; kind++) {
      if (load(this.cpu.words, base + C_RETIRE_LATE + kind) !== 0) return true;
    }
    return false;
  }

  /** This cpu's objects are found by their states, and somebody else's now. */
  forget(): void {
    this._late = false;
  }

  /** Requires: this cpu's retire lock. */
  private _push(kind: number, head: number, tail: number, count: number): void {
    const { cpu } = this;
    const { words, base } = cpu;
    const reclaimer = this._reclaimer(kind);
    poke(words, reclaimer.linkOf(tail), peek(words, base + C_RETIRE_OPEN + kind));
    poke(words, base + C_RETIRE_OPEN + kind, head);
    const open = peek(words, base + C_RETIRE_OPEN_COUNT) + count;
    poke(words, base + C_RETIRE_OPEN_COUNT, open);
    cpu.countMany(COUNTER['retire.objects'], count);
  }

  /** Frees what has outlived its grace period, if enough has come together to be worth a look. No call fails for that. */
  pollRetired(): void {
    try {
      this._pollRetired();
    } catch (error) {
      if (this.cpu.gaveUp === undefined) throw error;
    }
  }

  private _pollRetired(): void {
    const { words, base, id } = this.cpu;
    const open = peekRacy(words, base + C_RETIRE_OPEN_COUNT, WORTH_A_LOOK); // others free our list too
    if (open < RETIRE_BATCH) return;
    this.freeRetired(id);
    // A thread that maps and unmaps while another stays in a section must not use up the records: it waits for that one.
    if (open < RETIRE_BACKLOG || this.depth > 0 || !this.cpu.canBlock) return;
    this._waitFor(this.startGracePeriod(), BACKLOG_WAIT_MS);
    this.freeRetired(id);
  }

  /** Frees what cpu `owner` has retired and nobody can reach any more; starts a grace period for the rest. Never waits. */
  freeRetired(owner: number): number {
    const { cpu } = this;
    let freed = 0;
    for (let round = 0; round < 2; round++) {
      const base = cpuSlot(owner);
      const lock = base + C_RETIRE_LOCK;
      const locked = owner === cpu.id ? this._lockOwnLists() : spinTryLock(cpu, lock, CLASS_RETIRE);
      if (!locked) return freed;
      const freeing = cpu.base + C_RETIRE_FREEING;
      store(cpu.words, freeing, peek(cpu.words, base + C_RETIRE_WAIT_COUNT));
      const heads = this._takeElapsed(base, owner !== cpu.id);
      this._closeOpen(base);
      if (owner !== cpu.id) this._adoptLate(base);
      spinUnlock(cpu, lock);
      if (heads !== undefined) freed += this._freeChains(heads);
      store(cpu.words, freeing, 0);
    }
    return freed;
  }

  /** The cpu whose retire lock word `at` is, or -1. */
  ofLock(at: number): number {
    const id = Math.floor((at - CPUS) / CPU_WORDS);
    return id >= 0 && id < MAX_CPUS && at === cpuSlot(id) + C_RETIRE_LOCK ? id : -1;
  }

  /**
   * Under a retire lock that a dead cpu held on behalf of cpu `owner`, which lives: it may have died between any two stores of
   * `freeRetired`. What still hangs on the waiting lists is the owner's again: `claim` says so on the object.
   */
  repairLists(owner: number, claim: (object: number) => void): void {
    const { words } = this.cpu;
    const base = cpuSlot(owner);
    let open = 0;
    let waiting = 0;
    for (let kind = 0; kind < RETIRE_KINDS; kind++) {
      const head = peek(words, base + C_RETIRE_WAIT + kind);
      if (head !== 0 && head === peek(words, base + C_RETIRE_OPEN + kind)) poke(words, base + C_RETIRE_OPEN + kind, 0);
      for (const object of this._chain(kind, head)) {
        claim(object);
        waiting++;
      }
      this._cutLate(base, kind);
      open += this._chain(kind, peek(words, base + C_RETIRE_OPEN + kind)).length;
    }
    poke(words, base + C_RETIRE_OPEN_COUNT, open);
    poke(words, base + C_RETIRE_WAIT_COUNT, waiting);
    poke(words, base + C_RETIRE_TAG, this.startGracePeriod());
  }

  private _chain(kind: number, head: number): number[] {
    const out: number[] = [];
    for (let object = head; object !== 0; object = peek(this.cpu.words, this._reclaimer(kind).linkOf(object))) {
      out.push(object);
    }
    return out;
  }

  /** Empties a dead cpu's lists: its objects are found by their state words and retired anew. */
  dropLists(dead: number): void {
    const { words } = this.cpu;
    const base = cpuSlot(dead);
    spinLock(this.cpu, base + C_RETIRE_LOCK, CLASS_RETIRE);
    for (let kind = 0; kind < RETIRE_KINDS; kind++) {
      poke(words, base + C_RETIRE_OPEN + kind, 0);
      poke(words, base + C_RETIRE_WAIT + kind, 0);
      store(words, base + C_RETIRE_LATE + kind, 0);
    }
    // Atomics, as below: who looks whether the slot may be used again does so without the lock.
    store(words, base + C_RETIRE_OPEN_COUNT, 0);
    store(words, base + C_RETIRE_WAIT_COUNT, 0);
    spinUnlock(this.cpu, base + C_RETIRE_LOCK);
    store(words, base + C_RETIRE_FREEING, 0);
  }

  /**
   * Another cpu that has taken objects off a list and not given them back yet: they are about to be free. -1 if there is none. Whoever
   * waits for it must give up some time: it may have died.
   */
  freeingCpu(): number {
    const { words } = this.cpu;
    const used = load(words, CPUS_USED);
    for (let id = 0; id < used; id++) {
      if (id !== this.cpu.id && load(words, cpuSlot(id) + C_RETIRE_FREEING) !== 0) return id;
    }
    return -1;
  }

  /** A moment's sleep, for whoever waits for that. Requires: no section. */
  waitABit(): void {
    if (this.cpu.canBlock) wait(this.cpu.words, GRACE, load(this.cpu.words, GRACE), 0.1);
    else pause();
  }

  /** Objects that wait for a grace period, on all cpus. */
  pendingRetired(): number {
    const { words } = this.cpu;
    let sum = 0;
    const used = load(words, CPUS_USED);
    for (let id = 0; id < used; id++) {
      sum += peekRacy(words, cpuSlot(id) + C_RETIRE_OPEN_COUNT, WORTH_A_LOOK);
      sum += peekRacy(words, cpuSlot(id) + C_RETIRE_WAIT_COUNT, WORTH_A_LOOK);
      if (this._isLate(cpuSlot(id))) sum++;
    }
    return sum;
  }

  /** Frees all cpus' lists as far as a few grace periods allow, waiting for them. Requires: may sleep. */
  drain(): void {
    for (let round = 0; round < 3 && this.pendingRetired() > 0; round++) {
      this.freeAllRetired();
      if (this.pendingRetired() === 0) return;
      this.synchronize();
      this.freeAllRetired();
    }
  }

  freeAllRetired(): number {
    let freed = 0;
    const used = load(this.cpu.words, CPUS_USED);
    for (let id = 0; id < used; id++) freed += this.freeRetired(id);
    return freed;
  }

  /** Requires: retire lock. The heads of the waiting lists, if their grace period is over. */
  private _takeElapsed(base: number, foreign: boolean): number[] | undefined {
    const { words } = this.cpu;
    if (peek(words, base + C_RETIRE_WAIT_COUNT) === 0) return undefined;
    if (!this.elapsed(peek(words, base + C_RETIRE_TAG))) return undefined;
    const heads: number[] = [];
    for (let kind = 0; kind < RETIRE_KINDS; kind++) heads.push(peek(words, base + C_RETIRE_WAIT + kind));
    if (foreign) this._retag(heads);
    for (let kind = 0; kind < RETIRE_KINDS; kind++) poke(words, base + C_RETIRE_WAIT + kind, 0);
    store(words, base + C_RETIRE_WAIT_COUNT, 0);
    this.cpu.count(COUNTER['grace.periods']);
    return heads;
  }

  /** Requires: retire lock. The open list begins to wait, if nothing waits before it. */
  private _closeOpen(base: number): void {
    const { words } = this.cpu;
    const open = peek(words, base + C_RETIRE_OPEN_COUNT);
    if (open === 0 || peek(words, base + C_RETIRE_WAIT_COUNT) !== 0) return;
    for (let kind = 0; kind < RETIRE_KINDS; kind++) {
      poke(words, base + C_RETIRE_WAIT + kind, peek(words, base + C_RETIRE_OPEN + kind));
      poke(words, base + C_RETIRE_OPEN + kind, 0);
    }
    // In this order, so that whoever looks whether the slot may be used again (see hasRetired in cpu.ts) never finds neither.
    store(words, base + C_RETIRE_WAIT_COUNT, open);
    store(words, base + C_RETIRE_OPEN_COUNT, 0);
    poke(words, base + C_RETIRE_TAG, this.startGracePeriod());
  }

  /** The objects change hands under the victim's lock: whoever reaps the victim must not find them any more. */
  private _retag(heads: readonly number[]): void {
    const { words } = this.cpu;
    heads.forEach((head, kind) => {
      for (let object = head; object !== 0; object = peek(words, this._reclaimer(kind).linkOf(object))) {
        this._reclaimer(kind).markRetired(object);
      }
    });
  }

  private _freeChains(heads: number[]): number {
    const { words } = this.cpu;
    let freed = 0;
    for (let kind = 0; kind < RETIRE_KINDS; kind++) {
      let object = heads[kind] ?? 0;
      if (object === 0) continue;
      const reclaimer = this._reclaimer(kind);
      while (object !== 0) {
        const next = peek(words, reclaimer.linkOf(object));
        if (reclaimer.isAwaited?.(object) === true) {
          reclaimer.markRetired(object);
          this.retire(kind, object);
        } else {
          reclaimer.free(object);
          freed++;
        }
        object = next;
      }
    }
    return freed;
  }

  private _reclaimer(kind: number): Reclaimer {
    return this._reclaimers[kind] ?? oops('rcu', `no reclaimer for kind ${kind}`);
  }
}
