/**
 * Each allocation and each sleep of a call fails once. An allocation: the record, the frame, or a slab's refill is not to be had, once or
 * from then on. A sleep: the lock is another thread's until the call's limit has passed, or until the call is over; sections
 * and readers of mmap_lock stay. Afterwards a call that failed has changed nothing, nothing is held, the counters are
 * true, and the same call succeeds.
 */

import { pageTryLock, pageUnlock } from '../../../src/backing/page-lock.ts';
import type { PageRef } from '../../../src/base/brands.ts';
import { type Machine, VmError } from '../../../src/index.ts';
import { P_LOCK } from '../../../src/memory/page.layout.ts';
import { PAGE_RECORD_WORDS, SPACE_WORDS } from '../../../src/memory/regions.layout.ts';
import type { Slab } from '../../../src/memory/slab.ts';
import { MM_MMAP_LOCK } from '../../../src/paging/mm.layout.ts';
import {
  C_RETIRE_LOCK,
  C_RW_HOLD,
  C_STATE,
  CPU_ATTACHED,
  CPU_WORDS,
  CPUS,
  CPUS_USED,
  cpuSlot,
  LINE,
  LOCKDEP,
  SLAB_LINES,
} from '../../../src/sync/control.layout.ts';
import { CLASS_SLAB } from '../../../src/sync/lock-classes.ts';
import { writeTryLock, writeUnlock } from '../../../src/sync/rwsem.ts';
import { spinTryLock, spinUnlock } from '../../../src/sync/spinlock.ts';
import { inUse } from '../../support.ts';
import { aftermath, isTaken } from './aftermath.ts';
import { collectGarbage } from './garbage.ts';
import { checkLayout, finish, type Layouts, type Report, spread } from './kill.ts';
import { type Outcome, Stage } from './stage.ts';
import { SUBJECTS, type Subject } from './subjects.ts';
import { anotherCpu, layoutOf, makeWorld, type World } from './world.ts';

export interface InjectRequest {
  readonly subject: string;
  /** Injections of each kind, evenly spread; all if there are no more. */
  readonly most: number;
  readonly seed: number;
  /** Only this injection: a replay. */
  readonly only?: number | undefined;
  readonly maxFailures?: number | undefined;
}

type Kind = 'allocation' | 'allocations from' | 'lock until the limit' | 'lock until the end' | 'section' | 'reader';

interface Injection {
  readonly kind: Kind;
  /** The how-manieth allocation or lock of the call, from 1 on. */
  readonly nth: number;
}

const MAX_FAILURES = 6;
const STALL_MS = 500;
/** Virtual milliseconds: as in twice.ts. */
const PATIENCE_MS = 4000;

export function injectEverywhere({
  subject: name,
  most,
  seed,
  only,
  maxFailures = MAX_FAILURES,
}: InjectRequest): Report {
  const subject = SUBJECTS.find((each) => each.name === name) as Subject;
  const stage = new Stage();
  stage.install();
  const { layouts, counts } = rehearse(stage, subject);
  const list = injections(counts, most, seed);
  const failures: string[] = [];
  let worlds = 0;
  for (const i of only === undefined ? list.keys() : [only]) {
    if (failures.length >= maxFailures) break;
    if (worlds++ % 16 === 0) collectGarbage();
    const injection = list[i] as Injection;
    const { problems, outcome } = injectOnce(stage, subject, injection, layouts);
    const what = `${injection.kind} ${injection.nth}`;
    if (problems.length > 0)
      failures.push(`injection ${i} (${what}): the call ${outcome}:\n    ${problems.join('\n    ')}`);
  }
  return { accesses: counts.locks, worlds, failures };
}

interface Counts {
  readonly allocations: number;
  readonly locks: number;
}

function injections({ allocations, locks }: Counts, most: number, seed: number): Injection[] {
  const nths = (count: number, which: number, times = 1): number[] =>
    spread(count, times * most, seed + which).map((i) => i + 1);
  const of = (kind: Kind, list: readonly number[]): Injection[] => list.map((nth) => ({ kind, nth }));
  return [
    ...of('allocation', nths(allocations, 0, 3)), // few, and the call's own
    ...of('allocations from', nths(allocations, 1, 3)),
    ...of('lock until the limit', nths(locks, 2)),
    ...of('lock until the end', nths(locks, 3)),
    ...of('section', [1]),
    ...of('reader', [1]),
  ];
}

/** The call as it goes when nothing fails. */
function rehearse(stage: Stage, subject: Subject): { layouts: Layouts; counts: Counts } {
  const { world, ghost } = prepare(stage, subject);
  const old = layoutOf(world.space);
  const allocations = new Allocations(world.victim, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
  const locks = new Locks(stage, world.victim, ghost, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
  const outcome = stage.act(() => subject.act(world));
  stage.meddle = undefined;
  if (outcome.kind === 'failed') throw outcome.error;
  const layouts = { old, new: layoutOf(world.space) };
  ghost.close();
  const problems = [...aftermath(world.survivor), ...finish(world)];
  if (problems.length > 0) throw new Error(`nothing fails, and yet: ${problems.join('; ')}`);
  return { layouts, counts: { allocations: allocations.seen, locks: locks.seen } };
}

function prepare(stage: Stage, subject: Subject): { world: World; ghost: Machine } {
  const world = makeWorld(subject.frames ?? 256);
  subject.setup(world);
  subject.warm?.(world);
  subject.stage?.(world, stage);
  return { world, ghost: anotherCpu(world.survivor) };
}

function injectOnce(
  stage: Stage,
  subject: Subject,
  { kind, nth }: Injection,
  layouts: Layouts,
): { problems: string[]; outcome: string } {
  const { world, ghost } = prepare(stage, subject);
  const { victim, survivor } = world;
  const problems: string[] = [];
  let outcome: Outcome = { kind: 'done' };
  try {
    const before = inUse(survivor);
    const since = stage.clock;
    const injected = inject(stage, victim, ghost, kind, nth);
    outcome = injected.around(() => stage.act(() => subject.act(world)));
    injected.end();
    if (stage.clock - since > PATIENCE_MS)
      problems.push(`it took ${Math.round(stage.clock - since)} ms of virtual time`);
    problems.push(...checkFailure(outcome, kind), ...settle(stage, world));
    problems.push(...aftermath(survivor), ...ownedRecords(survivor));
    if (outcome.kind === 'failed' && subject.single === true && kind.startsWith('allocation')) {
      problems.push(...unchanged(world, kind, before, layouts));
    }
    if (problems.length === 0) problems.push(...again(stage, subject, world, layouts));
    ghost.close();
    if (problems.length === 0) problems.push(...finish(world), ...aftermath(survivor));
  } catch (error) {
    problems.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
  stage.meddle = undefined;
  const code = outcome.kind === 'failed' && outcome.error instanceof VmError ? outcome.error.code : outcome.kind;
  return { problems, outcome: outcome.kind === 'failed' ? `failed with ${code}` : 'succeeded' };
}

/**
 * A call that gave up is finished by its thread's next one, or, if it was its last, by whoever reaps it; so is what a reaping did not
 * begin, since a lock was in its way.
 */
function settle(stage: Stage, { survivor, victim }: World): string[] {
  const { words } = survivor.kernel;
  const waits = (id: number): boolean => isTaken(survivor, id) && words[cpuSlot(id) + C_STATE] !== CPU_ATTACHED;
  if (![...Array(words[CPUS_USED]).keys()].some(waits)) return [];
  const outcome = stage.act(() => (victim.closed ? survivor.reapNow(victim.cpu) : victim.drain()));
  return outcome.kind === 'failed' ? [`what it left cannot be finished: ${String(outcome.error)}`] : [];
}

/** Only errors of ours, and such as the injection makes. */
function checkFailure(outcome: Outcome, kind: Kind): string[] {
  if (outcome.kind !== 'failed') return [];
  const { error } = outcome;
  const expected = kind.startsWith('allocation') ? ['ENOMEM', 'EAGAIN'] : ['ETIMEDOUT', 'ENOMEM'];
  if (error instanceof VmError && expected.includes(error.code)) return [];
  return [`it failed with ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`];
}

function unchanged(
  { survivor, space }: World,
  kind: Kind,
  before: Record<string, unknown>,
  layouts: Layouts,
): string[] {
  const problems: string[] = [];
  if (layoutOf(space) !== layouts.old) problems.push(`the layout has changed:\n${layoutOf(space)}`);
  const after = inUse(survivor);
  // With no memory at all the boundaries stay that were cut for the call: see mergeAgain.
  const pools = kind === 'allocation' ? ['spaces', 'mappings', 'vma', 'file', 'text'] : ['spaces', 'file', 'text'];
  for (const pool of pools) {
    if (before[pool] !== after[pool]) problems.push(`${pool}: ${before[pool]} before, ${after[pool]} after`);
  }
  return problems;
}

/** A thread that makes no call has nothing in its hands. */
function ownedRecords(machine: Machine): string[] {
  const census = machine.census();
  const pools = ['frames', 'vma', 'node', 'table', 'file', 'rmap', 'text'] as const;
  return pools
    .filter((pool) => census[pool].owned > 0)
    .map((pool) => `${pool}: ${census[pool].owned} in somebody's hands`);
}

/** The same call without an injection, and the layout that it makes. */
function again(stage: Stage, subject: Subject, world: World, layouts: Layouts): string[] {
  const problems: string[] = [];
  const was = subject.single === true ? checkLayout(subject, world, layouts) : [];
  const outcome = stage.act(() => (subject.again ?? subject.act)(world));
  if (outcome.kind === 'failed') {
    const { error } = outcome;
    const already = error instanceof VmError && error.code === 'EEXIST' && layoutOf(world.space) === layouts.new;
    if (!already) problems.push(`again it fails: ${error instanceof Error ? error.stack : String(error)}`);
  }
  const found = layoutOf(world.space);
  if (subject.manyLayouts !== true && found !== layouts.new)
    problems.push(`afterwards the layout is not the new one:\n${found}`);
  return [...was, ...problems, ...aftermath(world.survivor), ...ownedRecords(world.survivor)];
}

interface Injected {
  around(call: () => Outcome): Outcome;
  /** The other thread lets go; nothing fails any more. */
  end(): void;
}

function inject(stage: Stage, victim: Machine, ghost: Machine, kind: Kind, nth: number): Injected {
  const plainly = (call: () => Outcome): Outcome => call();
  if (kind === 'allocation' || kind === 'allocations from') {
    const allocations = new Allocations(victim, nth, kind === 'allocation' ? nth : Number.POSITIVE_INFINITY);
    return { around: plainly, end: () => allocations.end() };
  }
  if (kind === 'section') {
    return { around: (call) => ghost.kernel.rcu.walking(call), end: () => undefined };
  }
  if (kind === 'reader') {
    const { words, regions } = ghost.kernel;
    words[ghost.kernel.cpu.base + C_RW_HOLD] = regions.spaces + MM_MMAP_LOCK;
    return {
      around: plainly,
      end: () => {
        words[ghost.kernel.cpu.base + C_RW_HOLD] = 0;
      },
    };
  }
  const locks = new Locks(
    stage,
    victim,
    ghost,
    nth,
    kind === 'lock until the limit' ? STALL_MS + 40 : Number.POSITIVE_INFINITY,
  );
  return { around: plainly, end: () => locks.end() };
}

/** Counts a machine's allocations, and lets those from `first` to `last` fail. */
class Allocations {
  seen = 0;
  readonly #first: number;
  readonly #last: number;
  #over = false;

  constructor({ kernel: { words, slabs, frames } }: Machine, first: number, last: number) {
    this.#first = first;
    this.#last = last;
    const alloc = frames.alloc.bind(frames);
    frames.alloc = () => (this.#fails() ? (0 as ReturnType<typeof alloc>) : alloc());
    for (const slab of Object.values(slabs) as Slab[]) this.#wrap(slab, words);
  }

  end(): void {
    this.#over = true;
  }

  #fails(): boolean {
    if (this.#over) return false;
    this.seen++;
    return this.seen >= this.#first && this.seen <= this.#last;
  }

  #wrap(slab: Slab, words: Int32Array): void {
    let reserved = 0; // these cannot fail: that is what was asked for
    const alloc = slab.alloc.bind(slab);
    const reserve = slab.reserve.bind(slab);
    slab.alloc = () => {
      if (reserved > 0) reserved--;
      else if (this.#fails()) return withoutRecords(slab, words, alloc);
      return alloc();
    };
    slab.reserve = (count) => {
      if (this.#fails()) withoutRecords(slab, words, () => 0);
      reserve(count);
      reserved = count;
    };
  }
}

/** An empty slab: its refill fails as it does when there is no room for more, under the slab's lock, if the magazine is empty. */
function withoutRecords(slab: Slab, words: Int32Array, alloc: () => number): never {
  const inside = slab as unknown as { _count: number; _source: { carve(): unknown } };
  const list = SLAB_LINES + slab.kind * LINE + 1;
  const head = words[list] as number;
  const { carve } = inside._source;
  words[list] = 0;
  inside._source.carve = () => undefined;
  try {
    if (inside._count === 0) alloc();
  } finally {
    words[list] = head;
    inside._source.carve = carve;
  }
  throw new VmError('ENOMEM', 'alloc', `no room for another ${slab.name} record`);
}

/** Counts the locks that a machine takes, and has the ghost take the `nth` a moment earlier, for `milliseconds`. */
class Locks {
  seen = 0;
  readonly #stage: Stage;
  readonly #tag: number;
  readonly #ghost: Machine;
  readonly #nth: number;
  readonly #until: number;
  #release: (() => void) | undefined;
  #since = 0;

  constructor(stage: Stage, victim: Machine, ghost: Machine, nth: number, milliseconds: number) {
    this.#stage = stage;
    this.#tag = victim.kernel.cpu.tag;
    this.#ghost = ghost;
    this.#nth = nth;
    this.#until = milliseconds;
    stage.meddle = (kind, index, value, expected) => {
      if (this.#release !== undefined && stage.clock - this.#since > this.#until) this.#let();
      if (kind === 'cas' && expected === 0 && value === this.#tag && isLock(ghost, index)) this.#taking(index);
    };
  }

  end(): void {
    this.#stage.meddle = undefined;
    this.#let();
  }

  #taking(index: number): void {
    const { words } = this.#ghost.kernel;
    if (words[index] !== 0 || this.#release !== undefined) return;
    if (++this.seen !== this.#nth) return;
    this.#since = this.#stage.clock;
    this.#release = takeFor(this.#ghost, index);
  }

  #let(): void {
    const release = this.#release;
    this.#release = undefined;
    release?.();
  }
}

/** A slot's state is taken in the same way, but nobody waits for it. */
function isLock({ kernel: { words } }: Machine, index: number): boolean {
  if (index < CPUS || index >= LOCKDEP) return true;
  const id = Math.floor((index - CPUS) / CPU_WORDS);
  return id < (words[CPUS_USED] as number) && index === cpuSlot(id) + C_RETIRE_LOCK;
}

function takeFor({ kernel: { cpu, regions } }: Machine, index: number): () => void {
  const ofPage = index - regions.pages;
  if (ofPage >= 0 && ofPage < regions.frames * PAGE_RECORD_WORDS && ofPage % PAGE_RECORD_WORDS === P_LOCK) {
    const page = (index - P_LOCK) as PageRef;
    pageTryLock(cpu, page);
    return () => pageUnlock(cpu, page);
  }
  const ofSpace = index - regions.spaces;
  if (ofSpace >= 0 && index < regions.pages && ofSpace % SPACE_WORDS === MM_MMAP_LOCK) {
    writeTryLock(cpu, index);
    return () => writeUnlock(cpu, index);
  }
  spinTryLock(cpu, index, CLASS_SLAB);
  return () => spinUnlock(cpu, index);
}
