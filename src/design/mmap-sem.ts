/**
 * `mmap-sem`: the fault holds mmap_lock for reading from look-up to commit, over I/O and allocation too, as Linux did until
 * 2009 and in effect much longer. A writer waits for the slowest reader's disk, and everybody behind the writer with it.
 */
import { poke } from '#atomics';
import type { MmRef } from '../base/brands.ts';
import type { FaultProtocol } from '../fault/protocol.ts';
import { MM_MMAP_LOCK } from '../paging/mm.layout.ts';
import type { Kernel } from '../space/kernel.ts';
import { C_REF_VMA } from '../sync/control.layout.ts';
import { readLock, readTryLock, readUnlock } from '../sync/rwsem.ts';
import { COUNTER } from '../trace/counters.ts';

export const mmapSemProtocol: FaultProtocol = {
  name: 'mmap-sem',
  id: 2,
  rechecks: true,
  begin: takeMmapLock,
  end: dropMmapLock,
  sleep(k, _mm, _vma, sleeper) {
    // The lock keeps the VMA: no reference is needed, and none would help the writer that waits.
    poke(k.words, k.cpu.base + C_REF_VMA, 0);
    k.rcu.outside(sleeper);
    return true;
  },
};

/** For reading; leaves the sections only if it must wait. */
export function takeMmapLock(k: Kernel, mm: MmRef): void {
  const sem = mm + MM_MMAP_LOCK;
  k.cpu.count(COUNTER['fault.sem.acquired']);
  if (readTryLock(k.cpu, sem)) return;
  k.rcu.outside(() => readLock(k.cpu, sem));
}

export function dropMmapLock(k: Kernel, mm: MmRef): void {
  readUnlock(k.cpu, mm + MM_MMAP_LOCK);
}
