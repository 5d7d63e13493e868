/** Who dies, and who is told. */
import { type Hands, hands, makeWorld, type World, type WorldOptions } from '../world.ts';

/** The victim says which cpu it is, as a Worker's creator would know. */
export interface Mortal extends World {
  readonly victim: Int32Array;
}

export function mortalWorld(options: WorldOptions, arrange: (all: Hands) => void): Mortal {
  return {
    ...makeWorld(options, (all) => {
      arrange(all);
      return {};
    }),
    victim: new Int32Array(new SharedArrayBuffer(64)),
  };
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
