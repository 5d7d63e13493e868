/** `waitAsync`: who is woken and counted, and what becomes of a wait whose space, machine or thread ends. */
import { setTimeout as after } from 'node:timers/promises';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { Space } from '../../src/index.ts';
import { machineKey } from '../../src/machine/handles.ts';
import { Machine } from '../../src/machine/machine.ts';
import { reapCpu } from '../../src/recovery/reap.ts';
import { FUTEX_ASYNC_ENTRIES, H_POISON } from '../../src/sync/control.layout.ts';
import { asyncEntry, futexWake } from '../../src/sync/futex.ts';
import { expectError, map, PAGE, withMachine } from '../support.ts';

afterEach(() => vi.unstubAllGlobals());

const NEVER = Number.POSITIVE_INFINITY;
type How = 'ok' | 'not-equal' | 'timed-out';

/** Entries of the thread that are in a queue. */
function queued({ handle }: Space): number {
  const words = new Int32Array(handle.control);
  const entries = Array.from({ length: FUTEX_ASYNC_ENTRIES }, (_, index) => words[asyncEntry(0, index)]);
  return entries.filter((bucket) => bucket !== 0).length;
}

describe.each([
  ['with shared memory', true],
  ['without', false],
])('waitAsync %s', (_name, shared) => {
  test('is in the queue when the call returns, and a notify wakes and counts it', async () => {
    await withMachine({ shared }, async ({ space }) => {
      const at = map(space, 1);
      const waiting = space.waitAsync(at, 0);
      expect([queued(space), space.notify(at + 4), space.notify(at), space.notify(at)]).toEqual([1, 0, 1, 0]);
      expect(await waiting).toBe('ok');
      expect(queued(space)).toBe(0);
    });
  });

  test('resolves to not-equal at once, and to timed-out in time, and nobody is woken afterwards', async () => {
    await withMachine({ shared }, async ({ space }) => {
      const at = map(space, 1);
      expect(await space.waitAsync(at, 1)).toBe('not-equal');
      for (const limit of [0, -5, 0.5, 30]) {
        const since = performance.now();
        expect(await space.waitAsync(at, 0, limit)).toBe('timed-out');
        expect(performance.now() - since).toBeGreaterThan(limit - 1);
      }
      expect([queued(space), space.notify(at)]).toEqual([0, 0]);
    });
  });

  test('wakes as many as asked, of its own word', async () => {
    await withMachine({ shared }, async ({ space }) => {
      const at = map(space, 1);
      const ends: string[] = [];
      const waits = [at, at, at + 4, at].map((word, i) =>
        space.waitAsync(word, 0).then((how: How) => ends.push(`${i} ${how}`)),
      );
      expect(space.notify(at, 2)).toBe(2);
      await Promise.all(waits.slice(0, 2));
      await after(20);
      expect([...ends].sort()).toEqual(['0 ok', '1 ok']);
      expect([space.notify(at), space.notify(at + 4)]).toEqual([1, 1]);
      await Promise.all(waits);
      expect(ends).toHaveLength(4);
    });
  });

  test('is EBADF when its handle is closed, unless it was woken before', async () => {
    await withMachine({ shared }, async ({ machine, space }) => {
      const at = map(space, 1);
      const second = machine.attachSpace(space.handle);
      const waits = [second.waitAsync(at, 0), second.waitAsync(at + 4, 0), space.waitAsync(at, 0)];
      const ends = Promise.allSettled(waits.slice(0, 2));
      expect(space.notify(at + 4)).toBe(1);
      second.close();
      expect(queued(space)).toBe(1);
      expect(await ends).toMatchObject([
        { reason: { code: 'EBADF', syscall: 'waitAsync' } },
        { status: 'fulfilled', value: 'ok' },
      ]);
      expect(space.notify(at)).toBe(1);
      expect(await waits[2]).toBe('ok');
    });
  });

  test('is EBADF when its thread leaves the machine', async () => {
    let waiting: Promise<How> | undefined;
    let words: Int32Array = new Int32Array(0);
    await withMachine({ shared }, ({ space }) => {
      waiting = space.waitAsync(map(space, 1), 0);
      waiting.catch(() => undefined);
      words = new Int32Array(space.handle.control);
    });
    await expect(waiting).rejects.toMatchObject({ code: 'EBADF', syscall: 'waitAsync' });
    expect(words[asyncEntry(0, 0)]).toBe(0);
  });

  test('has so many places in a thread, and gives each back', async () => {
    await withMachine({ shared }, async ({ space }) => {
      const at = map(space, 1);
      for (let round = 0; round < 3; round++) {
        const waits = Array.from({ length: FUTEX_ASYNC_ENTRIES }, () => space.waitAsync(at, 0, NEVER));
        await expect(space.waitAsync(at, 0)).rejects.toMatchObject({ code: 'EAGAIN', syscall: 'waitAsync' });
        expect(space.notify(at)).toBe(FUTEX_ASYNC_ENTRIES);
        await Promise.all(waits);
      }
    });
  });

  test('in run is in the queue, and the section goes on', async () => {
    await withMachine({ shared }, async ({ space, machine }) => {
      const at = map(space, 1);
      const waits: Promise<How>[] = [];
      space.run((m) => {
        m.store32(at, 3);
        waits.push(space.waitAsync(at, 3));
        m.store32(at, 4);
      });
      machine.drain();
      expect([space.notify(at), await waits[0]]).toEqual([1, 'ok']);
    });
  });

  test('refuses what wait refuses, and keeps no place', async () => {
    await withMachine({ shared }, async ({ space }) => {
      const at = map(space, 1);
      const refused: [unknown, unknown, unknown, string][] = [
        [at + 1, 0, 0, 'EINVAL'],
        ['x', 0, 0, 'EINVAL'],
        [at, 2 ** 33, 0, 'EINVAL'],
        [at, 0, Number.NaN, 'EINVAL'],
        [at - PAGE, 0, 0, 'EFAULT'],
      ];
      for (let i = 0; i < 2 * FUTEX_ASYNC_ENTRIES; i++) {
        for (const [address, expected, timeout, code] of refused) {
          const call = space.waitAsync(address as number, expected as number, timeout as number);
          await expect(call).rejects.toMatchObject({ code, syscall: 'waitAsync' });
        }
      }
      expect(await space.waitAsync(at, 0, 0)).toBe('timed-out');
    });
  });

  test('ends with the Oops of a poisoned machine', async () => {
    await withMachine({ shared }, async ({ space }) => {
      const words = new Int32Array(space.handle.control);
      const waiting = space.waitAsync(map(space, 1), 0);
      words[H_POISON] = 1;
      await expect(waiting).rejects.toMatchObject({ name: 'Oops', rule: 'machine' });
      words[H_POISON] = 0;
      expect(queued(space)).toBe(0);
    });
  });
});

describe('waitAsync', () => {
  test('of a thread that notifies without a word from the host goes on by itself', async () => {
    await withMachine({}, async ({ space }) => {
      const at = map(space, 1);
      const words = new Int32Array(space.handle.control);
      const waiting = space.waitAsync(at, 0);
      words[asyncEntry(0, 0)] = 0; // taken out by a thread that died before it notified
      expect(await waiting).toBe('ok');
    });
  });

  test('of a thread that was reaped as a dead one is EBADF, and swallows no wake-up', async () => {
    await withMachine({}, async ({ machine, space }) => {
      const at = map(space, 1);
      const other = new Machine(machine.handle, machineKey(new Int32Array(machine.handle.control)));
      const theirs = other.attachSpace(space.handle);
      const waits = [theirs.waitAsync(at, 0), space.waitAsync(at, 0)];
      const ends = Promise.allSettled(waits);
      expect(reapCpu(machine.kernel, other.kernel.cpu.id)).toBe(true);
      expect(space.notify(at)).toBe(1);
      expect(await ends).toMatchObject([{ reason: { code: 'EBADF', syscall: 'waitAsync' } }, { value: 'ok' }]);
    });
  });

  test('of a thread whose call has given up goes on when that is finished', async () => {
    await withMachine({}, async ({ machine, space }) => {
      const at = map(space, 1);
      const waiting = space.waitAsync(at, 0);
      machine.kernel.cpu.gaveUp = { error: new Error('given up') };
      space.munmap(space.mmap({ length: PAGE, prot: 1, flags: 0x22 }), PAGE);
      expect(machine.kernel.cpu.gaveUp).toBeUndefined();
      expect([queued(space), space.notify(at), await waiting]).toEqual([1, 1, 'ok']);
    });
  });

  test('and wait share the queue of a word', () => {
    withMachine({}, ({ machine, space }) => {
      const at = map(space, 1);
      const waiting = space.waitAsync(at, 0);
      waiting.catch(() => undefined);
      expectError('EINVAL', () => space.notify(at, -1));
      expect(futexWake(machine.kernel.cpu, { owner: 1, serial: 1, address: at }, 1)).toBe(0);
      expect(space.wait(at, 0, 1)).toBe('timed-out');
      expect(space.notify(at)).toBe(1);
    });
  });
});
