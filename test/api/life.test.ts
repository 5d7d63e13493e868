/** Handles: closed, closed twice, of another machine, stale; and the rules of `run`. */
import { afterAll, describe, expect, test, vi } from 'vitest';
import { makeDisposable } from '../../src/base/disposable.ts';
import {
  type Accessor,
  attachMachine,
  attachSpace,
  createMachine,
  KiB,
  MAP_PRIVATE,
  MiB,
  machineOf,
  openFileSync,
  PROT_READ,
  registerBacking,
  type Space,
  VmError,
} from '../../src/node.ts';
import {
  closing,
  DESIGNS,
  expectError,
  expectFault,
  expectNothingLeft,
  map,
  PAGE,
  PRIVATE,
  pattern,
  RW,
  temporaryFiles,
  withMachine,
} from '../support.ts';

const files = temporaryFiles();
afterAll(() => files.remove());

registerBacking('test-zeros', () => ({
  read: (_position, targets) => targets.reduce((sum, target) => sum + target.fill(0).length, 0),
  close: () => undefined,
}));

describe.each(DESIGNS)('handles under %s', (design) => {
  test('a closed space refuses every call with EBADF, and closing it again does nothing', () => {
    withMachine({ design }, ({ space, newSpace }) => {
      const other = newSpace();
      const at = map(space, 1);
      const memory = space.run((m) => m);
      space.close();
      space.close();
      expect(space.closed).toBe(true);
      const bytes = new Uint8Array(4);
      const calls: [string, (s: Space) => unknown][] = [
        ['mmap', (s) => s.mmap({ length: PAGE, prot: RW, flags: PRIVATE })],
        ['munmap', (s) => s.munmap(at, PAGE)],
        ['mprotect', (s) => s.mprotect(at, PAGE, RW)],
        ['maps', (s) => s.maps()],
        ['sequence', (s) => s.sequence()],
        ['counters', (s) => s.counters()],
        ['run', (s) => s.run(() => 1)],
        ['load8', (s) => s.load8(at)],
        ['store8', (s) => s.store8(at, 1)],
        ['load16', (s) => s.load16(at)],
        ['store16', (s) => s.store16(at, 1)],
        ['load32', (s) => s.load32(at)],
        ['store32', (s) => s.store32(at, 1)],
        ['loadU32', (s) => s.loadU32(at)],
        ['loadI64', (s) => s.loadI64(at)],
        ['storeI64', (s) => s.storeI64(at, 1n)],
        ['loadF32', (s) => s.loadF32(at)],
        ['storeF32', (s) => s.storeF32(at, 1)],
        ['loadF64', (s) => s.loadF64(at)],
        ['storeF64', (s) => s.storeF64(at, 1)],
        ['atomicLoad32', (s) => s.atomicLoad32(at)],
        ['atomicStore32', (s) => s.atomicStore32(at, 1)],
        ['cas32', (s) => s.cas32(at, 0, 1)],
        ['add32', (s) => s.add32(at, 1)],
        ['exchange32', (s) => s.exchange32(at, 1)],
        ['and32', (s) => s.and32(at, 1)],
        ['or32', (s) => s.or32(at, 1)],
        ['xor32', (s) => s.xor32(at, 1)],
        ['atomicLoad64', (s) => s.atomicLoad64(at)],
        ['atomicStore64', (s) => s.atomicStore64(at, 1n)],
        ['cas64', (s) => s.cas64(at, 0n, 1n)],
        ['add64', (s) => s.add64(at, 1n)],
        ['exchange64', (s) => s.exchange64(at, 1n)],
        ['read', (s) => s.read(at, bytes)],
        ['write', (s) => s.write(at, bytes)],
        ['copy', (s) => s.copy(at, at, 4)],
        ['fill', (s) => s.fill(at, 4, 0)],
        ['wait', (s) => s.wait(at, 1, 0)],
        ['notify', (s) => s.notify(at)],
        ['dump', (s) => s.dump()],
        ['validate', (s) => s.validate()],
      ];
      for (const [, call] of calls) expectError('EBADF', () => call(space));
      expectError('EINVAL', () => memory.load8(at));
      // The control: the same calls on an open space.
      const there = other.mmap({ length: PAGE, prot: RW, flags: PRIVATE, addr: at });
      expect(there).toBe(at);
      for (const [name, call] of calls) if (name !== 'mmap') expect(() => call(other), name).not.toThrow(/EBADF/);
    });
  });

  test('populate of a closed space is rejected with EBADF', async () => {
    await withMachine({ design }, async ({ space }) => {
      const at = map(space, 1);
      expect(await space.populate(at, PAGE)).toBe(PAGE);
      space.close();
      await expect(space.populate(at, PAGE)).rejects.toMatchObject({ code: 'EBADF' });
    });
  });

  test('a closed machine refuses every call with EBADF, and closing it again does nothing', () => {
    const machine = createMachine({ memory: 256 * KiB, design });
    const space = machine.createSpace();
    const file = machine.createFile('test-zeros', {}, PAGE);
    machine.close();
    machine.close();
    expect([machine.closed, space.closed, file.closed]).toEqual([true, true, true]);
    for (const call of [
      () => machine.createSpace(),
      () => machine.attachSpace(space.handle),
      () => machine.createFile('test-zeros', {}, PAGE),
      () => machine.attachFile(file.handle),
      () => machine.reap(3),
      () => machine.watch({ threadId: 1, once: () => undefined }),
      () => machine.drain(),
      () => openFileSync(machine, files.write('closed', pattern(10))),
      () => space.maps(),
      () => machineOf(space),
    ]) {
      expectError('EBADF', call);
    }
    // What only looks keeps working.
    expect(machine.counters()['call.mmap']).toBe(0);
    expect(machine.census().spaces).toBe(0);
  });

  test('closing the machine closes what this thread has opened, and leaves nothing behind', () => {
    const machine = createMachine({ memory: 256 * KiB, design });
    const space = machine.createSpace();
    const file = openFileSync(machine, files.write('left', pattern(5 * PAGE)));
    const at = space.mmap({ length: file.size, prot: PROT_READ, flags: MAP_PRIVATE, file });
    space.load8(at + PAGE);
    space.store8(map(space, 3), 1);
    machine.close();
    const again = attachMachine(machine.handle);
    expect(again === machine).toBe(false); // not.toBe would compare the memories
    expectNothingLeft(again);
    again.close();
  });

  test('a thread has one object for a machine, however often it attaches', () => {
    withMachine({ design }, ({ machine, space }) => {
      expect(attachMachine(structuredClone(machine.handle)) === machine).toBe(true);
      expect(machineOf(space) === machine).toBe(true);
    });
  });

  test('a space that was closed by all is stale, also when its record is in use again', () => {
    withMachine({ design }, ({ machine, newSpace }) => {
      const first = newSpace();
      const { handle } = first;
      first.close();
      expectError('ESTALE', () => machine.attachSpace(handle));
      const second = newSpace();
      expect(second.handle.space).toBe(handle.space);
      expectError('ESTALE', () => attachSpace(handle));
      const third = machine.attachSpace(second.handle);
      expect(third.handle).toEqual(second.handle);
      third.close();
    });
  });

  test('a file that was closed by all is stale, also when its record is in use again', () => {
    withMachine({ design }, ({ machine }) => {
      const first = machine.createFile('test-zeros', {}, PAGE);
      first.close();
      first.close();
      expectError('ESTALE', () => machine.attachFile(first.handle));
      const second = closing(machine, machine.createFile('test-zeros', {}, PAGE));
      expect(second.handle.file).toBe(first.handle.file);
      expectError('ESTALE', () => machine.attachFile(first.handle));
      const third = machine.attachFile(structuredClone(second.handle));
      expect([third.id, third.size]).toEqual([second.id, second.size]);
      third.close();
      expect(machine.census().file.live).toBe(1);
    });
  });

  test('a closed file cannot be mapped, a file of another machine neither', () => {
    withMachine({ design }, ({ machine, space }) => {
      withMachine({ design }, (other) => {
        const theirs = closing(other.machine, other.machine.createFile('test-zeros', {}, PAGE));
        const options = { length: PAGE, prot: PROT_READ, flags: MAP_PRIVATE };
        expectError('EINVAL', () => space.mmap({ ...options, file: theirs }));
        expectError('EINVAL', () => machine.attachFile(theirs.handle));
        expectError('EINVAL', () => machine.attachSpace(other.space.handle));
        // The same record number and serial as theirs: only the machine differs.
        const ours = closing(machine, machine.createFile('test-zeros', {}, PAGE));
        expect([ours.handle.file, ours.handle.serial]).toEqual([theirs.handle.file, theirs.handle.serial]);
        space.mmap({ ...options, file: ours });
        ours.close();
        expectError('EBADF', () => space.mmap({ ...options, file: ours }));
      });
    });
  });

  test('a machine has 64 spaces, the next is EAGAIN, and a closed one makes room', () => {
    withMachine({ design, memory: 1 * MiB }, ({ machine, newSpace }) => {
      const spaces = Array.from({ length: 63 }, newSpace);
      expectError('EAGAIN', () => machine.createSpace());
      expect(machine.census().spaces).toBe(64);
      spaces[10]?.close();
      newSpace();
    });
  });

  test('attaching and detaching for ever uses nothing up', () => {
    const machine = createMachine({ memory: 256 * KiB, design });
    machine.close();
    for (let i = 0; i < 200; i++) {
      const again = attachMachine(machine.handle);
      const space = again.createSpace();
      space.store8(map(space, 1), 1);
      again.close();
    }
    const last = attachMachine(machine.handle);
    expectNothingLeft(last);
    expect(last.cpus()).toHaveLength(1);
    last.close();
  });
});

describe.each(DESIGNS)('run under %s', (design) => {
  test('gives what the function returns, and nests in the same and in another space', () => {
    withMachine({ design }, ({ space, newSpace }) => {
      const other = newSpace();
      const at = map(space, 1);
      const there = map(other, 1);
      other.store32(there, 5);
      const sum = space.run((m) => {
        m.store32(at, 1);
        return space.run((again) => {
          expect(again).toBe(m);
          return again.load32(at) + other.run((n) => n.load32(there)) + m.load32(at);
        });
      });
      expect(sum).toBe(7);
    });
  });

  test('the accessor is refused outside, in the run of another space, and later', () => {
    withMachine({ design }, ({ space, newSpace }) => {
      const other = newSpace();
      const at = map(space, 1);
      let kept: Accessor | undefined;
      space.run((m) => {
        kept = m;
        m.store32(at, 1);
      });
      const memory = kept as Accessor;
      const uses: (() => unknown)[] = [
        () => memory.load8(at),
        () => memory.load16(at),
        () => memory.load32(at),
        () => memory.loadI64(at),
        () => memory.loadF32(at),
        () => memory.loadF64(at),
        () => memory.store8(at, 1),
        () => memory.store16(at, 1),
        () => memory.store32(at, 1),
        () => memory.storeI64(at, 1n),
        () => memory.storeF32(at, 1),
        () => memory.storeF64(at, 1),
        () => memory.cas32(at, 1, 2),
        () => memory.atomicLoad32(at),
        () => memory.or32(at, 2),
        () => memory.atomicLoad64(at),
        () => memory.atomicStore64(at, 2n),
        () => memory.load32(at + PAGE - 1),
        () => memory.store32(at + PAGE - 2, 1),
      ];
      for (const use of uses) expectError('EINVAL', use);
      for (const use of uses) expectError('EINVAL', () => other.run(use));
      expect(space.run((m) => m.load32(at))).toBe(1);
    });
  });

  test('a promise is EINVAL, and what it does after its first await is refused', async () => {
    await withMachine({ design }, async ({ machine, space }) => {
      const at = map(space, 1);
      let late: unknown;
      const call = () =>
        // @ts-expect-error -- a caller without types
        space.run(async (m) => {
          m.store8(at, 1);
          await Promise.resolve();
          try {
            m.store8(at, 2);
          } catch (error) {
            late = error;
          }
        });
      expectError('EINVAL', call);
      await new Promise((resolve) => setTimeout(resolve, 1));
      expect(late).toBeInstanceOf(VmError);
      expect(space.load8(at)).toBe(1);
      // A promise that is rejected is no unhandled rejection of ours.
      // @ts-expect-error -- as above
      expectError('EINVAL', () => space.run(() => Promise.reject(new Error('lost'))));
      machine.drain();
    });
  });

  test('a throw leaves the section: the next grace period ends at once', () => {
    withMachine({ design, stallTimeout: 500 }, ({ machine, space }) => {
      const at = map(space, 1);
      const thrown = new Error('from inside');
      expect(() =>
        space.run(() => {
          space.run((m) => {
            m.store8(at, 1);
            throw thrown;
          });
        }),
      ).toThrow(thrown);
      expectFault('SEGV_MAPERR', () => space.run((m) => m.load8(at - PAGE)));
      space.munmap(at, PAGE);
      machine.drain();
      expect(machine.census().frames.live).toBe(0);
    });
  });

  test('drain, machine.close and closing its own space are EDEADLK inside, and change nothing', () => {
    withMachine({ design }, ({ machine, space, newSpace }) => {
      const at = map(space, 1);
      const other = newSpace();
      space.run((m) => {
        m.store8(at, 3);
        expectError('EDEADLK', () => machine.drain());
        expectError('EDEADLK', () => machine.close());
        expectError('EDEADLK', () => space.close());
        expect([machine.closed, space.closed]).toEqual([false, false]);
        expect(m.load8(at)).toBe(3);
        other.close(); // another space's section is none of its business
        expect(m.load8(at)).toBe(3);
      });
    });
  });

  test('layout calls inside leave the section while they sleep, and the accessor sees what they did', () => {
    withMachine({ design }, ({ space }) => {
      const at = map(space, 4);
      space.run((m) => {
        m.store32(at, 1);
        m.store32(at + PAGE, 2);
        space.mprotect(at, PAGE, PROT_READ);
        expect(m.load32(at)).toBe(1);
        expectFault('SEGV_ACCERR', () => m.store32(at, 9));
        space.mprotect(at, PAGE, RW);
        m.store32(at, 10);
        space.munmap(at + PAGE, PAGE);
        expectFault('SEGV_MAPERR', () => m.load32(at + PAGE));
        const there = space.mmap({ length: PAGE, prot: RW, flags: PRIVATE, addr: at + PAGE });
        expect(there).toBe(at + PAGE);
        expect(m.load32(there)).toBe(0);
        expect(m.load32(at)).toBe(10);
      });
    });
  });

  test('wait inside leaves the section and comes back into it', () => {
    withMachine({ design }, ({ space }) => {
      const at = map(space, 1);
      space.run((m) => {
        m.store32(at, 1);
        expect(space.wait(at, 1, 5)).toBe('timed-out');
        expect(space.wait(at, 2, 5)).toBe('not-equal');
        expect(m.load32(at)).toBe(1);
      });
    });
  });
});

describe('Symbol.dispose', () => {
  test('of a file, a space and a machine is close', () => {
    const machine = createMachine({ memory: MiB });
    const space = machine.createSpace();
    const file = openFileSync(machine, process.execPath);
    for (const each of [file, space, machine]) {
      expect(each.closed).toBe(false);
      each[Symbol.dispose]();
      expect(each.closed).toBe(true);
      each[Symbol.dispose]();
    }
  });

  test('refuses what close refuses', () => {
    withMachine({}, ({ space }) => {
      expectError('EDEADLK', () => space.run(() => space[Symbol.dispose]()));
      expect(space.closed).toBe(false);
    });
  });

  test('is missing where the host does not have it', () => {
    const prototype = { close: () => undefined };
    const { dispose } = Symbol;
    const was = Object.getOwnPropertyDescriptor(Symbol, 'dispose');
    vi.stubGlobal('Symbol', Object.defineProperty(Object.create(Symbol) as object, 'dispose', { value: undefined }));
    makeDisposable(prototype);
    vi.unstubAllGlobals();
    expect([Reflect.ownKeys(prototype), was?.value]).toEqual([['close'], dispose]);
    makeDisposable(prototype);
    expect(Reflect.ownKeys(prototype)).toEqual(['close', dispose]);
  });
});
