/** The semaphore when somebody gives up waiting for it, and when a reader dies. */
import { VmError } from '../../../src/index.ts';
import type { Kernel } from '../../../src/space/kernel.ts';
import { notify, poke } from '../../../src/sync/atomics.checked.ts';
import { C_RW_HOLD, C_RW_WAIT, CPUS_USED, cpuSlot } from '../../../src/sync/control.layout.ts';
import type { Cpu } from '../../../src/sync/cpu.ts';
import { wakeCpu } from '../../../src/sync/park.ts';
import { readLock, readUnlock, rwsemReap, writeLock, writeUnlock } from '../../../src/sync/rwsem.ts';
import { forgetGivingUp, spinReap } from '../../../src/sync/spinlock.ts';
import type { End, Model, ThreadContext } from '../../model.ts';
import { machineModel, type World } from '../world.ts';
import { type Actor, actor, actorAs, type Cast, cast, cpuOf } from './roles.ts';
import { change, describe, kernel, SEM, same, waits } from './words.ts';

const QUEUE: number = SEM + 2;
const QUEUED = 0x100;
const PATIENT_MS = 1000;

/* Time does not pass in these models. Who has no patience gives up when it is woken and does not get the lock; others wake it. */

const timeIsUp = ({ k, cpus }: Actor): void => wakeCpu(k.words, cpuOf(cpus, 'hasty'));

const hasty = {
  name: 'hasty',
  prepare: actorAs('hasty', ({ cpu }) => {
    cpu.stallLimit = -1;
  }),
  run: ({ k: { cpu, words } }: Actor) =>
    inTime(cpu, () => {
      writeLock(cpu, SEM);
      change(words);
      writeUnlock(cpu, SEM);
    }),
};
/** Has the lock from the start. */
const holder = {
  name: 'holder',
  prepare: (world: Cast): Actor => {
    const all = actor(world);
    writeLock(all.k.cpu, SEM);
    return all;
  },
  run: (all: Actor) => {
    const { cpu, words } = all.k;
    change(words);
    timeIsUp(all);
    writeUnlock(cpu, SEM);
    return 0;
  },
};
const patient = {
  name: 'patient',
  prepare: kernel,
  run: (k: Kernel) => {
    readLock(k.cpu, SEM);
    return leave(k);
  },
};

function leave({ cpu, words }: Kernel): boolean {
  const seen = same(words);
  readUnlock(cpu, SEM);
  return seen;
}

/** Whether the lock was to be had. A call that has given up half-way, over the queue's lock, is recovered. */
function inTime(cpu: Cpu, act: () => void): 'ok' | 'late' {
  let result: 'ok' | 'late' = 'ok';
  try {
    act();
  } catch (error) {
    if (!(error instanceof VmError) || error.code !== 'ETIMEDOUT') throw error;
    result = 'late';
  }
  if (cpu.gaveUp !== undefined) {
    forgetGivingUp(cpu);
    cpu.stallLimit = PATIENT_MS;
    takeOut(cpu, cpu.id);
  }
  return result;
}

/** As `finishLayout` in reap-steps.ts, without an operation that would have to be done again. */
function takeOut(cpu: Cpu, id: number): void {
  if (rwsemReap(cpu, SEM, id)) writeUnlock(cpu, SEM);
}

function leftFree({ shared, results }: End<World>): void {
  const words = new Int32Array(shared.machine.control);
  if (words[SEM] !== 0) throw new Error(`the semaphore is left in state ${words[SEM]}`);
  for (let id = 0; id < (words[CPUS_USED] as number); id++) {
    const [hold, wait] = [C_RW_HOLD, C_RW_WAIT].map((word) => words[cpuSlot(id) + word]);
    if (hold !== 0 || wait !== 0) throw new Error(`cpu ${id} is left with hold ${hold}, and waits for ${wait}`);
  }
  if (results.includes(false)) throw new Error('a reader has seen half of a write');
}

const semaphore = { preemptions: 1, longPreemptions: 2, setup: cast, describe, waits, check: leftFree };

const time = machineModel<Cast>({
  ...semaphore,
  name: 'rwsem-time',
  title: 'a writer gives up waiting for a semaphore while its holder lets go of it; a reader may be behind the writer',
  invariant: 'who leaves the queue leaves no trace: who is behind gets the lock; at the end it is free',
  preemptions: 2,
  longPreemptions: 3,
  threads: [holder, hasty, patient],
  outcomes: ['[0,"ok",true]', '[0,"late",true]'],
});

/** Was let in before a writer that has given up since: the queue is empty, and the state still says that everybody must look there. */
const victim = {
  name: 'victim',
  mortal: true,
  prepare: actorAs('victim', ({ cpu, words }) => {
    readLock(cpu, SEM);
    poke(words, SEM, QUEUED);
  }),
  run: (all: Actor) => {
    timeIsUp(all);
    return leave(all.k);
  },
};
const reaper = {
  name: 'reaper',
  prepare: actor,
  run: ({ k: { cpu, words }, cpus }: Actor, context: ThreadContext) => {
    if (!context.join('victim')) return;
    const dead = cpuOf(cpus, 'victim');
    spinReap(cpu, QUEUE, dead + 1);
    takeOut(cpu, dead);
    // The dead may have kept a wake-up to itself. Each sleeper looks by itself in the end; the lock must be there for it then.
    notify(words, QUEUE, Number.POSITIVE_INFINITY);
    for (let id = 0; id < (words[CPUS_USED] as number); id++) wakeCpu(words, id);
  },
};

const death = machineModel<Cast>({
  ...semaphore,
  name: 'rwsem-death',
  title: 'a reader dies anywhere in leaving a semaphore, while another one comes; it is reaped',
  invariant: 'I27: what a dead thread has let go of and not handed on is handed on by whoever reaps it',
  threads: [victim, patient, reaper],
  outcomes: ['[true,true,null]', '[null,true,null]'],
});

const deathTime = machineModel<Cast>({
  ...semaphore,
  name: 'rwsem-death-time',
  title: 'a reader dies anywhere in leaving a semaphore, while a writer gives up waiting for it; it is reaped',
  invariant: 'I27: a writer that has given up waiting for a dead reader keeps nobody out',
  threads: [hasty, victim, reaper],
});

export const rwsemModels = [time, death, deathTime] as unknown as readonly Model<unknown>[];
