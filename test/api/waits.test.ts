/** Every wait has an end: those of the table in docs/locking.md that no test of a room shows. */
import { describe, expect, test } from 'vitest';
import type { Translator } from '../../src/access/translate.ts';
import type { NodeRef } from '../../src/base/brands.ts';
import { RETIRE_BACKLOG } from '../../src/base/tunables.ts';
import type { Space } from '../../src/index.ts';
import { nudgeGeneration } from '../../src/paging/generation.ts';
import { MM_ROOT } from '../../src/paging/mm.layout.ts';
import {
  C_RETIRE_LOCK,
  C_RETIRE_OPEN_COUNT,
  C_STATE,
  CPU_ATTACHED,
  CPU_GAVE_UP,
} from '../../src/sync/control.layout.ts';
import { CLASS_RETIRE } from '../../src/sync/lock-classes.ts';
import { spinLock, spinUnlock } from '../../src/sync/spinlock.ts';
import { COUNTER } from '../../src/trace/counters.ts';
import { DETACHED_REMAPPED } from '../../src/vma/vma.layout.ts';
import { bareMachine, reader } from '../kernel.ts';
import { anotherCpu } from '../stress/kill/world.ts';
import { expectError, map, PAGE, withMachine } from '../support.ts';

const KIND = 6;
/** Words that nothing uses: spare words of a cpu slot far away. */
const OBJECT = 4096 + 60 * 1024 + 200;

describe('retiring, while a dead thread holds the lock over the lists', () => {
  test('does not fail, and what was retired is freed when the lock is there again, by whoever looks', () => {
    const { kernel, another } = bareMachine();
    const [dead, third] = [another(), another()];
    const freed: number[] = [];
    for (const { rcu } of [kernel, third]) {
      rcu.registerReclaimer(KIND, {
        linkOf: (object) => object + 1,
        free: (object) => freed.push(object),
        markRetired: () => undefined,
      });
    }
    const lock = kernel.cpu.base + C_RETIRE_LOCK;
    spinLock(dead.cpu, lock, CLASS_RETIRE);
    kernel.rcu.retire(KIND, OBJECT);
    kernel.rcu.retire(KIND, OBJECT + 8);
    expect(kernel.cpu.gaveUp).toBeUndefined();
    third.rcu.freeAllRetired();
    expect([freed, third.rcu.pendingRetired() > 0]).toEqual([[], true]);
    spinUnlock(dead.cpu, lock);
    for (let round = 0; round < 3; round++) third.rcu.freeAllRetired();
    expect(freed.sort((a, b) => a - b)).toEqual([OBJECT, OBJECT + 8]);
    expect(third.rcu.pendingRetired()).toBe(0);
  });
});

test('a call that has retired much waits a moment for a section that stays, and goes on', () => {
  const { kernel, another, words, cpu } = bareMachine();
  const section = reader();
  const other = another();
  other.rcu.enter(section);
  words[cpu.base + C_RETIRE_OPEN_COUNT] = RETIRE_BACKLOG;
  const waits = cpu.floats[cpu.counters + COUNTER['grace.waits']] as number;
  kernel.rcu.pollRetired();
  expect(cpu.floats[cpu.counters + COUNTER['grace.waits']]).toBe(waits + 1);
  expect(other.rcu.inSection).toBe(true);
  other.rcu.leave(section);
});

test('an access to a mapping whose replacement never comes ends in ETIMEDOUT', async () => {
  await withMachine({ stallTimeout: 50 }, ({ machine, space }) => {
    const at = map(space, 1);
    const { vmas, tree, words } = machine.kernel;
    const vma = tree.find(words[space.handle.space + MM_ROOT] as NodeRef, at / PAGE);
    vmas.markDetached(vma, DETACHED_REMAPPED);
    expectError('ETIMEDOUT', () => space.load8(at));
    vmas.markDetached(vma, 0);
    expect(space.load8(at)).toBe(0);
  });
});

test('a call while another cpu is at this one’s last call ends in ETIMEDOUT that names it, and works afterwards', async () => {
  await withMachine({}, ({ machine, space }) => {
    const at = map(space, 1);
    const { cpu, words } = machine.kernel;
    const other = anotherCpu(machine);
    cpu.gaveUp = { error: new Error('an earlier one') };
    words[cpu.base + C_STATE] = CPU_GAVE_UP | (other.kernel.cpu.tag << 8);
    const error = expectError('ETIMEDOUT', () => space.munmap(at, PAGE));
    expect(error.message).toMatch(/an earlier call of this thread has given up .*an earlier one/);
    words[cpu.base + C_STATE] = CPU_ATTACHED; // the other one has finished it
    space.munmap(at, PAGE);
    expect(cpu.gaveUp).toBeUndefined();
    other.close();
  });
});

describe('what others take each time', () => {
  test('a frame: the fault ends in EAGAIN', async () => {
    await withMachine({}, ({ machine, space }) => {
      const at = map(space, 1);
      const { frames, reclaim } = machine.kernel;
      frames.alloc = () => 0 as never;
      reclaim.obtainFrame = () => 0 as never;
      expectError('EAGAIN', () => space.store8(at, 1));
      Reflect.deleteProperty(frames, 'alloc');
      Reflect.deleteProperty(reclaim, 'obtainFrame');
      space.store8(at, 1);
    });
  });

  test('the translation of the other side: copy ends in EAGAIN', async () => {
    await withMachine({}, ({ machine, space }) => {
      const at = map(space, 2);
      disturb(space, () => machine.kernel.rcu.sectionSerial++);
      expectError('EAGAIN', () => space.copy(at, at + PAGE, 8));
      restore(space);
      expect(space.copy(at, at + PAGE, 8)).toBe(8);
    });
  });

  test('the translation of the word: wait ends in EAGAIN, and nobody waits', async () => {
    await withMachine({}, ({ machine, space }) => {
      const at = map(space, 1);
      disturb(space, () => nudgeGeneration(machine.kernel.cpu, space.handle.space as never));
      expectError('EAGAIN', () => space.wait(at, 0, 1000));
      restore(space);
      expect(space.notify(at)).toBe(0);
      expect(space.wait(at, 1)).toBe('not-equal');
    });
  });
});

function translatorOf(space: Space): Translator {
  return (space as unknown as { _open: { translator: Translator } })._open.translator;
}

/** Something happens right after each translation. */
function disturb(space: Space, what: () => unknown): void {
  const translator = translatorOf(space);
  const { translate } = Object.getPrototypeOf(translator) as Translator;
  translator.translate = (...rest) => {
    const at = translate.apply(translator, rest);
    what();
    return at;
  };
}

function restore(space: Space): void {
  Reflect.deleteProperty(translatorOf(space), 'translate');
}
