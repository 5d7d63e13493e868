/** Calls that end in the middle, and what their errors say: the public call, the address, the bytes done. */
import { describe, expect, test } from 'vitest';
import {
  type ErrnoCode,
  KiB,
  MAP_PRIVATE,
  type Machine,
  PROT_READ,
  registerBacking,
  type Space,
  VmError,
  WouldBlock,
} from '../../src/index.ts';
import { closing, DESIGNS, expectError, expectRejection, map, PAGE, RW, withMachine } from '../support.ts';

/** Fetches of the bad page fail, as the machine itself may, until `failures` is used up. */
let failures = 0;
let code: ErrnoCode = 'ETIMEDOUT';
registerBacking('test-fails', () => ({
  read: (_position, targets) => targets.reduce((sum, target) => sum + target.fill(8).length, 0),
  close: () => undefined,
}));

/** What a backing throws would be a BusError: so it is the machine that fails. */
function failFetches({ kernel }: Machine, bad: number): void {
  const { files } = kernel;
  const { fetch } = files;
  files.fetch = (mapping, index) => {
    if (index === bad && failures-- > 0) {
      throw code === 'EWOULDBLOCK' ? new WouldBlock('fault', 'a disk') : new VmError(code, 'fault', 'made up');
    }
    return fetch.call(files, mapping, index);
  };
}

/** `pages` pages of a private file, the first two in memory; the first fetch of page `bad` fails with `how`. */
function badFile(machine: Machine, space: Space, pages: number, bad: number, how: ErrnoCode): number {
  const file = closing(machine, machine.createFile('test-fails', {}, pages * PAGE));
  failFetches(machine, bad);
  code = how;
  failures = 1;
  const at = space.mmap({ length: pages * PAGE, prot: RW, flags: MAP_PRIVATE, file });
  for (const page of [1, 0]) space.load8(at + page * PAGE); // backwards: nothing is read ahead
  return at;
}

describe.each(DESIGNS)('under %s', (design) => {
  const small = { design, memory: 256 * KiB };

  test('fill that runs out of memory says how far it came, and that much is filled', () => {
    withMachine(small, ({ space }) => {
      const at = map(space, 128);
      const error = expectError('ENOMEM', () => space.fill(at + 100, 127 * PAGE, 5));
      const { done } = error;
      expect(error).toMatchObject({ syscall: 'fill', address: at + 100 + (done as number) });
      expect(done).toBeGreaterThan(40 * PAGE);
      expect(error.message).toContain(`fill 0x${(error.address as number).toString(16)} after ${done} bytes`);
      expect(space.load8(at + 100 + (done as number) - 1)).toBe(5);
      expect(space.load8(at + 100 + (done as number))).toBe(0);
    });
  });

  test('write and copy that run out of memory say how far they came', () => {
    withMachine(small, ({ space }) => {
      const at = map(space, 128);
      const wrote = expectError('ENOMEM', () => space.write(at, new Uint8Array(100 * PAGE).fill(6)));
      expect(wrote).toMatchObject({ syscall: 'write', address: at + (wrote.done as number) });
      expect(wrote.done).toBeGreaterThan(40 * PAGE);
      expect(space.load8(at + (wrote.done as number) - 1)).toBe(6);
      space.munmap(at + 20 * PAGE, 108 * PAGE);
      const there = map(space, 200);
      space.fill(there, PAGE, 1);
      const copied = expectError('ENOMEM', () => space.copy(there + 100, there + 100 * PAGE, 90 * PAGE));
      expect(copied).toMatchObject({ syscall: 'copy', address: there + 100 + (copied.done as number) });
      expect(copied.done).toBeGreaterThan(10 * PAGE);
      expect(space.load8(there + 100)).toBe(0);
    });
  });

  test('a copy backwards that runs out of memory has changed nothing', () => {
    withMachine(small, ({ space }) => {
      const at = map(space, 200);
      const error = expectError('ENOMEM', () => space.copy(at + 100, at, 150 * PAGE));
      expect(error).toMatchObject({ syscall: 'copy', done: 0 });
      expect(error.address).toBeGreaterThan(at);
    });
  });

  test('single accesses that run out of memory name themselves and the address', () => {
    withMachine(small, ({ space }) => {
      const at = map(space, 200);
      const full = expectError('ENOMEM', () => space.fill(at, 100 * PAGE, 1)).address as number;
      const calls: Record<string, (s: Space, address: number) => unknown> = {
        store8: (s, a) => s.store8(a, 1),
        store16: (s, a) => s.store16(a, 1),
        store32: (s, a) => s.store32(a, 1),
        storeI64: (s, a) => s.storeI64(a, 1n),
        storeF32: (s, a) => s.storeF32(a, 1),
        storeF64: (s, a) => s.storeF64(a, 1),
        atomicStore32: (s, a) => s.atomicStore32(a, 1),
        cas32: (s, a) => s.cas32(a, 0, 1),
        add32: (s, a) => s.add32(a, 1),
        exchange32: (s, a) => s.exchange32(a, 1),
        and32: (s, a) => s.and32(a, 1),
        or32: (s, a) => s.or32(a, 1),
        xor32: (s, a) => s.xor32(a, 1),
        atomicStore64: (s, a) => s.atomicStore64(a, 1n),
        cas64: (s, a) => s.cas64(a, 0n, 1n),
        add64: (s, a) => s.add64(a, 1n),
        exchange64: (s, a) => s.exchange64(a, 1n),
      };
      for (const [syscall, call] of Object.entries(calls)) {
        const error = expectError('ENOMEM', () => call(space, full + 2 * PAGE));
        expect(error, syscall).toMatchObject({ syscall, address: full + 2 * PAGE, done: undefined });
        expect(error.cause).toBeInstanceOf(VmError);
      }
    });
  });

  test.each(['ETIMEDOUT', 'EWOULDBLOCK', 'ENOMEM', 'EDEADLK'] as const)('%s in the middle of a read', (how) => {
    withMachine({ design }, ({ machine, space }) => {
      const at = badFile(machine, space, 4, 2, how);
      const bytes = new Uint8Array(4 * PAGE);
      const error = expectError(how, () => space.read(at + 10, bytes.subarray(10)));
      expect(error).toMatchObject({ syscall: 'read', address: at + 2 * PAGE, done: 2 * PAGE - 10 });
      expect(error instanceof WouldBlock).toBe(how === 'EWOULDBLOCK');
      expect([bytes[9], bytes[10], bytes[2 * PAGE - 1], bytes[2 * PAGE]]).toEqual([0, 8, 8, 0]);
      failures = 1;
      const one = expectError(how, () => space.load32(at + 2 * PAGE + 4));
      expect(one).toMatchObject({ syscall: 'load32', address: at + 2 * PAGE + 4, done: undefined });
      failures = 1;
      const word = expectError(how, () => space.wait(at + 2 * PAGE, 0, 1));
      expect(word).toMatchObject({ syscall: 'wait', address: at + 2 * PAGE });
      failures = 1;
      const other = expectError(how, () => space.notify(at + 2 * PAGE));
      expect(other).toMatchObject({ syscall: 'notify', address: at + 2 * PAGE });
    });
  });

  test('populate counts from its start, and goes on where it would have blocked', async () => {
    await withMachine({ design }, async ({ machine, space }) => {
      const at = badFile(machine, space, 4, 2, 'ETIMEDOUT');
      const error = await expectRejection('ETIMEDOUT', () => space.populate(at, 4 * PAGE));
      expect(error).toMatchObject({ syscall: 'populate', address: at + 2 * PAGE, done: 2 * PAGE });
      failures = 3;
      code = 'EWOULDBLOCK';
      expect(await space.populate(at, 4 * PAGE)).toBe(4 * PAGE);
    });
  });

  test('a bad address in the middle is no error, and one at the first byte has done nothing', () => {
    withMachine({ design }, ({ space }) => {
      const at = map(space, 3);
      space.munmap(at + PAGE, PAGE);
      expect(space.fill(at, 3 * PAGE, 1)).toBe(PAGE);
      expect(expectError('EFAULT', () => space.fill(at + PAGE, PAGE, 1))).toMatchObject({ syscall: 'fill', done: 0 });
      space.mprotect(at, PAGE, PROT_READ);
      expect(expectError('EFAULT', () => space.write(at, new Uint8Array(2)))).toMatchObject({ address: at, done: 0 });
    });
  });
});

test('errors of arguments and of closed spaces name the call too', () => {
  withMachine({}, ({ space, newSpace }) => {
    const closed = newSpace();
    closed.close();
    const at = map(space, 1);
    const names = [
      'load8',
      'load16',
      'load32',
      'loadU32',
      'loadI64',
      'loadF32',
      'loadF64',
      'atomicLoad32',
      'atomicLoad64',
    ] as const;
    for (const name of names) {
      expect(expectError('EINVAL', () => space[name]('x' as never)).syscall).toBe(name);
      expect(expectError('EBADF', () => closed[name](at)).syscall).toBe(name);
      expect(expectError('EFAULT', () => space[name](at - PAGE)).syscall).toBe(name);
    }
    for (const name of ['store8', 'store16', 'store32', 'storeF32', 'storeF64', 'atomicStore32'] as const) {
      expect(expectError('EINVAL', () => space[name](at, 'x' as never)).syscall).toBe(name);
    }
    for (const name of ['storeI64', 'atomicStore64', 'add64', 'exchange64'] as const) {
      for (const wrong of ['x', 1]) {
        expect(expectError('EINVAL', () => space[name](at, wrong as never)).syscall).toBe(name);
      }
    }
    expect(expectError('EINVAL', () => space.cas64(at, 0 as never, 1n)).syscall).toBe('cas64');
    expect(expectError('EINVAL', () => space.cas64(at, 0n, 1 as never)).syscall).toBe('cas64');
    for (const name of ['add32', 'exchange32', 'and32', 'or32', 'xor32'] as const) {
      expect(expectError('EINVAL', () => space[name](at, 'x' as never)).syscall).toBe(name);
      expect(expectError('EBADF', () => closed[name](at, 1)).syscall).toBe(name);
    }
    expect(expectError('EINVAL', () => space.cas32(at, 'x' as never, 1)).syscall).toBe('cas32');
    expect(space.loadU32(at + 1)).toBe(0);
    space.store32(at, -1);
    expect([space.loadU32(at), space.run((m) => m.loadU32(at + 2))]).toEqual([0xffffffff, 0xffff]);
  });
});
