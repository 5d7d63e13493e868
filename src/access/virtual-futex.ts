/** wait and notify on virtual addresses: which queue a word belongs to, and the comparison under its lock. */
import { load } from '#atomics';
import { show } from '../base/arguments.ts';
import type { MappingRef, Vpn } from '../base/brands.ts';
import { NONE } from '../base/brands.ts';
import { SegmentationFault, seenFrom, VmError } from '../base/errors.ts';
import { PAGE_SIZE } from '../base/limits.ts';
import type { FrameViews } from '../memory/frame-views.ts';
import { MM_SERIAL } from '../paging/mm.layout.ts';
import type { View } from '../paging/view.ts';
import type { Kernel } from '../space/kernel.ts';
import { rootOf } from '../space/layout.ts';
import { checkMayWait, type FutexKey, futexEnqueue, futexEnqueueAsync, futexSleep, futexWake } from '../sync/futex.ts';
import { VM_SHARED } from '../vma/vma.layout.ts';
import { MAX_PAIR_ATTEMPTS, type Translator } from './translate.ts';

export interface FutexParts {
  readonly k: Kernel;
  readonly view: View;
  readonly translator: Translator;
  readonly views: FrameViews;
}

export function futexWait(
  parts: FutexParts,
  shared: boolean,
  address: number,
  expected: number,
  timeout: number,
): 'ok' | 'not-equal' | 'timed-out' {
  const { k, view } = parts;
  checkWait(address, expected, timeout, 'wait');
  k.rcu.enter(view);
  try {
    const queued = enqueue(parts, 'wait', address, expected | 0, (key, unchanged) =>
      futexEnqueue(k.cpu, key, () => {
        if (!unchanged()) return false;
        checkMayWait(k.cpu, shared); // before the slot says that we wait: nobody would take that back
        return true;
      }),
    );
    if (!queued) return 'not-equal';
    return k.rcu.outside(() => futexSleep(k.cpu, timeout));
  } catch (error) {
    throw seenFrom(error, 'wait', address);
  } finally {
    k.rcu.leave(view);
  }
}

/** For entry `index`: puts it into the word's queue, if the word has the expected value. Never sleeps but for a fault. */
export function futexEnter(parts: FutexParts, index: number, address: number, expected: number): boolean {
  const { k, view } = parts;
  k.rcu.enter(view);
  try {
    return enqueue(parts, 'waitAsync', address, expected | 0, (key, unchanged) =>
      futexEnqueueAsync(k.cpu, index, key, unchanged),
    );
  } catch (error) {
    throw seenFrom(error, 'waitAsync', address);
  } finally {
    k.rcu.leave(view);
  }
}

export function futexNotify({ k, view, translator }: FutexParts, address: number, count: number): number {
  checkWord(address, 'notify');
  if (typeof count !== 'number' || Number.isNaN(count) || count < 0) {
    throw new VmError('EINVAL', 'notify', `${show(count)} is not a number of threads`);
  }
  k.rcu.enter(view);
  try {
    translator.translate(address, false, 'notify');
    return futexWake(k.cpu, keyOf(k, view, address, 'notify'), count);
  } catch (error) {
    throw seenFrom(error, 'notify', address);
  } finally {
    k.rcu.leave(view);
  }
}

/**
 * The translation is made before the bucket's lock is taken, so under the lock the generation is looked at again: if the page has
 * been replaced, a write to the new one may have been notified already.
 */
function enqueue(
  { k, view, translator, views }: FutexParts,
  syscall: string,
  address: number,
  expected: number,
  enter: (key: FutexKey, unchanged: () => boolean) => boolean,
): boolean {
  for (let attempt = 0; attempt < MAX_PAIR_ATTEMPTS; attempt++) {
    const at = translator.translate(address, false, syscall) / 4;
    const key = keyOf(k, view, address, syscall);
    let stale = false;
    const queued = enter(key, () => {
      stale = load(k.words, view.generationIndex) !== view.generation;
      return !stale && load(views.i32, at) === expected;
    });
    if (!stale) return queued;
  }
  throw new VmError('EAGAIN', syscall, 'the space changes without a pause', address);
}

function keyOf(k: Kernel, view: View, address: number, access: string): FutexKey {
  const vpn = Math.floor(address / PAGE_SIZE) as Vpn;
  const vma = k.tree.find(rootOf(k, view.mm), vpn);
  if (vma === NONE) throw new SegmentationFault('SEGV_MAPERR', access, address);
  const mapping: MappingRef = k.vmas.mapping(vma);
  if (mapping === NONE || (k.vmas.flags(vma) & VM_SHARED) === 0) {
    return { owner: view.mm, serial: load(k.words, view.mm + MM_SERIAL), address };
  }
  const page = k.vmas.pageIndex(vma, vpn);
  return { owner: mapping, serial: k.files.serial(mapping), address: page * PAGE_SIZE + (address % PAGE_SIZE) };
}

function checkWord(address: number, syscall: string): void {
  if (!Number.isInteger(address) || address % 4 !== 0) {
    throw new VmError('EINVAL', syscall, `${show(address)} is not the address of an aligned 32-bit word`);
  }
}

/** Throws EINVAL for what `wait` and `waitAsync` cannot take. */
export function checkWait(address: number, expected: number, timeout: number, syscall: string): void {
  checkWord(address, syscall);
  if (typeof expected !== 'number' || (expected !== (expected | 0) && expected !== expected >>> 0)) {
    throw new VmError('EINVAL', syscall, `${show(expected)} is not a 32-bit value`);
  }
  if (typeof timeout !== 'number' || Number.isNaN(timeout)) {
    throw new VmError('EINVAL', syscall, `${show(timeout)} is not a number of milliseconds`);
  }
}
