/** The sound designs, by the number in the machine's header and by name. */
import type { FaultProtocol } from '../fault/protocol.ts';
import { mmapSemProtocol } from './mmap-sem.ts';
import { rcuProtocol } from './rcu.ts';
import { retryProtocol } from './retry.ts';

/**
 * What a page fault holds while it works and while it reads a file:
 *
 * - `rcu`: nothing that a call which changes the layout waits for. This is the default.
 * - `mmap-sem`: the mmap lock for reading, also while it reads. Linux did so until 2009.
 * - `retry`: the mmap lock for reading. It lets go of the lock to read a file, and then begins again.
 */
export type DesignName = 'rcu' | 'mmap-sem' | 'retry';

const designs: FaultProtocol[] = [rcuProtocol, mmapSemProtocol, retryProtocol];
/** @internal */
export const DESIGNS: readonly FaultProtocol[] = designs;
/** The names of all designs, the default first. */
export const DESIGN_NAMES: readonly DesignName[] = ['rcu', 'mmap-sem', 'retry'];

/** @internal One more for this thread: the checker has designs that are known to be wrong, which the library does not carry. */
export function addDesign(design: FaultProtocol): void {
  if (designById(design.id) === undefined) designs.push(design);
}

/** @internal */
export function designByName(name: string): FaultProtocol | undefined {
  return DESIGNS.find((design) => design.name === name);
}

/** @internal */
export function designById(id: number): FaultProtocol | undefined {
  return DESIGNS.find((design) => design.id === id);
}
