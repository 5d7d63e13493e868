/**
 * Whose work waits for somebody. In the state word of a cpu that is dead, or whose call has given up, stands the tag of the cpu that is at
 * its work, 0 for nobody. If that one is dead or has given up as well, the two belong together: what it has half done of the other's
 * work bears its own name. They are finished together, or not begun.
 *
 * Looking takes nothing: whoever sees a tag may trust that its cpu is at work, or has left something that goes with it.
 */
import { cas, load } from '#atomics';
import type { Kernel } from '../space/kernel.ts';
import { C_STATE, CPU_ATTACHED, CPU_DEAD, CPU_GAVE_UP, CPUS_USED, cpuSlot } from '../sync/control.layout.ts';

/** Cpus whose work goes together, as they were seen. */
export interface Group {
  readonly cpus: readonly number[];
  /** The state words that were seen. */
  readonly states: readonly number[];
  /** The one from which the others hang: nobody is at its work. */
  readonly root: number;
}

/** The state word of a cpu whose work is in the hands of the cpu with `tag`; 0 for nobody's. */
export function inHands(kind: number, tag: number): number {
  return kind | (tag << 8);
}

const kindOf = (state: number): number => state & 0xff;
const tagIn = (state: number): number => state >> 8;
const isWork = (state: number): boolean => kindOf(state) === CPU_DEAD || kindOf(state) === CPU_GAVE_UP;

const LIVING = -1;

/** The groups of work that nobody alive is at, but for this thread. */
export function waitingGroups(k: Kernel): Group[] {
  const states = Array.from({ length: load(k.words, CPUS_USED) }, (_, id) => load(k.words, cpuSlot(id) + C_STATE));
  const groups = new Map<number, { cpus: number[]; states: number[]; root: number }>();
  states.forEach((state, id) => {
    if (!isWork(state)) return;
    const root = rootOf(states, id, k.cpu.id);
    if (root === LIVING) return;
    const group = groups.get(root) ?? { cpus: [], states: [], root };
    groups.set(root, group);
    group.cpus.push(id);
    group.states.push(state);
  });
  return [...groups.values()];
}

/** Follows the tags from cpu `id` to one that nobody is at; LIVING when they lead to a thread that works. */
function rootOf(states: readonly number[], id: number, own: number): number {
  const way = [id];
  for (let at = id; ; ) {
    const state = states[at] as number;
    const holder = tagIn(state) - 1;
    if (holder === -1) return at;
    if (holder === at) return kindOf(state) === CPU_GAVE_UP && at !== own ? LIVING : at; // it is at its own, or was when it died
    const theirs = states[holder];
    if (theirs !== undefined && isWork(theirs)) {
      // Each has taken the other's work up, and died: a ring has no end to begin with, so its first one is.
      if (way.includes(holder)) return Math.min(...way.slice(way.indexOf(holder)));
      way.push(holder);
      at = holder;
    } else {
      const isAtIt = theirs !== undefined && kindOf(theirs) === CPU_ATTACHED && holder !== own;
      return isAtIt ? LIVING : at; // else it has left, or is this thread, which is at nothing while it looks
    }
  }
}

/** Takes the group up. False if somebody else was first with one of it: nothing is taken then. */
export function takeUp(k: Kernel, group: Group): boolean {
  const taken = group.cpus.every((id, i) => {
    const state = group.states[i] as number;
    return cas(k.words, cpuSlot(id) + C_STATE, state, inHands(kindOf(state), k.cpu.tag)) === state;
  });
  if (!taken) putDown(k, group);
  return taken;
}

/** What of the group is in this cpu's hands is as it was before. It may have died meanwhile. */
function putDown(k: Kernel, { cpus, states, root }: Group): void {
  cpus.forEach((id, i) => {
    const at = cpuSlot(id) + C_STATE;
    const tag = id === root ? 0 : tagIn(states[i] as number);
    for (let state = load(k.words, at); isWork(state) && tagIn(state) === k.cpu.tag; state = load(k.words, at)) {
      cas(k.words, at, state, inHands(kindOf(state), tag));
    }
  });
}
