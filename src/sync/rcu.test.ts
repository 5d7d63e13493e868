import { describe, expect, test } from 'vitest';
import { bareMachine, reader } from '../../test/kernel.ts';
import { VmError, WouldBlock } from '../base/errors.ts';
import { RETIRE_BATCH } from '../base/tunables.ts';
import { makeKernel } from '../machine/boot.ts';
import { RETIRE_TABLE } from '../space/kernel.ts';
import { C_RETIRE_LOCK, C_RETIRE_OPEN, C_SLOT, EPOCH } from './control.layout.ts';
import type { Rcu } from './rcu.ts';
import { giveUp } from './spinlock.ts';

const KIND = 6;

/** Registers a kind of object whose link is the word behind it; the frees, in order. */
function recording(rcu: Rcu, freed: string[], who: string): void {
  rcu.registerReclaimer(KIND, {
    linkOf: (object) => object + 1,
    free: (object) => freed.push(`${who} ${object}`),
    markRetired: (object) => freed.push(`${who} takes ${object}`),
  });
}
/** Words that nothing uses: spare words of a cpu slot far away. */
const OBJECT = 4096 + 60 * 1024 + 200;

function collect(rcu: Rcu, freed: number[]): void {
  rcu.registerReclaimer(KIND, {
    linkOf: (object) => object + 1,
    free: (object) => void freed.push(object),
    markRetired: () => undefined,
  });
}

describe('sections', () => {
  test('nest, publish their epoch, and are over with the last leave', () => {
    const { kernel, cpu, words } = bareMachine();
    const { rcu } = kernel;
    const section = reader(8);
    expect(rcu.inSection).toBe(false);
    rcu.enter(section);
    rcu.enter(section);
    expect([rcu.depth, section.sectionDepth, section.revalidated]).toEqual([2, 2, 1]);
    expect((words[cpu.base + C_SLOT] as number) & 1).toBe(1);
    rcu.leave(section);
    expect(rcu.inSection).toBe(true);
    rcu.leave(section);
    expect([rcu.inSection, words[cpu.base + C_SLOT]]).toEqual([false, 0]);
  });

  test('are left and entered again by whoever must sleep, at every depth', () => {
    const { kernel, cpu, words } = bareMachine();
    const { rcu } = kernel;
    const [a, b] = [reader(8), reader(16)];
    rcu.enter(a);
    rcu.enter(b);
    rcu.enter(a);
    const serial = rcu.sectionSerial;
    const seen = rcu.outside(() => {
      expect([rcu.inSection, words[cpu.base + C_SLOT], rcu.suspendedDepth]).toEqual([false, 0, 3]);
      cpu.callbacks = 1; // a backing's function runs
      expect(() => rcu.enter(a)).toThrow(/H1/);
      cpu.callbacks = 0;
      return 5;
    });
    expect([seen, rcu.depth, rcu.suspendedDepth, a.revalidated, b.revalidated]).toEqual([5, 3, 0, 2, 2]);
    expect(rcu.sectionSerial).toBeGreaterThan(serial);
    rcu.leave(a);
    rcu.leave(b);
    rcu.leave(a);
  });

  test('that the engine ended while they were left are over, and a space can be entered again', () => {
    const { kernel, cpu, words } = bareMachine();
    const { rcu } = kernel;
    const section = reader(8);
    rcu.enter(section);
    rcu.suspend(); // and nothing resumes it
    rcu.endStale();
    expect([rcu.depth, rcu.suspendedDepth, section.sectionDepth]).toEqual([0, 0, 0]);
    rcu.enter(section);
    expect((words[cpu.base + C_SLOT] as number) & 1).toBe(1);
    rcu.leave(section);
    rcu.enter(section);
    rcu.suspend();
    rcu.enter(section); // whoever comes next need not know
    expect([rcu.depth, rcu.suspendedDepth, section.sectionDepth]).toEqual([1, 0, 1]);
    rcu.leave(section);
  });

  test('come back when the sleeper throws', () => {
    const { rcu } = bareMachine().kernel;
    const section = reader();
    rcu.enter(section);
    expect(() =>
      rcu.outside(() => {
        throw new Error('woken badly');
      }),
    ).toThrow('woken badly');
    expect([rcu.depth, rcu.suspendedDepth]).toEqual([1, 0]);
    rcu.leave(section);
  });
});

describe('grace periods', () => {
  test('are over when every section that was open has been left, and not before', () => {
    const { kernel, another } = bareMachine();
    const other = another();
    const section = reader();
    other.rcu.enter(section);
    const tag = kernel.rcu.startGracePeriod();
    expect(kernel.rcu.elapsed(tag)).toBe(false);
    other.rcu.leave(section);
    expect(kernel.rcu.elapsed(tag)).toBe(true);
    other.rcu.enter(section); // a later section does not count
    expect(kernel.rcu.elapsed(tag)).toBe(true);
    other.rcu.leave(section);
  });

  test('are over for a section that passes a quiescent point', () => {
    const { kernel, another } = bareMachine();
    const other = another();
    const section = reader();
    other.rcu.enter(section);
    const tag = kernel.rcu.startGracePeriod();
    other.rcu.republish();
    expect(kernel.rcu.elapsed(tag)).toBe(true);
    expect(section.revalidated).toBe(2);
    other.rcu.leave(section);
  });

  test('are waited for at most as long as the stall limit; the error names the cpu', () => {
    const { kernel, another } = bareMachine();
    const other = another();
    const section = reader();
    kernel.rcu.synchronize();
    other.rcu.noteStack('Error: run\n    at somewhere.ts:1');
    other.rcu.enter(section);
    expect(() => kernel.rcu.synchronize()).toThrow(/ETIMEDOUT: no grace period for 60 ms: cpu 1 [\s\S]*somewhere\.ts/);
    other.rcu.leave(section);
    kernel.rcu.synchronize();
  });

  test('are not waited for long on a thread that must not block: WouldBlock, which names the cpu', () => {
    const { kernel, cpu, another } = bareMachine(128, 20_000);
    (cpu as { canBlock: boolean }).canBlock = false;
    const other = another();
    const section = reader(8);
    const nudged: number[] = [];
    kernel.rcu.nudge = (mm) => nudged.push(mm);
    kernel.rcu.synchronize();
    other.rcu.enter(section);
    expect(() => kernel.rcu.synchronize()).toThrow(WouldBlock);
    expect(() => kernel.rcu.synchronize()).toThrow(/cpu 1 \(thread 0\) has not left its section/);
    expect(nudged).toContain(other.cpu.id);
    // A section that polls has left by the time of a look.
    kernel.rcu.nudge = () => other.rcu.republish();
    kernel.rcu.synchronize();
    other.rcu.leave(section);
    kernel.rcu.synchronize();
  });

  test('of this thread’s own section are no deadlock: it is left meanwhile', () => {
    const { kernel } = bareMachine();
    const section = reader();
    kernel.rcu.enter(section);
    kernel.rcu.synchronize();
    expect(section.revalidated).toBe(2);
    kernel.rcu.leave(section);
  });

  test('and signs of life: a section that is entered anew, or left, shows that its thread lives', () => {
    const { kernel, cpu, another } = bareMachine();
    const other = another();
    const { id } = other.cpu;
    const section = reader(8);
    expect(kernel.rcu.stirs(id, 1)).toBe(false);
    other.rcu.enter(section);
    expect(kernel.rcu.stirs(id, 1)).toBe(false);
    kernel.rcu.nudge = () => other.rcu.republish(); // in the same epoch: the slot itself does not change
    expect(kernel.rcu.stirs(id, 20_000)).toBe(true);
    (cpu as { canBlock: boolean }).canBlock = false;
    expect(kernel.rcu.stirs(id, 20_000)).toBe(true);
    kernel.rcu.nudge = () => other.rcu.depth > 0 && other.rcu.leave(section);
    expect(kernel.rcu.stirs(id, 20_000)).toBe(true);
    expect(kernel.rcu.stirs(id, 1)).toBe(false);
  });

  test('survive the epoch’s wrap', () => {
    const { kernel, another, words } = bareMachine();
    const other = another();
    const section = reader();
    words[EPOCH] = 0x7ffffffe;
    other.rcu.enter(section);
    const tag = kernel.rcu.startGracePeriod();
    expect(words[EPOCH]).toBe(-0x80000000);
    expect(kernel.rcu.elapsed(tag)).toBe(false);
    other.rcu.leave(section);
    other.rcu.enter(section);
    expect(kernel.rcu.elapsed(tag)).toBe(true);
    expect(kernel.rcu.elapsed(kernel.rcu.startGracePeriod())).toBe(false);
    other.rcu.leave(section);
  });
});

describe('retired objects', () => {
  test('are freed after a grace period, each once', () => {
    const { kernel, another } = bareMachine();
    const other = another();
    const freed: string[] = [];
    recording(kernel.rcu, freed, 'a');
    const section = reader();
    other.rcu.enter(section);
    kernel.rcu.retire(KIND, OBJECT);
    kernel.rcu.retire(KIND, OBJECT + 2);
    expect([kernel.rcu.freeRetired(kernel.cpu.id), kernel.rcu.pendingRetired()]).toEqual([0, 2]);
    other.rcu.leave(section);
    expect(kernel.rcu.freeRetired(kernel.cpu.id)).toBe(2);
    kernel.rcu.drain();
    expect(freed.sort()).toEqual([`a ${OBJECT}`, `a ${OBJECT + 2}`]);
  });

  test('that are retired while others wait are not freed with them', () => {
    const { kernel, another } = bareMachine();
    const other = another();
    const freed: string[] = [];
    recording(kernel.rcu, freed, 'a');
    kernel.rcu.retire(KIND, OBJECT);
    kernel.rcu.startGracePeriod();
    const section = reader();
    other.rcu.enter(section);
    kernel.rcu.freeRetired(kernel.cpu.id);
    kernel.rcu.retire(KIND, OBJECT + 2);
    kernel.rcu.freeRetired(kernel.cpu.id);
    expect(freed).not.toContain(`a ${OBJECT + 2}`);
    other.rcu.leave(section);
    kernel.rcu.drain();
    expect(freed.sort()).toEqual([`a ${OBJECT}`, `a ${OBJECT + 2}`]);
  });

  test('of another cpu can be freed under memory pressure: they change hands first', () => {
    const { kernel, another } = bareMachine();
    const other = another();
    const freed: string[] = [];
    recording(kernel.rcu, freed, 'a');
    recording(other.rcu, freed, 'b');
    kernel.rcu.retire(KIND, OBJECT);
    other.rcu.drain();
    expect(freed).toEqual([`b takes ${OBJECT}`, `b ${OBJECT}`]);
    expect(kernel.rcu.pendingRetired()).toBe(0);
  });

  test('that a cpu has taken off a list and not freed yet are announced to whoever looks for memory', () => {
    const { kernel, cpu, another } = bareMachine();
    const other = another();
    const seen: number[] = [];
    kernel.rcu.registerReclaimer(KIND, {
      linkOf: (object) => object + 1,
      free: () => void seen.push(other.rcu.freeingCpu()),
      markRetired: () => undefined,
    });
    for (let i = 0; i < 2; i++) kernel.rcu.retire(KIND, OBJECT + 2 * i);
    kernel.rcu.drain();
    expect([seen, other.rcu.freeingCpu()]).toEqual([[cpu.id, cpu.id], -1]);
  });

  test('that cannot be freed fail no call which has done its work', () => {
    const { kernel, cpu } = bareMachine();
    const late = new VmError('ETIMEDOUT', 'lock', 'a dead thread has it');
    let fail = (): never => {
      throw late;
    };
    kernel.rcu.registerReclaimer(KIND, {
      linkOf: (object) => object + 1,
      free: () => fail(),
      markRetired: () => undefined,
    });
    const poll = (): void => {
      for (let i = 0; i < RETIRE_BATCH; i++) kernel.rcu.retire(KIND, OBJECT + 2 * i);
      kernel.rcu.pollRetired();
    };
    expect(poll).toThrow(late); // it has not given up: a rule is broken
    fail = () => giveUp(cpu, late);
    poll();
    expect(cpu.gaveUp?.error).toBe(late);
  });

  test('of a dead cpu’s lists are dropped, for the reaper finds them by their state', () => {
    const { kernel, another } = bareMachine();
    const dead = another();
    const freed: string[] = [];
    recording(kernel.rcu, freed, 'a');
    recording(dead.rcu, freed, 'b');
    dead.rcu.retire(KIND, OBJECT);
    kernel.rcu.dropLists(dead.cpu.id);
    expect(kernel.rcu.pendingRetired()).toBe(0);
    kernel.rcu.drain();
    expect(freed).toEqual([]);
  });

  test('of a kind that nobody frees are an Oops at once', () => {
    const { kernel } = bareMachine();
    expect(() => kernel.rcu.retire(KIND, OBJECT)).toThrow(/no reclaimer for kind 6/);
    expect(RETIRE_TABLE).not.toBe(KIND);
  });

  test('that were retired beside the lists are freed once, though a thief died before it cut them off', () => {
    const { kernel, cpu, words, another } = bareMachine();
    const owner = another();
    const freed: number[] = [];
    for (const { rcu } of [kernel, owner]) collect(rcu, freed);
    words[owner.cpu.base + C_RETIRE_LOCK] = cpu.tag;
    owner.rcu.retire(KIND, OBJECT);
    owner.rcu.retire(KIND, OBJECT + 2);
    words[owner.cpu.base + C_RETIRE_OPEN + KIND] = OBJECT;
    kernel.rcu.repairLists(owner.cpu.id, () => undefined);
    words[owner.cpu.base + C_RETIRE_LOCK] = 0;
    for (let i = 0; i < 4; i++) owner.rcu.drain();
    expect(freed.sort()).toEqual([OBJECT, OBJECT + 2]);
  });

  test('that were retired beside the lists are freed by whoever has the slot next', () => {
    const { cpu, words, bytes, another } = bareMachine();
    const owner = another();
    const freed: number[] = [];
    collect(owner.rcu, freed);
    words[owner.cpu.base + C_RETIRE_LOCK] = cpu.tag;
    owner.rcu.retire(KIND, OBJECT);
    words[owner.cpu.base + C_RETIRE_LOCK] = 0;
    const next = makeKernel(owner.cpu, bytes);
    collect(next.rcu, freed);
    for (let i = 0; i < 4; i++) next.rcu.drain();
    expect(freed).toEqual([OBJECT]);
  });
});
