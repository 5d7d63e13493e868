/**
 * Calls that give up half-way, because a dead thread has what they need. Nobody undoes anything: the cpu is recovered as a dead
 * one is, and the threads go on with the same data.
 */

import { F_LOCK } from '../../src/backing/mapping.layout.ts';
import {
  MAP_FIXED_NOREPLACE,
  MAP_PRIVATE,
  type Machine,
  type MappedFile,
  registerBacking,
  type Space,
} from '../../src/index.ts';
import { P_LOCK, P_RMAP_LOCK } from '../../src/memory/page.layout.ts';
import { MM_MMAP_LOCK, MM_TREE_LOCK } from '../../src/paging/mm.layout.ts';
import { observePort } from '../../src/sync/atomics.checked.ts';
import {
  C_HELD,
  C_INTENT,
  C_PAGE_LOCKS,
  C_RETIRE_LOCK,
  C_RW_WAIT,
  C_STATE,
  CPU_GAVE_UP,
  CPUS_USED,
  cpuSlot,
  FRAME_LOCK,
  HELD_SLOTS,
  PAGE_LOCK_SLOTS,
} from '../../src/sync/control.layout.ts';
import { OWNER_MASK } from '../../src/sync/lock-classes.ts';
import { conservation } from '../stress/audit.ts';
import { Stage } from '../stress/kill/stage.ts';
import { ANON, anotherCpu, P, patternOf, RW } from '../stress/kill/world.ts';
import { interleave, killOnce, makeCast, outcome } from './cast.ts';

const PAGES = 4;
/** Where the file is mapped: each place is in a page table of its own. */
const [FIRST, SECOND, THIRD] = [0x1000_0000, 0x2000_0000, 0x3000_0000];

interface Scene {
  readonly survivor: Machine;
  readonly space: Space;
  readonly file: MappedFile;
  readonly victim: Machine;
  readonly theirs: Space;
}

/** A file that is mapped three times; its page 1 is in the cache, and behind the first mapping. */
function makeScene(): Scene {
  const { machine: survivor, spaces } = makeCast(1);
  const space = spaces[0] as Space;
  const file = survivor.createFile('pattern', {}, PAGES * P);
  for (const addr of [FIRST, SECOND, THIRD]) {
    space.mmap({ addr, length: PAGES * P, prot: RW, flags: MAP_PRIVATE | MAP_FIXED_NOREPLACE, file });
  }
  space.load8(FIRST + P);
  const victim = anotherCpu(survivor);
  return { survivor, space, file, victim, theirs: victim.attachSpace(space.handle) };
}

function heldBy({ kernel }: Machine, lock: number, { cpu }: Machine): boolean {
  return ((kernel.words[lock] as number) & OWNER_MASK) === cpu + 1;
}

/** The page record of page 1 of the file. */
function pageOf({ survivor, file }: Scene): number {
  return survivor.kernel.cache.find(file.id as never, 1);
}

/** The victim dies with the lock over the reverse map of the page: in a fault on it, or in an munmap. */
function dieWithReverseMap(scene: Scene, call: 'fault' | 'munmap' = 'fault'): void {
  const { survivor, victim, theirs } = scene;
  const lock = pageOf(scene) + P_RMAP_LOCK;
  if (call === 'munmap') theirs.load8(THIRD + P);
  killOnce(
    () => heldBy(survivor, lock, victim),
    () => (call === 'munmap' ? theirs.munmap(THIRD, PAGES * P) : theirs.load8(THIRD + P)),
  );
}

/** Closes all that the survivor has; what is wrong with the machine then. */
function end({ survivor, space, file }: Scene): string[] {
  space.close();
  file.close();
  const problems = conservation(survivor);
  survivor.close();
  return problems;
}

/**
 * first   looks for memory and holds the lock over the retire lists of a slot that nobody uses
 * second  attaches, and gets that slot
 * first   lets go of the lock
 */
export function attachBesideFreeing(): { sameSlot: boolean; held: boolean; outcomes: string[]; problems: string[] } {
  const scene = makeScene();
  const { survivor, space, victim } = scene;
  victim.close();
  const lock = cpuSlot(victim.cpu) + C_RETIRE_LOCK;
  let second = survivor;
  let held = false;
  interleave(() => survivor.kernel.rcu.freeAllRetired(), {
    before: (kind, array, index) => kind === 'exchange' && array === survivor.kernel.words && index === lock,
    meanwhile() {
      second = anotherCpu(survivor);
      held = heldBy(survivor, lock, survivor);
    },
  });
  const theirs = second.attachSpace(space.handle);
  const outcomes = [
    outcome(() => theirs.munmap(theirs.mmap({ length: P, prot: RW, flags: ANON }), P)),
    outcome(() => second.close()),
  ];
  return { sameSlot: second.cpu === victim.cpu, held, outcomes, problems: end(scene) };
}

/**
 * victim    unmaps a page of a file, or faults on it: dies with the lock over its reverse map
 * survivor  reads the page elsewhere, writes a copy of it, or unmaps it: gives up with the lock of a page table in hand
 * survivor  reaps the victim, and does the same again
 */
export function giveUpWithLeaf(call: 'read' | 'write' | 'munmap'): Record<string, unknown> {
  const scene = makeScene();
  const { survivor, space, victim } = scene;
  if (call !== 'read') space.load8(SECOND + P);
  dieWithReverseMap(scene, call === 'munmap' ? 'fault' : 'munmap');
  const act = (): unknown => {
    if (call === 'read') return space.load8(SECOND + P);
    return call === 'write' ? space.store8(SECOND + P, 1) : space.munmap(SECOND, PAGES * P);
  };
  const outcomes = [outcome(act), outcome(() => survivor.reapNow(victim.cpu)), outcome(act)];
  const reads = space.load32(FIRST + P) === patternOf(1);
  return { outcomes, reads, problems: end(scene) };
}

/**
 * victim    dies with the lock over a reverse map
 * survivor  reads the page elsewhere: gives up with the page's lock, which it has noted; reaps the victim
 */
export function notesOfPageLocks(): Record<string, unknown> {
  const scene = makeScene();
  const { survivor, space, victim } = scene;
  const { words, cpu } = survivor.kernel;
  dieWithReverseMap(scene, 'munmap');
  const notes = (): number =>
    words.subarray(cpu.base + C_PAGE_LOCKS, cpu.base + C_PAGE_LOCKS + PAGE_LOCK_SLOTS).filter((page) => page !== 0)
      .length;
  const outcomes = [outcome(() => space.load8(SECOND + P))];
  const before = notes();
  outcomes.push(outcome(() => survivor.reapNow(victim.cpu)));
  return { outcomes, before, after: notes(), problems: end(scene) };
}

/**
 * victim    dies with the lock over a reverse map
 * second    reads the page elsewhere, gives up, and dies while it finishes that call itself
 * survivor  reaps both
 */
export function diesWhileItFinishes(): Record<string, unknown> {
  const scene = makeScene();
  const { survivor, space, victim } = scene;
  const second = anotherCpu(survivor);
  const others = second.attachSpace(space.handle);
  dieWithReverseMap(scene, 'munmap');
  const { words } = survivor.kernel;
  const state = second.kernel.cpu.base + C_STATE;
  killOnce(
    () => {
      // It waits for the locks that are in its way; then they are free, as if their holder had only been slow.
      for (let i = 0; i < HELD_SLOTS && words[state] === CPU_GAVE_UP; i++) {
        const lock = words[cpuSlot(victim.cpu) + C_HELD + i] as number;
        if (lock !== 0 && heldBy(survivor, lock, victim)) words[lock] = 0;
      }
      return words[state] === (CPU_GAVE_UP | (second.kernel.cpu.tag << 8));
    },
    () => others.load8(SECOND + P),
  );
  const reaped = [survivor.reapNow(victim.cpu), survivor.reapNow(second.cpu)];
  const reads = space.load32(SECOND + P) === patternOf(1);
  return { reaped, reads, cpus: survivor.cpus().length, problems: end(scene) };
}

/**
 * victim    dies with the lock over a reverse map
 * survivor  munmap of the page: gives up; reaps the victim; maps memory at the same place and writes to it
 * survivor  dies in peace, and is reaped by a third
 */
export function intentEndsWithItsCall(): Record<string, unknown> {
  const scene = makeScene();
  const { survivor, space, victim } = scene;
  dieWithReverseMap(scene);
  const outcomes = [
    outcome(() => space.munmap(FIRST, PAGES * P)),
    outcome(() => survivor.reapNow(victim.cpu)),
    outcome(() => space.mmap({ addr: FIRST, length: P, prot: RW, flags: ANON | MAP_FIXED_NOREPLACE })),
    outcome(() => space.store32(FIRST, 77)),
  ];
  const third = anotherCpu(survivor);
  const theirs = third.attachSpace(space.handle);
  third.reapNow(survivor.cpu);
  const value = theirs.load32(FIRST);
  theirs.close();
  const problems = conservation(third);
  third.close();
  return { outcomes, value, problems };
}

/**
 * victim    dies while it takes a page out of the cache, with the page's lock
 * survivor  drops the file: gives up; reaps the victim: the file is dropped
 */
export function dropBesideDeadReclaim(): Record<string, unknown> {
  const scene = makeScene();
  const { survivor, space, file, victim } = scene;
  const lock = pageOf(scene) + P_LOCK;
  killOnce(
    () => heldBy(survivor, lock, victim),
    () => victim.kernel.reclaim.run(100),
  );
  const outcomes = [
    outcome(() => {
      file.close();
      space.munmap(FIRST, THIRD + PAGES * P - FIRST);
      survivor.drain();
    }),
    outcome(() => survivor.reapNow(victim.cpu)),
  ];
  return { outcomes, problems: end(scene) };
}

/**
 * victim    dies with the lock over the queue of mmap_lock, which a third thread holds
 * survivor  waits for mmap_lock, and gives up: it cannot leave the queue
 * third     lets go of the lock; the survivor reaps the victim
 * all       get the lock again
 */
export function leaveQueueOfTheDead(): Record<string, unknown> {
  const scene = makeScene();
  const { survivor, space, victim } = scene;
  const third = anotherCpu(survivor);
  const other = third.attachSpace(space.handle);
  const { words } = survivor.kernel;
  const queue = space.handle.space + MM_MMAP_LOCK + 2;
  const outcomes: string[] = [];
  const tree = space.handle.space + MM_TREE_LOCK;
  interleave(() => other.mmap({ length: P, prot: RW, flags: ANON }), {
    before: (kind, array, index) => kind === 'cas' && array === third.kernel.words && index === tree,
    meanwhile() {
      outcomes.push(outcome(() => waitAndLose(scene, queue)));
    },
  });
  outcomes.push(outcome(() => survivor.reapNow(victim.cpu)));
  for (const each of [space, other, space])
    outcomes.push(outcome(() => each.mmap({ length: P, prot: RW, flags: ANON })));
  const waits = Array.from({ length: words[CPUS_USED] as number }, (_, id) => words[cpuSlot(id) + C_RW_WAIT]);
  third.close();
  return { outcomes, waits: waits.every((sem) => sem === 0), problems: end(scene) };
}

/** The survivor waits in the queue; as soon as it is there, the victim dies with the queue's lock. */
function waitAndLose({ survivor, space, victim, theirs }: Scene, queue: number): void {
  const { words } = survivor.kernel;
  const wait = survivor.kernel.cpu.base + C_RW_WAIT;
  let done = false;
  interleave(() => space.mmap({ length: P, prot: RW, flags: ANON }), {
    before: (kind, array) => !done && kind === 'wait' && array === words && words[wait] !== 0,
    meanwhile() {
      done = true;
      killOnce(
        () => heldBy(survivor, queue, victim),
        () => theirs.munmap(FIRST, P),
      );
    },
  });
}

/**
 * first, second  die with locks of one space
 * reaper         reaps the first, cannot because of the second, and closes the machine
 * survivor       reaps the second; nothing is left of the first, nor of the reaper
 */
export function reaperGoesHalfWay(): Record<string, unknown> {
  const scene = makeScene();
  const { survivor, space, victim, theirs } = scene;
  const second = anotherCpu(survivor);
  const others = second.attachSpace(space.handle);
  const leaf = leafLockOf(scene, SECOND);
  killOnce(
    () => heldBy(survivor, leaf, second),
    () => others.load8(SECOND + P),
  );
  killOnce(
    () => survivor.kernel.words[cpuSlot(victim.cpu) + C_INTENT] !== 0,
    () => theirs.munmap(SECOND, PAGES * P),
  );
  const reaper = anotherCpu(survivor);
  const outcomes = [
    outcome(() => reaper.reapNow(victim.cpu)),
    outcome(() => reaper.close()),
    outcome(() => survivor.reapNow(second.cpu)),
    outcome(() => space.mmap({ length: P, prot: RW, flags: ANON })),
  ];
  return { outcomes, cpus: survivor.cpus().length, problems: end(scene) };
}

/** The lock of the page table around `address`. */
function leafLockOf({ survivor, space }: Scene, address: number): number {
  space.load8(address);
  return survivor.kernel.tables.leafFor(space.handle.space as never, (address / P) as never) + 2;
}

/**
 * victim    maps the file in a space of its own, and dies with the lock over the reverse map of its page
 * survivor  is its space's last user, and closes it: cannot take it down
 * survivor  reaps the victim: both spaces are gone
 */
export function lastCloseBesideDeath(): Record<string, unknown> {
  const scene = makeScene();
  const { survivor, space, file, victim, theirs } = scene;
  theirs.close();
  const own = victim.createSpace();
  const mapped = victim.attachFile(file.handle);
  const at = own.mmap({ length: PAGES * P, prot: RW, flags: MAP_PRIVATE, file: mapped });
  const lock = pageOf(scene) + P_RMAP_LOCK;
  killOnce(
    () => heldBy(survivor, lock, victim),
    () => own.load8(at + P),
  );
  const before = survivor.census().spaces;
  const outcomes = [outcome(() => space.close()), outcome(() => survivor.reapNow(victim.cpu))];
  return { before, outcomes, after: survivor.census().spaces, problems: end(scene) };
}

/**
 * third     opens the file, and stands still with the file's lock
 * second    leaves the machine: cannot close the file, and tries again in vain
 * third     lets go of the lock; the survivor finishes what the second has left
 */
export function leavesBesideSlowThread(): Record<string, unknown> {
  const scene = makeScene();
  const { survivor, space, file } = scene;
  const second = anotherCpu(survivor);
  second.attachSpace(space.handle);
  second.attachFile(file.handle);
  const third = anotherCpu(survivor);
  scene.victim.close();
  const outcomes: string[] = [];
  interleave(() => third.attachFile(file.handle), {
    before: (kind, array, index) =>
      kind === 'exchange' && array === third.kernel.words && index === (file.id as number) + F_LOCK,
    meanwhile() {
      outcomes.push(outcome(() => second.close()));
    },
  });
  const reaped = survivor.reapNow(second.cpu);
  third.close();
  return { outcomes, reaped, cpus: survivor.cpus().length, problems: end(scene) };
}

/**
 * victim    leaves the machine, and dies with the lock over the pool of frames
 * survivor  unmaps pages; cannot give the pool their frames, of which it has more than it keeps for itself
 * survivor  reaps the victim
 */
export function unmapsBesideDeadPool(): Record<string, unknown> {
  const scene = makeScene();
  const { survivor, space, victim, theirs } = scene;
  const length = 8 * P;
  const fill = (where: Space): number => {
    const at = where.mmap({ length, prot: RW, flags: ANON });
    where.fill(at, length, 1);
    return at;
  };
  theirs.munmap(fill(theirs), length); // so that it has frames to give back when it leaves
  const at = fill(space);
  killOnce(
    () => heldBy(survivor, FRAME_LOCK, victim),
    () => victim.close(),
  );
  const unmapped = outcome(() => space.munmap(at, length));
  const gaveUp = survivor.kernel.cpu.gaveUp !== undefined;
  const isMapped = space.maps().some(({ start }) => start === at);
  const reaped = survivor.reapNow(victim.cpu);
  return { unmapped, gaveUp, isMapped, reaped, problems: end(scene) };
}

/**
 * victim    dies while it frees what the survivor has retired, with the lock over the survivor's lists
 * survivor  unmaps pages, which it cannot put into its lists; does nothing more
 * third     reaps the victim, and drains: the pages are free
 */
export function retiresBesideDeadThief(): Record<string, unknown> {
  const scene = makeScene();
  const { survivor, space, victim } = scene;
  const lock = survivor.kernel.cpu.base + C_RETIRE_LOCK;
  const third = anotherCpu(survivor);
  killOnce(
    () => heldBy(survivor, lock, victim),
    () => victim.kernel.rcu.freeAllRetired(),
  );
  const outcomes = [8, 4].map((pages) =>
    outcome(() => {
      const at = space.mmap({ length: pages * P, prot: RW, flags: ANON });
      space.fill(at, pages * P, 1);
      space.munmap(at, pages * P);
    }),
  );
  const before = third.census().frames.retired;
  const reaped = third.reapNow(victim.cpu);
  third.drain();
  const after = third.census().frames.retired;
  third.close();
  return { outcomes, before, reaped, after, problems: end(scene) };
}

/**
 * victim    dies with the lock over the survivor's retire lists; the survivor retires beside them
 * third     reaps the victim
 * thief     frees what it can of the survivor's, and dies of it before each access in turn; meanwhile nobody retires, or
 *           the survivor does, without the lock
 * third     reaps the thief; the survivor retires again; all is free in the end
 */
export function thievesOfLateObjectsDie(): { tried: number; problems: string[] } {
  const stage = new Stage();
  stage.install();
  const problems: string[] = [];
  let tried = 0;
  for (let fatal = 0; problems.length === 0; fatal++) {
    const scene = makeScene();
    const { survivor, space, victim } = scene;
    const { words, cpu } = survivor.kernel;
    const lock = cpu.base + C_RETIRE_LOCK;
    const [third, thief] = [anotherCpu(survivor), anotherCpu(survivor)];
    const retire = (): unknown => space.munmap(space.mmap({ length: P, prot: RW, flags: ANON }), P);
    words[lock] = victim.kernel.cpu.tag;
    words[victim.kernel.cpu.base + C_HELD] = lock;
    stage.act(retire);
    third.reapNow(victim.cpu);
    const died = stage.act(() => thief.kernel.rcu.freeAllRetired(), fatal).kind === 'died';
    if (fatal % 2 === 1) stage.act(retire);
    third.reapNow(thief.cpu);
    retire();
    third.drain();
    const { frames, vma, node } = third.census();
    if (frames.retired + vma.retired + node.retired > 0) problems.push('something stays retired');
    third.close();
    problems.push(...end(scene).map((problem) => `killed before access ${fatal}: ${problem}`));
    tried++;
    if (!died) break;
  }
  observePort(undefined);
  return { tried, problems };
}

/** A backing closes the machine while it is closed itself: with its file, or with the machine. */
export function backingClosesMachine(with_: 'file' | 'machine'): Record<string, unknown> {
  const { machine } = makeCast(1);
  const outcomes: string[] = [];
  registerBacking('closer', () => ({
    read: (_position, targets) => targets.length * P,
    close() {
      outcomes.push(outcome(() => machine.close()));
    },
  }));
  const other = anotherCpu(machine);
  const file = machine.createFile('closer', {}, P);
  const space = machine.createSpace();
  const at = space.mmap({ length: P, prot: 1, flags: MAP_PRIVATE, file });
  space.load8(at);
  space.munmap(at, P);
  machine.drain();
  if (with_ === 'file') file.close();
  machine.close();
  const next = anotherCpu(other);
  const nextButOne = anotherCpu(other);
  return { outcomes, cpus: [other.cpu, next.cpu, nextButOne.cpu] };
}
