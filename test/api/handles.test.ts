/** Handles and places: several handles on one space in one thread, and what this thread keeps of a machine for them. */
import { describe, expect, test } from 'vitest';
import {
  attachMachine,
  attachSpace,
  createMachine,
  KiB,
  type Machine,
  machineOf,
  PROT_READ,
  registerBacking,
  type Space,
} from '../../src/index.ts';
import { Machine as MachineClass } from '../../src/machine/machine.ts';
import { H_ID_HIGH, H_ID_LOW } from '../../src/sync/control.layout.ts';
import { expectError, expectNothingLeft, map, PAGE, seeded, withMachine } from '../support.ts';

registerBacking('test-ones', () => ({
  read: (_position, targets) => targets.reduce((sum, target) => sum + target.fill(1).length, 0),
  close: () => undefined,
}));

describe('several handles on one space', () => {
  test('are objects of their own: one that is closed throws EBADF while the others work', () => {
    withMachine({}, ({ machine, space }) => {
      const second = machine.attachSpace(structuredClone(space.handle));
      const third = attachSpace(structuredClone(space.handle));
      expect(new Set([space, second, third]).size).toBe(3);
      expect([second.handle, third.handle]).toEqual([space.handle, space.handle]);
      const at = map(second, 2);
      third.store32(at, 7);
      expect(space.run((m) => second.run((n) => m === n && n.load32(at)))).toBe(7);
      second.close();
      second.close();
      expect([space.closed, second.closed, third.closed]).toEqual([false, true, false]);
      expectError('EBADF', () => second.load32(at));
      expectError('EBADF', () => second.run(() => 1));
      expectError('EBADF', () => second.mmap({ length: PAGE, prot: PROT_READ, flags: 0x22 }));
      expect(third.load32(at)).toBe(7);
      space.close();
      expect(machine.census().spaces).toBe(1);
      third.store32(at, 8);
      const fourth = attachSpace(third.handle);
      third.close();
      expect(fourth.load32(at)).toBe(8);
      fourth.close();
      expect(machine.census().spaces).toBe(0);
      expectError('ESTALE', () => attachSpace(fourth.handle));
    });
  });

  test('one may be closed inside the run of any of them, unless it is the last', () => {
    withMachine({ stallTimeout: 500 }, ({ machine, space }) => {
      const second = attachSpace(space.handle);
      const at = map(space, 1);
      let last = space;
      space.run((m) => {
        m.store8(at, 1);
        second.run((n) => {
          space.close();
          expectError('EBADF', () => space.load8(at));
          expectError('EDEADLK', () => second.close());
          expect([space.closed, second.closed, n.load8(at), m.load8(at)]).toEqual([true, false, 1, 1]);
          const third = attachSpace(second.handle);
          last = third;
          second.close();
          expect(third.load8(at)).toBe(1);
          third.run((o) => o.store8(at, 2));
          expectError('EDEADLK', () => third.close());
          expect(m.load8(at)).toBe(2);
          machine.attachSpace(third.handle).close();
        });
        expect(m.load8(at)).toBe(2);
      });
      machine.drain(); // no section was left behind
      expect(last.load8(at)).toBe(2);
      last.close();
    });
  });

  test('machine.close closes all of them', () => {
    const machine = createMachine({ memory: 256 * KiB });
    const space = machine.createSpace();
    const others = [attachSpace(space.handle), machine.attachSpace(space.handle)];
    map(space, 1);
    machine.close();
    expect([space, ...others].map((each) => each.closed)).toEqual([true, true, true]);
    const again = attachMachine(machine.handle);
    expectNothingLeft(again);
    again.close();
  });
});

/** A machine that another thread has attached: its cpu is here, but this thread does not know it. */
function elsewhere(test: (owner: Machine, space: Space) => void): void {
  const made = createMachine({ memory: 256 * KiB, stallTimeout: 2000 });
  const words = new Int32Array(made.handle.control);
  const owner = new MachineClass(made.handle, `${words[H_ID_LOW]}:${words[H_ID_HIGH]}`);
  const space = owner.createSpace();
  made.close();
  try {
    test(owner, space);
    space.close();
    expectNothingLeft(owner);
    expect(owner.cpus()).toHaveLength(1);
  } finally {
    owner.close();
  }
}

describe('the place that attachSpace takes', () => {
  test('is free when the last space is closed, as often as one likes', () => {
    elsewhere((owner, space) => {
      const at = map(space, 1);
      space.store8(at, 5);
      for (let i = 0; i < 200; i++) {
        const mine = attachSpace(space.handle);
        expect(mine.load8(at)).toBe(5);
        expect(owner.cpus()).toHaveLength(2);
        mine.close();
        mine.close();
        expectError('EBADF', () => mine.load8(at));
        expectError('EBADF', () => machineOf(mine));
      }
      expect(owner.cpus()).toHaveLength(1);
    });
  });

  test('lasts as long as any handle on any space of the machine', () => {
    elsewhere((owner, space) => {
      const other = owner.createSpace();
      const first = attachSpace(space.handle);
      const second = attachSpace(space.handle);
      const third = attachSpace(other.handle);
      first.close();
      third.close();
      expect(owner.cpus()).toHaveLength(2);
      expect(map(second, 1)).toBeGreaterThan(0);
      second.close();
      expect(owner.cpus()).toHaveLength(1);
      other.close();
    });
  });

  test('is not taken by an attachSpace that fails', () => {
    elsewhere((owner, space) => {
      const gone = owner.createSpace();
      gone.close();
      for (let i = 0; i < 100; i++) expectError('ESTALE', () => attachSpace(gone.handle));
      for (const wrong of [-1, 0.5, 'x']) {
        expectError('EINVAL', () => attachSpace({ ...space.handle, space: wrong as never }));
      }
      expect(owner.cpus()).toHaveLength(1);
    });
  });

  test.each([
    ['machineOf', (space: Space) => machineOf(space)],
    ['attachMachine', (space: Space) => attachMachine({ ...space.handle, kind: 'vmspace.machine' })],
  ])('is kept by who asks for the machine with %s, until it is closed', (_name, ask) => {
    elsewhere((owner, space) => {
      const mine = attachSpace(space.handle);
      const machine = ask(mine);
      mine.close();
      expect([machine.closed, owner.cpus().length]).toEqual([false, 2]);
      const again = attachSpace(space.handle);
      expect(machineOf(again)).toBe(machine);
      again.close();
      const file = machine.createFile('test-ones', {}, PAGE);
      machine.close();
      expect([file.closed, owner.cpus().length]).toEqual([true, 1]);
      const anew = attachSpace(space.handle);
      anew.close();
      expect(owner.cpus()).toHaveLength(1);
    });
  });

  test('is kept while a space is entered', () => {
    elsewhere((owner, space) => {
      const other = owner.createSpace();
      const mine = attachSpace(space.handle);
      const second = attachSpace(other.handle);
      const at = map(mine, 1);
      mine.run((m) => {
        m.store8(at, 4);
        second.close();
        expectError('EDEADLK', () => mine.close());
        expect([m.load8(at), owner.cpus().length]).toEqual([4, 2]);
      });
      mine.close();
      expect(owner.cpus()).toHaveLength(1);
      other.close();
    });
  });

  test.each([1, 2, 3, 4, 5])('random openings, closings and runs, each in the others (seed %i)', (seed) => {
    elsewhere((owner, first) => {
      const random = seeded(seed);
      const spaces = [first, owner.createSpace()];
      const places = spaces.map((space) => map(space, 1));
      const open: { space: Space; of: number }[] = [];
      const depth = [0, 0];
      const count = (of: number): number => open.filter((each) => each.of === of).length;
      const act = (left: number): void => {
        for (let i = 0; i < 4; i++) {
          const kind = Math.floor(random() * 5);
          const of = random() < 0.5 ? 0 : 1;
          const picked = open[Math.floor(random() * open.length)];
          if (kind === 0 || picked === undefined) {
            open.push({ space: attachSpace((spaces[of] as Space).handle), of });
          } else if (kind <= 2) {
            close(picked);
          } else if (kind === 3) {
            picked.space.store32(places[picked.of] as number, seed);
            expect(picked.space.load32(places[picked.of] as number)).toBe(seed);
          } else if (left > 0) {
            depth[picked.of] = (depth[picked.of] as number) + 1;
            picked.space.run((m) => {
              act(left - 1);
              expect(m.load32(places[picked.of] as number) % seed).toBe(0); // 0 or the seed
            });
            depth[picked.of] = (depth[picked.of] as number) - 1;
          }
          expect(owner.cpus()).toHaveLength(open.length > 0 ? 2 : 1);
        }
      };
      const close = (picked: { space: Space; of: number }): void => {
        if (count(picked.of) === 1 && (depth[picked.of] as number) > 0) {
          expectError('EDEADLK', () => picked.space.close());
          return;
        }
        picked.space.close();
        open.splice(open.indexOf(picked), 1);
        expectError('EBADF', () => picked.space.load8(places[picked.of] as number));
      };
      for (let i = 0; i < 300; i++) act(3);
      for (const each of [...open]) close(each);
      expect(owner.cpus()).toHaveLength(1);
      (spaces[1] as Space).close();
    });
  });
});
