/** Wrong versions of wait and notify. */
import type { Mutant } from './mutant.ts';

const FUTEX = 'src/sync/futex.ts';
const VIRTUAL = 'src/access/virtual-futex.ts';
const edit = (find: string, replace: string, file: string = FUTEX): Mutant['edits'] => [{ file, find, replace }];
const notLookedAtAgain = edit('stale = load(k.words, view.generationIndex) !== view.generation;', '', VIRTUAL);
const notAnnounced = edit('    bumpGeneration(k.cpu, f.mm, f.vpn, (f.vpn + 1) as Vpn);\n', '', 'src/fault/install.ts');
const LOCKS = '  spinLock(cpu, bucket, CLASS_FUTEX);\n  try {';
const CLEARS = '  return cas(words, at + Q_BUCKET, bucket, 0) === bucket; // else its time was up\n';
const LEAVES = "return bucket !== 0 && cas(words, at + Q_BUCKET, bucket, 0) === bucket ? 'timed-out' : 'ok';";
const entryStays = edit(LEAVES, "return bucket !== 0 ? 'timed-out' : 'ok';");

export const futexMutants: readonly Mutant[] = [
  {
    id: 'futex/parked-too-late',
    model: 'futex',
    why: 'The parking word is cleared after the waiter is in the queue: a wake-up in between is lost.',
    edits: [
      ...edit('  prepareToPark(cpu);\n  return enter(', '  return enter('),
      ...edit('    park(cpu, Math.min', '    prepareToPark(cpu);\n    park(cpu, Math.min'),
    ],
    fails: /a wake-up was lost/,
  },
  {
    id: 'futex/not-compared',
    model: 'futex',
    why: 'The value is not compared under the queue’s lock.',
    edits: edit('    if (!unchanged()) return false;\n', ''),
    fails: /a wake-up was lost/,
  },
  {
    id: 'futex/compared-before-the-lock',
    model: 'futex',
    why: 'The value is compared before the queue’s lock is taken: a store and a notify in between are lost.',
    edits: [
      ...edit(LOCKS, `  const same = unchanged();\n${LOCKS}`),
      ...edit('if (!unchanged()) return false;', 'if (!same) return false;'),
    ],
    fails: /a wake-up was lost/,
  },
  {
    id: 'futex/not-woken',
    model: 'futex',
    why: 'A notify takes the waiter out of the queue and does not wake it.',
    edits: edit('    wakeCpu(words, id);\n', ''),
    fails: /a wake-up was lost/,
  },
  {
    id: 'futex/slept-in-the-section',
    model: 'futex',
    why: 'The waiter sleeps inside its section: grace periods wait for it.',
    edits: edit(
      'return k.rcu.outside(() => futexSleep(k.cpu, timeout));',
      'return futexSleep(k.cpu, timeout);',
      VIRTUAL,
    ),
    fails: /I25/,
  },
  {
    id: 'futex-two-waiters/one-too-many',
    model: 'futex-two-waiters',
    why: 'A notify of one looks on until it has woken more than it was asked for.',
    edits: edit('woken < count; id++', 'woken <= count; id++'),
    fails: /the results \["ok","ok",\[2,0\]\] are not/,
  },
  {
    id: 'futex-all/first-only',
    model: 'futex-all',
    why: 'A notify of all wakes the first that it finds.',
    edits: edit('      woken++;\n    }\n    const', '      woken++;\n      break;\n    }\n    const'),
    fails: /a wake-up was lost/,
  },
  {
    id: 'futex-two-waiters/last-cpu-not-seen',
    model: 'futex-two-waiters',
    why: 'A notify does not look at the cpu that came last.',
    edits: edit('id < used && woken', 'id + 2 < used && woken'),
    fails: /a wake-up was lost/,
  },
  {
    id: 'futex-two-words/address-not-compared',
    model: 'futex-two-words',
    why: 'A notify wakes whoever is in the bucket for the same space.',
    edits: edit('  if (peekRacyF64(floats, (at + Q_ADDRESS) >> 1, OLD_KEY) !== key.address) return false;\n', ''),
    fails: /are not among those|a wake-up was lost/,
  },
  {
    id: 'futex-two-words/stops-at-a-stranger',
    model: 'futex-two-words',
    why: 'A notify gives up at the first waiter of another word.',
    edits: edit(
      '    if (takeOut(cpu, cpuSlot(id) + C_FUTEX, bucket, key)) {',
      '    const first = load(words, cpuSlot(id) + C_FUTEX);\n    const out = takeOut(cpu, cpuSlot(id) + C_FUTEX, bucket, key);\n    if (first === bucket && !out) break;\n    if (out) {',
    ),
    fails: /a wake-up was lost/,
  },
  {
    id: 'futex-time/told-late-always',
    model: 'futex-time',
    why: 'Who leaves the queue does not look whether it was notified just then.',
    edits: edit(LEAVES, "store(words, at + Q_BUCKET, 0);\n  return 'timed-out';"),
    fails: /the results \["timed-out",\[(1,0|0,1)\]\] are not/,
  },
  {
    id: 'futex-time/looked-then-cleared',
    model: 'futex-time',
    why: 'Who leaves the queue looks whether it was notified, and clears its entry in a second step.',
    edits: edit(LEAVES, "if (bucket === 0) return 'ok';\n  store(words, at + Q_BUCKET, 0);\n  return 'timed-out';"),
    fails: /the results \["timed-out",\[(1,0|0,1)\]\] are not/,
  },
  {
    id: 'futex-time/cleared-without-a-look',
    model: 'futex-time',
    why: 'A notify clears the entry of a waiter that is leaving, and counts it.',
    edits: edit(CLEARS, '  store(words, at + Q_BUCKET, 0);\n  return true;\n'),
    fails: /the results \["timed-out",\[(1,0|0,1)\]\] are not/,
  },
  {
    id: 'futex-time-two/entry-stays',
    model: 'futex-time-two',
    why: 'Who leaves the queue does not clear its entry: it swallows a wake-up.',
    edits: entryStays,
    fails: /threads were woken|no end after/,
  },
  {
    id: 'futex-zero-page/not-looked-at-again',
    model: 'futex-zero-page',
    why: 'The generation is not looked at again under the queue’s lock: the waiter compares with the zero page, which a store has replaced.',
    edits: notLookedAtAgain,
    fails: /a wake-up was lost/,
  },
  {
    id: 'futex-zero-page/not-announced',
    model: 'futex-zero-page',
    why: 'The fault that puts a page in the place of the zero page does not bump the generation.',
    edits: notAnnounced,
    fails: /a wake-up was lost/,
  },
  {
    id: 'futex-private-copy/not-looked-at-again',
    model: 'futex-private-copy',
    why: 'The same with a page of a file that a store has copied.',
    edits: notLookedAtAgain,
    fails: /a wake-up was lost/,
  },
  {
    id: 'futex-munmap/not-looked-at-again',
    model: 'futex-munmap',
    why: 'The same with a page that was unmapped, and another one mapped in its place.',
    edits: notLookedAtAgain,
    fails: /a wake-up was lost|are not among those/,
  },
  {
    id: 'futex-neighbour/stale-is-unequal',
    model: 'futex-neighbour',
    why: 'A waiter whose page was replaced does not look again: it says that the value was another.',
    edits: edit('if (!stale) return queued;', 'return queued;', VIRTUAL),
    fails: /are not among those/,
  },
  {
    id: 'futex-file/key-of-the-space',
    model: 'futex-file',
    why: 'Shared memory has a queue in each space: a notify in another space does not reach it.',
    edits: edit('if (mapping === NONE || (', 'if (mapping !== -1 || (', VIRTUAL),
    fails: /was passed over/,
  },
  {
    id: 'futex-private-file/key-of-the-file',
    model: 'futex-private-file',
    why: 'Private memory of a file has the file’s queue: a notify in another space reaches it.',
    edits: edit('mapping === NONE || (k.vmas.flags(vma) & VM_SHARED) === 0', 'mapping === NONE', VIRTUAL),
    fails: /are not among those/,
  },
  {
    id: 'futex-death/not-reaped',
    model: 'futex-death',
    why: 'A dead waiter stays in its queue.',
    edits: edit('  store(words, cpuSlot(id) + C_FUTEX + Q_BUCKET, 0);\n', '  load(words, cpuSlot(id) + C_FUTEX);\n'),
    fails: /threads spin and nobody writes|threads were woken|no end after/,
  },
  {
    id: 'futex-death-notifier/sleeps-for-good',
    model: 'futex-death-notifier',
    why: 'A waiter never looks by itself whether it was taken out of the queue.',
    edits: edit('Math.min(left, PARK_MS)', 'left'),
    fails: /nobody can go on/,
  },
  {
    id: 'futex-async/not-notified',
    model: 'futex-async',
    why: 'A notify takes a waiter of waitAsync out of the queue and does not notify its word.',
    edits: edit('      notify(words, at, Number.POSITIVE_INFINITY);\n', ''),
    fails: /nobody can go on/,
  },
  {
    id: 'futex-async/used-too-late',
    model: 'futex-async',
    why: 'The entry is in the queue before notifiers are told to look at it.',
    edits: [
      ...edit(
        '  if (load(cpu.words, used) <= index) store(cpu.words, used, index + 1); // before it is in a queue: where notifiers look\n',
        '',
      ),
      ...edit(
        '  return enter(cpu, asyncEntry(cpu.id, index), key, unchanged);',
        '  const queued = enter(cpu, asyncEntry(cpu.id, index), key, unchanged);\n  store(cpu.words, used, index + 1);\n  return queued;',
      ),
    ],
    fails: /nobody can go on/,
  },
  {
    id: 'futex-async-time/told-late-always',
    model: 'futex-async-time',
    why: 'A waitAsync whose time is up does not look whether it was notified just then.',
    edits: edit(LEAVES, "store(words, at + Q_BUCKET, 0);\n  return 'timed-out';"),
    fails: /the results \["timed-out",\[(1,0|0,1)\]\] are not/,
  },
  {
    id: 'futex-async-two/one-too-many',
    model: 'futex-async-two',
    why: 'A notify does not count the waiters of waitAsync, and wakes one more.',
    edits: edit(
      '      notify(words, at, Number.POSITIVE_INFINITY);\n      woken++;\n',
      '      notify(words, at, Number.POSITIVE_INFINITY);\n',
    ),
    fails: /are not among those/,
  },
  {
    id: 'futex-async-death/not-reaped',
    model: 'futex-async-death',
    why: 'The waitAsync of a dead thread stays in its queue.',
    edits: edit('  for (const each of buried) futexReapAsync(words, each);\n', '', 'src/recovery/reap.ts'),
    fails: /threads spin and nobody writes|threads were woken|no end after/,
  },
];
