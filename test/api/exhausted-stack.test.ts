/** The engine throws where its stack is exhausted: in the middle of anything. The machine goes on, and nothing is lost. */
import { describe, expect, test } from 'vitest';
import type { MmRef, Vpn } from '../../src/base/brands.ts';
import {
  createMachine,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_PRIVATE,
  type Machine,
  MiB,
  PROT_READ,
  PROT_WRITE,
  SegmentationFault,
  type Space,
  VmError,
} from '../../src/index.ts';
import { conservation } from '../stress/audit.ts';
import { anotherCpu } from '../stress/kill/world.ts';

const P = 4096;
const BASE = 2 ** 40;
const PLACES = 12;
const ANON = { prot: PROT_READ | PROT_WRITE, flags: MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED };

/** Which of the calls maps the place anew. */
const MMAP = 0;

/** Calls `work` so near to the end of the stack that `spare` more frames of this function fit in. */
function nearTheEnd(spare: number, work: (i: number) => void, i: number): void {
  let left = spare;
  let isDone = false;
  const dive = (depth: number): number => {
    const [a, b] = [depth + 1, depth + 2];
    try {
      return dive(a) + b;
    } catch (error) {
      if (error instanceof RangeError && !isDone && left-- <= 0) {
        isDone = true;
        work(i);
      }
      throw error;
    }
  };
  expect(() => dive(0)).toThrow(RangeError);
}

function calls(machine: Machine, space: Space): Record<string, (i: number) => unknown> {
  const place = (i: number): number => BASE + (i % PLACES) * 16 * P;
  return {
    mmap: (i) => space.mmap({ addr: place(i), length: 16 * P, ...ANON }),
    store: (i) => space.store8(place(i) + (i % 16) * P, 1),
    load: (i) => space.load8(place(i) + (i % 16) * P),
    run: (i) => space.run((memory) => memory.load8(place(i))),
    protect: (i) => space.mprotect(place(i) + P, P, PROT_READ),
    fill: (i) => space.fill(place(i), 16 * P, 1),
    copy: (i) => space.copy(place(i), place(i + 1), 3 * P),
    wait: (i) => space.wait(place(i), 5, 0),
    notify: (i) => space.notify(place(i)),
    munmap: (i) => space.munmap(place(i) + 2 * P, 2 * P),
    drain: () => machine.drain(),
    space: () => machine.createSpace().close(),
  };
}

describe('an exhausted stack', () => {
  test.each([true, false])('leaves the machine usable, wherever it ends a call (shared: %s)', (shared) => {
    const machine = createMachine({ memory: 2 * MiB, shared, stallTimeout: 500 });
    const space = machine.createSpace();
    const all = Object.values(calls(machine, space));
    const strange: string[] = [];
    let cut = 0;
    const isFault = (error: unknown): boolean =>
      error instanceof SegmentationFault || (error instanceof VmError && error.message.includes('is not mapped'));
    const attempt = (i: number): void => {
      try {
        all[i % all.length]?.(i);
      } catch (error) {
        if (error instanceof RangeError) cut++;
        else if (!isFault(error)) strange.push(`in the depth: ${String(error)}`);
      }
    };
    for (let i = 0; i < all.length; i++) attempt(i); // the engine cannot compile anything there
    const afterwards = (which: number, i: number): void => {
      try {
        all[which % all.length]?.(i);
      } catch (error) {
        if (!isFault(error)) strange.push(`afterwards: ${String(error)}`);
      }
    };
    for (let i = 0; i < 600; i++) {
      const round = Math.floor(i / all.length);
      if (round % 2 === 0) afterwards(MMAP, i); // what accesses the place in the depth faults then
      nearTheEnd(1 + (round % 50), attempt, i);
      // Another one is the first each time: also an access that faults where the one before was ended.
      for (let which = 0; which < all.length; which++) afterwards(i + round + which, i);
      if (strange.length > 5) break;
    }
    expect(strange).toEqual([]);
    expect(cut).toBeGreaterThan(100);
    space.validate();
    space.close();
    machine.drain();
    // A space that was made before the stack ended is nobody's, until the thread leaves.
    const lost = /spaces are left|^table: \d+ live, 0 owned, 0 retired/;
    expect(conservation(machine).filter((problem) => !lost.test(problem))).toEqual([]);
    machine.close();
  });

  /** The engine ends a fault with the lock of its page table in hand, and with no stack left for any `catch`. */
  function endFault({ kernel }: Machine, space: Space): void {
    const { tables, rcu, cpu } = kernel;
    rcu.walking(() => tables.lockLeaf(tables.leafFor(space.handle.space as MmRef, (BASE / P) as Vpn)));
    cpu.inFault = true;
  }

  const next = {
    load: (_machine: Machine, space: Space) => space.load8(BASE + P),
    store: (_machine: Machine, space: Space) => space.store8(BASE + P, 1),
    run: (_machine: Machine, space: Space) => space.run((memory) => memory.load8(BASE + P)),
    munmap: (_machine: Machine, space: Space) => space.munmap(BASE, P),
    closing: (_machine: Machine, space: Space) => space.close(),
    leaving: (machine: Machine) => machine.close(),
  };

  test.each(Object.keys(next) as (keyof typeof next)[])('leaves no lock in the way of what comes next: %s', (name) => {
    const machine = createMachine({ memory: 2 * MiB, stallTimeout: 500 });
    const other = anotherCpu(machine);
    const space = machine.createSpace();
    space.mmap({ addr: BASE, length: 4 * P, ...ANON });
    space.store8(BASE, 1);
    endFault(machine, space);
    next[name](machine, space);
    expect(machine.kernel.cpu.inFault).toBe(false);
    machine.close();
    expect(conservation(other)).toEqual([]);
    other.close();
  });
});
