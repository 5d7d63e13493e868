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
        find: '    writeIntent(k.cpu, INTENT_PROTECT, mm, start, end, prot);\n',
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
    edits: [{ file: 'src/recovery/reap-steps.ts', find: 'tables.recount(', replace: 'tables.isHooked(' }],
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
    id: 'give-up-fault/locks-kept',
    model: 'give-up-fault',
    why: 'A call that gives up is forgotten: what it held stays held, in the name of a thread that works on.',
    edits: [
      {
        file: 'src/recovery/public-call.ts',
        find: '  if (k.cpu.gaveUp === undefined) return true;\n  standDown(k);\n',
        replace:
          '  if (k.cpu.gaveUp === undefined) return true;\n  k.cpu.gaveUp = undefined;\n  k.cpu.heldDepth = 0;\n  if (k.cpu.id >= 0) return true;\n',
      },
    ],
    fails: /twice|in somebody's hands|ETIMEDOUT|no end after|nobody can go on/,
  },
  {
    id: 'give-up-rmap/not-recovered',
    model: 'give-up-rmap',
    why: 'A reaper forgets that it has given up a call of its own.',
    edits: [
      {
        file: 'src/recovery/waiting.ts',
        find: 'kindOf(state) === CPU_DEAD || kindOf(state) === CPU_GAVE_UP;',
        replace: 'kindOf(state) === CPU_DEAD || (kindOf(state) === CPU_GAVE_UP && state < 0);',
      },
    ],
    fails: /threads spin and nobody writes|ETIMEDOUT|no end after|nobody can go on|in somebody's hands/,
  },
  {
    id: 'give-up-munmap/unlocked-while-unwinding',
    model: 'give-up-munmap',
    why: 'mmap_lock is let go of while a call that has given up unwinds: nobody finishes the operation.',
    edits: [
      {
        file: 'src/sync/rwsem.ts',
        find: '  if (cpu.gaveUp !== undefined) return; // recovery releases it, with the operation done\n',
        replace: '',
      },
    ],
    fails: /not finished|left zapped|live VMAs|ETIMEDOUT|no end after/,
  },
  {
    id: 'give-up-munmap/own-name-kept',
    model: 'give-up-munmap',
    why: 'A cpu that recovers itself takes what its recovery retires for what its call had retired.',
    edits: [
      {
        file: 'src/recovery/reap.ts',
        find: '  return [abandonedTag(tag)];\n',
        replace: '  for (const slab of Object.values(k.slabs)) slab.rename(abandonedTag(tag), tag);\n  return [tag];\n',
      },
    ],
    fails: /freed twice|in somebody's hands|no end after|frame \d+/,
  },
  {
    id: 'give-up-munmap/magazine-kept',
    model: 'give-up-munmap',
    why: 'A cpu that was recovered goes on with the records that it had in its magazines, which others have now.',
    edits: [
      {
        file: 'src/recovery/reap.ts',
        find: '  for (const slab of Object.values(k.slabs)) slab.forget();\n  k.frames.forget();\n',
        replace: '',
      },
    ],
    fails: /freed twice|mapped 2 times|in somebody's hands|in a hole|live VMAs/,
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
