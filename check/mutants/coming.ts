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
        find: 'if (word !== C_STATE && (word < C_RETIRE_LOCK || word > C_RETIRE_FREEING)) store(',
        replace: 'if (word !== C_STATE) store(',
      },
    ],
    fails: /unlocks \d+, held by|data race/,
  },
  {
    id: 'coming-retired/left-is-free',
    model: 'coming-retired',
    why: 'Who leaves gives the slot away although something it has retired still waits.',
    edits: [{ file: CPU, find: 'hasRetired(words, base) ? CPU_LEFT : CPU_FREE', replace: 'CPU_FREE' }],
    fails: /is lost|in the list of a cpu that is gone|data race/,
  },
  {
    id: 'coming-together/looked-then-taken',
    model: 'coming-together',
    why: 'A slot is looked at and taken in two steps: two threads have one.',
    edits: [
      {
        file: CPU,
        find: '  return usable && cas(words, base + C_STATE, state, CPU_ATTACHED) === state;\n',
        replace: '  if (usable) store(words, base + C_STATE, CPU_ATTACHED);\n  return usable;\n',
      },
    ],
    fails: /data race|Oops|slots are in use|ETIMEDOUT|takes .* twice/,
  },
];
