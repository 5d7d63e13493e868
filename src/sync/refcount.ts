/**
 * Reference counts. A count that has reached 0 never rises again: `refGetUnlessZero` is how a lockless reader takes one, and
 * the reader then looks again whether the record is still what it was looking for.
 */
import { add, cas, load } from '#atomics';
import { oops } from '../base/assert.ts';

/** Adds a reference to a record on which the caller already has one. */
export function refGet(words: Int32Array, at: number): void {
  const was = add(words, at, 1);
  if (was <= 0) oops('refcount', `reference taken on a dead record, count ${was} at word ${at}`);
}

/** Adds a reference unless the count is 0. */
export function refGetUnlessZero(words: Int32Array, at: number): boolean {
  for (let seen = load(words, at); seen > 0; ) {
    const found = cas(words, at, seen, seen + 1);
    if (found === seen) return true;
    seen = found;
  }
  return false;
}

/** Drops a reference. True if it was the last: the caller now frees the record. */
export function refPut(words: Int32Array, at: number): boolean {
  const was = add(words, at, -1);
  if (was <= 0) oops('refcount', `reference dropped on a dead record, count ${was} at word ${at}`);
  return was === 1;
}
