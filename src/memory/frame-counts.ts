/**
 * Exact counts of frames allocated and freed, also when a thread dies between a frame's change of hands and its count.
 *
 * Before it changes a frame's state the cpu notes in its slot which frame, and the low bits of the count so far. Once it has counted, the
 * count differs from the note. So a note that agrees with its counter says that the dead cpu had not counted, and the frame's state
 * says whether there was anything to count:
 *
 * - *Taken*: the note is written while the frame is in a cache, and taken back if somebody else got it. Only this cpu makes a frame
 *   OWNED in its own name, and counts at once. So OWNED by the dead cpu: it had the frame and did not count it. Anything else: it
 *   never had it.
 * - *Given*: the note is written while the frame is OWNED or RETIRED in this cpu's name, which nobody else changes. Still so: it was
 *   not given. Anything else: it was given, and may have been stolen, used, even freed again by others since.
 *
 * The reaper counts in the dead cpu's own counter, by one store: a second reaper finds the count ahead of the note. It does so before
 * it touches the dead cpu's frames, and takes the notes back before it goes on, so that nobody takes its changes for those of the dead.
 * Low bits are enough: a note is followed by its count, or by another note, or taken back.
 */
import { peek, peekF64, peekRacy, poke, pokeRacyF64 } from '#atomics';
import { C_COUNTERS, C_FRAME_GIVEN, C_FRAME_TAKEN, cpuSlot } from '../sync/control.layout.ts';
import type { Cpu } from '../sync/cpu.ts';
import { COUNTER } from '../trace/counters.ts';
import { OWNED, RETIRED, stateKind, stateTag } from './ownership.ts';

/** A note: the frame above these bits, the count in them. */
export const COUNT_BITS = 12;
export const COUNT_MASK = 0xfff;
const STATISTIC = 'a statistic: one writer, and a reader may see it late';
const OF_THE_DEAD = 'whether the state is one that only the dead cpu could change';

/** Counts what the dead cpu had done and not counted. `stateAt` is the word of a frame's state. */
export function settleCounts(cpu: Cpu, deadTag: number, stateAt: (pfn: number) => number): void {
  const { words } = cpu;
  const slot = cpuSlot(deadTag - 1);
  const stateOf = (pfn: number): number => peekRacy(words, stateAt(pfn), OF_THE_DEAD);
  const isHeld = (state: number, kind: number): boolean => stateTag(state) === deadTag && stateKind(state) === kind;

  const taken = pendingNote(cpu, slot + C_FRAME_TAKEN, slot, COUNTER['frames.allocated']);
  if (taken !== 0 && isHeld(stateOf(taken), OWNED)) countFor(cpu, slot, COUNTER['frames.allocated']);
  poke(words, slot + C_FRAME_TAKEN, 0);

  const given = pendingNote(cpu, slot + C_FRAME_GIVEN, slot, COUNTER['frames.freed']);
  const state = given === 0 ? 0 : stateOf(given);
  if (given !== 0 && !isHeld(state, OWNED) && !isHeld(state, RETIRED)) countFor(cpu, slot, COUNTER['frames.freed']);
  poke(words, slot + C_FRAME_GIVEN, 0);
}

/** The frame of a note whose count had not followed, or 0. */
function pendingNote(cpu: Cpu, at: number, slot: number, counter: number): number {
  const note = peek(cpu.words, at);
  const counted = peekF64(cpu.floats, ((slot + C_COUNTERS) >> 1) + counter);
  return (note & COUNT_MASK) === (counted & COUNT_MASK) ? note >>> COUNT_BITS : 0;
}

function countFor(cpu: Cpu, slot: number, counter: number): void {
  const at = ((slot + C_COUNTERS) >> 1) + counter;
  pokeRacyF64(cpu.floats, at, peekF64(cpu.floats, at) + 1, STATISTIC);
}
