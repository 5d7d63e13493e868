/** TLB hits against the same loops over a raw Int32Array of the same size. Nanoseconds per access. */
import {
  type Accessor,
  createMachine,
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  MiB,
  PROT_READ,
  PROT_WRITE,
  type Space,
} from '../src/node.ts';
import type { SoloResult } from './solo.worker.ts';

/** A quarter of what the TLB reaches. */
const SET = 1 * MiB;
const WORDS = SET / 4;
const PASSES = 16;
const SINGLE_PASSES = 2;
const WARM_UP_ROUNDS = 6;
/** The upper bits of the generator choose one of WORDS words. */
const SHIFT = 14;

export function measureTlb(rounds: number): SoloResult {
  const machine = createMachine({ memory: 16 * MiB });
  const space = machine.createSpace();
  const at = space.mmap({ length: SET, prot: PROT_READ | PROT_WRITE, flags: MAP_PRIVATE | MAP_ANONYMOUS });
  const raw = new Int32Array(new SharedArrayBuffer(SET));
  space.run((memory) => {
    for (let i = 0; i < WORDS; i++) {
      raw[i] = i * 7;
      memory.store32(at + i * 4, i * 7);
    }
  });
  // The compiler knows this array: the fastest raw loop that we have found.
  const bestRaw = (passes: number): number => {
    let sum = 0;
    for (let pass = 0; pass < passes; pass++) {
      for (let i = 0; i < WORDS; i++) sum = (sum + (raw[i] as number)) | 0;
    }
    return sum;
  };
  const sides = {
    'tlb.hit.sequential': [() => inRun(space, at, sequential), () => again(PASSES, () => rawSequential(raw)), PASSES],
    'tlb.hit.sequential.best-raw': [() => inRun(space, at, sequential), () => bestRaw(PASSES), PASSES],
    'tlb.hit.random': [() => inRun(space, at, random), () => again(PASSES, () => rawRandom(raw)), PASSES],
    'tlb.hit.single-call': [
      () => again(SINGLE_PASSES, () => single(space, at)),
      () => again(SINGLE_PASSES, () => rawSequential(raw)),
      SINGLE_PASSES,
    ],
    'tlb.store.sequential': [() => inRun(space, at, storeAll), () => again(PASSES, () => rawStoreAll(raw)), PASSES],
  } as const;
  const result: SoloResult = {};
  for (const [name, [ours, theirs, passes]] of Object.entries(sides)) {
    result[name] = inTurn(ours, theirs, passes, rounds);
  }
  machine.close();
  return result;
}

function inTurn(ours: () => number, theirs: () => number, passes: number, rounds: number): SoloResult[string] {
  const out = { ours: [] as number[], theirs: [] as number[] };
  for (let i = -WARM_UP_ROUNDS; i < rounds; i++) {
    const a = timed(ours, passes);
    const b = timed(theirs, passes);
    if (a.sum !== b.sum) throw new Error(`the loops disagree: ${a.sum} and ${b.sum}`);
    if (i < 0) continue;
    out.ours.push(a.nanoseconds);
    out.theirs.push(b.nanoseconds);
  }
  return out;
}

function timed(loop: () => number, passes: number): { sum: number; nanoseconds: number } {
  const start = performance.now();
  const sum = loop();
  return { sum, nanoseconds: ((performance.now() - start) * 1e6) / (passes * WORDS) };
}

function inRun(space: Space, at: number, pass: (memory: Accessor, at: number) => number): number {
  return space.run((memory) => again(PASSES, () => pass(memory, at)));
}

function again(passes: number, pass: () => number): number {
  let sum = 0;
  for (let i = 0; i < passes; i++) sum = (sum + pass()) | 0;
  return sum;
}

/*
 * One pass each, and the limit a local: in a nest of loops the compiler keeps the sum as a tagged value, and to it a bundled
 * module's constant is a variable. Either would double the time of a raw loop and flatter us.
 */

function sequential(memory: Accessor, at: number): number {
  const words = WORDS;
  let sum = 0;
  for (let i = 0; i < words; i++) sum = (sum + memory.load32(at + i * 4)) | 0;
  return sum;
}

function rawSequential(raw: Int32Array): number {
  const words = WORDS;
  let sum = 0;
  for (let i = 0; i < words; i++) sum = (sum + (raw[i] as number)) | 0;
  return sum;
}

function random(memory: Accessor, at: number): number {
  const words = WORDS;
  let sum = 0;
  let seed = 1;
  for (let i = 0; i < words; i++) {
    seed = (Math.imul(seed, 1664525) + 1013904223) | 0;
    sum = (sum + memory.load32(at + (seed >>> SHIFT) * 4)) | 0;
  }
  return sum;
}

function rawRandom(raw: Int32Array): number {
  const words = WORDS;
  let sum = 0;
  let seed = 1;
  for (let i = 0; i < words; i++) {
    seed = (Math.imul(seed, 1664525) + 1013904223) | 0;
    sum = (sum + (raw[seed >>> SHIFT] as number)) | 0;
  }
  return sum;
}

function single(space: Space, at: number): number {
  const words = WORDS;
  let sum = 0;
  for (let i = 0; i < words; i++) sum = (sum + space.load32(at + i * 4)) | 0;
  return sum;
}

function storeAll(memory: Accessor, at: number): number {
  const words = WORDS;
  for (let i = 0; i < words; i++) memory.store32(at + i * 4, i * 7);
  return memory.load32(at + 4 * (words - 1));
}

function rawStoreAll(raw: Int32Array): number {
  const words = WORDS;
  for (let i = 0; i < words; i++) raw[i] = i * 7;
  return raw[words - 1] as number;
}
