/**
 * Who has a file open: a bit for each cpu, in the file's record. A reaper can take a dead cpu's bit back; of a count it could not say whether
 * the dead one was in it (decision 0009). The number of words follows from the number of cpus. The record has room for 768 cpus; the tag
 * in a lock word, of 8 bits, ends at 254 before that, and the control memory has slots for 64.
 */
import { peek, peekRacy, poke } from '#atomics';
import { assertRule } from '../base/assert.ts';
import type { MappingRef } from '../base/brands.ts';
import { MAX_CPUS } from '../base/limits.ts';
import { F_OPENERS, MAPPING_WORDS } from './mapping.layout.ts';

const CPUS_PER_WORD = 32;
export const OPENER_WORDS: number = Math.ceil(MAX_CPUS / CPUS_PER_WORD);

const OWN_BIT = 'a cpu sets and clears its own bit alone; the others in the word are not looked at';

/** Throws an Oops, in development builds, if the record is too small for the openers. */
export function checkOpenersFit(): void {
  const end = F_OPENERS + OPENER_WORDS;
  assertRule(end <= MAPPING_WORDS, 'layout', () => `${MAX_CPUS} openers end at word ${end} of ${MAPPING_WORDS}`);
}

/** The only opener of a file that is being made is cpu `id`. Requires: the record is in this cpu's hands. */
export function setOnlyOpener(words: Int32Array, mapping: MappingRef, id: number): void {
  for (let i = 0; i < OPENER_WORDS; i++) poke(words, mapping + F_OPENERS + i, 0);
  poke(words, wordOf(mapping, id), bitOf(id));
}

/** Notes cpu `id` as an opener. False if it is one already. Requires: the file's lock. */
export function addOpener(words: Int32Array, mapping: MappingRef, id: number): boolean {
  const bits = peek(words, wordOf(mapping, id));
  if ((bits & bitOf(id)) !== 0) return false;
  poke(words, wordOf(mapping, id), bits | bitOf(id));
  return true;
}

/** Strikes cpu `id` out. False if it was no opener. Requires: the file's lock. */
export function removeOpener(words: Int32Array, mapping: MappingRef, id: number): boolean {
  const bits = peek(words, wordOf(mapping, id));
  poke(words, wordOf(mapping, id), bits & ~bitOf(id));
  return (bits & bitOf(id)) !== 0;
}

/** Whether cpu `id` is an opener. Needs no lock. Exact for the caller's own cpu. */
export function isOpener(words: Int32Array, mapping: MappingRef, id: number): boolean {
  return (peekRacy(words, wordOf(mapping, id), OWN_BIT) & bitOf(id)) !== 0;
}

/** How many cpus have the file open. Requires: the file's lock. */
export function countOpeners(words: Int32Array, mapping: MappingRef): number {
  let count = 0;
  for (let id = 0; id < MAX_CPUS; id++) if ((peek(words, wordOf(mapping, id)) & bitOf(id)) !== 0) count++;
  return count;
}

function wordOf(mapping: MappingRef, id: number): number {
  return mapping + F_OPENERS + Math.floor(id / CPUS_PER_WORD);
}

function bitOf(id: number): number {
  return 1 << (id % CPUS_PER_WORD);
}
