/** Threads that the others know: they end their waits, or are told of their deaths. */
import type { Kernel } from '../../../src/space/kernel.ts';
import { makeWorld, type World } from '../world.ts';
import { kernel } from './words.ts';

/** The cpu of each thread that has a role. */
export interface Cast extends World {
  readonly cpus: Int32Array;
}
export interface Actor {
  readonly k: Kernel;
  readonly cpus: Int32Array;
}
export type Role = 'victim' | 'hasty' | 'owner' | 'taker';
const ROLES: readonly Role[] = ['victim', 'hasty', 'owner', 'taker'];

export const cast = (): Cast => ({
  ...makeWorld({}, () => ({})),
  cpus: new Int32Array(new SharedArrayBuffer(64)),
});

export function actor(world: Cast): Actor {
  return { k: kernel(world), cpus: world.cpus };
}

/** The thread says which cpu it is, as a Worker's creator would know. `arrange` is what it has done before. */
export const actorAs =
  (role: Role, arrange: (k: Kernel, world: Cast) => unknown = () => undefined) =>
  (world: Cast): Actor => {
    const all = actor(world);
    world.cpus[ROLES.indexOf(role)] = all.k.cpu.id;
    arrange(all.k, world);
    return all;
  };

export function cpuOf(cpus: Int32Array, role: Role): number {
  return cpus[ROLES.indexOf(role)] as number;
}
