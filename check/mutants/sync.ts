/** Wrong versions of locks, counts, wait queues and grace periods. */
import type { Mutant } from './mutant.ts';

const SPIN = 'src/sync/spinlock.ts';
const RWSEM = 'src/sync/rwsem.ts';
const RCU = 'src/sync/rcu.ts';
const nobodyBlocks: Mutant['edits'] = [
  {
    file: RCU,
    find: 'if ((slot & 1) !== 0 && (((slot & ~1) - tag) | 0) <= 0) return id;',
    replace: 'if (slot === -1) return id;',
  },
];

export const syncMutants: readonly Mutant[] = [
  {
    id: 'spinlock/test-then-set',
    model: 'spinlock',
    why: 'The lock is tested and taken in two steps.',
    edits: [
      {
        file: SPIN,
        find: '  if (cas(cpu.words, at, 0, cpu.tag) !== 0) lockSlow(cpu, at, cls);\n',
        replace: '  if (load(cpu.words, at) === 0) exchange(cpu.words, at, cpu.tag);\n  else lockSlow(cpu, at, cls);\n',
      },
    ],
    fails: /data race on first|the counter is|unlocks/,
  },
  {
    id: 'spinlock/plain-release',
    model: 'spinlock',
    why: 'The lock is released without Atomics: what was done inside is not ordered before the next owner.',
    edits: [
      {
        file: SPIN,
        find: 'const was = exchange(cpu.words, at, 0);',
        replace: 'const was = load(cpu.words, at);\n  poke(cpu.words, at, 0);',
      },
    ],
    fails: /data race on lock/,
  },
  {
    id: 'spinlock/no-notify',
    model: 'spinlock',
    why: 'The owner does not wake who sleeps on the word.',
    edits: [{ file: SPIN, find: '  notify(cpu.words, at, 1);\n}', replace: '}' }],
    fails: /a wake-up was lost(.|\n)*held by/,
  },
  {
    id: 'spinlock-three/waiters-forgotten',
    model: 'spinlock-three',
    why: 'A sleeper that gets the lock does not keep WAITED on record: the next sleeper is not woken.',
    edits: [
      {
        file: SPIN,
        find: 'if (cas(words, at, 0, tag | WAITED) === 0) break;',
        replace: 'if (cas(words, at, 0, tag) === 0) break;',
      },
    ],
    fails: /a wake-up was lost/,
  },
  {
    id: 'rwsem/reader-looks-first',
    model: 'rwsem',
    why: 'A reader looks at the state before it stores its hold: writer and reader pass each other.',
    edits: [
      {
        file: RWSEM,
        find: '  if (load(cpu.words, sem + STATE) !== 0) {\n    releaseReader(cpu.words, cpu, sem, cpu.id);\n    enqueue(cpu, sem, READ);\n  }\n',
        replace:
          '  store(cpu.words, hold, 0);\n  if (load(cpu.words, sem + STATE) !== 0) enqueue(cpu, sem, READ);\n  else store(cpu.words, hold, sem);\n',
      },
    ],
    fails: /data race|not among those/,
  },
  {
    id: 'rwsem/readers-ignored',
    model: 'rwsem',
    why: 'A writer does not wait for the readers inside.',
    edits: [{ file: RWSEM, find: '  waitForReaders(cpu, sem);\n', replace: '' }],
    fails: /data race|not among those/,
  },
  {
    id: 'rwsem-readers/writer-not-woken',
    model: 'rwsem-readers',
    why: 'The last reader does not wake the writer that waits for it.',
    edits: [{ file: RWSEM, find: '    wakeCpu(words, owner - 1);\n    return;\n', replace: '    return;\n' }],
    fails: /a wake-up was lost(.|\n)*for the readers of/,
  },
  {
    id: 'rwsem-three/queue-not-looked-at',
    model: 'rwsem-three',
    why: 'Who enters the queue of a lock that was let go of meanwhile does not look whether it is free.',
    edits: [
      {
        file: RWSEM,
        find: '  const first = grantIfFree(cpu, sem);\n  spinUnlock(cpu, sem + QUEUE);\n  wakeFirst(words, first);\n  while (',
        replace: '  spinUnlock(cpu, sem + QUEUE);\n  while (',
      },
    ],
    fails: /a wake-up was lost|nobody can go on/,
    preemptions: 2,
  },
  {
    id: 'rwsem-three/readers-left-meanwhile',
    model: 'rwsem-three',
    why: 'Who lets readers in and then opens the state does not look whether they have left already: the writer behind them sleeps on.',
    edits: [
      {
        file: RWSEM,
        find: '  return writer === -1 ? NOBODY : grantIfFree(cpu, sem);\n',
        replace: '  return NOBODY;\n',
      },
    ],
    fails: /a wake-up was lost/,
    preemptions: 2,
  },
  {
    id: 'rwsem-three/grant-not-owned',
    model: 'rwsem-three',
    why: 'Readers are let in without owning the state meanwhile: a writer that takes it in passing does not see them.',
    edits: [
      {
        file: RWSEM,
        find: '  if (cas(cpu.words, sem + STATE, QUEUED, cpu.tag | QUEUED) !== QUEUED) return NOBODY;\n',
        replace: '',
      },
    ],
    fails: /data race|not among those|the counter|releases mmap_lock|left in state|a wake-up was lost/,
    preemptions: 3,
  },
  {
    id: 'refcount/rises-from-zero',
    model: 'refcount',
    why: 'A reference is taken although the count is 0.',
    edits: [{ file: 'src/sync/refcount.ts', find: 'seen > 0; ) {', replace: 'seen >= 0; ) {' }],
    fails: /freed|not linearizable/,
  },
  {
    id: 'refcount/look-then-add',
    model: 'refcount',
    why: 'The count is looked at and raised in two steps.',
    edits: [
      {
        file: 'src/sync/refcount.ts',
        find: 'const found = cas(words, at, seen, seen + 1);',
        replace: 'const found = add(words, at, 1) >= 0 ? seen : 0;',
      },
    ],
    fails: /freed|not linearizable|dead record/,
  },
  {
    id: 'rcu-retire/nobody-blocks',
    model: 'rcu-retire',
    why: 'A grace period does not wait for the sections that are open [B9].',
    edits: nobodyBlocks,
    fails: /data race on object|the reader saw -1/,
  },
  {
    id: 'rcu-retire/inner-end-ends-all',
    model: 'rcu-retire',
    why: 'The end of a nested section clears the slot.',
    edits: [
      {
        file: RCU,
        find: '    if (--this.depth === 0) {\n      this._unpublish();',
        replace: '    this.depth--;\n    {\n      this._unpublish();',
      },
    ],
    fails: /data race on object|the reader saw -1/,
  },
  {
    id: 'rcu-late/not-cut',
    model: 'rcu-late',
    why: 'Who takes over what was retired late leaves it on the stack too: it is freed twice.',
    edits: [
      {
        file: RCU,
        find: "      this.cpu.countMany(COUNTER['retire.objects'], length);\n      this._cutLate(base, kind);\n",
        replace: "      this.cpu.countMany(COUNTER['retire.objects'], length);\n",
      },
    ],
    fails: /freed [3-9]|freed \d\d|no end after|still pending|data race/,
  },
  {
    id: 'rcu-late/cut-all',
    model: 'rcu-late',
    why: 'Who takes over what was retired late drops what its owner has put on top meanwhile.',
    edits: [
      {
        file: RCU,
        find: '    if (listed === 0 || cas(words, at, listed, 0) === listed) return;\n',
        replace: '    if (listed === 0 || exchange(words, at, 0) !== -1) return;\n',
      },
    ],
    fails: /freed [01] times/,
  },
  {
    id: 'rcu-late/above-not-cut',
    model: 'rcu-late',
    why: 'What the owner has put on top meanwhile is not cut off from what is taken over.',
    edits: [
      {
        file: RCU,
        find: '    if (above !== undefined) poke(words, this._reclaimer(kind).linkOf(above), 0);\n',
        replace: '    if (above !== undefined) return;\n',
      },
    ],
    fails: /freed [3-9]|freed \d\d|no end after|still pending|data race/,
  },
  {
    id: 'rcu-late/plain-push',
    model: 'rcu-late',
    why: 'The owner puts what it retires on its stack in two steps: what was cut off meanwhile comes back.',
    edits: [
      {
        file: RCU,
        find: "      if (cas(words, at, top, head) === top) return; // publishes; pairs with _adoptLate's load\n",
        replace: '      store(words, at, head);\n      if (top !== -1) return;\n',
      },
    ],
    fails: /freed [3-9]|freed \d\d|no end after|still pending|data race/,
  },
  {
    id: 'rcu-synchronize/nobody-blocks',
    model: 'rcu-synchronize',
    why: 'synchronize returns at once.',
    edits: nobodyBlocks,
    fails: /data race on object|the reader saw -1/,
  },
  {
    id: 'rcu-synchronize/no-second-look',
    model: 'rcu-synchronize',
    why: 'The waiter does not look again after it has said that it waits: a section that ended in between wakes nobody. Found by this checker.',
    edits: [{ file: RCU, find: 'if (this._blocker(tag) !== -1) wait(', replace: 'wait(' }],
    fails: /a wake-up was lost/,
  },
  {
    id: 'rcu-synchronize/not-woken',
    model: 'rcu-synchronize',
    why: 'Leaving a section does not wake who waits for it.',
    edits: [{ file: RCU, find: 'if (load(words, GRACE_WAITERS) !== 0) this._wakeWaiters();', replace: '' }],
    fails: /a wake-up was lost(.|\n)*for the end of a grace period/,
  },
  {
    id: 'rcu-synchronize/waiters-read-plain',
    model: 'rcu-synchronize',
    why: 'Leaving a section reads the count of those who wait plainly: it may miss one that has just looked and gone to sleep.',
    edits: [{ file: RCU, find: 'load(words, GRACE_WAITERS)', replace: "peekRacy(words, GRACE_WAITERS, 'mutant')" }],
    fails: /a wake-up was lost/,
  },
  {
    id: 'rcu-two-retirers/nobody-blocks',
    model: 'rcu-two-retirers',
    why: 'The same as rcu-retire/nobody-blocks, with somebody else’s list.',
    edits: nobodyBlocks,
    fails: /data race on object|the reader saw -1/,
  },
];
