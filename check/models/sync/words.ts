/** Words of a real machine's header that nobody else uses: locks, counts and objects of the models. */
import type { Kernel } from '../../../src/space/kernel.ts';
import { peek, poke } from '../../../src/sync/atomics.checked.ts';
import { C_RETIRE_LOCK } from '../../../src/sync/control.layout.ts';
import { CLASS_RETIRE } from '../../../src/sync/lock-classes.ts';
import { spinLock, spinUnlock } from '../../../src/sync/spinlock.ts';
import type { Model } from '../../model.ts';
import { describeWorld, hands, makeWorld, type World, waitInWorld } from '../world.ts';

export const SEM = 40; // three words
export const LOCK = 44;
export const FIRST = 46;
export const SECOND = 47;
export const POINTER = 48;
export const REFS = 49;
export const FREED = 50;
/** Two objects of four words: state, link, payload. */
export const OBJECT = 52;
export const OTHER = 56;
export const KIND = 7;

const NAMES: Readonly<Record<number, string>> = {
  [SEM]: 'sem .state',
  [SEM + 1]: 'sem .ticket',
  [SEM + 2]: 'sem .queue',
  [LOCK]: 'lock',
  [FIRST]: 'first',
  [SECOND]: 'second',
  [POINTER]: 'pointer',
  [REFS]: 'refs',
  [FREED]: 'freed',
  [OBJECT]: 'object .state',
  [OBJECT + 1]: 'object .link',
  [OBJECT + 2]: 'object .payload',
  [OTHER]: 'other .state',
  [OTHER + 1]: 'other .link',
  [OTHER + 2]: 'other .payload',
};
export const describe = (world: World, buffer: number, byte: number): string | undefined =>
  (buffer === 0 ? NAMES[byte >> 2] : undefined) ?? describeWorld(world, buffer, byte);

export const waits: NonNullable<Model<World>['waits']> = (world, buffer, byte, threadOf) =>
  waitInWorld(world, buffer, byte, threadOf, (at) => describe(world, 0, at) ?? '');
export const empty = (): World => makeWorld({}, () => ({}));
export const kernel = (world: World): Kernel => hands(world).machine.kernel;

/** A write under the semaphore, in two steps. */
export function change(words: Int32Array): void {
  poke(words, FIRST, peek(words, FIRST) + 1);
  poke(words, SECOND, peek(words, SECOND) + 1);
}
/** What a reader sees, unless the write is half done. */
export function same(words: Int32Array): boolean {
  return peek(words, FIRST) === peek(words, SECOND);
}

/** For `prepare`: what `act` retires is late, since another thread has the lock over the lists meanwhile. */
export function besideTheLists(k: Kernel, thief: Kernel, act: () => void): void {
  const lock = k.cpu.base + C_RETIRE_LOCK;
  spinLock(thief.cpu, lock, CLASS_RETIRE);
  (k.rcu as unknown as { _late: boolean })._late = true; // it does not wait for the lock then: there is no clock here
  act();
  spinUnlock(thief.cpu, lock);
}
