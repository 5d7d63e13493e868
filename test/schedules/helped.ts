/**
 * Calls that have given up, and whoever finishes them: each schedule lets the two get in each other's way, or leaves the work to a
 * thread that has wanted something else.
 */

import type { MmRef, Vpn } from '../../src/base/brands.ts';
import { MAP_FIXED, MAP_FIXED_NOREPLACE, MAP_PRIVATE, type Machine, type Space } from '../../src/index.ts';
import { P_LOCK, P_RMAP_LOCK } from '../../src/memory/page.layout.ts';
import { T_LOCK } from '../../src/paging/table.layout.ts';
import { C_STATE, C_THREAD, CPU_ATTACHED, cpuSlot, LINE, SLAB_LINES } from '../../src/sync/control.layout.ts';
import { OWNER_MASK } from '../../src/sync/lock-classes.ts';
import { conservation } from '../stress/audit.ts';
import { ANON, anotherCpu, P, patternOf, RW } from '../stress/kill/world.ts';
import { interleave, killOnce, makeCast, outcome, type Step } from './cast.ts';

const [FIRST, SECOND, THIRD] = [0x1000_0000, 0x2000_0000, 0x3000_0000];
const FILE_FLAGS = MAP_PRIVATE | MAP_FIXED_NOREPLACE;

const isAttached = (machine: Machine): boolean => machine.kernel.words[cpuSlot(machine.cpu) + C_STATE] === CPU_ATTACHED;
const isHeld = (machine: Machine, lock: number, by: Machine): boolean =>
  ((machine.kernel.words[lock] as number) & OWNER_MASK) === by.cpu + 1;

/** Three threads have mapped a file in spaces of their own; the third dies with a lock that the other two need. */
export function intentOfItsOwn(kind: 'munmap' | 'fixed' | 'close'): unknown {
  const { machine: low, spaces } = makeCast(1);
  const file = low.createFile('pattern', {}, 4 * P);
  const mapped = (machine: Machine, space: Space): Space => {
    const mine = machine === low ? file : machine.attachFile(file.handle);
    space.mmap({ addr: FIRST, length: 4 * P, prot: RW, flags: FILE_FLAGS, file: mine });
    for (let page = 0; page < 4; page++) space.load8(FIRST + page * P);
    return space;
  };
  const lowSpace = mapped(low, spaces[0] as Space);
  const high = anotherCpu(low);
  const highSpace = mapped(high, high.createSpace());
  const victim = anotherCpu(low);
  const theirs = mapped(victim, victim.createSpace());
  const lock = low.kernel.cache.find(file.id as never, 1) + P_RMAP_LOCK;
  killOnce(
    () => isHeld(low, lock, victim),
    () => theirs.munmap(FIRST, 4 * P),
  );
  const outcomes = [outcome(() => lowSpace.munmap(FIRST, 4 * P))];
  const change = {
    munmap: () => highSpace.munmap(FIRST, 4 * P),
    fixed: () => highSpace.mmap({ addr: FIRST, length: 4 * P, prot: RW, flags: ANON | MAP_FIXED }),
    close: () => highSpace.close(),
  };
  outcomes.push(outcome(change[kind]));
  const reaped = low.reapNow(victim.cpu);
  const left = [low, high].filter((machine) => !isAttached(machine)).length;
  const stale = kind === 'close' ? 0 : highSpace.maps().filter((mapping) => mapping.file !== undefined).length;
  if (kind !== 'close') highSpace.close();
  return { outcomes, reaped, left, stale, below: lowSpace.maps().length, spaces: low.census().spaces };
}

/** A space with a file at each of three addresses, its page 1 in memory; further cpus that have attached to it, in this order. */
function sharedFile(cpus: number, frames?: number) {
  const { machine: slow, spaces } = makeCast(1, frames);
  const space = spaces[0] as Space;
  const file = slow.createFile('pattern', {}, 4 * P);
  for (const addr of [FIRST, SECOND, THIRD]) space.mmap({ addr, length: 4 * P, prot: RW, flags: FILE_FLAGS, file });
  space.load8(FIRST + P);
  const lock = slow.kernel.cache.find(file.id as never, 1) + P_RMAP_LOCK;
  const machines = Array.from({ length: cpus }, () => anotherCpu(slow));
  const attached = machines.map((machine) => machine.attachSpace(space.handle));
  return { slow, space, file, lock, machines, attached };
}

/** A cpu that has page 1 mapped dies with the page's reverse-map lock, while it takes the page out of its space. */
function dieWithPage(dead: Machine, ofDead: Space, lock: number): void {
  ofDead.load8(THIRD + P);
  killOnce(
    () => isHeld(dead, lock, dead),
    () => ofDead.munmap(THIRD, 4 * P),
  );
}

/** Stops a call of `machine` each time it takes the lock. */
const takes = (machine: Machine, lock: number): Step['before'] => {
  return (kind, array, index) => kind === 'exchange' && array === machine.kernel.words && index === lock;
};

/** E's call gives up beside two others that a slow thread is finishing; it must not keep what it has taken up of theirs. */
export function takesNothingAlong(): unknown {
  const { slow, space, file, lock, machines, attached } = sharedFile(3);
  const [a, e, dead] = machines as [Machine, Machine, Machine];
  const [ofA, ofE, ofDead] = attached as [Space, Space, Space];
  const own = e.createSpace();
  own.mmap({ addr: FIRST, length: 4 * P, prot: RW, flags: FILE_FLAGS, file: e.attachFile(file.handle) });
  own.load8(FIRST + P);
  dieWithPage(dead, ofDead, lock);
  const outcomes = [outcome(() => ofA.load8(SECOND + P))];
  interleave(() => slow.reapNow(dead.cpu), {
    before: takes(slow, lock),
    meanwhile() {
      outcomes.push(outcome(() => own.munmap(FIRST, 4 * P)));
      outcomes.push(outcome(() => ofA.load8(SECOND + P)));
    },
  });
  const after = [
    outcome(() => ofA.load8(SECOND + P)),
    outcome(() => ofE.load8(SECOND)),
    outcome(() => space.mmap({ length: P, prot: RW, flags: ANON })),
  ];
  return { outcomes, after, left: [a, e].filter((machine) => !isAttached(machine)).length };
}

/** A thread reaps while its own last call is in others' hands: nobody is asked again, and the dead one goes all the same. */
export function reapsInOthersHands(): unknown {
  const { slow, lock, machines, attached } = sharedFile(2);
  const [a, dead] = machines as [Machine, Machine];
  const [ofA, ofDead] = attached as [Space, Space];
  const peaceful = anotherCpu(slow);
  const own = peaceful.createSpace();
  own.store8(own.mmap({ length: P, prot: RW, flags: ANON }), 1);
  dieWithPage(dead, ofDead, lock);
  const outcomes = [outcome(() => ofA.load8(SECOND + P))];
  interleave(() => slow.reapNow(dead.cpu), {
    before: takes(slow, lock),
    meanwhile() {
      outcomes.push(outcome(() => a.reap(peaceful.identity, { confirmed: true })));
    },
  });
  outcomes.push(outcome(() => ofA.load8(SECOND + P)));
  return { outcomes, spaces: slow.census().spaces, cpus: slow.cpus().length };
}

/** An idle thread's last call has given up and has mmap_lock: whoever wants the lock finishes the call. */
export function idleThreadKeepsLock(): unknown {
  const { slow, space, lock, machines, attached } = sharedFile(2);
  const [idle] = machines as [Machine, Machine];
  const [ofIdle, other] = attached as [Space, Space];
  const outcomes: string[] = [];
  interleave(() => space.load8(SECOND + P), {
    before: takes(slow, lock),
    meanwhile() {
      outcomes.push(outcome(() => ofIdle.munmap(FIRST, 4 * P)));
    },
  });
  outcomes.push(outcome(() => other.mmap({ length: P, prot: RW, flags: ANON })));
  return { outcomes, left: isAttached(idle) ? 0 : 1, mapped: space.maps().some(({ start }) => start === FIRST) };
}

/**
 * slow      munmap of a page of a file: stands still with the page's reverse map
 * idle      reads the page elsewhere: gives up with the page locked, cannot finish that yet, and does nothing more
 * slow      lets go of the reverse map
 * other     reads the page: waits for its lock until it gives up, finishes the idle one's call, and looks again
 */
export function idleThreadKeepsPage(): unknown {
  const { slow, space, lock, machines, attached } = sharedFile(2);
  const [idle] = machines as [Machine, Machine];
  const [ofIdle, other] = attached as [Space, Space];
  const page = lock - P_RMAP_LOCK;
  space.load8(THIRD + P);
  const outcomes: string[] = [];
  interleave(() => space.munmap(THIRD, 4 * P), {
    before: takes(slow, lock),
    meanwhile() {
      outcomes.push(outcome(() => ofIdle.load8(SECOND + P)));
    },
  });
  const isKept = isHeld(slow, page + P_LOCK, idle);
  let value = 0;
  const read = (): void => {
    value = other.load32(SECOND + P);
  };
  outcomes.push(outcome(read));
  return { outcomes, isKept, isRight: value === patternOf(1), left: isAttached(idle) ? 0 : 1 };
}

/** An idle thread's last call has given up with the memory that it was to free: whoever is short of memory finishes the call. */
export function idleThreadKeepsMemory(): unknown {
  const [frames, kept] = [64, 40];
  const { slow, space, lock, machines, attached } = sharedFile(2, frames);
  const [idle, other] = machines as [Machine, Machine];
  const [ofIdle] = attached as [Space];
  const anonymous = FIRST + 4 * P;
  ofIdle.mmap({ addr: anonymous, length: kept * P, prot: RW, flags: ANON | MAP_FIXED_NOREPLACE });
  for (let page = 0; page < kept; page++) ofIdle.store8(anonymous + page * P, 1);
  const outcomes: string[] = [];
  interleave(() => space.load8(SECOND + P), {
    before: takes(slow, lock),
    meanwhile() {
      outcomes.push(outcome(() => ofIdle.munmap(FIRST, (4 + kept) * P)));
    },
  });
  const free = frames - other.census().frames.live;
  const theirs = other.createSpace();
  const at = theirs.mmap({ length: kept * P, prot: RW, flags: ANON });
  for (let page = 0; page < kept; page++) outcomes.push(outcome(() => theirs.store8(at + page * P, 1)));
  return { outcomes: [...new Set(outcomes)], wasShort: free < kept, left: isAttached(idle) ? 0 : 1 };
}

/**
 * A thread of another space is short of memory while an idle one's call cannot be finished: a slow thread has the lock. It must not give
 * up in its turn for a lock that it never wanted: it can free memory of its own.
 */
export function helpIsNotCatching(): unknown {
  const frames = 64;
  const { slow, space, lock, machines, attached } = sharedFile(2, frames);
  const [idle, other] = machines as [Machine, Machine];
  const [ofIdle] = attached as [Space];
  const own = other.createSpace();
  const at = own.mmap({ length: frames * P, prot: RW, flags: ANON });
  const outcomes: string[] = [];
  interleave(() => space.load8(SECOND + P), {
    before: takes(slow, lock),
    meanwhile() {
      outcomes.push(outcome(() => ofIdle.munmap(FIRST, 4 * P)));
      outcomes.push(
        outcome(() => {
          for (let page = 0; page < frames; page++) own.store8(at + page * P, 1);
        }),
      );
      outcomes.push(outcome(() => own.munmap(at, 8 * P)));
      outcomes.push(isAttached(other) && other.kernel.cpu.gaveUp === undefined ? 'free' : 'caught');
    },
  });
  outcomes.push(outcome(() => other.drain()));
  return { outcomes, left: isAttached(idle) ? 0 : 1 };
}

/**
 * A watched thread has died, and a slow one has a lock that taking its space down needs: the watcher tries again later, and its own calls
 * go on meanwhile.
 */
export function watcherIsNotCaught(): unknown {
  const { machine: watcher, spaces } = makeCast(1);
  const own = spaces[0] as Space;
  const at = own.mmap({ length: P, prot: RW, flags: ANON });
  const dead = anotherCpu(watcher);
  const slow = anotherCpu(watcher);
  const theirs = dead.createSpace();
  const there = theirs.mmap({ length: 2 * P, prot: RW, flags: ANON });
  theirs.store8(there, 1);
  const ofSlow = slow.attachSpace(theirs.handle);
  const thread = 77;
  watcher.kernel.words[cpuSlot(dead.cpu) + C_THREAD] = thread;
  const { tables, rcu } = watcher.kernel;
  const leaf = rcu.walking(() => tables.leafFor(theirs.handle.space as MmRef, (there / P) as Vpn));
  const outcomes: string[] = [];
  interleave(() => ofSlow.store8(there + P, 1), {
    before: takes(slow, leaf + T_LOCK),
    meanwhile() {
      outcomes.push(outcome(() => watcher.reapThread(thread, 50)));
      outcomes.push(outcome(() => own.store8(at, 1)));
      outcomes.push(isAttached(watcher) && watcher.kernel.cpu.gaveUp === undefined ? 'free' : 'caught');
    },
  });
  outcomes.push(outcome(() => watcher.reapThread(thread, 50)));
  ofSlow.close();
  return { outcomes, spaces: watcher.census().spaces, cpus: watcher.cpus().length };
}

/** A thread leaves with a call unfinished, since a slow one has the lock; then its host says that it has ended: that is enough. */
export function leftIsBuriedByItsExit(): unknown {
  const { slow, space, lock, machines, attached } = sharedFile(2);
  const [leaver] = machines as [Machine];
  const [ofLeaver] = attached as [Space];
  const thread = 77;
  slow.kernel.words[cpuSlot(leaver.cpu) + C_THREAD] = thread;
  const outcomes: string[] = [];
  interleave(() => space.load8(SECOND + P), {
    before: takes(slow, lock),
    meanwhile() {
      outcomes.push(outcome(() => ofLeaver.munmap(FIRST, 4 * P)));
      outcomes.push(outcome(() => leaver.close()));
    },
  });
  const before = slow.kernel.words[cpuSlot(leaver.cpu) + C_STATE] as number;
  outcomes.push(`reaped ${slow.reapThread(thread)}`);
  const after = slow.kernel.words[cpuSlot(leaver.cpu) + C_STATE] as number;
  return { outcomes, states: [before & 0xff, after & 0xff] };
}

/** All spaces are in use, one of them by a thread that has left it unfinished: who wants one takes that one down. */
export function spaceOfTheIdle(): unknown {
  const { slow, space, file, lock, machines } = sharedFile(1);
  const [leaver] = machines as [Machine];
  const own = leaver.createSpace();
  own.mmap({ addr: FIRST, length: 4 * P, prot: RW, flags: FILE_FLAGS, file: leaver.attachFile(file.handle) });
  own.load8(FIRST + P);
  const outcomes: string[] = [];
  interleave(() => space.load8(SECOND + P), {
    before: takes(slow, lock),
    meanwhile() {
      outcomes.push(outcome(() => own.close()));
    },
  });
  for (let last = 'done'; last === 'done'; ) last = outcome(() => slow.createSpace());
  return { outcomes, left: isAttached(leaver) ? 0 : 1, spaces: slow.census().spaces };
}

/** A call of mprotect that could not wait for a section to end is tried again after it has helped: it owes the same wait. */
export function protectWaitsAgain(): unknown {
  const { slow, space, lock, machines, attached } = sharedFile(3);
  const [, reader, caller] = machines as [Machine, Machine, Machine];
  const [ofIdle] = attached as [Space];
  const own = caller.createSpace();
  const at = own.mmap({ length: P, prot: RW, flags: ANON });
  own.store8(at, 1);
  const ofReader = reader.attachSpace(own.handle);
  const outcomes: string[] = [];
  interleave(() => space.load8(SECOND + P), {
    before: takes(slow, lock),
    meanwhile() {
      outcomes.push(outcome(() => ofIdle.munmap(FIRST, 4 * P)));
    },
  });
  ofReader.run((memory) => {
    memory.store8(at, 2);
    outcomes.push(outcome(() => own.mprotect(at, P, 1)));
  });
  outcomes.push(outcome(() => own.mprotect(at, P, 1)));
  return { outcomes };
}

/** A range with a hole is no shortage: a call that fails for it is not held up by what others have left. */
export function holeIsNoShortage(): unknown {
  const { slow, space, lock, machines, attached } = sharedFile(1);
  dieWithPage(machines[0] as Machine, attached[0] as Space, lock);
  const caller = anotherCpu(slow);
  const own = caller.createSpace();
  own.mmap({ addr: FIRST, length: P, prot: RW, flags: ANON | MAP_FIXED_NOREPLACE });
  const idle = anotherCpu(slow);
  const outcomes = [outcome(() => idle.attachSpace(space.handle).load8(SECOND + P))];
  outcomes.push(outcome(() => own.mprotect(FIRST, 2 * P, 1)));
  return { outcomes, gaveUp: caller.kernel.cpu.gaveUp !== undefined, attached: isAttached(caller) };
}

/** `createSpace` gives up with the new space in hand: nobody has a handle on it, and it goes with the recovery. */
export function createGivesUp(): unknown {
  const { machine, spaces } = makeCast(1);
  (spaces[0] as Space).close();
  const victim = anotherCpu(machine);
  const line = SLAB_LINES + machine.kernel.slabs.table.kind * LINE;
  machine.kernel.slabs.table.flush();
  const theirs = victim.createSpace();
  killOnce(
    () => isHeld(machine, line, victim),
    () => {
      for (let i = 0; i < 20; i++) {
        const addr = FIRST + i * 0x4000_0000;
        theirs.mmap({ addr, length: P, prot: RW, flags: ANON | MAP_FIXED_NOREPLACE });
        theirs.store8(addr, 1);
      }
    },
  );
  const outcomes = [outcome(() => machine.createSpace()), outcome(() => void machine.reapNow(victim.cpu))];
  outcomes.push(outcome(() => machine.drain()));
  return { outcomes, spaces: machine.census().spaces, problems: conservation(machine) };
}

/** `file.close` gives up after it has given its reference back. Closed once more, it must not close the file that came after it. */
export function fileClosedOnce(): unknown {
  const { machine, spaces } = makeCast(1);
  const space = spaces[0] as Space;
  const file = machine.createFile('pattern', {}, 4 * P);
  const at = space.mmap({ length: 4 * P, prot: 1, flags: MAP_PRIVATE, file });
  space.load8(at + P);
  space.munmap(at, 4 * P);
  machine.drain();
  const victim = anotherCpu(machine);
  const page = machine.kernel.cache.find(file.id as never, 1);
  killOnce(
    () => isHeld(machine, page + P_LOCK, victim),
    () => victim.kernel.reclaim.run(100),
  );
  const outcomes = [outcome(() => file.close()), outcome(() => void machine.reapNow(victim.cpu))];
  const next = machine.createFile('pattern', {}, 4 * P);
  outcomes.push(outcome(() => file.close()));
  const lives = outcome(() => space.mmap({ length: P, prot: 1, flags: MAP_PRIVATE, file: next }));
  return { outcomes, lives, open: next.closed ? 0 : machine.census().file.live };
}
