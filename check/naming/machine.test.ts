import { describe, expect, it } from 'vitest';
import { createMachine, MAP_ANONYMOUS, MAP_PRIVATE, PAGE_SIZE, PROT_READ, PROT_WRITE } from '../../src/index.ts';
import { P_LOCK } from '../../src/memory/page.layout.ts';
import { computeRegions } from '../../src/memory/regions.ts';
import { MM_GENERATION, MM_RING, RING_ENTRY_WORDS, RING_PAGES } from '../../src/paging/mm.layout.ts';
import { C_REF_VMA, C_SLOT, cpuSlot, EPOCH, FRAME_LOCK } from '../../src/sync/control.layout.ts';
import { V_DETACHED } from '../../src/vma/vma.layout.ts';
import { describeFrames, describeMachine, describeValues } from './machine.ts';

describe('names of words', () => {
  const machine = createMachine({ memory: 64 * PAGE_SIZE });
  const space = machine.createSpace();
  const at = space.mmap({ length: 4 * PAGE_SIZE, prot: PROT_READ | PROT_WRITE, flags: MAP_PRIVATE | MAP_ANONYMOUS });
  space.store32(at, 1);
  const memory = machine.handle.control as SharedArrayBuffer;
  const nameOf = describeMachine(memory);
  const word = (index: number): string => nameOf(index * 4);
  const k = machine.kernel;
  const mm = space.handle.space;

  it('are record and field', () => {
    expect(word(EPOCH)).toBe('epoch');
    expect(word(FRAME_LOCK)).toBe('frameLock');
    expect(word(cpuSlot(2) + C_SLOT)).toBe('cpu 2 .slot');
    expect(word(cpuSlot(1) + C_REF_VMA)).toBe('cpu 1 .refVma');
    expect(word(mm + MM_GENERATION)).toBe('space 0 .generation');
    expect(word(mm + MM_RING + RING_ENTRY_WORDS + RING_PAGES)).toBe('space 0 .ring[1].pages');
    expect(word(k.frames.pageOf(5 as never) + P_LOCK)).toBe('page 5 .lock');
    const leaf = k.tables.leafFor(mm as never, (at / PAGE_SIZE) as never);
    expect(word(k.tables.entries(leaf) + 7)).toMatch(/^table \d+ \.pte\[7\]$/);
    const v = k.tree.find(k.words[mm + 16] as never, (at / PAGE_SIZE) as never);
    expect(word(v + V_DETACHED)).toMatch(/^VMA \d+ \.detached$/);
    expect(describeFrames(12 * PAGE_SIZE + 64)).toBe('frame 12 +64');
  });

  it('say what values mean', () => {
    const textOf = describeValues(memory);
    const v = k.tree.find(k.words[mm + 16] as never, (at / PAGE_SIZE) as never);
    const leaf = k.tables.leafFor(mm as never, (at / PAGE_SIZE) as never);
    const pte = k.tables.entries(leaf) + ((at / PAGE_SIZE) % 512);
    expect(textOf((v + V_DETACHED) * 4, 3)).toBe('remapped');
    expect(textOf(pte * 4, k.words[pte] as number)).toMatch(/^pfn \d+ present write accessed dirty$/);
    expect(textOf(pte * 4, 0)).toBe('empty');
    expect(textOf(FRAME_LOCK * 4, 0)).toBe('free');
    expect(textOf(FRAME_LOCK * 4, 0x103)).toBe('cpu 2, waited for');
    expect(textOf(v * 4, 0x204)).toBe('RETIRED cpu 1');
    expect(textOf((cpuSlot(0) + C_SLOT) * 4, 7)).toBe('epoch 6');
    expect(textOf((mm + 16) * 4, k.words[mm + 16] as number)).toMatch(/^tree node \d+$/);
    expect(textOf(EPOCH * 4, 6)).toBe(undefined);
  });

  it('are there for every word, and differ within a record', () => {
    const regions = computeRegions(64);
    const last = regions.chunks + 3 * 4096;
    let bad = 0;
    const seen = new Map<string, number>();
    let clashes = 0;
    for (let i = 0; i < last; i++) {
      const name = word(i);
      if (!/^[a-zA-Z]/.test(name)) bad++;
      if (name.startsWith('lockdep')) continue;
      if (seen.has(name)) clashes++;
      seen.set(name, i);
    }
    expect(bad).toBe(0);
    expect(clashes).toBe(0);
  });
});
