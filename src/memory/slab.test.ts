import { describe, expect, test } from 'vitest';
import { bareMachine } from '../../test/kernel.ts';
import { VmError } from '../base/errors.ts';
import { MAX_CPUS } from '../base/limits.ts';
import { MAGAZINE } from '../base/tunables.ts';
import type { Kernel } from '../space/kernel.ts';
import { ARENA_BUMP, TABLE_BUMP } from '../sync/control.layout.ts';
import { LIVE, OWNED, R_STATE, stateKind, stateTag } from './ownership.ts';
import { CHUNK_WORDS } from './regions.layout.ts';
import { ARENA_RECORD_WORDS, promisedChunks, promisedTables } from './regions.ts';
import { arenaSource, type ChunkSource, regionSource, Slab } from './slab.ts';

const KIND = 7;
const WORDS = 16;

/** A slab over the text slab's kind-less neighbour: `allowed` records in all. */
function limited(first: number, allowed: number): ChunkSource {
  let carved = 0;
  return {
    carve() {
      if (carved >= allowed) return undefined;
      const count = Math.min(4, allowed - carved);
      carved += count;
      return { first: first + (carved - count) * WORDS, count };
    },
    forEach(visit) {
      for (let i = 0; i < carved; i++) visit(first + i * WORDS);
    },
  };
}

describe('a slab', () => {
  test('gives each record once, of the right size, and says ENOMEM when there is none, with nothing held', () => {
    const { kernel, cpu } = bareMachine();
    const slab = new Slab(cpu, KIND, 'test', WORDS, limited(kernel.regions.chunks, 10));
    const got = Array.from({ length: 10 }, () => slab.alloc());
    expect(new Set(got).size).toBe(10);
    expect([...got].sort((a, b) => a - b).every((record, i) => record === kernel.regions.chunks + i * WORDS)).toBe(
      true,
    );
    for (let i = 0; i < 2; i++) {
      expect(() => slab.alloc()).toThrow(VmError);
      expect(() => slab.alloc()).toThrow(/ENOMEM: no room for another test record/);
      expect(cpu.heldDepth).toBe(0);
    }
    expect(slab.census()).toEqual({ live: 0, owned: 10, retired: 0, free: 0 });
    slab.free(got[3] as number);
    expect(slab.alloc()).toBe(got[3]);
  });

  test('reserves: so many allocations cannot fail, and a reserve that fails says so before', () => {
    const { kernel, cpu } = bareMachine();
    const slab = new Slab(cpu, KIND, 'test', WORDS, limited(kernel.regions.chunks, 6));
    slab.reserve(6);
    for (let i = 0; i < 6; i++) slab.alloc();
    expect(() => slab.reserve(1)).toThrow(/ENOMEM/);
    const other = new Slab(cpu, KIND + 1, 'other', WORDS, limited(kernel.regions.chunks + 4096, 6));
    expect(() => other.reserve(7)).toThrow(/ENOMEM/);
    expect(other.census().free).toBe(6);
  });

  test('follows a record from owned to live to retired to free, and counts it', () => {
    const { kernel, cpu, words } = bareMachine();
    const slab = kernel.slabs.text;
    const record = slab.alloc();
    const state = (): number => words[record + R_STATE] as number;
    expect([stateKind(state()), stateTag(state())]).toEqual([OWNED, cpu.tag]);
    slab.publish(record);
    expect(stateKind(state())).toBe(LIVE);
    expect(slab.census()).toMatchObject({ live: 1, owned: 0, retired: 0 });
    slab.own(record);
    expect(slab.census()).toMatchObject({ live: 0, owned: 1 });
    slab.markRetired(record);
    expect(slab.census()).toMatchObject({ retired: 1, owned: 0 });
    slab.free(record);
    expect(slab.census()).toMatchObject({ live: 0, owned: 0, retired: 0 });
  });

  test('finds a record that is freed twice', () => {
    const { kernel } = bareMachine();
    const record = kernel.slabs.vma.alloc();
    kernel.slabs.vma.free(record);
    expect(() => kernel.slabs.vma.free(record)).toThrow(/VMA \d+ freed twice/);
    kernel.slabs.vma.flush();
    expect(() => kernel.slabs.vma.free(record)).toThrow(/freed twice/);
  });

  test('passes records from cpu to cpu through its list', () => {
    const { kernel, cpu, another } = bareMachine();
    const source = limited(kernel.regions.chunks, 100);
    const mine = new Slab(cpu, KIND, 'test', WORDS, source);
    const theirs = new Slab(another().cpu, KIND, 'test', WORDS, source);
    const got = Array.from({ length: 100 }, () => mine.alloc());
    expect(() => theirs.alloc()).toThrow(/ENOMEM/);
    for (const record of got) mine.free(record);
    mine.flush();
    expect(new Set(Array.from({ length: 100 }, () => theirs.alloc()))).toEqual(new Set(got));
  });

  test('takes over what a dead cpu had in its hands, and nothing else', () => {
    const { kernel, cpu, another } = bareMachine();
    const dead = another().cpu;
    const source = limited(kernel.regions.chunks, 40);
    const mine = new Slab(cpu, KIND, 'test', WORDS, source);
    const theirs = new Slab(dead, KIND, 'test', WORDS, source);
    const kept = mine.alloc();
    const [owned, reachable, retired, live] = [1, 2, 3, 4].map(() => theirs.alloc()) as [
      number,
      number,
      number,
      number,
    ];
    theirs.markRetired(retired);
    theirs.publish(live);
    const again: number[] = [];
    mine.reap(
      dead.tag,
      (record) => record === reachable,
      (record) => {
        again.push(record);
        mine.markRetired(record);
      },
    );
    expect(again).toEqual([retired]);
    expect(mine.census()).toMatchObject({ live: 2, owned: 1, retired: 1 });
    mine.free(kept);
    const rest = Array.from({ length: 37 }, () => mine.alloc());
    expect(rest).toContain(owned);
    expect(() => mine.alloc()).toThrow(/ENOMEM/);
  });
});

describe('records that idle cpus keep in their magazines', () => {
  /** As many as can be had, at most `limit`. */
  function count(slab: Slab, limit: number): number {
    for (let taken = 0; taken < limit; taken++) {
      try {
        slab.alloc();
      } catch (error) {
        expect(error).toMatchObject({ code: 'ENOMEM' });
        return taken;
      }
    }
    return limit;
  }

  /** All other cpus, each with as many records of every kind as it may keep. */
  function idle(another: () => Kernel): void {
    for (const { slabs } of Array.from({ length: MAX_CPUS - 1 }, another)) {
      for (const slab of Object.values(slabs) as Slab[]) {
        const got = Array.from({ length: MAGAZINE }, () => slab.alloc());
        for (const record of got) slab.free(record);
      }
    }
  }

  test('do not stand in the way of as many tables as the machine promises', () => {
    const { kernel, another } = bareMachine(128);
    idle(another);
    expect(count(kernel.slabs.table, promisedTables(128))).toBe(promisedTables(128));
  });

  test('do not stand in the way of as many records of the arena as the machine promises', () => {
    const { kernel, another } = bareMachine(128);
    idle(another);
    const promised = promisedChunks(128) * Math.floor(CHUNK_WORDS / kernel.slabs.vma.recordWords);
    expect(count(kernel.slabs.vma, promised)).toBe(promised);
  });

  test('are allowed for in full', () => {
    const { slabs } = bareMachine().kernel;
    const arena = (Object.values(slabs) as Slab[]).filter((slab) => slab !== slabs.table);
    expect(arena.reduce((sum, slab) => sum + slab.recordWords, 0)).toBeLessThanOrEqual(ARENA_RECORD_WORDS);
    for (const slab of arena) expect(CHUNK_WORDS % slab.recordWords, slab.name).toBe(0);
  });
});

describe('chunk sources', () => {
  test('of the arena keep their kind for ever, and end', () => {
    const { kernel, cpu, words } = bareMachine();
    const source = arenaSource(cpu, kernel.regions, KIND, 100);
    const first = source.carve();
    expect(first).toEqual({ first: expect.any(Number), count: 40 });
    const seen: number[] = [];
    source.forEach((record) => {
      seen.push(record);
    });
    expect(seen).toHaveLength(40);
    expect(seen[0]).toBe(first?.first);
    arenaSource(cpu, kernel.regions, KIND + 1, 100).forEach(() => {
      expect.fail('another kind’s record');
    });
    words[ARENA_BUMP] = kernel.regions.chunkCount;
    expect(source.carve()).toBeUndefined();
  });

  test('of a region end with it, and go on as before afterwards', () => {
    const { cpu, words } = bareMachine();
    const bump = TABLE_BUMP + 1;
    const source = regionSource(cpu, bump, 1000, 20, 8);
    expect([source.carve(), source.carve()]).toEqual([
      { first: 1000, count: 16 },
      { first: 1128, count: 4 },
    ]);
    expect([source.carve(), source.carve()]).toEqual([undefined, undefined]);
    let count = 0;
    source.forEach(() => {
      count++;
    });
    expect([count, words[bump]]).toEqual([20, 32]);
  });
});
