/** Mistakes that would go on unnoticed: memory that is a copy, or two machines’; a backing that answers later. */
import { describe, expect, test } from 'vitest';
import {
  attachMachine,
  attachSpace,
  createMachine,
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  MiB,
  Oops,
  PROT_READ,
  PROT_WRITE,
  registerBacking,
  WouldBlock,
} from '../../src/index.ts';

import { C_THREAD, cpuSlot, H_POISON } from '../../src/sync/control.layout.ts';
import { anotherCpu } from '../stress/kill/world.ts';

const P = 4096;

describe('a machine that is not shared', () => {
  test('cannot be had by a copy of its handle', () => {
    const machine = createMachine({ memory: MiB, shared: false });
    const space = machine.createSpace();
    const at = space.mmap({ length: P, prot: PROT_READ | PROT_WRITE, flags: MAP_PRIVATE | MAP_ANONYMOUS });
    space.store8(at, 7);
    const copies = { machine: structuredClone(machine.handle), space: structuredClone(space.handle) };
    expect(attachMachine(machine.handle)).toBe(machine);
    machine.close();
    expect(() => attachMachine(copies.machine)).toThrow(/EINVAL: the machine is not shared/);
    expect(() => attachSpace(copies.space)).toThrow(/EINVAL: the machine is not shared/);
  });
});

describe('a WebAssembly.Memory', () => {
  test('has the frames of one machine at a time', () => {
    const memory = new WebAssembly.Memory({ initial: 16, maximum: 16, shared: true });
    const first = createMachine({ memory });
    expect(() => createMachine({ memory })).toThrow(/EBUSY/);
    const other = anotherCpu(first);
    first.close();
    expect(() => createMachine({ memory })).toThrow(/EBUSY.*a thread has not closed it/);
    other.close();
    createMachine({ memory }).close();
  });

  test('is free when whoever has it still has died, also if its watcher has closed the machine before', () => {
    const memory = new WebAssembly.Memory({ initial: 16, maximum: 16, shared: true });
    const first = createMachine({ memory });
    const other = anotherCpu(first);
    const thread = 77;
    first.kernel.words[cpuSlot(other.cpu) + C_THREAD] = thread;
    first.close();
    expect(() => createMachine({ memory })).toThrow(/EBUSY/);
    first.reapThread(thread); // its exit, as the watcher is told
    createMachine({ memory }).close();
  });

  test('is free when a poisoned machine is closed', () => {
    const memory = new WebAssembly.Memory({ initial: 16, maximum: 16, shared: true });
    const first = createMachine({ memory });
    first.kernel.words[H_POISON] = first.kernel.cpu.tag;
    expect(() => first.createSpace()).toThrow(Oops);
    first.close();
    createMachine({ memory }).close();
  });
});

describe('a close of the machine', () => {
  test('that the engine has ended half-way can be done again, and gives the place back', () => {
    const machine = createMachine({ memory: MiB });
    const other = anotherCpu(machine);
    other.createSpace();
    const { files } = other.kernel;
    const sweep = files.sweepLocal.bind(files);
    files.sweepLocal = () => {
      files.sweepLocal = sweep;
      throw new RangeError('Maximum call stack size exceeded');
    };
    expect(() => other.close()).toThrow(RangeError);
    expect([other.closed, machine.cpus().length]).toEqual([true, 2]);
    other.close();
    other.close();
    expect([machine.cpus().length, machine.census().spaces]).toEqual([1, 0]);
    machine.close();
  });
});

describe('a backing', () => {
  test('whose read is asynchronous is a BusError that says so, and its rejection is nobody’s', async () => {
    const rejections: unknown[] = [];
    const note = (why: unknown): void => void rejections.push(why);
    process.on('unhandledRejection', note);
    registerBacking('asynchronous', () => ({
      read: (async () => await Promise.reject(new Error('disk'))) as unknown as () => number,
      close: () => undefined,
    }));
    const machine = createMachine({ memory: MiB });
    const space = machine.createSpace();
    const file = machine.createFile('asynchronous', {}, P);
    const at = space.mmap({ length: P, prot: PROT_READ, flags: MAP_PRIVATE, file });
    expect(() => space.load8(at)).toThrow(/a promise \(read is synchronous/);
    await new Promise((done) => setTimeout(done, 10));
    process.off('unhandledRejection', note);
    expect(rejections).toEqual([]);
    machine.close();
  });

  test('that would block and cannot read asynchronously is what populate names when its time is up', async () => {
    registerBacking('blocking', () => ({
      read: () => {
        throw new WouldBlock('fault', 'the disk');
      },
      close: () => undefined,
    }));
    const machine = createMachine({ memory: MiB, ioTimeout: 50 });
    const space = machine.createSpace();
    const file = machine.createFile('blocking', {}, P);
    const at = space.mmap({ length: P, prot: PROT_READ, flags: MAP_PRIVATE, file });
    await expect(space.populate(at, P)).rejects.toThrow(/ETIMEDOUT: nothing could be done for 50 ms.*the disk/);
    machine.close();
  });

  test('cannot take up the space whose last handle is just being closed', () => {
    let tried: unknown;
    registerBacking('attaching', () => ({
      read: (_position, targets) => targets.length * P,
      close: () => {
        try {
          tried = machine.attachSpace(handle);
        } catch (error) {
          tried = String(error);
        }
      },
    }));
    const machine = createMachine({ memory: MiB });
    const space = machine.createSpace();
    const { handle } = space;
    const file = machine.createFile('attaching', {}, P);
    space.load8(space.mmap({ length: P, prot: PROT_READ, flags: MAP_PRIVATE, file }));
    file.close();
    space.close();
    expect(tried).toContain('EDEADLK');
    machine.close();
  });
});
