/**
 * `retry`: VM_FAULT_RETRY. The fault holds mmap_lock for reading, drops it before it sleeps, and starts again under the lock.
 * No I/O under the lock, but every fault still takes it, and every fault that slept takes it twice.
 */

import type { FaultProtocol } from '../fault/protocol.ts';
import { MM_MMAP_LOCK } from '../paging/mm.layout.ts';
import { readHeld, readLock, readTryLock } from '../sync/rwsem.ts';
import { COUNTER } from '../trace/counters.ts';
import { dropMmapLock, takeMmapLock } from './mmap-sem.ts';
import { sleepWithReference } from './rcu.ts';

export const retryProtocol: FaultProtocol = {
  name: 'retry',
  id: 3,
  rechecks: true,
  begin: takeMmapLock,
  end(k, mm) {
    // Not held after a sleep that ended in ETIMEDOUT for the lock itself.
    if (readHeld(k.cpu, mm + MM_MMAP_LOCK)) dropMmapLock(k, mm);
  },
  sleep(k, mm, vma, sleeper) {
    const sem = mm + MM_MMAP_LOCK;
    return sleepWithReference(k, mm, vma, () => {
      dropMmapLock(k, mm);
      try {
        sleeper();
      } finally {
        k.cpu.count(COUNTER['fault.sem.acquired']);
        if (!readTryLock(k.cpu, sem)) readLock(k.cpu, sem);
      }
    });
  },
};
