/**
 * Finishing what a thread left behind: one that died (I27), and one that lives but has given up a call half-way (see
 * sync/spinlock.ts). Nothing was journaled: locks name their owner, records name the cpu that had them in hand, page-table entries
 * say whether they were being zapped, and the slot says which layout operation was under way; every step is idempotent, so it is
 * simply done again.
 *
 * Who is at whose work is in the state words (waiting.ts). Nothing is begun that a lock is in the way of (blocked.ts).
 */
import { cas, load, now, store } from '#atomics';
import { Oops, VmError } from '../base/errors.ts';
import { MAX_CPUS, VPN_LIMIT } from '../base/limits.ts';
import { abandonedTag } from '../memory/ownership.ts';
import { bumpGeneration } from '../paging/generation.ts';
import type { Kernel } from '../space/kernel.ts';
import { forEachMm, forEveryMm } from '../space/mm.ts';
import {
  C_SERIAL,
  C_SLOT,
  C_STATE,
  C_THREAD,
  CPU_ATTACHED,
  CPU_ATTACHING,
  CPU_DEAD,
  CPU_GAVE_UP,
  CPUS_USED,
  cpuSlot,
  GRACE,
  H_DEATHS,
} from '../sync/control.layout.ts';
import { attachingBy, detachCpu } from '../sync/cpu.ts';
import { futexReap, futexReapAsync } from '../sync/futex.ts';
import { checkGaveUp, forgetGivingUp, HINT_OF_DEATH, releasingHeld } from '../sync/spinlock.ts';
import { COUNTER } from '../trace/counters.ts';
import { cpuInTheWay } from './blocked.ts';
import {
  concernedSpaces,
  dropReferences,
  finishExit,
  finishLayout,
  releasePageLocks,
  releaseSpinlocks,
  settleTree,
  takeNodes,
  takeRecords,
} from './reap-steps.ts';
import { type Group, inHands, takeUp, waitingGroups } from './waiting.ts';

/** Milliseconds to wait for others while what they, or a call that has given up, have left is finished: they hold a lock for a moment, or are gone. */
export const HELP_PATIENCE_MS = 100;

export interface Reaping {
  /** Only the thread of that serial. */
  readonly serial?: number | undefined;
  /** Milliseconds to wait for others' locks. Default: the machine's stall limit. */
  readonly patience?: number | undefined;
}

/** Says of every cpu of the host's thread that it is dead: whoever finishes others' work next reaps it. For a thread that cannot itself. */
export function noteDeath(k: Kernel, thread: number): void {
  for (let id = 0; id < load(k.words, CPUS_USED); id++) {
    const serial = load(k.words, cpuSlot(id) + C_SERIAL); // before the thread: the slot may be used again meanwhile
    if (load(k.words, cpuSlot(id) + C_THREAD) === thread) claimDead(k, id, serial);
  }
}

/** Reaps every cpu of the host's thread `thread`. Throws as `reapCpu`, when it has tried all. */
export function reapThread(k: Kernel, thread: number, patience?: number): number {
  let reaped = 0;
  let failure: unknown;
  for (let id = 0; id < load(k.words, CPUS_USED); id++) {
    const at = cpuSlot(id) + C_STATE;
    if (cas(k.words, at, attachingBy(thread), inHands(CPU_DEAD, k.cpu.tag)) === attachingBy(thread)) {
      bury(k, id); // it died before it had anything
      reaped++;
    } else if (id !== k.cpu.id) {
      const serial = load(k.words, cpuSlot(id) + C_SERIAL); // before the thread: the slot may be used again meanwhile
      if (load(k.words, cpuSlot(id) + C_THREAD) !== thread) continue;
      try {
        if (reapCpu(k, id, { serial, patience })) reaped++;
      } catch (error) {
        if (k.cpu.gaveUp !== undefined || !(error instanceof VmError)) throw error;
        failure = error; // in nobody's hands; the next one may be free to be finished
      }
    }
  }
  if (failure !== undefined) throw failure;
  return reaped;
}

/**
 * The thread of cpu `id` is gone, as the host has confirmed; with `serial`, the thread of that serial. False if the cpu is not in use,
 * or somebody else is reaping it. Throws ETIMEDOUT when a lock is in the way of a thread that is slow, or dead too: then it waits, as
 * one that is dead, for whoever finishes others' work next. Seldom that shows only half-way, as does ENOMEM: this cpu has then given up,
 * and goes on with its next call. Requires: outside sections, nothing held.
 */
export function reapCpu(k: Kernel, id: number, how: Reaping = {}): boolean {
  if (id >= MAX_CPUS) throw new VmError('EINVAL', 'reap', `there is no cpu ${id}`);
  const { serial, patience = k.cpu.stallLimit } = how;
  const claimed = claimDead(k, id, serial);
  if (claimed === 'none') return false;
  const buried = k.cpu.gaveUp === undefined ? [] : [...recover(k, patience)];
  if (!buried.includes(id)) buried.push(...finishAll(k, patience, id).buried);
  if (claimed === 'waits' && !buried.includes(id)) checkFinished(k, id, patience);
  return claimed === 'waits' || buried.includes(id);
}

/** Throws if the cpu still waits for somebody. */
function checkFinished(k: Kernel, id: number, patience: number): void {
  if (!waitingGroups(k).some(({ cpus }) => cpus.includes(id))) return; // others have it in hand, or have been through
  const who = whoIsInTheWay(k, id);
  const what = `what cpu ${id} has left cannot be finished yet: ${who} has held a lock for ${patience} ms that it needs`;
  throw new VmError('ETIMEDOUT', 'reap', `${what}; ${HINT_OF_DEATH}`);
}

/** For messages. The holder may have let go by now, or be in the way of another one of the same group. */
function whoIsInTheWay(k: Kernel, id: number): string {
  const other = cpuInTheWay(k, [id], [id]);
  return other === -1 ? 'somebody' : `cpu ${other}`;
}

/** Says that the thread is dead. 'others': some other cpu is at its work, or was when it died itself. */
function claimDead(k: Kernel, id: number, serial: number | undefined): 'waits' | 'others' | 'none' {
  const at = cpuSlot(id) + C_STATE;
  for (;;) {
    const state = load(k.words, at);
    const kind = state & 0xff;
    // Dead in the middle of finishing its own call: nobody is at it.
    const tag = state >> 8 === id + 1 ? 0 : state >> 8;
    if (serial !== undefined && load(k.words, cpuSlot(id) + C_SERIAL) !== serial) return 'none';
    if (kind === CPU_DEAD) return tag === 0 || tag === k.cpu.tag ? 'waits' : 'others';
    const between = kind === CPU_ATTACHING && serial === undefined; // two owners; above the state stands a thread
    if (between && cas(k.words, at, state, CPU_DEAD) === state) return 'waits';
    if (kind !== CPU_ATTACHED && kind !== CPU_GAVE_UP) return 'none';
    // Somebody who is finishing its call for it finds out in the end that it is dead, and begins anew.
    const dead = inHands(CPU_DEAD, kind === CPU_GAVE_UP ? tag : 0);
    if (cas(k.words, at, state, dead) !== state) continue;
    if (serial !== undefined && load(k.words, cpuSlot(id) + C_SERIAL) !== serial) {
      cas(k.words, at, dead, state); // another thread has the slot by now
      return 'none';
    }
    return dead === CPU_DEAD ? 'waits' : 'others';
  }
}

/**
 * Takes up a cpu whose call has given up: finishes what the call left, unless somebody else has done it or is doing it. Throws
 * ETIMEDOUT when that is not possible yet. Returns the dead cpus that were buried on the way. Requires: the call has unwound.
 */
export function recover(k: Kernel, patience: number): readonly number[] {
  const { cpu, words } = k;
  const buried: number[] = [];
  for (const since = now(); ; ) {
    const state = load(words, cpu.base + C_STATE);
    const isMine = state === CPU_ATTACHED || state === inHands(CPU_GAVE_UP, cpu.tag);
    if (isMine && cpu.gaveUp !== undefined && !cpu.offered)
      standDown(k); // it was no public call that gave up
    else if (state === CPU_ATTACHED) {
      if (cpu.gaveUp !== undefined) startAnew(k);
      return buried;
    } else if ((state & 0xff) !== CPU_GAVE_UP)
      throw new VmError('EBADF', 'recover', 'this thread has been reaped as a dead one');
    buried.push(...finishAll(k, patience, cpu.id).buried);
    if (load(words, cpu.base + C_STATE) === CPU_ATTACHED) continue;
    if (now() - since > patience) {
      const finisher = (load(words, cpu.base + C_STATE) >> 8) - 1;
      const what =
        finisher !== -1
          ? `cpu ${finisher} has been finishing it`
          : `${whoIsInTheWay(k, cpu.id)} has held a lock that it needs`;
      throw new VmError('ETIMEDOUT', 'recover', `${what} for ${patience} ms`);
    }
    k.rcu.waitABit();
  }
}

/**
 * The public call that has given up is over: this cpu's spinlocks are released, and everybody may see what is left to do. What can be
 * done then is done by `recover`.
 */
export function standDown(k: Kernel): void {
  releasingHeld(k.cpu, () => releaseSpinlocks(k, k.cpu.id));
  offer(k);
}

/** The thread leaves with work unfinished: its cpu stays in use until somebody reaps. */
export function leaveUnfinished(k: Kernel): void {
  const at = k.cpu.base + C_STATE;
  const ours = (state: number): boolean => state === CPU_ATTACHED || (state & 0xff) === CPU_GAVE_UP;
  for (let state = load(k.words, at); ours(state); state = load(k.words, at)) {
    cas(k.words, at, state, inHands(CPU_DEAD, state >> 8));
  }
}

/** From here on others may finish this cpu's work. */
function offer(k: Kernel): void {
  const at = k.cpu.base + C_STATE;
  if (cas(k.words, at, CPU_ATTACHED, CPU_GAVE_UP) !== CPU_ATTACHED) {
    cas(k.words, at, inHands(CPU_GAVE_UP, k.cpu.tag), CPU_GAVE_UP);
  }
  k.cpu.offered = true; // last: should the engine throw in here, it is offered once more
}

/** Finishes what others have left and nobody is at. Whether something was finished. Requires: as reapCpu. */
export function finishOthers(k: Kernel, patience: number): boolean {
  const used = load(k.words, CPUS_USED);
  for (let id = 0; id < used; id++) {
    const state = load(k.words, cpuSlot(id) + C_STATE);
    if (state === CPU_DEAD || state === CPU_GAVE_UP) return finishAll(k, patience, ANY).finished > 0;
  }
  return false;
}

const ANY = -1;

interface Finished {
  readonly buried: readonly number[];
  /** Cpus whose work was finished, those that were buried among them. */
  readonly finished: number;
}

/**
 * Finishes all that waits for somebody, but for what a lock is in the way of (see blocked.ts): for that of cpu `wanted` it waits until
 * `patience` ends. While this cpu's own call is not finished it can do nothing for others. Gives up with whatever ended it.
 */
function finishAll(k: Kernel, patience: number, wanted: number): Finished {
  const { cpu } = k;
  const limit = cpu.stallLimit;
  cpu.stallLimit = Math.min(limit, patience);
  const buried: number[] = [];
  let finished = 0;
  try {
    for (const since = now(); ; ) {
      const groups = waitingGroups(k);
      const free = withoutHindrance(k, groups);
      const own = free.find(({ cpus }) => cpus.includes(cpu.id));
      const mayBegin = cpu.gaveUp === undefined || (own !== undefined && takeUp(k, own));
      const taken = mayBegin ? free.filter((group) => group === own || takeUp(k, group)) : [];
      const left = taken.flatMap(({ cpus }) => cpus);
      if (left.length > 0) {
        buried.push(...finish(k, left));
        finished += left.length;
        continue;
      }
      const isAwaited = wanted === ANY ? groups.length > 0 : groups.some(({ cpus }) => cpus.includes(wanted));
      if (!isAwaited || now() - since > patience) return { buried, finished };
      k.rcu.waitABit();
    }
  } catch (error) {
    if (error instanceof Oops) throw error;
    // It may have been in the middle of another one's operation: what it holds for that is released when that is done.
    cpu.gaveUp ??= { error };
    cpu.offered = false; // if the stack ends in the next line, recovery begins with it
    standDown(k);
    throw error;
  } finally {
    cpu.stallLimit = limit;
  }
}

/** The groups in whose way nobody is who is not among them. */
function withoutHindrance(k: Kernel, groups: readonly Group[]): readonly Group[] {
  let left = groups;
  for (;;) {
    const doing = left.flatMap(({ cpus }) => cpus);
    const next = left.filter(({ cpus }) => cpuInTheWay(k, cpus, doing) === -1);
    if (next.length === left.length) return left;
    left = next;
  }
}

/**
 * The order matters. The sections of the dead end first (grace periods may be needed), and their waits; locks next, each after what
 * it protects was made to agree with itself again; then what of their edits is in a tree is told from what is not, before the interrupted
 * operations are done again under their mmap_locks; what is left in their hands goes back last.
 */
function finish(k: Kernel, left: readonly number[]): readonly number[] {
  const { words } = k;
  if (left.includes(k.cpu.id)) startAnew(k);
  for (const each of left) if (isDead(k, each)) store(words, cpuSlot(each) + C_SLOT, 0);
  for (const each of left) futexReap(words, each); // first: whoever gets the lock of a bucket next finds no dead waiter in it
  for (const each of left) releaseSpinlocks(k, each);
  for (const each of left) releasePageLocks(k, each);
  for (const each of left) k.rcu.dropLists(each);
  const tags = left.flatMap((each) => tagsOf(k, each));
  const spaces = concernedSpaces(k, left);
  for (const tag of tags) for (const mm of spaces) settleTree(k, mm, tag);
  for (const tag of tags) takeNodes(k, tag); // to do the operations again may need them
  finishOperations(k, left);
  forEachMm(k, (mm) => bumpGeneration(k.cpu, mm, 0 as never, VPN_LIMIT as never));
  for (const tag of tags) takeRecords(k, tag);
  const buried = left.filter((each) => isDead(k, each));
  for (const each of buried) futexReapAsync(words, each);
  for (const each of buried) dropReferences(k, each);
  checkGaveUp(k.cpu); // to let go of a lock may have been given up silently
  for (const each of left) if (buried.includes(each)) bury(k, each);
  for (const each of left) if (!buried.includes(each)) giveBack(k, each);
  store(words, GRACE, load(words, GRACE) + 1);
  return buried;
}

/**
 * Whose name is on what the cpu had in hand: its own, or, as it may be this very cpu, another for what its call left. If it died after
 * it had given up there is some of both.
 */
function tagsOf(k: Kernel, id: number): readonly number[] {
  const tag = id + 1;
  if (isDead(k, id)) return [tag, abandonedTag(tag)];
  for (const slab of Object.values(k.slabs)) slab.rename(tag, abandonedTag(tag));
  k.frames.rename(tag, abandonedTag(tag));
  return [abandonedTag(tag)];
}

/** This cpu's own first: to do another one's again it writes intents of its own. */
function finishOperations(k: Kernel, left: readonly number[]): void {
  const others = left.filter((each) => each !== k.cpu.id);
  const ordered = others.length < left.length ? [k.cpu.id, ...others] : others;
  for (const each of ordered) {
    forEveryMm(k, (mm) => finishLayout(k, mm, each, ordered));
    if (each === k.cpu.id) finishExit(k, each);
  }
  for (const each of others) finishExit(k, each);
  checkGaveUp(k.cpu);
}

function isDead(k: Kernel, id: number): boolean {
  return (load(k.words, cpuSlot(id) + C_STATE) & 0xff) === CPU_DEAD;
}

function bury(k: Kernel, id: number): void {
  store(k.words, H_DEATHS, load(k.words, H_DEATHS) + 1);
  k.cpu.count(COUNTER['reaped.cpus']);
  detachCpu(k.words, id);
}

/** Its thread may go on. If it died meanwhile the state says so, and it is collected again. */
function giveBack(k: Kernel, id: number): void {
  cas(k.words, cpuSlot(id) + C_STATE, inHands(CPU_GAVE_UP, k.cpu.tag), CPU_ATTACHED);
}

/** What this thread keeps for itself is in others' hands, or about to be. */
function startAnew(k: Kernel): void {
  for (const slab of Object.values(k.slabs)) slab.forget();
  k.frames.forget();
  k.rcu.forget();
  k.cpu.offered = false;
  forgetGivingUp(k.cpu);
}
