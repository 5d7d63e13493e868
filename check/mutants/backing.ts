/** Wrong versions of the page cache, its locks, and reclaim. */
import type { Mutant } from './mutant.ts';

const FETCH = 'src/backing/fetch.ts';
const RECLAIM = 'src/backing/reclaim.ts';

const detachedNotChecked: Mutant['edits'] = [
  {
    file: 'src/fault/commit.ts',
    find: 'if (vmas.detachedReason(f.vma) === 0) return true;',
    replace: 'if (f.vma !== NONE) return true;',
  },
];
const notExclusive: Mutant['edits'] = [
  {
    file: 'src/backing/page-lock.ts',
    find: 'if (cas(cpu.words, page + P_LOCK, 0, cpu.tag) === 0) return true;',
    replace: 'if (exchange(cpu.words, page + P_LOCK, cpu.tag) >= 0) return true;',
  },
];
/** After the sleep the fault goes on with the VMA it had: what a reference alone would allow. */
const notLookedUpAgain: Mutant['edits'] = [
  ...detachedNotChecked,
  {
    file: 'src/fault/attempt.ts',
    find: 'const again = f.held !== NONE && !f.protocol.rechecks;',
    replace: 'const again = f.held !== NONE;',
  },
];

export const backingMutants: readonly Mutant[] = [
  {
    id: 'two-faults-file/page-lock-shared',
    model: 'two-faults-file',
    why: 'The page lock keeps nobody out: a page is used while it is still read into.',
    edits: notExclusive,
    fails: /unlocks page|not among those|data race/,
  },
  {
    id: 'two-faults-file/inserted-twice',
    model: 'two-faults-file',
    why: 'Whoever brings a page into the cache does not look whether somebody else was first.',
    edits: [
      {
        file: 'src/backing/page-cache.ts',
        find: 'const present = this._find(bucket, mapping, index);',
        replace: 'const present: number = 0;',
      },
    ],
    fails: /was read 2 times/,
  },
  {
    id: 'read-munmap/not-checked-after-io',
    model: 'read-munmap',
    why: 'After its I/O the fault installs for the VMA that it has a reference on (H6).',
    edits: notLookedUpAgain,
    fails: /a PTE in a hole|not among those|frame \d+ is/,
  },
  {
    id: 'read-two-faults-munmap/not-checked-after-io',
    model: 'read-two-faults-munmap',
    why: 'The same with a second fault.',
    edits: notLookedUpAgain,
    fails: /a PTE in a hole|not among those|frame \d+ is/,
  },
  {
    id: 'read-munmap-remap/not-checked-after-io',
    model: 'read-munmap-remap',
    why: 'The page of the old file is installed in the new mapping (H6).',
    edits: notLookedUpAgain,
    fails: /the new mapping reads|not among those/,
  },
  {
    id: 'read-silent/not-checked-after-io',
    model: 'read-silent',
    why: 'An answer that comes after munmap and MAP_FIXED is installed all the same (H6).',
    edits: notLookedUpAgain,
    fails: /a PTE in a hole|afterwards there are|not among those|frame \d+ is/,
  },
  {
    id: 'read-error/left-in-cache',
    model: 'read-error',
    why: 'A page whose read failed stays in the cache, locked for ever.',
    edits: [
      {
        file: FETCH,
        find: '      this._dropping.unread(pages);\n      throw error;',
        replace: '      throw error;',
      },
    ],
    fails: /a wake-up was lost|nobody can go on|ETIMEDOUT|the page lock/,
  },
  {
    id: 'read-error/unlocked-not-dropped',
    model: 'read-error',
    why: 'A page whose read failed is unlocked, not dropped, and its state not looked at.',
    edits: [
      {
        file: 'src/backing/dropping.ts',
        find: 'if (pageLockHeld(this._cpu, page)) this._reclaim.drop(page);',
        replace: 'pageUnlock(this._cpu, page);',
      },
      {
        file: 'src/backing/page-cache.ts',
        find: 'return (load(this._cpu.words, page + P_FLAGS) & PG_UPTODATE) !== 0;',
        replace: 'return load(this._cpu.words, page + P_FLAGS) >= 0;',
      },
    ],
    fails: /not among those|was read/,
  },
  {
    id: 'reclaim-fault/no-bump',
    model: 'reclaim-fault',
    why: 'Reclaim takes the PTE away and does not bump the generation [C4]: a cached translation reads the next user’s bytes.',
    edits: [
      {
        file: RECLAIM,
        find: '        bumpGeneration(this._cpu, this._tables.mmOf(leaf) as MmRef, vpn, (vpn + 1) as Vpn);\n',
        replace: '',
      },
    ],
    fails: /data race on frame|not among those/,
  },
  {
    id: 'reclaim-fault/freed-at-once',
    model: 'reclaim-fault',
    why: 'The frame of a reclaimed page is free before a grace period has passed (I6).',
    edits: [
      {
        file: RECLAIM,
        find: '    this._rcu.retire(this._retireKind, page);',
        replace: '    this._frames.free(this._frames.pfnOf(page));',
      },
    ],
    fails: /data race on|not among those/,
  },
  {
    id: 'reclaim-reuse/no-second-look',
    model: 'reclaim-reuse',
    why: 'After the page lock nobody looks whether the page is still that of the file [P2] (I21).',
    edits: [
      {
        file: 'src/backing/page-cache.ts',
        find: '    return peek(words, page + P_MAPPING) === mapping && peek(words, page + P_INDEX) === index;\n',
        replace: '    return words.length > 0 && page !== 0 && mapping !== 0 && index >= 0;\n',
      },
    ],
    fails: /not among those|data race|frame \d+|Oops/,
    preemptions: 2,
  },
  {
    id: 'reclaim-reuse/plain-link',
    model: 'reclaim-reuse',
    why: 'The link of a recycled record is written plainly, while a look-up that was led astray reads it.',
    edits: [
      {
        file: 'src/backing/page-cache.ts',
        find: '      store(words, page + P_HASH_NEXT, peek(words, bucket));',
        replace: '      poke(words, page + P_HASH_NEXT, peek(words, bucket));',
      },
    ],
    fails: /data race/,
    preemptions: 2,
  },
  {
    id: 'reclaim-munmap/no-leaf-lock',
    model: 'reclaim-munmap',
    why: 'Reclaim takes the PTE away without the leaf’s lock.',
    edits: [
      {
        file: RECLAIM,
        find: 'const leaf = this._tables.lockLeaf(this._tables.tableOf(entry));',
        replace: 'const leaf = this._tables.tableOf(entry) as never;',
      },
      { file: RECLAIM, find: '      this._tables.unlockLeaf(leaf);\n', replace: '' },
    ],
    fails: /data race|entries counted|frame \d+/,
  },
  {
    id: 'copy-and-read/page-lock-shared',
    model: 'copy-and-read',
    why: 'A private copy is made from a page that is still read into.',
    edits: notExclusive,
    fails: /unlocks page|not among those|data race/,
  },
  {
    id: 'provide-read/page-lock-shared',
    model: 'provide-read',
    why: 'A page that is brought is used before its bytes are there.',
    edits: notExclusive,
    fails: /unlocks page|not among those|data race/,
  },
  {
    id: 'provide-munmap/not-compared',
    model: 'provide-munmap',
    why: 'Bytes that were read before are put into the cache without a look whether the file is still mapped there.',
    edits: [
      {
        file: 'src/fault/absent.ts',
        find: '      if (!mapsStill(f, vma, vpn, pages)) return; // the next fault says what is there now\n',
        replace: '',
      },
    ],
    fails: /another one’s bytes|not among those|Oops|frame \d+|no end/,
  },
  {
    id: 'provide-munmap/no-reference',
    model: 'provide-munmap',
    why: 'The VMA is not named in the slot while its file’s page is brought: the file may go meanwhile.',
    edits: [
      {
        file: 'src/fault/absent.ts',
        find: 'f.protocol.sleep(k, mm, vma, () => k.files.provide(pages.mapping, pages.index, bytes));',
        replace: 'k.rcu.outside(() => k.files.provide(pages.mapping, pages.index, bytes));',
      },
    ],
    fails: /another one’s bytes|not among those|Oops|frame \d+|no end/,
  },
  {
    id: 'read-ahead/page-lock-shared',
    model: 'read-ahead',
    why: 'A page that was read ahead is used before its bytes are there.',
    edits: notExclusive,
    fails: /unlocks page|not among those|data race/,
  },
];
