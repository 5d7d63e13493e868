import { describe, expect, test } from 'vitest';
import { bareMachine } from '../../test/kernel.ts';
import { Oops } from '../base/errors.ts';
import { RWSEM_PASSES } from '../base/tunables.ts';
import {
  C_RW_HOLD,
  C_RW_MODE,
  C_RW_PASSED,
  C_RW_TICKET,
  C_RW_WAIT,
  C_WAKE,
  cpuSlot,
  SPACE_LOCK,
} from './control.layout.ts';
import {
  readHeld,
  readLock,
  readTryLock,
  readUnlock,
  rwsemReap,
  writeHeld,
  writeLock,
  writeOwner,
  writeTryLock,
  writeUnlock,
} from './rwsem.ts';

const SEM = SPACE_LOCK;
const READ = 1;
const WRITE = 2;

/** Puts a sleeper of another thread into the queue, as `enqueue` does: one that was passed as often as may be. */
function waiter(words: Int32Array, id: number, mode: number, ticket: number, passed = RWSEM_PASSES): void {
  words[cpuSlot(id) + C_RW_PASSED] = passed;
  words[cpuSlot(id) + C_RW_MODE] = mode;
  words[cpuSlot(id) + C_RW_TICKET] = ticket;
  words[cpuSlot(id) + C_RW_WAIT] = SEM;
  words[SEM] = (words[SEM] as number) | 0x100;
}
const woken = (words: Int32Array, id: number): boolean => words[cpuSlot(id) + C_WAKE] === 1;

describe('the semaphore', () => {
  test('has one writer, by name, and many readers', () => {
    const { cpu, another, words } = bareMachine();
    const [b, c] = [another().cpu, another().cpu];
    writeLock(cpu, SEM);
    expect([writeHeld(cpu, SEM), writeHeld(b, SEM), writeOwner(words, SEM)]).toEqual([true, false, cpu.id]);
    expect([readTryLock(b, SEM), writeTryLock(b, SEM)]).toEqual([false, false]);
    writeUnlock(cpu, SEM);
    expect(writeOwner(words, SEM)).toBe(-1);
    expect([readTryLock(b, SEM), readTryLock(c, SEM), writeTryLock(cpu, SEM)]).toEqual([true, true, false]);
    expect([readHeld(b, SEM), readHeld(cpu, SEM)]).toEqual([true, false]);
    readUnlock(b, SEM);
    expect(writeTryLock(cpu, SEM)).toBe(false);
    readUnlock(c, SEM);
    expect(writeTryLock(cpu, SEM)).toBe(true);
    writeUnlock(cpu, SEM);
    expect(words[SEM]).toBe(0);
  });

  test('that is held ends a wait in ETIMEDOUT, which names the holder, and leaves no trace of the waiter', () => {
    const { cpu, another, words } = bareMachine();
    const other = another().cpu;
    writeLock(cpu, SEM);
    expect(() => readLock(other, SEM)).toThrow(/ETIMEDOUT.*cpu 0 \(writer\)/);
    expect(() => writeLock(other, SEM)).toThrow(/ETIMEDOUT.*cpu 0 \(writer\)/);
    expect([words[other.base + C_RW_WAIT], words[other.base + C_RW_HOLD]]).toEqual([0, 0]);
    writeUnlock(cpu, SEM);
    readLock(cpu, SEM);
    expect(() => writeLock(other, SEM)).toThrow(/ETIMEDOUT.*cpu 0 \(reader\)/);
    readUnlock(cpu, SEM);
    writeLock(other, SEM);
    writeUnlock(other, SEM);
    expect(words[SEM]).toBe(0);
  });

  test('goes to the first in the queue: a writer alone', () => {
    const { cpu, another, words } = bareMachine();
    const [w, r] = [another().cpu, another().cpu];
    writeLock(cpu, SEM);
    waiter(words, w.id, WRITE, 0);
    waiter(words, r.id, READ, 1);
    writeUnlock(cpu, SEM);
    expect([writeOwner(words, SEM), readHeld(r, SEM)]).toEqual([w.id, false]);
    expect([woken(words, w.id), woken(words, r.id)]).toEqual([true, false]);
  });

  test('may be taken past a sleeping writer, which is woken, a few times; then it is handed the lock', () => {
    const { cpu, another, words } = bareMachine();
    const w = another().cpu;
    writeLock(cpu, SEM);
    waiter(words, w.id, WRITE, 0, 0);
    for (let pass = 0; pass < RWSEM_PASSES; pass++) {
      words[cpuSlot(w.id) + C_WAKE] = 0;
      writeUnlock(cpu, SEM);
      expect([writeOwner(words, SEM), woken(words, w.id)]).toEqual([-1, true]);
      expect(writeTryLock(cpu, SEM)).toBe(false); // only a thread that waits may pass
      writeLock(cpu, SEM);
    }
    writeUnlock(cpu, SEM);
    expect(writeOwner(words, SEM)).toBe(w.id);
  });

  test('goes to all readers before the next writer, and to none behind it', () => {
    const { cpu, another, words } = bareMachine();
    const [a, b, w, late] = [another().cpu, another().cpu, another().cpu, another().cpu];
    writeLock(cpu, SEM);
    waiter(words, late.id, READ, 0x7fffffff + 4 - 2 ** 32); // tickets wrap
    waiter(words, a.id, READ, 0x7fffffff);
    waiter(words, b.id, READ, -0x80000000);
    waiter(words, w.id, WRITE, -0x7fffffff);
    writeUnlock(cpu, SEM);
    expect([a, b, w, late].map((who) => readHeld(who, SEM))).toEqual([true, true, false, false]);
    expect(readTryLock(cpu, SEM)).toBe(false); // newcomers queue behind the writer
    words[a.base + C_RW_WAIT] = 0;
    words[b.base + C_RW_WAIT] = 0;
    words[a.base + C_RW_HOLD] = 0;
    words[b.base + C_RW_HOLD] = SEM;
    readUnlockOf(b);
    expect(writeOwner(words, SEM)).toBe(w.id);

    function readUnlockOf(who: typeof b): void {
      // lockdep has not seen the grant: it was made for a sleeper.
      words[who.base + C_RW_HOLD] = SEM;
      expect(() => readUnlock(who, SEM)).toThrow(/does not hold/);
      rwsemReap(cpu, SEM, who.id);
    }
  });

  test('of a dead cpu: its hold is taken back, its place given up, its write hold is the reaper’s', () => {
    const { cpu, another, words } = bareMachine();
    const dead = another().cpu;
    readLock(dead, SEM);
    expect(rwsemReap(cpu, SEM, dead.id)).toBe(false);
    expect(writeTryLock(cpu, SEM)).toBe(true);
    writeUnlock(cpu, SEM);
    writeLock(dead, SEM);
    expect(rwsemReap(cpu, SEM, dead.id)).toBe(true);
    expect(writeHeld(cpu, SEM)).toBe(true);
    waiter(words, dead.id, WRITE, 0);
    expect(rwsemReap(cpu, SEM, dead.id)).toBe(false);
    writeUnlock(cpu, SEM);
    expect(words[SEM]).toBe(0);
  });

  test('that another cpu holds cannot be let go of, and a second cannot be read', () => {
    const { cpu, another } = bareMachine();
    const other = another().cpu;
    writeLock(cpu, SEM);
    expect(() => writeUnlock(other, SEM)).toThrow(Oops);
    writeUnlock(cpu, SEM);
    readLock(cpu, SEM);
    expect(() => readLock(cpu, SEM + 8)).toThrow(/reads a second semaphore/);
    readUnlock(cpu, SEM);
  });

  test('that comes free just when a writer leaves the queue is the reader’s who sleeps behind it', () => {
    const { cpu, another, words } = bareMachine();
    const [writer, sleeper] = [another().cpu, another().cpu];
    const { tag } = writer;
    writeLock(cpu, SEM);
    waiter(words, sleeper.id, READ, 5);
    let isLate = false;
    let isFree = false;
    Object.defineProperty(writer, 'stallLimit', {
      get() {
        isLate = true;
        return -1;
      },
    });
    Object.defineProperty(writer, 'tag', {
      get() {
        // The writer has looked for the last time, and is about to take the lock over the queue.
        if (isLate && !isFree && writer.heldDepth === 1) {
          isFree = true;
          writeUnlock(cpu, SEM);
        }
        return tag;
      },
    });
    expect(() => writeLock(writer, SEM)).toThrow(/ETIMEDOUT/);
    expect([isFree, readHeld(sleeper, SEM)]).toEqual([true, true]);
  });

  test('that comes free just when a writer’s time is up is the writer’s', () => {
    const { cpu, another } = bareMachine();
    const writer = another().cpu;
    writeLock(cpu, SEM);
    let isFree = false;
    Object.defineProperty(writer, 'stallLimit', {
      get() {
        if (!isFree) writeUnlock(cpu, SEM);
        isFree = true;
        return -1;
      },
    });
    writeLock(writer, SEM);
    expect([isFree, writeHeld(writer, SEM)]).toEqual([true, true]);
    writeUnlock(writer, SEM);
  });

  test('that a dead reader let go of, and did not hand on, is the sleeper’s with the reaping', () => {
    const { cpu, another, words } = bareMachine();
    const [dead, sleeper] = [another().cpu, another().cpu];
    readLock(dead, SEM);
    waiter(words, sleeper.id, READ, 5);
    words[dead.base + C_RW_HOLD] = 0;
    expect(rwsemReap(cpu, SEM, dead.id)).toBe(false);
    expect(readHeld(sleeper, SEM)).toBe(true);
  });
});
