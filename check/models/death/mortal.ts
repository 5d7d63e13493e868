/** Who dies, and who is told. */
import { type Hands, hands, type World } from '../world.ts';

/** The victim says which cpu it is, as a Worker's creator would know. */
export interface Mortal extends World {
  readonly victim: Int32Array;
}

export function mortal(world: Mortal): Hands {
  const all = hands(world);
  world.victim[0] = all.machine.cpu;
  return all;
}

export interface Bereaved extends Hands {
  readonly world: Mortal;
}

export function bereaved(world: Mortal): Bereaved {
  return { ...hands(world), world };
}
