/** Wrong versions of the allocators. */
import type { Mutant } from './mutant.ts';

export const memoryMutants: readonly Mutant[] = [
  {
    id: 'slab/refill-without-lock',
    model: 'slab',
    why: 'A magazine is refilled without the slab’s lock.',
    edits: [
      {
        file: 'src/memory/slab.ts',
        find: '    spinLock(this._cpu, this._line, CLASS_SLAB);\n    try {',
        replace: '    try {',
      },
      { file: 'src/memory/slab.ts', find: '      spinUnlock(this._cpu, this._line);\n', replace: '' },
    ],
    fails: /data race|two owners|freed twice/,
  },
  {
    id: 'slab/head-not-moved',
    model: 'slab',
    why: 'A record is taken off the free list without moving its head.',
    edits: [
      {
        file: 'src/memory/slab.ts',
        find: '        poke(words, this._line + LIST_HEAD, peek(words, head + R_LINK));\n',
        replace: '',
      },
    ],
    fails: /two owners|freed twice|are owned/,
  },
  {
    id: 'frames/flush-without-lock',
    model: 'frames',
    why: 'Frames go back to the pool without its lock.',
    edits: [
      {
        file: 'src/memory/frame-cache.ts',
        find: '    spinLock(this._cpu, FRAME_LOCK, CLASS_FRAMES);\n    let head = peek(words, FRAME_HEAD);\n    let freed = 0;',
        replace: '    let head = peek(words, FRAME_HEAD);\n    let freed = 0;',
      },
      {
        file: 'src/memory/frame-cache.ts',
        find: 'peek(words, FRAME_FREE) + freed, POOL_HINT);\n    spinUnlock(this._cpu, FRAME_LOCK);',
        replace: 'peek(words, FRAME_FREE) + freed, POOL_HINT);',
      },
    ],
    fails: /data race|two owners|frames are/,
  },
  {
    id: 'frames/state-not-written',
    model: 'frames',
    why: 'A frame that is given out stays marked as cached: a reaper or a thief would give it away again.',
    edits: [
      {
        file: 'src/memory/frame-cache.ts',
        find: '    if (cas(words, this.pageOf(pfn) + P_STATE, seen, this._owned) === seen) {',
        replace: '    if (load(words, this.pageOf(pfn) + P_STATE) === seen) {',
      },
    ],
    fails: /frames are owned|freed in state/,
  },
  {
    id: 'frames-stolen/taken-by-poke',
    model: 'frames-stolen',
    why: 'A cpu takes a frame out of its cache by a look and a store: a thief may have been there in between.',
    edits: [
      {
        file: 'src/memory/frame-cache.ts',
        find: '    if (cas(words, this.pageOf(pfn) + P_STATE, seen, this._owned) === seen) {',
        replace:
          '    if (load(words, this.pageOf(pfn) + P_STATE) === seen) {\n      store(words, this.pageOf(pfn) + P_STATE, this._owned);',
      },
    ],
    fails: /data race|two owners|frames are/,
  },
  {
    id: 'frames-stolen/without-lock',
    model: 'frames-stolen',
    why: 'A thief does not take the pool’s lock: a flush that has just seen the frame as its own puts it into the pool as well.',
    edits: [
      {
        file: 'src/memory/frame-cache.ts',
        find: '      spinLock(this._cpu, FRAME_LOCK, CLASS_FRAMES);\n      stolen = this._stealNext(STEAL_STRIDE, total);\n      spinUnlock(this._cpu, FRAME_LOCK);',
        replace: '      stolen = this._stealNext(STEAL_STRIDE, total);',
      },
    ],
    fails: /data race|two owners|frames are/,
  },
  {
    id: 'frames-stolen/kept-can-be-stolen',
    model: 'frames-stolen',
    why: 'A frame that was freed without Atomics can be stolen at once: what its cpu did with it is not ordered before the thief.',
    edits: [
      {
        file: 'src/memory/frame-cache.ts',
        find: '      if (stateKind(state) !== CACHED || state === this._cached) continue;',
        replace: '      if (stateKind(state) !== CACHED && stateKind(state) !== KEPT) continue;',
      },
    ],
    fails: /data race/,
  },
];
