/** Wrong versions of what is left when the user of a lock or of a retire list dies, or gives up waiting. */
import type { Mutant } from './mutant.ts';

const RWSEM = 'src/sync/rwsem.ts';
const RCU = 'src/sync/rcu.ts';

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
  {
    id: 'rcu-late-thief/not-cut-again',
    model: 'rcu-late-thief',
    why: 'The thief died before it cut off what it had taken over, and the repair does not: the objects are on the list and late as well.',
    edits: [
      {
        file: RCU,
        find: '      this._cutLate(base, kind);\n      open +=',
        replace: '      open +=',
      },
    ],
    fails: /freed twice|no end after/,
  },
  {
    id: 'rcu-late-thief/not-listed',
    model: 'rcu-late-thief',
    why: 'An owner that gets its lock again forgets that it has retired late.',
    edits: [
      {
        file: RCU,
        find: '  if (this._late) this._listLate();\n',
        replace: '  this._late = false;\n',
      },
    ],
    fails: /has forgotten it/,
  },
  {
    id: 'rcu-late-thief/name-kept',
    model: 'rcu-late-thief',
    why: 'What hangs on the owner’s list still bears the name of the thief that died: whoever reaps retires it once more.',
    edits: [{ file: RCU, find: '        claim(object);\n', replace: '' }],
    fails: /freed twice|left in state|no end after/,
  },
  {
    id: 'rcu-late-owner/late-kept',
    model: 'rcu-late-owner',
    why: 'A dead owner’s lists are dropped, but not what it has retired late: its reaper retires it anew, and a thief takes it over.',
    edits: [{ file: RCU, find: '      store(words, base + C_RETIRE_LATE + kind, 0);\n', replace: '' }],
    fails: /freed twice|data race on (object|other) .link|no end after/,
  },
  {
    id: 'rcu-late-owner/not-renamed',
    model: 'rcu-late-owner',
    why: 'A thief does not put its name on what it takes: the owner’s reaper retires it anew.',
    edits: [
      {
        file: RCU,
        find: '    if (foreign) this._retag(heads);\n',
        replace: '    if (foreign && heads.length === 0) this._retag(heads);\n',
      },
    ],
    fails: /freed twice|data race on (object|other) .link|no end after/,
  },
];
