/**
 * What stands in the way of finishing others' work: a lock that it will need, and that a thread outside that work holds. That thread may
 * be slow, or dead and nobody has said so yet. Who began all the same would stop half-way at that lock, and would then have given
 * up itself: its own calls would fail for a lock that it never wanted.
 *
 * It is a look ahead, no promise: the work may meet another lock, or a holder that comes later. Then it does give up.
 */
import { load, peekRacy } from '#atomics';
import type { MmRef } from '../base/brands.ts';
import { NONE } from '../base/brands.ts';
import { MM_MMAP_LOCK, MM_TREE_LOCK } from '../paging/mm.layout.ts';
import type { Kernel } from '../space/kernel.ts';
import { forEveryMm } from '../space/mm.ts';
import { C_HELD, CPUS_USED, cpuSlot, HELD_SLOTS } from '../sync/control.layout.ts';
import { OWNER_MASK } from '../sync/lock-classes.ts';
import { QUEUE } from '../sync/rwsem.ts';
import { concernedSpaces } from './reap-steps.ts';

const LOCK_WORD_SAYS = 'a note of a lock is a hint: the word of the lock tells whether the cpu holds it';

/** Locks that are waited for with others held are this deep at most. */
const LONGEST_CHAIN = 4;

/** A cpu not among `doing` that holds a lock which finishing the work of `left` needs; -1 if there is none. */
export function cpuInTheWay(k: Kernel, left: readonly number[], doing: readonly number[]): number {
  const { words } = k;
  const used = load(words, CPUS_USED);
  let spaces: readonly MmRef[] | undefined;
  for (let id = 0; id < used; id++) {
    if (id === k.cpu.id || doing.includes(id) || waitsFor(k, id, doing)) continue;
    for (let i = 0; i < HELD_SLOTS; i++) {
      const lock = peekRacy(words, cpuSlot(id) + C_HELD + i, LOCK_WORD_SAYS);
      if (lock === 0 || (load(words, lock) & OWNER_MASK) !== id + 1) continue;
      spaces ??= concernedSpaces(k, left);
      if (isNeeded(k, lock, left, spaces)) return id;
    }
  }
  return -1;
}

/**
 * Whether cpu `id` is just waiting for a spinlock of one of `doing`, or for one that another cpu has which does: it goes on as soon as
 * they are begun, since to begin is to release the locks of the dead. It notes a lock before it has it.
 */
function waitsFor(k: Kernel, id: number, doing: readonly number[], depth = 0): boolean {
  for (let i = 0; i < HELD_SLOTS; i++) {
    const lock = peekRacy(k.words, cpuSlot(id) + C_HELD + i, LOCK_WORD_SAYS);
    if (lock === 0) continue;
    const owner = (load(k.words, lock) & OWNER_MASK) - 1;
    if (owner === -1 || owner === id) continue;
    if (doing.includes(owner) || (depth < LONGEST_CHAIN && waitsFor(k, owner, doing, depth + 1))) return true;
  }
  return false;
}

function isNeeded(k: Kernel, lock: number, left: readonly number[], spaces: readonly MmRef[]): boolean {
  const leaf = k.tables.ofLock(lock);
  if (leaf !== NONE) return spaces.includes(k.tables.mmOf(leaf));
  const lists = k.rcu.ofLock(lock);
  if (lists !== -1) return lists === k.cpu.id || left.includes(lists);
  let isOfSpace = false;
  forEveryMm(k, (mm) => {
    if (lock === mm + MM_TREE_LOCK || lock === mm + MM_MMAP_LOCK + QUEUE) isOfSpace = true;
  });
  if (isOfSpace) return spaces.some((mm) => lock === mm + MM_TREE_LOCK || lock === mm + MM_MMAP_LOCK + QUEUE);
  return true; // pools, slabs, the page cache, a page's reverse map, a file: whatever is finished may come by
}
