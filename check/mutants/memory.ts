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
        file: 'src/memory/frames.ts',
        find: '    const { words } = this._cpu;\n    spinLock(this._cpu, FRAME_LOCK, CLASS_FRAMES);\n    for (let i = 0; i < count; i++) {',
        replace: '    const { words } = this._cpu;\n    for (let i = 0; i < count; i++) {',
      },
      {
        file: 'src/memory/frames.ts',
        find: 'peek(words, FRAME_FREE) + count, POOL_HINT);\n    spinUnlock(this._cpu, FRAME_LOCK);',
        replace: 'peek(words, FRAME_FREE) + count, POOL_HINT);',
      },
    ],
    fails: /data race|two owners|frames are/,
  },
  {
    id: 'frames/state-not-written',
    model: 'frames',
    why: 'A frame that goes to a cpu’s cache stays marked as free: a reaper would give it away again.',
    edits: [
      {
        file: 'src/memory/frames.ts',
        find: "    poke(this._cpu.words, page + P_STATE, ownedBy(OWNED, this._cpu.tag));\n    this._cpu.count(COUNTER['frames.allocated']);",
        replace: "    this._cpu.count(COUNTER['frames.allocated']);",
      },
    ],
    fails: /frames are owned|freed in state/,
  },
];
