/** Wrong versions of layout changes and faults. The names in brackets are the checks of the design's abstract models. */
import type { Mutant } from './mutant.ts';

const UNMAP = 'src/space/unmap.ts';
const COMMIT = 'src/fault/commit.ts';

const notDetached: Mutant['edits'] = [
  { file: UNMAP, find: '  detach(k, removal.inside, DETACHED_UNMAPPED);\n', replace: '' },
];
const detachedNotChecked: Mutant['edits'] = [
  {
    file: COMMIT,
    find: 'if (vmas.detachedReason(f.vma) === 0) return true;',
    replace: 'if (f.vma !== NONE) return true;',
  },
];
const pteNotCompared: Mutant['edits'] = [
  { file: COMMIT, find: 'load(words, entryIn(f, leaf)) !== seen', replace: 'load(words, entryIn(f, leaf)) === -1' },
];
const noBumpInZap: Mutant['edits'] = [
  { file: 'src/space/zap.ts', find: '  bumpGeneration(k.cpu, mm, start, end);\n', replace: '' },
];

const publishedFirst: Mutant['edits'] = [
  {
    file: 'src/space/map.ts',
    find: '  detach(k, inside, DETACHED_REMAPPED);\n  zapRange(k, mm, start, end);\n',
    replace: '  detach(k, inside, DETACHED_REMAPPED);\n',
  },
  {
    file: 'src/space/map.ts',
    find: '  announceReplaced(k, mm);\n  clearIntent',
    replace: '  zapRange(k, mm, start, end);\n  announceReplaced(k, mm);\n  clearIntent',
  },
];
const protectNoBump: Mutant['edits'] = [
  { file: 'src/space/protect.ts', find: '  bumpGeneration(k.cpu, mm, start, end);\n', replace: '' },
];
const noMmapLock: Mutant['edits'] = [
  { file: 'src/space/map.ts', find: '  writeLock(k.cpu, mm + MM_MMAP_LOCK);\n', replace: '' },
  { file: 'src/space/map.ts', find: '    writeUnlock(k.cpu, mm + MM_MMAP_LOCK);\n', replace: '' },
];

export const spaceMutants: readonly Mutant[] = [
  {
    id: 'munmap-fault/never-detached',
    model: 'munmap-fault',
    why: 'munmap does not mark the VMA detached [A3]: a fault that looked it up installs a page behind the zap.',
    edits: notDetached,
    fails: /a PTE in a hole|frame \d+ is/,
  },
  {
    id: 'munmap-fault/detached-not-checked',
    model: 'munmap-fault',
    why: 'The fault does not look at `detached` under the leaf lock [A3].',
    edits: detachedNotChecked,
    fails: /a PTE in a hole|frame \d+ is/,
  },
  {
    id: 'munmap-fault/zap-before-detach',
    model: 'munmap-fault',
    why: 'The PTEs are zapped before the VMA is detached: a fault in between installs a page that nobody zaps.',
    edits: [
      { file: UNMAP, find: '  detach(k, removal.inside, DETACHED_UNMAPPED);\n', replace: '' },
      {
        file: UNMAP,
        find: '  commitPrepared(k, mm, removal);\n',
        replace: '  detach(k, removal.inside, DETACHED_UNMAPPED);\n  commitPrepared(k, mm, removal);\n',
      },
    ],
    fails: /a PTE in a hole|frame \d+ is/,
  },
  {
    id: 'munmap-fault/detached-read-plain',
    model: 'munmap-fault',
    why: '`detached` is read without Atomics [A4]: nothing orders the read after the zap.',
    edits: [
      {
        file: 'src/vma/vma-table.ts',
        find: 'return load(this._words, v + V_DETACHED);',
        replace: 'return peek(this._words, v + V_DETACHED);',
      },
    ],
    fails: /data race on .*detached/,
  },
  {
    id: 'munmap-two-faults/detached-not-checked',
    model: 'munmap-two-faults',
    why: 'The same as munmap-fault/detached-not-checked, with two faults.',
    edits: detachedNotChecked,
    fails: /a PTE in a hole|frame \d+ is/,
  },
  {
    id: 'munmap-remap-fault/detached-not-checked',
    model: 'munmap-remap-fault',
    why: 'A fault on the old mapping commits into the new one.',
    edits: detachedNotChecked,
    fails: /a PTE in a hole|frame \d+ is|not among those/,
  },
  {
    id: 'munmap-remap-fault/never-detached',
    model: 'munmap-remap-fault',
    why: 'The old VMA is never marked.',
    edits: notDetached,
    fails: /a PTE in a hole|frame \d+ is|not among those/,
  },
  {
    id: 'fixed-fault/as-munmap',
    model: 'fixed-fault',
    why: 'MAP_FIXED detaches with the reason of munmap: a fault gets a SEGV for an address that is mapped throughout (I3).',
    edits: [
      {
        file: 'src/space/map.ts',
        find: '  detach(k, inside, DETACHED_REMAPPED);',
        replace: '  detach(k, inside, 2 /* unmapped */);',
      },
    ],
    fails: /SEGV_MAPERR/,
  },
  {
    id: 'fixed-fault/no-notify',
    model: 'fixed-fault',
    why: 'Faults that wait for the new mapping are not woken when it is there.',
    edits: [
      {
        file: 'src/space/map.ts',
        find: '  notify(k.words, mm + MM_REPLACED, Number.POSITIVE_INFINITY);',
        replace: '  ',
      },
    ],
    fails: /nobody can go on but by a time limit/,
  },
  {
    id: 'fixed-file/detached-not-checked',
    model: 'fixed-file',
    why: 'A fault on the old VMA commits after the zap: an old page under the new VMA.',
    edits: detachedNotChecked,
    fails: /not among those|frame \d+ is|a PTE/,
  },
  {
    id: 'fixed-then-mmap/sleeps-on-root',
    model: 'fixed-then-mmap',
    why: 'The fault sleeps on the root, outside its section: a root that is used again looks as if nothing had happened.',
    edits: [
      { file: 'src/space/map.ts', find: 'notify(k.words, mm + MM_REPLACED', replace: 'notify(k.words, mm + 16' },
      {
        file: 'src/fault/faulter.ts',
        find: 'wait(k.words, mm + MM_REPLACED, seen, REMAP_WAIT_MS)',
        replace: 'wait(k.words, mm + 16, root, REMAP_WAIT_MS)',
      },
    ],
    fails: /a wake-up was lost/,
  },
  {
    id: 'fixed-then-mmap/no-second-look',
    model: 'fixed-then-mmap',
    why: 'The count is read when the replacement may be over already, and the root is not looked at again.',
    edits: [{ file: 'src/fault/faulter.ts', find: '  if (rootOf(k, mm) !== root) return;\n', replace: '' }],
    fails: /a wake-up was lost/,
  },
  {
    id: 'fixed-write/published-first',
    model: 'fixed-write',
    why: 'The new mapping is published before the old pages are zapped [A5]: the zap takes away what was just written.',
    edits: publishedFirst,
    fails: /is lost|not among those|no end/,
  },
  {
    id: 'mprotect-writer/no-grace-period',
    model: 'mprotect-writer',
    why: 'mprotect returns while a thread may still write through a cached translation (I14).',
    edits: [{ file: 'src/space/protect.ts', find: '    if (request.tightens) k.rcu.synchronize();\n', replace: '' }],
    fails: /not among those/,
  },
  {
    id: 'mprotect-writer/no-bump',
    model: 'mprotect-writer',
    why: 'The generation is not bumped: cached translations stay.',
    edits: protectNoBump,
    fails: /not among those/,
  },
  {
    id: 'mprotect-writer/bumped-first',
    model: 'mprotect-writer',
    why: 'The generation is bumped before the new layout is published: a translation cached in between stays writable.',
    edits: [
      { file: 'src/space/protect.ts', find: '  bumpGeneration(k.cpu, mm, start, end);\n', replace: '' },
      {
        file: 'src/space/protect.ts',
        find: '  underTreeLock(k, mm, (root) => {\n    const plan',
        replace: '  bumpGeneration(k.cpu, mm, start, end);\n  underTreeLock(k, mm, (root) => {\n    const plan',
      },
    ],
    fails: /not among those/,
    preemptions: 3,
  },
  {
    id: 'mprotect-fault/detached-not-checked',
    model: 'mprotect-fault',
    why: 'A fault that holds the old VMA makes the PTE writable while the mapping is read-only [Q1].',
    edits: detachedNotChecked,
    fails: /not among those|writable PTE|is lost/,
  },
  {
    id: 'mprotect-twice/no-grace-period',
    model: 'mprotect-twice',
    why: 'mprotect returns while a fault that found the old VMA is still in its section.',
    edits: [{ file: 'src/space/protect.ts', find: '    if (request.tightens) k.rcu.synchronize();\n', replace: '' }],
    fails: /not among those/,
  },
  {
    id: 'mprotect-split-fault/as-munmap',
    model: 'mprotect-split-fault',
    why: 'Replaced VMAs carry the reason of munmap: a fault in the half that did not change gets a SEGV (I3).',
    edits: [
      {
        file: 'src/vma/tree.ts',
        find: 'this.vmas.markDetached(v, DETACHED_REPLACED);',
        replace: 'this.vmas.markDetached(v, DETACHED_UNMAPPED);',
      },
    ],
    fails: /SEGV_MAPERR|the write is lost/,
  },
  {
    id: 'two-faults-anon/pte-not-compared',
    model: 'two-faults-anon',
    why: 'The PTE is not compared again under the lock: the second fault throws the first one’s page away (I9).',
    edits: pteNotCompared,
    fails: /is lost|frame \d+ is/,
  },
  {
    id: 'two-faults-anon/no-leaf-lock',
    model: 'two-faults-anon',
    why: 'The commit does not hold the leaf’s lock.',
    edits: [
      { file: COMMIT, find: 'const locked = tables.lockLeaf(leaf);', replace: 'const locked = leaf as LockedLeaf;' },
      {
        file: 'src/paging/tables.ts',
        find: '  unlockLeaf(leaf: LockedLeaf): void {\n    spinUnlock(this._cpu, leaf + T_LOCK);',
        replace:
          '  unlockLeaf(leaf: LockedLeaf): void {\n    if (load(this._words, leaf + T_LOCK) !== 0) spinUnlock(this._cpu, leaf + T_LOCK);',
      },
    ],
    fails: /data race|is lost|frame \d+ is|lock/,
  },
  {
    id: 'zero-upgrade/bumped-after',
    model: 'zero-upgrade',
    why: 'The new PTE is set before the generation is bumped [C1]: a reader that was told of the write still uses the zero page.',
    edits: [
      {
        file: 'src/fault/install.ts',
        find: '    k.tables.clearEntry(f.leaf, entry);\n    bumpGeneration(k.cpu, f.mm, f.vpn, (f.vpn + 1) as Vpn);\n',
        replace: '',
      },
      {
        file: 'src/fault/install.ts',
        find: '  k.tables.fillEntry(f.leaf, entry, writablePte(pfn));\n',
        replace:
          '  if (seen === 0) k.tables.fillEntry(f.leaf, entry, writablePte(pfn));\n  else k.tables.setEntry(f.leaf, entry, writablePte(pfn));\n',
      },
      {
        file: 'src/fault/install.ts',
        find: '  const old = ptePfn(seen);\n',
        replace:
          '  const old = ptePfn(seen);\n  if (seen !== 0) bumpGeneration(k.cpu, f.mm, f.vpn, (f.vpn + 1) as Vpn);\n',
      },
    ],
    fails: /not among those/,
    preemptions: 3,
  },
  {
    id: 'zero-upgrade/not-cleared',
    model: 'zero-upgrade',
    why: 'The old PTE is there until the new one replaces it, after the bump [C2]: who walks in between caches the zero page for good.',
    edits: [
      { file: 'src/fault/install.ts', find: '    k.tables.clearEntry(f.leaf, entry);\n', replace: '' },
      {
        file: 'src/fault/install.ts',
        find: '  k.tables.fillEntry(f.leaf, entry, writablePte(pfn));\n',
        replace:
          '  if (seen === 0) k.tables.fillEntry(f.leaf, entry, writablePte(pfn));\n  else k.tables.setEntry(f.leaf, entry, writablePte(pfn));\n',
      },
    ],
    fails: /not among those/,
    preemptions: 3,
  },
  {
    id: 'zero-upgrade/no-bump',
    model: 'zero-upgrade',
    why: 'The generation is not bumped at all.',
    edits: [
      {
        file: 'src/fault/install.ts',
        find: '    bumpGeneration(k.cpu, f.mm, f.vpn, (f.vpn + 1) as Vpn);\n',
        replace: '',
      },
    ],
    fails: /not among those/,
  },
  {
    id: 'teardown-fault/upper-entry-not-checked',
    model: 'teardown-fault',
    why: 'The commit does not look whether the upper entry still names the leaf (I8): the page goes into a leaf that is gone.',
    edits: [{ file: COMMIT, find: '!tables.isHooked(locked)', replace: 'locked === NONE' }],
    fails: /not among those|is lost|frame \d+ is|freed|wrong leaf/,
  },
  {
    id: 'teardown-fault/used-not-checked',
    model: 'teardown-fault',
    why: 'The leaf is torn down although a page has been installed in it meanwhile.',
    edits: [
      {
        file: 'src/paging/tables.ts',
        find: 'const empty = this.used(leaf) === 0 && this.isHooked(locked);',
        replace: 'const empty = this.isHooked(locked);',
      },
    ],
    fails: /not among those|is lost|frame \d+ is/,
  },
  {
    id: 'leaf-munmap/detached-not-checked',
    model: 'leaf-munmap',
    why: 'The fault does not look at `detached`: it makes a leaf, and a page in it, behind the munmap.',
    edits: detachedNotChecked,
    fails: /a PTE in a hole|frame \d+ is/,
  },
  {
    id: 'leaf-munmap/late-owner',
    model: 'leaf-munmap',
    why: 'A new leaf is made LIVE after it was hooked without a look whether somebody has torn it down already; found by this checker.',
    edits: [
      {
        file: 'src/paging/tables.ts',
        find: 'this._slab.publishUnlocked(table);',
        replace: 'this._slab.publish(table);',
      },
      {
        file: 'src/paging/tables.ts',
        find: 'this._slab.markRetiredUnlocked(leaf);',
        replace: 'this._slab.markRetired(leaf);',
      },
    ],
    fails: /data race on .*state/,
  },
  {
    id: 'run-munmap/freed-at-once',
    model: 'run-munmap',
    why: 'Frames are freed at the zap, not after a grace period (I6).',
    edits: [
      {
        file: 'src/space/zap.ts',
        find: '  if (chained > 0) k.rcu.retireChain(RETIRE_FRAME, head, tail, chained);',
        replace:
          '  for (let page = head; chained > 0; chained--) {\n    const next = peek(words, page + P_LINK) as PageRef;\n    k.frames.free(k.frames.pfnOf(page as PageRef));\n    page = next;\n  }',
      },
    ],
    fails: /data race on frame|not among those/,
  },
  {
    id: 'run-munmap/nobody-blocks',
    model: 'run-munmap',
    why: 'A grace period ends although a cpu is in its section.',
    edits: [
      {
        file: 'src/sync/rcu.ts',
        find: 'if ((slot & 1) !== 0 && (((slot & ~1) - tag) | 0) <= 0) return id;',
        replace: 'if (slot === -1) return id;',
      },
    ],
    fails: /data race on|not among those/,
  },
  {
    id: 'run-munmap/no-bump',
    model: 'run-munmap',
    why: 'The zap does not bump the generation: a translation that was cached before the call is used in a later section.',
    edits: noBumpInZap,
    fails: /data race on frame|not among those/,
  },
  {
    id: 'run-munmap/bump-before-detach',
    model: 'run-munmap',
    why: 'The generation is bumped before the VMA is detached: a section that begins in between fills its TLB with what the zap takes away, and the next one uses it.',
    edits: [
      ...noBumpInZap,
      {
        file: UNMAP,
        find: '  detach(k, removal.inside, DETACHED_UNMAPPED);\n',
        replace: '  bumpGeneration(k.cpu, mm, start, end);\n  detach(k, removal.inside, DETACHED_UNMAPPED);\n',
      },
      {
        file: UNMAP,
        find: "import { writeLock, writeUnlock } from '../sync/rwsem.ts';",
        replace:
          "import { bumpGeneration } from '../paging/generation.ts';\nimport { writeLock, writeUnlock } from '../sync/rwsem.ts';",
      },
    ],
    fails: /data race on frame|not among those/,
  },
  {
    id: 'section-entry/generation-before-slot',
    model: 'section-entry',
    why: 'A section loads the generation before it stores its slot [B4]: a retirer sees no section, the section sees no bump.',
    edits: [
      {
        file: 'src/sync/rcu.ts',
        find: '    if (this.depth++ === 0) {\n      this._publish();\n',
        replace:
          '    if (client.sectionDepth === 0) client.revalidate();\n    if (this.depth++ === 0) {\n      this._publish();\n',
      },
      {
        file: 'src/sync/rcu.ts',
        find: '      this._entered.push(client);\n      client.revalidate();',
        replace: '      this._entered.push(client);',
      },
    ],
    fails: /data race on frame|not among those/,
  },
  {
    id: 'run-munmap/stamp-before-range',
    model: 'run-munmap',
    why: 'The ring’s entry is stamped before its range is there [L1]: a reader drops the range of an older change and keeps the stale translation.',
    edits: [
      {
        file: 'src/paging/generation.ts',
        find: '  store(cpu.words, entry + RING_FIRST, start | 0);\n',
        replace:
          '  store(cpu.words, entry + RING_STAMP, generation);\n  store(cpu.words, entry + RING_FIRST, start | 0);\n',
      },
    ],
    fails: /data race on frame|not among those/,
  },
  {
    id: 'run-munmap/generation-read-plain',
    model: 'run-munmap',
    why: 'The generation is read without Atomics on entry [B5].',
    edits: [
      {
        file: 'src/paging/view.ts',
        find: 'const generation = load(this._cpu.words, this.generationIndex); // after',
        replace:
          'const generation = this._cpu.words[0] === 0 ? 0 : peek(this._cpu.words, this.generationIndex); // after',
      },
      {
        file: 'src/paging/view.ts',
        find: "import { load } from '#atomics';",
        replace: "import { load, peek } from '#atomics';",
      },
    ],
    fails: /data race on .*generation/,
  },
  {
    id: 'section-entry/generation-may-be-old',
    model: 'section-entry',
    why: 'The same, marked as if a racing read were meant [B5]: the old value that it may return keeps a stale translation alive.',
    edits: [
      {
        file: 'src/paging/view.ts',
        find: 'const generation = load(this._cpu.words, this.generationIndex); // after',
        replace: "const generation = peekRacy(this._cpu.words, this.generationIndex, 'mutant'); // after",
      },
      {
        file: 'src/paging/view.ts',
        find: "import { load } from '#atomics';",
        replace: "import { load, peekRacy } from '#atomics';",
      },
    ],
    fails: /data race on frame|not among those/,
  },
  {
    id: 'run-two-retirers/plain-walk',
    model: 'run-two-retirers',
    why: 'The generation is not loaded with Atomics after the slot is stored again, the ring is not looked at, and the PTE is read plainly [B3].',
    edits: [
      {
        file: 'src/paging/view.ts',
        find: 'const generation = load(this._cpu.words, this.generationIndex); // after',
        replace: "const generation = peekRacy(this._cpu.words, this.generationIndex, 'mutant'); // after",
      },
      {
        file: 'src/paging/view.ts',
        find: "import { load } from '#atomics';",
        replace: "import { load, peekRacy } from '#atomics';",
      },
      {
        file: 'src/paging/view.ts',
        find: '      catchUp(this._cpu, this.mm, this.tlb, this._filled, generation);',
        replace: '      this.tlb.flush();',
      },
      {
        file: 'src/paging/view.ts',
        find: "import { catchUp } from './generation.ts';\n",
        replace: '',
      },
      {
        file: 'src/access/translate.ts',
        find: '    if (load(this.k.words, this.view.generationIndex) !== this.view.generation)',
        replace: "    if (peekRacy(this.k.words, this.view.generationIndex, 'mutant') !== this.view.generation)",
      },
      {
        file: 'src/access/translate.ts',
        find: '    const pte = load(k.words, entry);',
        replace: "    const pte = peekRacy(k.words, entry, 'mutant');",
      },
      {
        file: 'src/access/translate.ts',
        find: "import { cas, load } from '#atomics';",
        replace: "import { cas, peekRacy } from '#atomics';",
      },
    ],
    fails: /data race on frame|not among those/,
    preemptions: 3,
  },
  {
    id: 'nested-runs/one-space-looks',
    model: 'nested-runs',
    why: 'A quiescent point looks only at the generation of the space that asked for it [B7].',
    edits: [
      {
        file: 'src/sync/rcu.ts',
        find: '    for (const client of this._entered) client.revalidate();\n  }\n\n  /** Leaves all',
        replace: '    this._entered[0]?.revalidate();\n  }\n\n  /** Leaves all',
      },
    ],
    fails: /data race on frame|not among those/,
    preemptions: 3,
  },
  {
    id: 'tighten-inside-run/sections-kept',
    model: 'tighten-inside-run',
    why: 'Who changes the layout and waits for a grace period stays in its own sections [G1]: two such wait for each other.',
    edits: [
      {
        file: 'src/machine/space.ts',
        find: 'this._call(syscall, () => this._k.rcu.outside(call));',
        replace: 'this._call(syscall, call);',
      },
      {
        file: 'src/sync/rcu.ts',
        find: '    const tag = this.startGracePeriod();\n    const was = this.suspend();\n',
        replace: '    const tag = this.startGracePeriod();\n    const was = 0;\n',
      },
    ],
    fails: /Oops.*(section|sleep)|a wake-up was lost|nobody can go on/,
  },
  {
    id: 'dekker/plain-poll',
    model: 'dekker',
    why: 'Atomic accessors poll the generation plainly [C6].',
    edits: [
      {
        file: 'src/access/translate.ts',
        find: '    if (load(this.k.words, this.view.generationIndex) !== this.view.generation)',
        replace: "    if (peekRacy(this.k.words, this.view.generationIndex, 'mutant') !== this.view.generation)",
      },
      {
        file: 'src/access/translate.ts',
        find: "import { cas, load } from '#atomics';",
        replace: "import { cas, load, peekRacy } from '#atomics';",
      },
    ],
    fails: /not among those/,
  },
  {
    id: 'root-lookup/root-read-plain',
    model: 'root-lookup',
    why: 'The root is read without Atomics: nothing orders the records below it.',
    edits: [
      {
        file: 'src/space/layout.ts',
        find: 'return load(k.words, mm + MM_ROOT) as NodeRef;',
        replace: 'return peek(k.words, mm + MM_ROOT) as NodeRef;',
      },
    ],
    fails: /data race on .*root/,
  },
  {
    id: 'root-lookup/no-section',
    model: 'root-lookup',
    why: 'Old nodes are used again at once: a walk finds others in their place.',
    edits: [
      {
        file: 'src/sync/rcu.ts',
        find: 'if ((slot & 1) !== 0 && (((slot & ~1) - tag) | 0) <= 0) return id;',
        replace: 'if (slot === -1) return id;',
      },
    ],
    fails: /data race on|not among those/,
  },
  {
    id: 'private-file-write/pte-not-compared',
    model: 'private-file-write',
    why: 'The PTE is not compared again: a read fault puts the file’s page over the private copy.',
    edits: pteNotCompared,
    fails: /not among those|is lost|frame \d+ is/,
  },
  {
    id: 'munmap-mmap/lock-dropped-early',
    model: 'munmap-mmap',
    why: 'munmap publishes the hole and lets go of mmap_lock before the zap [A7]: it zaps what another thread has mapped there, and a fault there finds the entry zapped without end.',
    edits: [
      {
        file: UNMAP,
        find: '  commitPrepared(k, mm, removal);\n  clearIntent(k.cpu);\n',
        replace: '  writeLock(k.cpu, mm + MM_MMAP_LOCK);\n',
      },
      {
        file: UNMAP,
        find: '  detach(k, removal.inside, DETACHED_UNMAPPED);\n',
        replace:
          '  detach(k, removal.inside, DETACHED_UNMAPPED);\n  commitPrepared(k, mm, removal);\n  clearIntent(k.cpu);\n  writeUnlock(k.cpu, mm + MM_MMAP_LOCK);\n',
      },
    ],
    fails: /is lost|not among those|a PTE|no end/,
  },
  {
    id: 'mmap-mmap/no-mmap-lock',
    model: 'mmap-mmap',
    why: 'mmap does not take mmap_lock: two threads choose the same gap.',
    edits: noMmapLock,
    fails: /not among those/,
  },
  {
    id: 'history-map/no-mmap-lock',
    model: 'history-map',
    why: 'Two mmaps that must not replace anything both find the range free.',
    edits: noMmapLock,
    fails: /not linearizable|live VMAs|Oops|a PTE in a hole/,
  },
  {
    id: 'history-replace/published-first',
    model: 'history-replace',
    why: 'MAP_FIXED zaps the old pages after the new mapping can be used: what a store left there is lost.',
    edits: publishedFirst,
    fails: /not linearizable|no end/,
  },
  {
    id: 'history-protect/no-bump',
    model: 'history-protect',
    why: 'A store with a cached translation succeeds after mprotect to read-only has returned.',
    edits: protectNoBump,
    fails: /not linearizable/,
  },
  {
    id: 'history-three/never-detached',
    model: 'history-three',
    why: 'A fault installs a page behind the zap: a page stays where nothing is mapped.',
    edits: notDetached,
    fails: /not linearizable|a PTE in a hole|frame \d+ is|no end/,
  },
];
