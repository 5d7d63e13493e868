/** What the conformance tests of drivers stand on: files with known bytes, reads that are looked at from all sides. */
import { PAGE_SIZE } from '../../base/limits.ts';
import type { Backing } from '../backing.ts';

/** A driver as its tests need it: makes files with known bytes, and backings of them. */
export interface DriverUnderTest {
  /** Makes a file of just these bytes. The function that it returns makes a new backing of it each time, as for one more thread. */
  file(bytes: Uint8Array): () => Backing;
  /**
   * Likewise, a file of `size` bytes, more than 2^32, that are zero but for the last ones, `end`. For drivers that get such a file cheaply,
   * as the host does with holes.
   */
  sparse?(size: number, end: Uint8Array): () => Backing;
  /** Likewise, a file that can be opened and whose bytes cannot be had. For drivers that can make one. */
  broken?(): () => Backing;
  /** True if `read` throws WouldBlock in this thread, as on a page's main thread. The tests then read by `readAsync`. */
  readonly mustNotBlock?: boolean | undefined;
  /** Removes the files that were made. Runs after each test, with all backings closed. */
  clean?(): void;
}

export interface ConformanceTest {
  readonly name: string;
  /** Rejects, with what was wrong. */
  run(): Promise<void>;
}

/** What a file should hold. */
export interface Content {
  readonly size: number;
  at(position: number, length: number): Uint8Array;
}

export type Open = () => Backing;
export type Test = (driver: DriverUnderTest) => void | Promise<void>;

/** Sizes around pages, and one that takes a whole read-ahead window and more. */
const SIZES = [1, 100, 4095, 4096, 4097, 8191, 8192, 3 * 4096 + 1, 40 * 4096 + 123];
/** Bytes between targets that nobody may write. */
const GAP = 64;
export const UNTOUCHED = 0xa5;

export function asTests(driver: DriverUnderTest, tests: Readonly<Record<string, Test>>): ConformanceTest[] {
  return Object.entries(tests).map(([name, test]) => ({
    name,
    async run() {
      try {
        await test(driver);
      } finally {
        driver.clean?.();
      }
    },
  }));
}

/* Files. */

export async function eachSize(
  driver: DriverUnderTest,
  test: (open: Open, content: Content) => void | Promise<void>,
): Promise<void> {
  for (const size of SIZES) await withFile(driver, size, test);
}

/** A file of `size` bytes, with all backings of it closed in the end. */
export function withFile(
  driver: DriverUnderTest,
  size: number,
  test: (open: Open, content: Content) => void | Promise<void>,
): Promise<void> {
  const bytes = bytesOf(size);
  const at = (position: number, length: number): Uint8Array => bytes.slice(position, position + length);
  return withOpened(driver.file(bytes.slice()), (open) => test(open, { size, at }));
}

/** Does nothing if the driver has no such file. */
export async function withOpened(make: Open | undefined, test: (open: Open) => void | Promise<void>): Promise<void> {
  if (make === undefined) return;
  const opened: Backing[] = [];
  const open = (): Backing => {
    const backing = make();
    opened.push(backing);
    return backing;
  };
  try {
    await test(open);
  } finally {
    for (const backing of opened) backing.close();
  }
}

/** Bytes of which no two pages, and no two places in a page, are alike. */
export function bytesOf(size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let i = 0; i < size; i++) bytes[i] = Math.imul(i + 1, 0x9e3779b1) >>> 23;
  return bytes;
}

/* Reads. */

export function expectRead(
  backing: Backing,
  content: Content,
  page: number,
  count: number,
  kind?: typeof ArrayBuffer,
): void {
  const position = page * PAGE_SIZE;
  const asked = count * PAGE_SIZE;
  const there = Math.min(asked, content.size - position);
  const where = `read(${position}, ${count} targets) of ${content.size} bytes`;
  const memory = memoryFor(count, kind);
  const targets = targetsIn(memory, count);
  const got: unknown = backing.read(position, targets);
  check(got === there, `${where} answered ${show(got)} instead of ${there}`);
  const expected = content.at(position, there);
  for (let i = 0; i * PAGE_SIZE < there; i++) {
    const part = expected.subarray(i * PAGE_SIZE, (i + 1) * PAGE_SIZE);
    expectSame(targets[i] as Uint8Array, part, `${where}, target ${i}`);
  }
  for (let i = 0; i <= count; i++) {
    const gap = memory.subarray(i * (PAGE_SIZE + GAP), i * (PAGE_SIZE + GAP) + GAP);
    check(
      gap.every((byte) => byte === UNTOUCHED),
      `${where} wrote beside its targets`,
    );
  }
}

export async function expectAsync(backing: Backing, content: Content, position: number, length: number): Promise<void> {
  if (backing.readAsync === undefined) return;
  const where = `readAsync(${position}, ${length}) of ${content.size} bytes`;
  const got: unknown = await backing.readAsync(position, length);
  check(got instanceof Uint8Array, `${where} gave ${show(got)}, no Uint8Array`);
  check(got.length === length, `${where} gave ${got.length} bytes`);
  expectSame(got, content.at(position, length), where);
}

export function memoryFor(count: number, kind: typeof ArrayBuffer | typeof SharedArrayBuffer = shared()): Uint8Array {
  return new Uint8Array(new kind(count * (PAGE_SIZE + GAP) + GAP)).fill(UNTOUCHED);
}

/** A host without shared memory has machines all the same. */
function shared(): typeof ArrayBuffer | typeof SharedArrayBuffer {
  return typeof SharedArrayBuffer === 'undefined' ? ArrayBuffer : SharedArrayBuffer;
}

/** The last target is the first in memory: frames come in any order. */
export function targetsIn(memory: Uint8Array, count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => {
    const at = GAP + (count - 1 - i) * (PAGE_SIZE + GAP);
    return memory.subarray(at, at + PAGE_SIZE);
  });
}

export class Thrown {
  readonly what: unknown;
  constructor(what: unknown) {
    this.what = what;
  }
}

export function answerOf(call: () => unknown): unknown {
  try {
    return call();
  } catch (error) {
    return new Thrown(error);
  }
}

export function expectSame(got: Uint8Array, expected: Uint8Array, where: string): void {
  const wrong = expected.findIndex((byte, i) => byte !== got[i]);
  check(wrong < 0, `${where}: byte ${wrong} is ${got[wrong]} instead of ${expected[wrong]}`);
}

export function check(holds: unknown, otherwise: string): asserts holds {
  if (!holds) throw new Error(otherwise);
}

export function show(value: unknown): string {
  return value instanceof Thrown ? `what was thrown, ${String(value.what)}` : String(value);
}
