/** Wrong versions of wait and notify. */
import type { Mutant } from './mutant.ts';

const FUTEX = 'src/sync/futex.ts';
const VIRTUAL = 'src/access/virtual-futex.ts';
const edit = (find: string, replace: string, file: string = FUTEX): Mutant['edits'] => [{ file, find, replace }];
const notLookedAtAgain = edit('stale = load(k.words, view.generationIndex) !== view.generation;', '', VIRTUAL);
const notAnnounced = edit('    bumpGeneration(k.cpu, f.mm, f.vpn, (f.vpn + 1) as Vpn);\n', '', 'src/fault/install.ts');
const LOCKS = '  spinLock(cpu, bucket, CLASS_FUTEX);\n  try {';
const CLEARS = '    if (cas(words, slot + Q_BUCKET, bucket, 0) !== bucket) continue; // its time was up\n';
const LEAVES = "return bucket !== 0 && cas(words, base + Q_BUCKET, bucket, 0) === bucket ? 'timed-out' : 'ok';";
const entryStays = edit(LEAVES, "return bucket !== 0 ? 'timed-out' : 'ok';");

export const futexMutants: readonly Mutant[] = [
  {
    id: 'futex/parked-too-late',
    model: 'futex',
    why: 'The parking word is cleared after the waiter is in the queue: a wake-up in between is lost.',
    edits: [
      ...edit(`  prepareToPark(cpu);\n${LOCKS}`, LOCKS),
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
    edits: edit('    woken++;\n', '    woken++;\n    break;\n'),
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
    edits: edit('    if (peekRacyF64(floats, (slot + Q_ADDRESS) >> 1, OLD_KEY) !== key.address) continue;\n', ''),
    fails: /are not among those|a wake-up was lost/,
  },
  {
    id: 'futex-two-words/stops-at-a-stranger',
    model: 'futex-two-words',
    why: 'A notify gives up at the first waiter of another word.',
    edits: edit('!== key.address) continue;', '!== key.address) break;'),
    fails: /a wake-up was lost/,
  },
  {
    id: 'futex-time/told-late-always',
    model: 'futex-time',
    why: 'Who leaves the queue does not look whether it was notified just then.',
    edits: edit(LEAVES, "store(words, base + Q_BUCKET, 0);\n  return 'timed-out';"),
    fails: /the results \["timed-out",\[(1,0|0,1)\]\] are not/,
  },
  {
    id: 'futex-time/looked-then-cleared',
    model: 'futex-time',
    why: 'Who leaves the queue looks whether it was notified, and clears its entry in a second step.',
    edits: edit(LEAVES, "if (bucket === 0) return 'ok';\n  store(words, base + Q_BUCKET, 0);\n  return 'timed-out';"),
    fails: /the results \["timed-out",\[(1,0|0,1)\]\] are not/,
  },
  {
    id: 'futex-time/cleared-without-a-look',
    model: 'futex-time',
    why: 'A notify clears the entry of a waiter that is leaving, and counts it.',
    edits: edit(CLEARS, '    store(words, slot + Q_BUCKET, 0);\n'),
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
    edits: edit('  store(words, cpuSlot(dead) + Q_BUCKET, 0);\n', '  load(words, cpuSlot(dead) + Q_BUCKET);\n'),
    fails: /threads spin and nobody writes|threads were woken|no end after/,
  },
  {
    id: 'futex-death-notifier/sleeps-for-good',
    model: 'futex-death-notifier',
    why: 'A waiter never looks by itself whether it was taken out of the queue.',
    edits: edit('Math.min(left, PARK_MS)', 'left'),
    fails: /nobody can go on/,
  },
];
