/** The conformance tests find what a driver may do wrong, and pass one that does not. */
import { expect, test } from 'vitest';
import { backingConformance, type DriverUnderTest } from '../../src/conformance.ts';
import { type Backing, WouldBlock } from '../../src/index.ts';

const PAGE = 4096;
type Read = Backing['read'];
type ReadAsync = NonNullable<Backing['readAsync']>;

/** A driver of files in memory, as one of a user's could be. */
class MemoryFile implements Backing {
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  read(position: number, targets: readonly Uint8Array[]): number {
    let done = 0;
    for (const target of targets) {
      const part = this.#bytes.subarray(position + done, position + done + target.length);
      target.set(part);
      done += part.length;
    }
    return done;
  }

  async readAsync(position: number, length: number): Promise<Uint8Array> {
    return this.#bytes.slice(position, position + length);
  }

  close(): void {}
}

const good: DriverUnderTest = {
  file: (bytes) => () => new MemoryFile(bytes),
  broken: () => () => ({
    read: () => {
      throw new Error('a bad sector');
    },
    readAsync: () => Promise.reject(new Error('a bad sector')),
    close: () => undefined,
  }),
};

/** The names of the tests that fail, of those with `part` in theirs. */
async function failures(driver: DriverUnderTest, part = ''): Promise<string[]> {
  const failed: string[] = [];
  const tests = backingConformance(driver).filter(({ name }) => name.includes(part));
  expect(tests).not.toEqual([]);
  for (const { name, run } of tests) await run().catch(() => failed.push(name));
  return failed;
}

/** The good driver, but for what `change` makes of each backing. */
function changed(change: (backing: Backing, bytes: Uint8Array) => Partial<Backing>): DriverUnderTest {
  return {
    ...good,
    file: (bytes) => () => {
      const backing = new MemoryFile(bytes);
      const { read, readAsync, close } = backing;
      const bound: Backing = {
        read: read.bind(backing),
        readAsync: readAsync.bind(backing),
        close: close.bind(backing),
      };
      return { ...bound, ...change(backing, bytes) };
    },
  };
}

const wrongRead = (wrong: (read: Read, bytes: Uint8Array) => Read) =>
  changed((backing, bytes) => ({ read: wrong((position, targets) => backing.read(position, targets), bytes) }));
const wrongReadAsync = (wrong: (read: ReadAsync) => ReadAsync) =>
  changed((backing) => ({
    readAsync: wrong((position, length) => (backing as MemoryFile).readAsync(position, length)),
  }));

test('a driver of files in memory passes', async () => {
  expect(await failures(good)).toEqual([]);
});

test('so does one without readAsync, and one that cannot read in this thread', async () => {
  expect(await failures({ file: (bytes) => () => withoutAsync(new MemoryFile(bytes)) })).toEqual([]);
  const read = () => {
    throw new WouldBlock('read', 'a file in memory');
  };
  expect(await failures({ file: changed(() => ({ read })).file, mustNotBlock: true })).toEqual([]);
});

function withoutAsync(file: MemoryFile): Backing {
  return { read: (position, targets) => file.read(position, targets), close: () => file.close() };
}

test.each<[string, string, DriverUnderTest]>([
  [
    'answers what was asked for',
    'counts the bytes',
    wrongRead((read) => (position, targets) => {
      read(position, targets);
      return targets.length * PAGE;
    }),
  ],
  [
    'fills the first target alone',
    'several targets',
    wrongRead((read) => (position, targets) => {
      return read(position, targets.slice(0, 1));
    }),
  ],
  [
    'takes targets for one piece of memory',
    'several targets',
    wrongRead((read) => (position, targets) => {
      const [first] = targets as [Uint8Array];
      const all = new Uint8Array(
        first.buffer,
        first.byteOffset,
        Math.min(targets.length * PAGE, first.buffer.byteLength - first.byteOffset),
      );
      return read(position, [all]);
    }),
  ],
  ['reads from the beginning', 'each page', wrongRead((read) => (_position, targets) => read(0, targets))],
  [
    'follows a cursor of its own',
    'any order',
    wrongRead((read) => {
      let at = 0;
      return (_position, targets) => {
        const got = read(at, targets);
        at += got;
        return got;
      };
    }),
  ],
  [
    'begins anew at its end',
    'at the end',
    wrongRead((read, { length }) => (position, targets) => {
      return read(position % (Math.ceil(length / PAGE) * PAGE), targets);
    }),
  ],
  [
    'fills the rest of a page with bytes that it counts',
    'counts the bytes',
    wrongRead((read) => (position, targets) => {
      return Math.ceil(read(position, targets) / PAGE) * PAGE;
    }),
  ],
  [
    'needs shared memory',
    'not shared',
    wrongRead((read) => (position, targets) => {
      if (targets.some(({ buffer }) => buffer instanceof ArrayBuffer)) throw new TypeError('not shared');
      return read(position, targets);
    }),
  ],
  [
    'answers a promise',
    'each page',
    wrongRead(
      (read) => (async (position: number, targets: Uint8Array[]) => read(position, targets)) as unknown as Read,
    ),
  ],
  [
    'fills its targets later',
    'keeps no target',
    wrongRead((read) => (position, targets) => {
      setTimeout(() => read(position, targets), 5);
      return read(position, targets);
    }),
  ],
  [
    'uses a target as its cache',
    'keeps no target',
    wrongRead((read) => {
      let cache: Uint8Array | undefined;
      return (position, targets) => {
        if (position === 0 && cache !== undefined) {
          targets[0]?.set(cache);
          return targets.length > 1 ? PAGE + read(PAGE, targets.slice(1)) : read(position, [new Uint8Array(PAGE)]);
        }
        if (position === 0) cache = targets[0];
        return read(position, targets);
      };
    }),
  ],
  [
    'closes for all',
    'apart',
    (() => {
      const driver: DriverUnderTest = {
        file(bytes) {
          const shared = { closed: false };
          return () => {
            const file = new MemoryFile(bytes);
            const read: Read = (position, targets) => {
              if (shared.closed) throw new Error('closed');
              return file.read(position, targets);
            };
            return { read, close: () => Object.assign(shared, { closed: true }) };
          };
        },
      };
      return driver;
    })(),
  ],
  [
    'closes by a number that is used again',
    'a second close',
    (() => {
      const table: (MemoryFile | undefined)[] = [];
      const driver: DriverUnderTest = {
        file: (bytes) => () => {
          const free = table.indexOf(undefined);
          const at = free < 0 ? table.length : free;
          table[at] = new MemoryFile(bytes);
          const read: Read = (position, targets) => (table[at] as MemoryFile).read(position, targets);
          return { read, close: () => void table.splice(at, 1, undefined) };
        },
      };
      return driver;
    })(),
  ],
  [
    'throws when it is closed twice',
    'a second close',
    changed(() => {
      let closed = false;
      return {
        close() {
          if (closed) throw new Error('closed already');
          closed = true;
        },
      };
    }),
  ],
  [
    'gives zeroes when it cannot read',
    'a read that fails',
    {
      ...good,
      broken: () => () => ({ read: (_position, targets) => targets.length * PAGE, close: () => undefined }),
    },
  ],
  [
    'takes positions for 32 bits',
    '2^32',
    {
      ...good,
      sparse: (size, end) => () => {
        const from = size - end.length;
        const read: Read = (position, targets) => {
          targets.forEach((target, i) => {
            const at = (position + i * PAGE) | 0;
            for (let j = 0; j < PAGE; j++) target[j] = end[at + j - from] ?? 0;
          });
          return Math.min(targets.length * PAGE, size - position);
        };
        return { read, close: () => undefined };
      },
    },
  ],
  [
    'gives whole pages asynchronously',
    'no more',
    wrongReadAsync((read) => async (position, length) => {
      const bytes = new Uint8Array(Math.ceil(length / PAGE) * PAGE);
      bytes.set(await read(position, length));
      return bytes;
    }),
  ],
  [
    'gives an ArrayBuffer',
    'all bytes',
    wrongReadAsync((read) => async (position, length) => {
      return (await read(position, length)).buffer as never;
    }),
  ],
  [
    'has one buffer for all asynchronous reads',
    'before it has answered',
    wrongReadAsync((read) => {
      const buffer = new Uint8Array(40 * PAGE);
      return async (position, length) => {
        buffer.set(await read(position, length));
        await undefined;
        return buffer.subarray(0, length);
      };
    }),
  ],
  ['waits where it must not', 'WouldBlock', { ...good, mustNotBlock: true }],
  [
    'has no other way where it must not wait',
    'readAsync',
    {
      file: () => () => ({
        read: () => {
          throw new WouldBlock('read', 'it');
        },
        close: () => undefined,
      }),
      mustNotBlock: true,
    },
  ],
])('one that %s is found', async (_what, name, driver) => {
  expect(await failures(driver, name)).not.toEqual([]);
});
