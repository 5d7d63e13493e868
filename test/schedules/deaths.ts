/** More than one dead thread, more spaces than a thread can hold locks, and a death at each step of leaving. */
import type { Space } from '../../src/index.ts';
import { MM_TREE_LOCK } from '../../src/paging/mm.layout.ts';
import { observePort } from '../../src/sync/atomics.checked.ts';
import {
  C_STATE,
  C_THREAD,
  CPU_FREE,
  CPU_LEFT,
  CPUS_USED,
  cpuSlot,
  HELD_SLOTS,
} from '../../src/sync/control.layout.ts';
import { OWNER_MASK } from '../../src/sync/lock-classes.ts';
import { conservation } from '../stress/audit.ts';
import { Stage } from '../stress/kill/stage.ts';
import { ANON, anotherCpu, P, RW } from '../stress/kill/world.ts';
import { killOnce, makeCast, outcome } from './cast.ts';

/**
 * first     mmap in one space: dies with its tree lock
 * second    mmap in another space: dies with that one's
 * survivor  reaps the first, which had both spaces open: needs the second's lock as well, and gives up
 * survivor  reaps the second, and the first with it
 */
export function twoDeathsAtOnce(): { outcomes: string[]; meanwhile: string; again: boolean; mapped: string[] } {
  const { machine, spaces } = makeCast(1);
  const [one, other] = [spaces[0] as Space, machine.createSpace()];
  const [first, second] = [one, other].map((space) => {
    const victim = anotherCpu(machine);
    const theirs = victim.attachSpace(space.handle);
    victim.attachSpace(other.handle);
    const lock = space.handle.space + MM_TREE_LOCK;
    killOnce(
      () => ((machine.kernel.words[lock] as number) & OWNER_MASK) === victim.cpu + 1,
      () => theirs.mmap({ length: P, prot: RW, flags: ANON }),
    );
    return victim.cpu;
  }) as [number, number];
  const outcomes = [outcome(() => machine.reapNow(first))];
  const meanwhile = outcome(() => one.mmap({ length: P, prot: RW, flags: ANON }));
  outcomes.push(outcome(() => machine.reapNow(second)));
  const again = machine.reapNow(first);
  const mapped = [one, other].map((space) => outcome(() => space.mmap({ length: P, prot: RW, flags: ANON })));
  return { outcomes, meanwhile, again, mapped };
}

/**
 * victim    dies in peace, with nothing in hand
 * survivor  reaps it: looks at the layout of every space of the machine, more than it could have locked at a time
 */
export function deathBesideManySpaces(): { reaped: boolean; again: boolean } {
  const { machine } = makeCast(1);
  for (let i = 0; i <= HELD_SLOTS; i++) machine.createSpace();
  const victim = anotherCpu(machine);
  return { reaped: machine.reapNow(victim.cpu), again: machine.reapNow(victim.cpu) };
}

/**
 * victim    leaves the machine, and dies of it before each access in turn
 * survivor  knows no more than the number of its thread, and reaps that
 */
export function diesWhileItLeaves(): { tried: number; problems: string[] } {
  const { machine, spaces } = makeCast(1);
  const space = spaces[0] as Space;
  const { words } = machine.kernel;
  const thread = words[cpuSlot(machine.cpu) + C_THREAD] as number; // that of every cpu here: the reaper spares its own
  const stage = new Stage();
  stage.install();
  const problems: string[] = [];
  let tried = 0;
  for (let hasDied = true; hasDied; tried++) {
    const victim = anotherCpu(machine);
    victim.attachSpace(space.handle).mmap({ length: P, prot: RW, flags: ANON });
    hasDied = stage.act(() => victim.close(), tried).kind === 'died';
    machine.reapThread(thread);
    for (let id = 0; id < (words[CPUS_USED] as number); id++) {
      const state = words[cpuSlot(id) + C_STATE] as number;
      const isOver = state === CPU_FREE || state === CPU_LEFT;
      if (id !== machine.cpu && !isOver)
        problems.push(`killed before access ${tried}: slot ${id} is in state ${state}`);
    }
  }
  observePort(undefined);
  space.close();
  return { tried, problems: [...problems, ...conservation(machine)] };
}
