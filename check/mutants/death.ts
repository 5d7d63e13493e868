/** Wrong versions of what a thread leaves behind and of how it is found. */
import type { Mutant } from './mutant.ts';

export const deathMutants: readonly Mutant[] = [
  {
    id: 'death-munmap/no-intent',
    model: 'death-munmap',
    why: 'munmap does not write down what it is about to do: a detached VMA stays in the tree [X1].',
    edits: [
      { file: 'src/space/unmap.ts', find: '  writeIntent(k.cpu, INTENT_UNMAP, mm, start, end, 0);\n', replace: '' },
    ],
    fails: /the page is|cannot be|frame \d+|PTE|live VMAs|ETIMEDOUT|nobody can go on/,
  },
  {
    id: 'death-mmap/owned-not-freed',
    model: 'death-mmap',
    why: 'Records that the dead thread had in its hands are not given back.',
    edits: [
      {
        file: 'src/memory/slab.ts',
        find: '      else if (cas(words, record + R_STATE, state, ownedBy(OWNED, this._cpu.tag)) === state) this.free(record);',
        replace: '',
      },
    ],
    fails: /in somebody's hands/,
  },
  {
    id: 'death-mprotect/no-intent',
    model: 'death-mprotect',
    why: 'mprotect does not write down what it is about to do: the layout is changed, the PTEs are not.',
    edits: [
      {
        file: 'src/space/protect.ts',
        find: '      writeIntent(k.cpu, INTENT_PROTECT, mm, start, end, prot);\n',
        replace: '',
      },
    ],
    fails: /writable PTE|afterwards/,
  },
  {
    id: 'death-fixed/no-intent',
    model: 'death-fixed',
    why: 'MAP_FIXED does not write down what it is about to do: faults wait for a mapping that never comes.',
    edits: [
      { file: 'src/space/map.ts', find: '  writeIntent(k.cpu, INTENT_UNMAP, mm, start, end, 0);\n', replace: '' },
    ],
    fails: /no end after \d+ steps/,
  },
  {
    id: 'death-fault-anon/recount-left-out',
    model: 'death-fault-anon',
    why: 'A leaf lock is taken from a dead thread without counting the entries anew.',
    edits: [{ file: 'src/reap.ts', find: 'tables.recount(', replace: 'tables.isHooked(' }],
    fails: /entries counted/,
  },
  {
    id: 'death-fault-file/page-lock-kept',
    model: 'death-fault-file',
    why: 'The page lock of a thread that died in I/O is not taken back.',
    edits: [
      {
        file: 'src/backing/page-lock.ts',
        find: '  exchange(cpu.words, page + P_LOCK, 0);\n  notify(',
        replace: '  notify(',
      },
    ],
    fails: /the page lock|ETIMEDOUT/,
  },
  {
    id: 'death-munmap-bystander/lock-without-owner',
    model: 'death-munmap-bystander',
    why: 'A dead thread’s spinlock is not found: whoever wants it waits for ever.',
    edits: [
      {
        file: 'src/sync/spinlock.ts',
        find: '  if ((seen & OWNER_MASK) !== deadTag) return false;\n',
        replace: '  if (seen !== -1) return false;\n',
      },
    ],
    fails: /ETIMEDOUT|nobody can go on/,
  },
];
