/**
 * `rcu`, the default: a fault holds nothing. When it must sleep it keeps a reference on the VMA, which keeps the record and its
 * file alive and promises nothing else (Wilcox 2021; the recheck is Kara's of 2013). The reference is a word in the cpu's
 * slot that names the VMA (a hazard pointer, Michael 2004), not a count: a thread may die between a count and a note of it.
 */
import { store } from '#atomics';
import type { MmRef, VmaRef } from '../base/brands.ts';
import type { FaultProtocol } from '../fault/protocol.ts';
import type { Kernel } from '../space/kernel.ts';
import { C_REF_VMA } from '../sync/control.layout.ts';

export const rcuProtocol: FaultProtocol = {
  name: 'rcu',
  id: 1,
  rechecks: true,
  begin: () => undefined,
  end: () => undefined,
  sleep: sleepWithReference,
};

/** Leaves every section with a reference on the VMA, which was looked up in it. */
export function sleepWithReference(k: Kernel, _mm: MmRef, vma: VmaRef, sleeper: () => void): boolean {
  const record = k.cpu.base + C_REF_VMA;
  store(k.words, record, vma); // before the section ends; pairs with isAwaited, after a grace period
  const depth = k.rcu.suspend();
  try {
    sleeper();
  } finally {
    store(k.words, record, 0);
    k.rcu.resume(depth);
  }
  return true;
}
