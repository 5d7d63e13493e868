/**
 * The life of an address space. Its users are bits, one per cpu, in the cpus' slots: a dead cpu's can be taken back, and nobody
 * counts. The last one to leave tears the space down.
 */
import { load, peek, poke, pokeF64, store } from '#atomics';
import type { MmRef, VmaRef, Vpn } from '../base/brands.ts';
import { VmError } from '../base/errors.ts';
import { MAX_SPACES, VPN_LIMIT } from '../base/limits.ts';
import { SPACE_WORDS } from '../memory/regions.layout.ts';
import {
  MM_EXITING,
  MM_FREE,
  MM_LIMIT_PAGES,
  MM_LIVE,
  MM_MAP_COUNT,
  MM_MAPPED_PAGES,
  MM_MMAP_LOCK,
  MM_ROOT,
  MM_SERIAL,
  MM_STATE,
} from '../paging/mm.layout.ts';
import { C_SPACES, CPUS_USED, cpuSlot, SPACE_LOCK } from '../sync/control.layout.ts';
import { CLASS_SPACES } from '../sync/lock-classes.ts';
import { writeLock, writeUnlock } from '../sync/rwsem.ts';
import { giveUp, spinLock, spinUnlock } from '../sync/spinlock.ts';
import { DETACHED_UNMAPPED } from '../vma/vma.layout.ts';
import { clearIntent, INTENT_EXIT, writeIntent } from './intent.ts';
import type { Kernel } from './kernel.ts';
import { detach, rootOf, underTreeLock } from './layout.ts';
import { zapRange } from './zap.ts';

/** Makes a space and attaches this cpu. `limitPages` is RLIMIT_AS in pages, 0 for none. Throws EAGAIN, ENOMEM. */
export function createMm(k: Kernel, limitPages: number): MmRef {
  const { words } = k;
  spinLock(k.cpu, SPACE_LOCK, CLASS_SPACES);
  let mm = 0 as MmRef;
  for (let i = 0; i < MAX_SPACES && mm === 0; i++) {
    const candidate = mmAt(k, i);
    if (peek(words, candidate + MM_STATE) === MM_FREE) mm = candidate;
  }
  if (mm !== 0) {
    poke(words, mm + MM_SERIAL, (peek(words, mm + MM_SERIAL) + 1) | 0);
    // Should it not be made, it is taken down as one that its last user has left.
    writeIntent(k.cpu, INTENT_EXIT, mm, 0 as Vpn, VPN_LIMIT as Vpn, peek(words, mm + MM_SERIAL));
    poke(words, mm + MM_STATE, MM_EXITING);
  }
  spinUnlock(k.cpu, SPACE_LOCK);
  if (mm === 0) throw new VmError('EAGAIN', 'createSpace', `all ${MAX_SPACES} spaces of the machine are in use`);
  store(words, mm + MM_ROOT, 0);
  poke(words, mm + MM_MAP_COUNT, 0);
  pokeF64(k.floats, (mm + MM_MAPPED_PAGES) >> 1, 0);
  pokeF64(k.floats, (mm + MM_LIMIT_PAGES) >> 1, limitPages);
  try {
    k.tables.makeTop(mm);
  } catch (error) {
    exitMm(k, mm);
    throw error;
  }
  spinLock(k.cpu, SPACE_LOCK, CLASS_SPACES);
  setUser(k, k.cpu.id, mm, 1);
  poke(words, mm + MM_STATE, MM_LIVE); // after its user: a space without users is one whose last user died
  spinUnlock(k.cpu, SPACE_LOCK);
  clearIntent(k.cpu);
  return mm;
}

/** This cpu becomes a user of the space. Throws ESTALE when it is gone. */
export function attachMm(k: Kernel, mm: MmRef, serial: number): void {
  spinLock(k.cpu, SPACE_LOCK, CLASS_SPACES);
  const live = isMm(k, mm) && peek(k.words, mm + MM_STATE) === MM_LIVE && peek(k.words, mm + MM_SERIAL) === serial;
  if (live) setUser(k, k.cpu.id, mm, 1);
  spinUnlock(k.cpu, SPACE_LOCK);
  if (!live) throw new VmError('ESTALE', 'attachSpace', 'the space was closed by all threads that had it open');
}

/**
 * Cpu `id` (this one, or a dead one) stops using the space; the last user takes everything with it. Requires: outside
 * sections, no lock.
 */
export function leaveMm(k: Kernel, mm: MmRef, id: number): void {
  spinLock(k.cpu, SPACE_LOCK, CLASS_SPACES);
  setUser(k, id, mm, 0);
  const last = peek(k.words, mm + MM_STATE) === MM_LIVE && !hasUser(k, mm);
  if (last) {
    writeIntent(k.cpu, INTENT_EXIT, mm, 0 as Vpn, VPN_LIMIT as Vpn, peek(k.words, mm + MM_SERIAL));
    poke(k.words, mm + MM_STATE, MM_EXITING);
  }
  spinUnlock(k.cpu, SPACE_LOCK);
  if (last) exitMm(k, mm);
}

/** Tears a space down that nobody uses. Idempotent: whoever reaps a thread that died in it does it again. */
export function exitMm(k: Kernel, mm: MmRef): void {
  try {
    writeLock(k.cpu, mm + MM_MMAP_LOCK);
  } catch (error) {
    giveUp(k.cpu, error); // nobody else has the space to try again with: the intent stays until it is done
  }
  exitMmLocked(k, mm);
  writeUnlock(k.cpu, mm + MM_MMAP_LOCK);
}

/** Requires: mmap_lock for writing. */
export function exitMmLocked(k: Kernel, mm: MmRef): void {
  detach(k, k.tree.toArray(rootOf(k, mm)), DETACHED_UNMAPPED);
  zapRange(k, mm, 0 as Vpn, VPN_LIMIT as Vpn);
  underTreeLock(k, mm, (last) => {
    k.tree.freeAll(last, () => store(k.words, mm + MM_ROOT, 0));
    poke(k.words, mm + MM_MAP_COUNT, 0);
    pokeF64(k.floats, (mm + MM_MAPPED_PAGES) >> 1, 0);
  });
  k.tables.freeAll(mm);
  poke(k.words, mm + MM_STATE, MM_FREE);
  clearIntent(k.cpu);
}

export function mmAt(k: Kernel, index: number): MmRef {
  return (k.regions.spaces + index * SPACE_WORDS) as MmRef;
}

/** Whether the space of that serial is the one that is being torn down. */
export function isExiting(k: Kernel, mm: MmRef, serial: number): boolean {
  return peek(k.words, mm + MM_STATE) === MM_EXITING && peek(k.words, mm + MM_SERIAL) === serial;
}

/** Free records too: a thread may have died when it had just freed one. */
export function forEveryMm(k: Kernel, visit: (mm: MmRef) => void): void {
  for (let i = 0; i < MAX_SPACES; i++) visit(mmAt(k, i));
}

export function forEachMm(k: Kernel, visit: (mm: MmRef) => void): void {
  for (let i = 0; i < MAX_SPACES; i++) {
    const mm = mmAt(k, i);
    if (peek(k.words, mm + MM_STATE) !== MM_FREE) visit(mm);
  }
}

export function usesMm(k: Kernel, id: number, mm: MmRef): boolean {
  const index = (mm - k.regions.spaces) / SPACE_WORDS;
  return (load(k.words, cpuSlot(id) + C_SPACES + (index >> 5)) & (1 << (index & 31))) !== 0;
}

/** Detached VMAs that are still in the tree of a space. For messages and checks. */
export function detachedIn(k: Kernel, mm: MmRef): VmaRef[] {
  return k.tree.toArray(rootOf(k, mm)).filter((v) => k.vmas.isDetached(v));
}

function isMm(k: Kernel, mm: number): boolean {
  const index = (mm - k.regions.spaces) / SPACE_WORDS;
  return Number.isInteger(index) && index >= 0 && index < MAX_SPACES;
}

/** Requires: the lock over the list of spaces. */
function hasUser(k: Kernel, mm: MmRef): boolean {
  const used = load(k.words, CPUS_USED);
  for (let id = 0; id < used; id++) if (usesMm(k, id, mm)) return true;
  return false;
}

/** Requires: the lock over the list of spaces. */
function setUser(k: Kernel, id: number, mm: MmRef, on: 0 | 1): void {
  const index = (mm - k.regions.spaces) / SPACE_WORDS;
  const word = cpuSlot(id) + C_SPACES + (index >> 5);
  const bit = 1 << (index & 31);
  const was = peek(k.words, word);
  store(k.words, word, on === 1 ? was | bit : was & ~bit);
}
