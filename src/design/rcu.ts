/**
 * `rcu`, the default: a fault holds nothing. When it must sleep it keeps a reference on the VMA, which keeps the record and its
 * file alive and promises nothing else (Wilcox 2021; the recheck is Kara's of 2013).
 */
import { poke } from '#atomics';
import type { MmRef, VmaRef } from '../base/brands.ts';
import type { FaultProtocol } from '../fault/protocol.ts';
import type { Kernel } from '../space/kernel.ts';
import { C_REF_VMA } from '../sync/control.layout.ts';

export const rcuProtocol: FaultProtocol = {
  name: 'rcu',
  id: 1,
  begin: () => undefined,
  end: () => undefined,
  sleep: sleepWithReference,
};

/** Leaves every section with a reference on the VMA. */
export function sleepWithReference(k: Kernel, _mm: MmRef, vma: VmaRef, sleeper: () => void): boolean {
  if (!k.vmas.tryGet(vma)) return false;
  const record = k.cpu.base + C_REF_VMA;
  poke(k.words, record, vma); // a dead sleeper's reference is given back from here
  const depth = k.rcu.suspend();
  try {
    sleeper();
  } finally {
    poke(k.words, record, 0);
    k.vmas.put(vma);
    k.rcu.resume(depth);
  }
  return true;
}
