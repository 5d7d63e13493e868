/** Wrong versions of what is left when the user of a lock dies, or gives up waiting. */
import type { Mutant } from './mutant.ts';

const RWSEM = 'src/sync/rwsem.ts';

export const syncDeathMutants: readonly Mutant[] = [
  {
    id: 'rwsem-time/left-without-a-look',
    model: 'rwsem-time',
    why: 'A writer whose time is up does not look whether the lock came free while it left the queue: the reader behind it sleeps on.',
    edits: [
      {
        file: RWSEM,
        find: '    store(cpu.words, cpu.base + C_RW_WAIT, 0);\n    first = grantIfFree(cpu, sem);\n',
        replace: '    store(cpu.words, cpu.base + C_RW_WAIT, 0);\n',
      },
    ],
    fails: /nobody can go on|left in state/,
  },
  {
    id: 'rwsem-time/grant-taken-along',
    model: 'rwsem-time',
    why: 'A writer whose time is up does not look whether the lock is its own by now: nobody lets go of it.',
    edits: [
      {
        file: RWSEM,
        find: '  const gone = !granted(cpu, sem, mode);\n',
        replace: '  const gone = mode !== 0;\n',
      },
    ],
    fails: /nobody can go on|is left/,
  },
  {
    id: 'rwsem-time/place-kept',
    model: 'rwsem-time',
    why: 'A writer whose time is up stays in the queue: it is granted what it does not wait for.',
    edits: [
      {
        file: RWSEM,
        find: '    store(cpu.words, cpu.base + C_RW_WAIT, 0);\n    first = grantIfFree(cpu, sem);\n',
        replace: '    first = grantIfFree(cpu, sem);\n',
      },
    ],
    fails: /nobody can go on|is left/,
  },
  {
    id: 'rwsem-death/not-handed-on',
    model: 'rwsem-death',
    why: 'A free lock with a queue is none of the reaper’s business: a reader that let go of it and died has handed it on to nobody.',
    edits: [
      {
        file: RWSEM,
        find: '  return state === QUEUED || (state & OWNER_MASK) === dead + 1;\n',
        replace: '  return (state & OWNER_MASK) === dead + 1;\n',
      },
    ],
    fails: /nobody can go on(.|\n)*patient sleeps/,
  },
  {
    id: 'rwsem-death/hold-kept',
    model: 'rwsem-death',
    why: 'A dead reader’s hold is not taken back.',
    edits: [
      {
        file: RWSEM,
        find: '  if (held) store(cpu.words, slot + C_RW_HOLD, 0);\n',
        replace: '',
      },
    ],
    fails: /nobody can go on|is left/,
  },
  {
    id: 'rwsem-death-time/state-kept',
    model: 'rwsem-death-time',
    why: 'A writer that waits no longer for the readers inside keeps the state: nobody gets in any more.',
    edits: [
      {
        file: RWSEM,
        find: '      releaseWriter(cpu, sem);\n      stalled(cpu, sem);\n',
        replace: '      stalled(cpu, sem);\n',
      },
    ],
    fails: /nobody can go on|is left/,
  },
];
