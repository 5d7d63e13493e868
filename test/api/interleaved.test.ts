/**
 * Two cpus in one thread: the second one acts at a chosen instant of the first one's fault (in its read of a file, or between
 * look-up and commit). What stress tests meet by chance is met here every time.
 */
import { describe, expect, test } from 'vitest';
import {
  createMachine,
  MAP_FIXED,
  MAP_PRIVATE,
  MiB,
  PROT_EXEC,
  PROT_NONE,
  PROT_READ,
  registerBacking,
  type Space,
  type VmError,
} from '../../src/index.ts';
import { Machine } from '../../src/machine/machine.ts';
import { H_ID_HIGH, H_ID_LOW } from '../../src/sync/control.layout.ts';
import {
  collectMachines,
  DESIGNS,
  expectError,
  expectFault,
  expectNothingLeft,
  layout,
  map,
  PAGE,
  PRIVATE,
  RW,
} from '../support.ts';

/** What happens in the next read, once. */
let during: (() => void) | undefined;

registerBacking('interleaved', (options) => ({
  read(position, targets) {
    const act = during;
    during = undefined;
    act?.();
    targets.forEach((target, i) => {
      target.fill((options as { seed: number }).seed + position / PAGE + i);
    });
    return targets.length * PAGE;
  },
  close: () => undefined,
}));

interface Pair {
  readonly machine: Machine;
  readonly space: Space;
  /** The second cpu, and its view of the same space. */
  readonly other: Machine;
  readonly theirs: Space;
  file(seed: number): ReturnType<Machine['createFile']>;
}

function withPair(design: (typeof DESIGNS)[number], run: (pair: Pair) => void): void {
  collectMachines();
  during = undefined;
  const machine = createMachine({ memory: MiB, design, stallTimeout: 50 });
  const { words } = machine.kernel;
  const other = new Machine(machine.handle, `${words[H_ID_LOW]}:${words[H_ID_HIGH]}`);
  const space = machine.createSpace();
  const theirs = other.attachSpace(space.handle);
  try {
    run({ machine, space, other, theirs, file: (seed) => machine.createFile('interleaved', { seed }, 8 * PAGE) });
    other.close();
    space.close();
    expect(machine.cpus()).toHaveLength(1);
  } catch (error) {
    machine.close();
    throw error;
  }
  // Files that a test left open.
  const { handle } = machine;
  const watcher = new Machine(handle, `${words[H_ID_LOW]}:${words[H_ID_HIGH]}`);
  machine.close();
  expectNothingLeft(watcher);
  watcher.close();
}

/** Lets `act` happen between the next fault's look-up and its commit: when it zeroes its new frame. */
function beforeCommit(machine: Machine, act: () => void): void {
  const { frames } = machine.kernel;
  const { zero } = frames;
  frames.zero = (pfn) => {
    frames.zero = zero;
    zero.call(frames, pfn);
    act();
  };
}

const mapFile = (
  space: Space,
  file: ReturnType<Machine['createFile']>,
  prot: number = PROT_READ,
  addr?: number,
): number =>
  space.mmap({ length: 8 * PAGE, prot, flags: MAP_PRIVATE | (addr === undefined ? 0 : MAP_FIXED), file, addr });

describe.each(DESIGNS.filter((design) => design !== 'mmap-sem'))('while a fault of %s reads its page', (design) => {
  test('munmap does not wait, and the fault is a SEGV', () => {
    withPair(design, ({ machine, space, theirs, file }) => {
      const at = mapFile(space, file(1));
      during = () => theirs.munmap(at, 8 * PAGE);
      expectFault('SEGV_MAPERR', () => space.load8(at + PAGE));
      expect(during).toBeUndefined();
      expect(space.maps()).toEqual([]);
      expect(machine.counters()['restart.io']).toBe(1);
    });
  });

  test('munmap and close let the file go only when the fault has let it go, once', () => {
    withPair(design, ({ machine, space, other, theirs }) => {
      const theirFile = other.createFile('interleaved', { seed: 1 }, 8 * PAGE);
      const only = machine.attachFile(theirFile.handle);
      const at = mapFile(space, only);
      only.close();
      let live = -1;
      during = () => {
        theirs.munmap(at, 8 * PAGE);
        theirFile.close();
        other.drain();
        live = other.census().file.live;
      };
      expectFault('SEGV_MAPERR', () => space.load8(at));
      expect(live).toBe(1);
      machine.drain();
      expect(machine.census()).toMatchObject({ file: { live: 0 }, frames: { live: 0 }, vma: { live: 0 } });
    });
  });

  test('MAP_FIXED puts another file there: the fault gets the new file’s byte', () => {
    withPair(design, ({ space, other, theirs, file }) => {
      const first = file(10);
      const second = other.attachFile(file(100).handle);
      const at = mapFile(space, first);
      during = () => mapFile(theirs, second, PROT_READ, at);
      expect(space.load8(at + 2 * PAGE)).toBe(102);
      expect(space.load8(at + PAGE)).toBe(101);
    });
  });

  test('MAP_FIXED puts the same file there at another offset: the fault gets the byte of that offset', () => {
    withPair(design, ({ space, other, theirs, file }) => {
      const first = file(10);
      const same = other.attachFile(first.handle);
      const at = mapFile(space, first);
      during = () =>
        theirs.mmap({
          addr: at,
          length: PAGE,
          prot: PROT_READ,
          flags: MAP_PRIVATE | MAP_FIXED,
          file: same,
          offset: 5 * PAGE,
        });
      expect(space.load8(at)).toBe(15);
      expect(space.load8(at + PAGE)).toBe(11);
    });
  });

  test('anonymous memory takes its place: the fault sees zeroes, or stores into it', () => {
    withPair(design, ({ space, theirs, file }) => {
      const at = mapFile(space, file(10), RW);
      const replace = (): void => {
        theirs.munmap(at, 8 * PAGE);
        theirs.mmap({ addr: at, length: 8 * PAGE, prot: RW, flags: PRIVATE | MAP_FIXED });
      };
      during = replace;
      expect(space.load8(at)).toBe(0);
      const again = mapFile(space, file(10), RW);
      during = () => {
        theirs.munmap(again, 8 * PAGE);
        theirs.mmap({ addr: again, length: 8 * PAGE, prot: RW, flags: PRIVATE | MAP_FIXED });
      };
      space.store8(again + PAGE, 7);
      expect([space.load8(again + PAGE), space.load8(again + PAGE + 1), theirs.load8(again + PAGE)]).toEqual([7, 0, 7]);
    });
  });

  test('mprotect takes the right away: the fault is refused', () => {
    withPair(design, ({ space, theirs, file }) => {
      const at = mapFile(space, file(1), RW);
      during = () => theirs.mprotect(at, 8 * PAGE, PROT_NONE);
      expectFault('SEGV_ACCERR', () => space.load8(at));
      during = () => theirs.mprotect(at, 8 * PAGE, PROT_READ);
      theirs.mprotect(at, 8 * PAGE, RW);
      expectFault('SEGV_ACCERR', () => space.store8(at + 5 * PAGE, 1));
      expect(space.load8(at + 5 * PAGE)).toBe(6);
    });
  });

  test('neighbours are split off and merged: the fault does not mind', () => {
    withPair(design, ({ space, theirs, file }) => {
      const at = mapFile(space, file(1));
      during = () => {
        theirs.munmap(at, PAGE);
        theirs.mprotect(at + 4 * PAGE, PAGE, RW);
        theirs.munmap(at + 7 * PAGE, PAGE);
      };
      expect(space.load8(at + 3 * PAGE)).toBe(4);
      expect(layout(space, at)).toEqual(['1-4 r--p file@1', '4-5 rw-p file@4', '5-7 r--p file@5']);
    });
  });

  test('the second cpu works on other memory, faults and all', () => {
    withPair(design, ({ space, other, theirs, file }) => {
      const first = file(1);
      const second = file(50);
      const at = mapFile(space, first);
      const there = mapFile(theirs, other.attachFile(second.handle));
      let seen = -1;
      during = () => {
        theirs.store8(map(theirs, 3), 1);
        seen = theirs.load8(there + PAGE);
        other.drain();
      };
      expect(space.load8(at)).toBe(1);
      expect(seen).toBe(51);
    });
  });

  /** The second cpu replaces the page at `at`, and what was its frame is soon `victim`'s. */
  function replaceAndReuse({ other, theirs }: Pair, at: number): number {
    theirs.mmap({ addr: at, length: PAGE, prot: RW, flags: PRIVATE | MAP_FIXED });
    other.drain();
    const victim = map(theirs, 240);
    for (let page = 0; page < 240; page++) theirs.fill(victim + page * PAGE, PAGE, 0xee);
    return victim;
  }

  test('the page before it is replaced: an access to both is done with the new one', () => {
    withPair(design, (pair) => {
      const { space, file } = pair;
      const at = mapFile(space, file(1), RW);
      space.store8(at + PAGE - 1, 5);
      expect(space.load8(at + PAGE - 1)).toBe(5);
      during = () => replaceAndReuse(pair, at);
      expect(space.load16(at + PAGE - 1)).toBe(2 << 8);
    });
  });

  test('the target of a copy is replaced: nothing is written into what its frame has become', () => {
    withPair(design, (pair) => {
      const { space, theirs, file } = pair;
      const source = mapFile(space, file(1));
      const target = map(space, 1);
      space.store8(target, 5);
      let victim = 0;
      during = () => {
        victim = replaceAndReuse(pair, target);
      };
      expect(space.copy(target, source, PAGE)).toBe(PAGE);
      const got = new Uint8Array(240 * PAGE);
      theirs.read(victim, got);
      expect(got.every((byte) => byte === 0xee)).toBe(true);
      expect([space.load8(target), space.load8(target + PAGE - 1)]).toEqual([1, 1]);
    });
  });

  test('the read fails: whoever unmapped meanwhile hears nothing of it', () => {
    withPair(design, ({ space, theirs, file }) => {
      const at = mapFile(space, file(1));
      during = () => {
        theirs.munmap(at, PAGE);
        throw new Error('bad sector');
      };
      expectFault('BUS_ADRERR', () => space.load8(at));
      expectFault('SEGV_MAPERR', () => space.load8(at));
      expect(theirs.load8(at + PAGE)).toBe(2);
    });
  });
});

describe('while a fault of mmap-sem reads its page', () => {
  test('munmap waits for the disk, here until the stall limit', () => {
    withPair('mmap-sem', ({ space, theirs, file }) => {
      const at = mapFile(space, file(1));
      let error: unknown;
      during = () => {
        error = expectError('ETIMEDOUT', () => theirs.munmap(at, 8 * PAGE));
      };
      expect(space.load8(at)).toBe(1);
      expect(error).toMatchObject({ message: expect.stringContaining('(reader)') });
      theirs.munmap(at, 8 * PAGE);
    });
  });
});

describe.each(DESIGNS)('between look-up and commit under %s', (design) => {
  test('another cpu writes the page first: the loser gives its frame back and uses the winner’s', () => {
    withPair(design, ({ machine, space, theirs }) => {
      const at = map(space, 2);
      beforeCommit(machine, () => theirs.store32(at + 4, 5));
      space.store32(at, 1);
      expect([space.load32(at), space.load32(at + 4), theirs.load32(at)]).toEqual([1, 5, 1]);
      expect(machine.counters()['restart.changed']).toBe(1);
      expect(machine.census().frames).toMatchObject({ live: 1, owned: 0 });
    });
  });

  test('another cpu replaces the zero page first: both stores are there', () => {
    withPair(design, ({ machine, space, theirs }) => {
      const at = map(space, 1);
      expect([space.load32(at), theirs.load32(at)]).toEqual([0, 0]);
      beforeCommit(machine, () => theirs.store32(at + 4, 5));
      space.store32(at, 1);
      expect([space.load32(at), space.load32(at + 4)]).toEqual([1, 5]);
      expect([theirs.load32(at), theirs.load32(at + 4)]).toEqual([1, 5]);
    });
  });
});

describe.each(DESIGNS)('a translation that another cpu holds in its section under %s', (design) => {
  test('of the zero page is dropped when the page gets a frame', () => {
    withPair(design, ({ space, theirs }) => {
      const at = map(space, 2);
      theirs.run((m) => {
        expect([m.load32(at), m.load32(at + PAGE)]).toEqual([0, 0]);
        space.store32(at, 1);
        expect([m.load32(at), m.load32(at + PAGE)]).toEqual([1, 0]);
        m.store32(at, 2);
      });
      expect(space.load32(at)).toBe(2);
    });
  });

  test('of a file’s page is dropped when a private write copies it', () => {
    withPair(design, ({ space, theirs, file }) => {
      const at = mapFile(space, file(1), RW);
      theirs.run((m) => {
        expect(m.load8(at)).toBe(1);
        space.store8(at, 9);
        expect([m.load8(at), m.load8(at + 1)]).toEqual([9, 1]);
      });
    });
  });

  test('of a writable page lets no store through after PROT_NONE is in force', () => {
    withPair(design, ({ space, theirs }) => {
      const at = map(space, 1);
      theirs.run((m) => {
        m.store32(at, 1);
        expectError('ETIMEDOUT', () => space.mprotect(at, PAGE, PROT_NONE));
        expectFault('SEGV_ACCERR', () => m.store32(at, 2));
        expectFault('SEGV_ACCERR', () => m.load32(at));
      });
      space.mprotect(at, PAGE, PROT_READ);
      expect(space.load32(at)).toBe(1);
    });
  });
});

describe('between look-up and commit under rcu, where no lock keeps writers out', () => {
  test('munmap: the store is a SEGV and nothing is installed', () => {
    withPair('rcu', ({ machine, space, theirs }) => {
      const at = map(space, 2);
      beforeCommit(machine, () => theirs.munmap(at, PAGE));
      expectFault('SEGV_MAPERR', () => space.store32(at, 1));
      machine.drain();
      expect(machine.census().frames).toMatchObject({ live: 0, owned: 0, retired: 0 });
      expect(machine.counters()['restart.detached']).toBe(1);
    });
  });

  test('munmap of everything under a leaf, and a new mapping there: the store goes into the new one', () => {
    withPair('rcu', ({ machine, space, theirs }) => {
      const addr = 2 ** 40;
      const request = { addr, length: 4 * PAGE, prot: RW, flags: PRIVATE | MAP_FIXED };
      space.mmap(request);
      space.store8(addr + PAGE, 9); // the leaf is there, and empty again by the time of the commit
      beforeCommit(machine, () => {
        theirs.munmap(addr, 4 * PAGE);
        theirs.mmap(request);
      });
      space.store8(addr, 1);
      expect([space.load8(addr), space.load8(addr + PAGE), theirs.load8(addr)]).toEqual([1, 0, 1]);
      expect(machine.counters()['restart.unhooked']).toBe(1);
    });
  });

  test('mprotect to reading only: the store is refused', () => {
    withPair('rcu', ({ machine, space, theirs }) => {
      const at = map(space, 2);
      beforeCommit(machine, () => expectError('ETIMEDOUT', () => theirs.mprotect(at, PAGE, PROT_READ)));
      expectFault('SEGV_ACCERR', () => space.store32(at, 1));
      expect(theirs.load32(at)).toBe(0);
    });
  });

  test('a neighbour’s merge leaves an equivalent VMA: the store commits without a restart', () => {
    withPair('rcu', ({ machine, space, theirs }) => {
      const addr = 2 ** 40;
      space.mmap({ addr, length: PAGE, prot: RW, flags: PRIVATE | MAP_FIXED });
      beforeCommit(machine, () => {
        theirs.mmap({ addr: addr + PAGE, length: PAGE, prot: RW, flags: PRIVATE | MAP_FIXED });
      });
      space.store32(addr, 1);
      expect(machine.counters()['restart.detached']).toBe(0);
      expect(layout(space, addr)).toEqual(['0-2 rw-p']);
      expect(theirs.load32(addr)).toBe(1);
    });
  });

  test('MAP_FIXED: the store goes to the new mapping', () => {
    withPair('rcu', ({ machine, space, theirs }) => {
      const at = map(space, 4);
      space.fill(at, 4 * PAGE, 1);
      space.munmap(at + PAGE, PAGE);
      space.mmap({ addr: at + PAGE, length: PAGE, prot: RW, flags: PRIVATE | MAP_FIXED });
      beforeCommit(machine, () => {
        theirs.mmap({ addr: at, length: 4 * PAGE, prot: RW, flags: PRIVATE | MAP_FIXED });
      });
      space.store8(at + PAGE, 7);
      expect([0, 1, 2, 3].map((page) => space.load8(at + page * PAGE))).toEqual([0, 7, 0, 0]);
    });
  });

  test('a writer that changes the rights for ever does not starve a fault: it commits under the tree lock', () => {
    withPair('rcu', ({ machine, space, theirs }) => {
      const addr = 2 ** 40;
      space.mmap({ addr, length: 2 * PAGE, prot: RW, flags: PRIVATE | MAP_FIXED });
      const { frames } = machine.kernel;
      const { zero } = frames;
      let changes = 0;
      const refused: string[] = [];
      frames.zero = (pfn) => {
        zero.call(frames, pfn);
        const before = theirs.sequence();
        try {
          // No VMA that the fault has seen is there again. Tightening cannot end: the fault is in its section.
          theirs.mprotect(addr, PAGE, changes % 2 === 0 ? RW | PROT_EXEC : RW);
        } catch (error) {
          if (theirs.sequence() === before) refused.push((error as VmError).message);
        }
        if (theirs.sequence() !== before) changes++;
      };
      space.store8(addr, 5);
      frames.zero = zero;
      expect(changes).toBeGreaterThan(10);
      expect(refused).toEqual([expect.stringContaining('tree lock')]);
      expect(machine.counters()['fault.tree.commit']).toBe(1);
      expect(space.load8(addr)).toBe(5);
    });
  });

  test('a second cpu’s stale translation is gone when mprotect or munmap returns', () => {
    withPair('rcu', ({ space, theirs }) => {
      const at = map(space, 3);
      space.run((m) => {
        m.store32(at, 1);
        theirs.munmap(at, PAGE);
        expectFault('SEGV_MAPERR', () => m.load32(at));
        m.store32(at + PAGE, 2);
      });
      space.store32(at + PAGE, 3);
      theirs.mprotect(at + PAGE, PAGE, PROT_READ);
      expectFault('SEGV_ACCERR', () => space.store32(at + PAGE, 4));
      expect(space.load32(at + PAGE)).toBe(3);
    });
  });

  test('tightening waits for the section of another cpu, here until the stall limit, and is in force in it at once', () => {
    withPair('rcu', ({ space, theirs }) => {
      const at = map(space, 1);
      space.run((m) => {
        m.store32(at, 1);
        const error = expectError('ETIMEDOUT', () => theirs.mprotect(at, PAGE, PROT_READ));
        expect(error.message).toContain('cpu 0');
        expectFault('SEGV_ACCERR', () => m.store32(at, 2));
        expect(m.load32(at)).toBe(1);
      });
      theirs.mprotect(at, PAGE, RW);
      space.store32(at, 3);
    });
  });

  test('frames that another cpu’s section may still reach are not reused before it is left', () => {
    withPair('rcu', ({ machine, space, theirs, other }) => {
      const pages = 250;
      const at = map(space, pages);
      space.fill(at, pages * PAGE, 0x11);
      theirs.run((m) => {
        expect(m.load8(at)).toBe(0x11);
        space.munmap(at, pages * PAGE);
        expect(machine.census().frames.retired).toBe(pages);
        expectFault('SEGV_MAPERR', () => m.load8(at));
      });
      other.drain();
      expect(machine.census().frames.retired).toBe(0);
      space.fill(map(space, pages), pages * PAGE, 1);
    });
  });
});
