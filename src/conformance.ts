/**
 * `vmspace/conformance`: tests for drivers of files, those of the library and one's own. They belong to no test framework:
 *
 * ```ts
 * for (const { name, run } of backingConformance(driver)) test(name, run);
 * ```
 */
import type { Backing } from './backing/backing.ts';
import { testsOfBackings } from './backing/conformance/backings.ts';
import {
  answerOf,
  asTests,
  type ConformanceTest,
  type Content,
  check,
  type DriverUnderTest,
  expectSame,
  show,
  Thrown,
  withFile,
  withOpened,
} from './backing/conformance/kit.ts';
import {
  BusError,
  createMachine,
  type ErrnoCode,
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  type Machine,
  Oops,
  PAGE_SIZE,
  PROT_READ,
  PROT_WRITE,
  registerBacking,
  type Space,
  VmError,
} from './index.ts';

export type { ConformanceTest, DriverUnderTest };

const KIND = 'vmspace-conformance';
const MEMORY = 128 * PAGE_SIZE;
/** More than the memory: pages leave it and are read again. The last one is not whole. */
const SIZE = 200 * PAGE_SIZE + 99;
/** What a thread that must not block has brought stays there: nothing else needs memory. */
const SMALL = 60 * PAGE_SIZE + 99;

/**
 * The tests of a driver: its backings by themselves, and files of it mapped in a machine of their own. Each test makes its files and
 * removes them. They make and close machines in the calling thread, so they cannot run in a backing, or in a `run`.
 */
export function backingConformance(driver: DriverUnderTest): ConformanceTest[] {
  return [
    ...testsOfBackings(driver),
    ...asTests(driver, {
      'a mapping shows the bytes of the file, zeroes behind its end, and nothing beyond': mapped,
      ...(driver.broken && { 'a file that cannot be read is a BusError, and the machine works on': broken }),
      // A thread that must not block runs nothing of a driver's within an access.
      ...(!driver.mustNotBlock && {
        'a read cannot call into the machine, and gives the right bytes all the same': refused,
      }),
    }),
  ];
}

function mapped(driver: DriverUnderTest): Promise<void> {
  const size = driver.mustNotBlock ? SMALL : SIZE;
  return withFile(driver, size, (open, content) =>
    withMapping(open, size, async ({ space, at }) => {
      // Without this populate would wait for as long as a read may take.
      check(open().readAsync || !driver.mustNotBlock, 'neither read nor readAsync works in this thread');
      for (const start of [0, 17, size - 5000, 3 * PAGE_SIZE - 1, 0]) {
        await expectMapped(driver, space, at + start, content, start);
      }
      const tail = new Uint8Array(PAGE_SIZE - (size % PAGE_SIZE));
      check(space.read(at + size, tail) === tail.length, 'the tail of the last page cannot be read');
      expectSame(tail, new Uint8Array(tail.length), 'the tail of the last page');
      const behind = answerOf(() => space.load8(at + size + tail.length));
      check(behind instanceof Thrown && behind.what instanceof BusError, `behind the last page is ${show(behind)}`);
    }),
  );
}

async function expectMapped(
  driver: DriverUnderTest,
  space: Space,
  address: number,
  content: Content,
  start: number,
): Promise<void> {
  const bytes = new Uint8Array(content.size - start);
  for (let done = 0; driver.mustNotBlock && done < bytes.length; ) {
    done += await space.populate(address + done, bytes.length - done);
  }
  const done = space.read(address, bytes);
  check(done === bytes.length, `${done} of ${bytes.length} bytes can be read from byte ${start}`);
  expectSame(bytes, content.at(start, bytes.length), `mapped, from byte ${start}`);
}

function broken(driver: DriverUnderTest): Promise<void> {
  return withOpened(driver.broken?.(), (open) =>
    withMapping(open, PAGE_SIZE, async ({ space, at, own }) => {
      for (let i = 0; i < 2; i++) {
        const answer = driver.mustNotBlock
          ? await space.populate(at, 1).catch((error: unknown) => new Thrown(error))
          : answerOf(() => space.load8(at));
        const isBusError = answer instanceof Thrown && answer.what instanceof BusError;
        check(isBusError, `a load from a file that cannot be read gave ${show(answer)}`);
      }
      space.store8(own, 1);
      check(space.load8(own) === 1, 'afterwards other memory does not work');
    }),
  );
}

function refused(driver: DriverUnderTest): Promise<void> {
  return withFile(driver, SIZE, (open, content) => {
    const answers: unknown[] = [];
    let calls: (() => unknown)[] = [];
    const calling = (): Backing => {
      const backing = open();
      return {
        read(position, targets) {
          answers.push(...calls.map(answerOf));
          return backing.read(position, targets);
        },
        close: () => backing.close(),
      };
    };
    return withMapping(calling, SIZE, async ({ machine, space, at, own }) => {
      calls = [
        () => space.load8(own),
        () => space.mmap({ length: 1, prot: PROT_READ, flags: ANONYMOUS }),
        () => machine.close(),
      ];
      await expectMapped(driver, space, at, content, 0);
      check(answers.length > 0, 'the file was never read');
      answers.forEach((answer, i) => {
        const error = answer instanceof Thrown ? answer.what : undefined;
        const isRefused = i % 3 === 2 ? hasCode(error, 'EDEADLK') : error instanceof Oops && error.rule === 'H1';
        check(isRefused, `call ${i % 3} within a read gave ${show(answer)}`);
      });
    });
  });
}

function hasCode(error: unknown, code: ErrnoCode): boolean {
  return error instanceof VmError && error.code === code;
}

const ANONYMOUS: number = MAP_PRIVATE | MAP_ANONYMOUS;

interface Mapped {
  readonly machine: Machine;
  readonly space: Space;
  /** Where the file is mapped, with a page more than it has. */
  readonly at: number;
  /** A page of memory without a file. */
  readonly own: number;
}

/** A machine with a file mapped for reading, whose backings `open` makes. */
async function withMapping(open: () => Backing, size: number, test: (all: Mapped) => Promise<void>): Promise<void> {
  registerBacking(KIND, open);
  const machine = createMachine({ memory: MEMORY, shared: typeof SharedArrayBuffer !== 'undefined' });
  try {
    const space = machine.createSpace();
    const file = machine.createFile(KIND, {}, size);
    const length = size + PAGE_SIZE;
    const at = space.mmap({ length, prot: PROT_READ, flags: MAP_PRIVATE, file });
    const own = space.mmap({ length: PAGE_SIZE, prot: PROT_READ | PROT_WRITE, flags: ANONYMOUS });
    await test({ machine, space, at, own });
    file.close();
    space.close();
  } finally {
    machine.close();
  }
}
