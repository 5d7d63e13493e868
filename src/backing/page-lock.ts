/**
 * The page lock: sleepable, one per frame. Whoever fills a page holds it for the whole read, so that a page is read once
 * however many threads fault on it; whoever installs a file page in a page table, or takes it out of the cache, holds it too.
 *
 * A page record is never anything else, so a lock may be tried on a page that has meanwhile left the file: the holder always
 * looks again at mapping and index (I21).
 */
import { cas, exchange, load, notify, now, pause, peek, poke, wait } from '#atomics';
import { mightSleep } from '#lockdep';
import { oops } from '../base/assert.ts';
import type { PageRef } from '../base/brands.ts';
import { VmError, WouldBlock } from '../base/errors.ts';
import { SPIN_LIMIT } from '../base/tunables.ts';
import { P_LOCK } from '../memory/page.layout.ts';
import { C_PAGE_LOCKS, PAGE_LOCK_SLOTS } from '../sync/control.layout.ts';
import type { Cpu } from '../sync/cpu.ts';
import { OWNER_MASK, WAITED } from '../sync/lock-classes.ts';
import { PARK_MS } from '../sync/park.ts';
import { checkGaveUp, giveUp } from '../sync/spinlock.ts';
import { COUNTER } from '../trace/counters.ts';

export function pageTryLock(cpu: Cpu, page: PageRef): boolean {
  checkGaveUp(cpu);
  const slot = record(cpu, page);
  if (cas(cpu.words, page + P_LOCK, 0, cpu.tag) === 0) return true; // acquire; pairs with pageUnlock
  poke(cpu.words, slot, 0);
  return false;
}

/**
 * Takes the lock of a page that others hold for a moment at most (to look whether it is theirs, to take it out of its file). Not
 * for pages in I/O. Gives up, as a spinlock does, when the owner has not let go for the machine's stall limit.
 */
export function pageLockSoon(cpu: Cpu, page: PageRef): void {
  if (pageTryLock(cpu, page)) return;
  for (let i = 0; i < SPIN_LIMIT; i++) {
    pause();
    if (pageTryLock(cpu, page)) return;
  }
  for (const since = now(); !pageTryLock(cpu, page); ) {
    sleepOn(cpu, page, Math.min(PARK_MS, cpu.stallLimit));
    if (now() - since <= cpu.stallLimit) continue;
    const owner = (load(cpu.words, page + P_LOCK) & OWNER_MASK) - 1;
    giveUp(cpu, new VmError('ETIMEDOUT', 'lock', `cpu ${owner} has held a page lock for ${cpu.stallLimit} ms`));
  }
}

/** Holders do not sleep, so this is no wait that would need to leave a section. */
function sleepOn(cpu: Cpu, page: PageRef, milliseconds: number): void {
  const { words } = cpu;
  const seen = load(words, page + P_LOCK);
  if (seen === 0) return;
  if (!cpu.canBlock) pause();
  else if ((seen & WAITED) !== 0 || cas(words, page + P_LOCK, seen, seen | WAITED) === seen) {
    wait(words, page + P_LOCK, seen | WAITED, milliseconds);
  }
}

/**
 * Sleeps until the lock is free, or a moment; the caller looks everything up again and tries. A page in I/O stays locked for as
 * long as its file system takes. Throws ETIMEDOUT when the caller has waited since `since` for longer than the machine's I/O
 * limit: a reader that died and was not reaped must not hang the others.
 */
export function pageWait(cpu: Cpu, page: PageRef, since: number): void {
  if (pageSleep(cpu, page) || now() - since <= cpu.ioLimit) return;
  throw new VmError(
    'ETIMEDOUT',
    'fault',
    `cpu ${pageOwner(cpu, page)} has been reading a page of the file for ${cpu.ioLimit} ms`,
  );
}

/** Sleeps until the lock is free, or a moment: true if it was free at once. The caller bounds its patience. Throws WouldBlock. */
export function pageSleep(cpu: Cpu, page: PageRef): boolean {
  const { words } = cpu;
  for (let i = 0; i < SPIN_LIMIT; i++) {
    if (load(words, page + P_LOCK) === 0) return true;
    pause();
  }
  if (!cpu.canBlock) throw new WouldBlock('fault', 'a page that another thread is reading');
  mightSleep(cpu, 'a page lock');
  const began = now();
  cpu.count(COUNTER['lock.page.waits']);
  const seen = load(words, page + P_LOCK);
  if (seen !== 0 && ((seen & WAITED) !== 0 || cas(words, page + P_LOCK, seen, seen | WAITED) === seen)) {
    if ((seen & OWNER_MASK) === cpu.tag) {
      throw new VmError('EDEADLK', 'fault', 'this thread is itself reading the page that it waits for');
    }
    wait(words, page + P_LOCK, seen | WAITED, PARK_MS);
  }
  cpu.countWait(2, began);
  return false;
}

/** The cpu that has the page locked, or -1. */
export function pageOwner(cpu: Cpu, page: PageRef): number {
  return (load(cpu.words, page + P_LOCK) & OWNER_MASK) - 1;
}

export function pageUnlock(cpu: Cpu, page: PageRef): void {
  if (cpu.gaveUp !== undefined) return; // recovery releases it
  const was = exchange(cpu.words, page + P_LOCK, 0); // release
  forget(cpu, page);
  if ((was & OWNER_MASK) !== cpu.tag) oops('locks', `cpu ${cpu.id} unlocks page ${page}, which it has not locked`);
  if ((was & WAITED) !== 0) notify(cpu.words, page + P_LOCK, Number.POSITIVE_INFINITY);
}

export function pageLockHeld(cpu: Cpu, page: PageRef): boolean {
  return (load(cpu.words, page + P_LOCK) & OWNER_MASK) === cpu.tag;
}

/** Releases a dead cpu's lock. */
export function pageReap(cpu: Cpu, page: PageRef, deadTag: number): void {
  const seen = load(cpu.words, page + P_LOCK);
  if ((seen & OWNER_MASK) !== deadTag) return;
  exchange(cpu.words, page + P_LOCK, 0);
  notify(cpu.words, page + P_LOCK, Number.POSITIVE_INFINITY);
}

/** The slot names every page this cpu may have locked. Written first; the lock word has the last word. */
function record(cpu: Cpu, page: PageRef): number {
  const first = cpu.base + C_PAGE_LOCKS;
  for (let i = 0; i < PAGE_LOCK_SLOTS; i++) {
    if (peek(cpu.words, first + i) !== 0) continue;
    poke(cpu.words, first + i, page);
    return first + i;
  }
  return oops('locks', `cpu ${cpu.id} locks more than ${PAGE_LOCK_SLOTS} pages`);
}

function forget(cpu: Cpu, page: PageRef): void {
  const first = cpu.base + C_PAGE_LOCKS;
  for (let i = 0; i < PAGE_LOCK_SLOTS; i++) {
    if (peek(cpu.words, first + i) !== page) continue;
    poke(cpu.words, first + i, 0);
    return;
  }
}
