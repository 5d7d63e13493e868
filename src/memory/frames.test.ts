import { describe, expect, test } from 'vitest';
import { bareMachine, leave } from '../../test/kernel.ts';
import type { Pfn } from '../base/brands.ts';
import { C_FRAME_TAKEN, FRAME_FREE, FRAME_LOCK } from '../sync/control.layout.ts';
import { CLASS_FRAMES } from '../sync/lock-classes.ts';
import { spinTryLock } from '../sync/spinlock.ts';
import { LIVE, OWNED, RETIRED, stateKind, stateTag } from './ownership.ts';
import { P_LINK, P_MAPPING, P_PINS, P_RMAP_MORE, P_RMAP_SLOT, P_STATE } from './page.layout.ts';

function all(alloc: () => Pfn): Pfn[] {
  const out: Pfn[] = [];
  for (let pfn = alloc(); pfn !== 0; pfn = alloc()) out.push(pfn);
  return out;
}

describe('frames', () => {
  test('are handed out each once, never frame 0, and 0 says that there is none', () => {
    const { kernel } = bareMachine(128);
    const got = all(() => kernel.frames.alloc());
    expect(got).toHaveLength(127);
    expect(new Set(got).size).toBe(127);
    expect(Math.min(...got)).toBe(1);
    expect(kernel.frames.alloc()).toBe(0);
    expect(kernel.frames.census()).toMatchObject({ owned: 127, live: 0, free: 0 });
    for (const pfn of got) kernel.frames.free(pfn);
    expect(all(() => kernel.frames.alloc()).sort((a, b) => a - b)).toEqual(got.sort((a, b) => a - b));
  });

  test('that one cpu frees another can have, but for what the first keeps', () => {
    const { kernel, another } = bareMachine(128);
    const other = another();
    const got = all(() => kernel.frames.alloc());
    expect(other.frames.alloc()).toBe(0);
    for (const pfn of got) kernel.frames.free(pfn);
    expect(all(() => other.frames.alloc()).length).toBeGreaterThan(120);
    kernel.frames.flush();
    const rest = all(() => other.frames.alloc()).length;
    expect(rest).toBeGreaterThanOrEqual(0);
    expect(kernel.frames.census().owned).toBe(127);
  });

  test('say in their state whose they are', () => {
    const { kernel, cpu, words } = bareMachine();
    const pfn = kernel.frames.alloc();
    const page = kernel.frames.pageOf(pfn);
    const state = (): number => words[page + P_STATE] as number;
    expect([stateKind(state()), stateTag(state())]).toEqual([OWNED, cpu.tag]);
    kernel.frames.markLive(page);
    expect([stateKind(state()), stateTag(state())]).toEqual([LIVE, 0]);
    kernel.frames.markRetired(page);
    expect([stateKind(state()), stateTag(state())]).toEqual([RETIRED, cpu.tag]);
    expect(kernel.frames.pfnOf(page)).toBe(pfn);
    kernel.frames.free(pfn);
  });

  test('that are freed twice, or were never allocated, or are frame 0, are an Oops', () => {
    const { kernel } = bareMachine();
    const pfn = kernel.frames.alloc();
    kernel.frames.free(pfn);
    expect(() => kernel.frames.free(pfn)).toThrow(/freed in state/);
    expect(() => kernel.frames.free(100 as Pfn)).toThrow(/freed in state/);
    expect(() => kernel.frames.free(0 as Pfn)).toThrow(/freed in state/);
  });

  test.each([
    ['in a file', P_MAPPING],
    ['mapped', P_RMAP_MORE],
    ['pinned', P_PINS],
  ])('that are still %s cannot be freed', (_name, word) => {
    const { kernel, words } = bareMachine();
    const pfn = kernel.frames.alloc();
    const page = kernel.frames.pageOf(pfn);
    words[page + word] = 1;
    expect(() => kernel.frames.free(pfn)).toThrow(/still in a file, mapped or pinned/);
    words[page + word] = 0;
    kernel.frames.free(pfn);
  });

  test('are zeroed, copied, and zeroed from a byte on', () => {
    const { kernel, bytes } = bareMachine();
    const [a, b] = [kernel.frames.alloc(), kernel.frames.alloc()];
    const of = (pfn: Pfn): Uint8Array => bytes.subarray(pfn * 4096, (pfn + 1) * 4096);
    of(a).fill(7);
    of(b).fill(9);
    kernel.frames.copy(b, a);
    expect(of(b).every((byte) => byte === 7)).toBe(true);
    kernel.frames.zeroTail(b, 100);
    expect([of(b)[99], of(b)[100], of(b)[4095]]).toEqual([7, 0, 0]);
    kernel.frames.zero(a);
    expect(of(a).every((byte) => byte === 0)).toBe(true);
    expect(of(b)[0]).toBe(7);
  });

  test('of a dead cpu come back: cached, owned and retired ones, live ones stay', () => {
    const { kernel, another, cpu } = bareMachine(128);
    const dead = another();
    const mine = kernel.frames.alloc();
    const [owned, live, retired, installed] = [1, 2, 3, 4].map(() => dead.frames.alloc()) as [Pfn, Pfn, Pfn, Pfn];
    dead.frames.markLive(dead.frames.pageOf(live));
    dead.frames.markRetired(dead.frames.pageOf(retired));
    const again: number[] = [];
    const found = kernel.frames.reap(
      dead.cpu.tag,
      (page) => page === kernel.frames.pageOf(installed),
      (page) => {
        again.push(page);
        kernel.frames.markRetired(page);
      },
    );
    expect([found, again]).toEqual([3, [kernel.frames.pageOf(retired)]]);
    expect(kernel.frames.census()).toMatchObject({ live: 2, owned: 1, retired: 1 });
    kernel.frames.free(owned === mine ? owned : mine);
    kernel.frames.flush();
    expect(spinTryLock(cpu, FRAME_LOCK, CLASS_FRAMES)).toBe(true);
  });

  test('of a pool whose owner died in the middle of a change are listed anew by their states', () => {
    const { kernel, another, words } = bareMachine(128);
    const dead = another();
    const got = all(() => kernel.frames.alloc());
    for (const pfn of got) kernel.frames.free(pfn);
    kernel.frames.flush();
    spinTryLock(dead.cpu, FRAME_LOCK, CLASS_FRAMES);
    words[FRAME_FREE] = 12345;
    kernel.frames.reapLock(dead.cpu.tag);
    expect(words[FRAME_FREE]).toBe(127);
    expect(all(() => kernel.frames.alloc())).toHaveLength(127);
  });

  test('that idle cpus keep are stolen before there is ENOMEM, and each is handed out once', () => {
    const { kernel, another } = bareMachine(1024);
    const idle = Array.from({ length: 8 }, another);
    for (const { frames } of idle) frames.free(frames.alloc());
    const got = all(() => kernel.frames.alloc());
    expect(got.length).toBeLessThan(1023);
    for (let left = 1023 - got.length; left > 0; left--) got.push(kernel.reclaim.obtainFrame());
    expect(new Set(got).size).toBe(1023);
    expect(() => kernel.reclaim.obtainFrame()).toThrow('ENOMEM');
    expect(kernel.frames.census()).toMatchObject({ owned: 1023, free: 0 });
    // The idle cpus' arrays name frames that they no longer have.
    for (const { frames } of idle) expect(frames.alloc()).toBe(0);
    for (const pfn of got) kernel.frames.free(pfn);
    for (const { frames } of [kernel, ...idle]) frames.flush();
    expect(kernel.frames.poolFree()).toBe(1023);
    expect(all(() => kernel.frames.alloc())).toHaveLength(1023);
  });

  test('that were stolen, used and freed to the cpu that still has their old number are not handed out twice', () => {
    const { kernel, another, words } = bareMachine(1024);
    const other = another();
    const first = other.frames.alloc();
    const rest = all(() => kernel.frames.alloc());
    const stolen = new Set<Pfn>();
    for (let pfn = kernel.frames.steal(); pfn !== 0; pfn = kernel.frames.steal()) {
      stolen.add(pfn);
      for (const more of all(() => kernel.frames.alloc())) stolen.add(more);
    }
    expect(stolen.size).toBeGreaterThan(1);
    // They come back to the cpu that they were stolen from: its array has each twice now.
    for (const pfn of stolen) {
      kernel.frames.markLive(kernel.frames.pageOf(pfn));
      other.frames.markRetired(kernel.frames.pageOf(pfn));
      other.frames.free(pfn);
    }
    const again = all(() => other.frames.alloc());
    expect(again.sort((a, b) => a - b)).toEqual([...stolen].sort((a, b) => a - b));
    for (const pfn of [first, ...rest, ...again]) other.frames.free(pfn);
    for (const { frames } of [kernel, other]) frames.flush();
    expect([kernel.frames.poolFree(), words[FRAME_FREE]]).toEqual([1023, 1023]);
  });

  test('of a chain that was freed without Atomics can be stolen once its end is reached', () => {
    const { kernel, another, words } = bareMachine(1024);
    const other = another();
    const chain = [other.frames.alloc(), other.frames.alloc(), other.frames.alloc()];
    all(() => kernel.frames.alloc());
    while (kernel.frames.steal() !== 0) all(() => kernel.frames.alloc());
    chain.forEach((pfn, i) => {
      const page = other.frames.pageOf(pfn);
      const next = chain[i + 1];
      other.frames.markRetired(page);
      words[page + P_LINK] = next === undefined ? 0 : other.frames.pageOf(next);
    });
    for (const [i, pfn] of chain.entries()) {
      expect(kernel.frames.steal(), `before frame ${i} of the chain`).toBe(0);
      other.frames.freeRetired(other.frames.pageOf(pfn));
    }
    const got = [kernel.frames.steal(), ...all(() => kernel.frames.alloc())];
    expect(got.sort((a, b) => a - b)).toEqual(chain.sort((a, b) => a - b));
  });

  test('are all back in the pool when a cpu detaches', () => {
    const { kernel, another } = bareMachine(128);
    const other = another();
    other.frames.free(other.frames.alloc());
    other.frames.flush();
    leave(other);
    expect(kernel.frames.poolFree()).toBe(127);
    expect(kernel.frames.ofRmapLock(kernel.frames.pageOf(3 as Pfn) + 9)).toBe(kernel.frames.pageOf(3 as Pfn));
    expect(kernel.frames.ofRmapLock(kernel.frames.pageOf(3 as Pfn) + P_RMAP_SLOT)).toBe(0);
  });

  test('that are another one’s by now leave no note of theft', () => {
    const { kernel, cpu, words } = bareMachine();
    const pfn = kernel.frames.alloc();
    kernel.frames.free(pfn);
    const cache = kernel.frames as unknown as { _take(pfn: Pfn, seen: number): boolean };
    cache._take(pfn, (words[kernel.frames.pageOf(pfn) + P_STATE] as number) ^ 0x4000_0000);
    expect(words[cpu.base + C_FRAME_TAKEN]).toBe(0);
  });
});
