/** Wrong versions of how a thread gets its slot and leaves it. */
import type { Mutant } from './mutant.ts';

const CPU = 'src/sync/cpu.ts';

export const comingMutants: readonly Mutant[] = [
  {
    id: 'coming-reclaim/retire-lock-cleared',
    model: 'coming-reclaim',
    why: 'Attach clears the slot’s retire lock, which somebody who looks for memory holds. Ordinary use found it.',
    edits: [
      {
        file: CPU,
        find: 'if (word !== C_STATE && (word < C_RETIRE_LOCK || word >= C_RETIRE_LATE + RETIRE_KINDS))',
        replace: 'if (word !== C_STATE)',
      },
    ],
    fails: /unlocks \d+, held by|data race/,
  },
  {
    id: 'coming-retired/lists-cleared',
    model: 'coming-retired',
    why: 'Who gets a slot clears the retire lists of whoever left it.',
    edits: [
      {
        file: CPU,
        find: 'if (word !== C_STATE && (word < C_RETIRE_LOCK || word >= C_RETIRE_LATE + RETIRE_KINDS))',
        replace: 'if (word !== C_STATE && word !== C_RETIRE_LOCK)',
      },
    ],
    fails: /is lost|in the list of a cpu that is gone|data race|in somebody's hands|retired/,
  },
  {
    id: 'coming-together/looked-then-taken',
    model: 'coming-together',
    why: 'A slot is looked at and taken in two steps: two threads have one.',
    edits: [
      {
        file: CPU,
        find: '  if (cas(words, base + C_STATE, seen, mine) !== seen) return false;\n',
        replace: '  store(words, base + C_STATE, mine);\n',
      },
    ],
    fails: /data race|Oops|slots are in use|ETIMEDOUT|takes .* twice/,
  },
];
