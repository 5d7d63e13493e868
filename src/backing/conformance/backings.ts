/**
 * What every driver must do, as tests of backings by themselves: the contract of `backing.ts`, called as the library calls it and a
 * little worse. They belong to no test framework: a test is a name and a function that throws.
 */
import { WouldBlock } from '../../base/errors.ts';
import { PAGE_SIZE } from '../../base/limits.ts';
import {
  answerOf,
  asTests,
  bytesOf,
  type ConformanceTest,
  check,
  type DriverUnderTest,
  eachSize,
  expectAsync,
  expectRead,
  memoryFor,
  show,
  type Test,
  Thrown,
  targetsIn,
  UNTOUCHED,
  withFile,
  withOpened,
} from './kit.ts';

const WINDOWS = [1, 2, 3, 7, 32];
/** Beyond 2^32: a position that somebody takes for 32 bits is another one. */
const SPARSE_SIZE = 2 ** 32 + 5 * 4096 + 77;

export function testsOfBackings(driver: DriverUnderTest): ConformanceTest[] {
  return asTests(driver, {
    ...(driver.mustNotBlock ? { 'read throws WouldBlock': wouldBlock } : READING),
    ...ALWAYS,
    ...(driver.sparse && { 'places beyond 2^32 are found': sparse }),
    ...(driver.broken && { 'a read that fails throws, each time, and closing goes well': broken }),
  });
}

const READING: Readonly<Record<string, Test>> = {
  'read gives the bytes of each page, in any order, and again': (driver) =>
    eachSize(driver, (open, content) => {
      const backing = open();
      const pages = Math.ceil(content.size / PAGE_SIZE);
      // A step that has no divisor in common with the number of pages comes by each of them.
      for (let i = 0; i < 2 * pages; i++) expectRead(backing, content, (i * 7919) % pages, 1);
    }),
  'read fills several targets in order, counts the bytes up to the end, and writes nothing beside': (driver) =>
    eachSize(driver, (open, content) => {
      const backing = open();
      for (let page = 0; page * PAGE_SIZE < content.size; page++) {
        for (const count of WINDOWS) expectRead(backing, content, page, count);
      }
    }),
  'read fills memory that is not shared': (driver) =>
    eachSize(driver, (open, content) => expectRead(open(), content, 0, 3, ArrayBuffer)),
  'read has nothing at the end and behind it': (driver) =>
    eachSize(driver, (open, { size }) => {
      const backing = open();
      const end = Math.ceil(size / PAGE_SIZE) * PAGE_SIZE;
      for (const position of [end, end + PAGE_SIZE, end + 2 ** 33]) {
        const answer = answerOf(() => backing.read(position, targetsIn(memoryFor(2), 2)));
        check(answer instanceof Thrown || answer === 0, `of ${size} bytes ${show(answer)} are at ${position}`);
      }
    }),
  'read keeps no target': keepsNoTarget,
  'backings of one file are apart: each reads and closes for itself': (driver) =>
    withFile(driver, 5 * PAGE_SIZE + 3, (open, content) => {
      const [one, two, three] = [open(), open(), open()];
      for (const backing of [one, two, three, two, one]) expectRead(backing, content, 1, 2);
      two.close();
      for (const backing of [one, three]) expectRead(backing, content, 0, 4);
      one.close();
      expectRead(three, content, 4, 1);
    }),
  'a second close does nothing, also to what was opened since': (driver) =>
    withFile(driver, PAGE_SIZE, (open, content) => {
      const first = open();
      expectRead(first, content, 0, 1);
      first.close();
      const second = open(); // a descriptor or a handle has the number of the first one's, maybe
      first.close();
      expectRead(second, content, 0, 1);
    }),
};

const ALWAYS: Readonly<Record<string, Test>> = {
  'readAsync, if there is one, gives all bytes asked for and no more': (driver) =>
    eachSize(driver, async (open, content) => {
      const backing = open();
      check(backing.readAsync || !driver.mustNotBlock, 'neither read nor readAsync works in this thread');
      for (let position = 0; position < content.size; position += PAGE_SIZE) {
        for (const length of [1, PAGE_SIZE, 2 * PAGE_SIZE, 32 * PAGE_SIZE]) {
          await expectAsync(backing, content, position, Math.min(length, content.size - position));
        }
      }
    }),
  'readAsync, if there is one, may be called again before it has answered': (driver) =>
    withFile(driver, 9 * PAGE_SIZE + 9, async (open, content) => {
      const backing = open();
      const places = [4, 0, 9, 4, 2].map((page) => page * PAGE_SIZE);
      await Promise.all(places.map((at) => expectAsync(backing, content, at, Math.min(PAGE_SIZE, content.size - at))));
    }),
  'a backing that was never read can be closed': (driver) => withFile(driver, 1, (open) => open().close()),
};

function wouldBlock(driver: DriverUnderTest): Promise<void> {
  return withFile(driver, PAGE_SIZE, (open) => {
    const answer = answerOf(() => open().read(0, targetsIn(memoryFor(1), 1)));
    check(answer instanceof Thrown && answer.what instanceof WouldBlock, `${show(answer)} instead of a WouldBlock`);
  });
}

function sparse(driver: DriverUnderTest): Promise<void> {
  const end = bytesOf(2 * PAGE_SIZE + 77);
  const from = SPARSE_SIZE - end.length;
  const at = (position: number, length: number): Uint8Array => {
    const bytes = new Uint8Array(length);
    for (let i = Math.max(0, from - position); i < length; i++) bytes[i] = end[position + i - from] as number;
    return bytes;
  };
  const content = { size: SPARSE_SIZE, at };
  return withOpened(driver.sparse?.(SPARSE_SIZE, end), async (open) => {
    const backing = open();
    for (const place of [0, 2 ** 31 - PAGE_SIZE, 2 ** 31, 2 ** 32 - PAGE_SIZE, from - 77, SPARSE_SIZE - 77]) {
      const page = Math.floor(place / PAGE_SIZE);
      if (!driver.mustNotBlock) expectRead(backing, content, page, 3);
      const position = page * PAGE_SIZE;
      await expectAsync(backing, content, position, Math.min(3 * PAGE_SIZE, SPARSE_SIZE - position));
    }
  });
}

function broken(driver: DriverUnderTest): Promise<void> {
  return withOpened(driver.broken?.(), async (open) => {
    const backing = open();
    for (let i = 0; i < 2; i++) {
      const answer = answerOf(() => backing.read(0, targetsIn(memoryFor(1), 1)));
      check(answer instanceof Thrown, `a file that cannot be read gave ${show(answer)}`);
      const waits = answer.what instanceof WouldBlock;
      check(waits === (driver.mustNotBlock ?? false), `a file that cannot be read gave ${show(answer)}`);
      const later = await backing.readAsync?.(0, PAGE_SIZE).catch((error: unknown) => new Thrown(error));
      check(later === undefined || later instanceof Thrown, 'readAsync gave bytes of a file that cannot be read');
    }
  });
}

/** The frames behind the targets get other owners: a driver that still writes to them, or reads them, is found by what is there. */
function keepsNoTarget(driver: DriverUnderTest): Promise<void> {
  return withFile(driver, 8 * PAGE_SIZE, async (open, content) => {
    const backing = open();
    const memory = memoryFor(3);
    backing.read(0, targetsIn(memory, 3));
    memory.fill(UNTOUCHED);
    for (let page = 0; page < 8; page++) expectRead(backing, content, page, 1);
    await new Promise((resolve) => setTimeout(resolve, 20));
    check(
      memory.every((byte) => byte === UNTOUCHED),
      'the driver wrote to targets of a read that had returned',
    );
  });
}
