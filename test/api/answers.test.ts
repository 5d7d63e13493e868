/** What a backing answers is not believed: neither the number nor that it has written. */
import { describe, expect, test } from 'vitest';
import {
  type Backing,
  MAP_PRIVATE,
  type Machine,
  type MappedFile,
  PROT_READ,
  registerBacking,
} from '../../src/index.ts';
import { closing, DESIGNS, expectFault, map, PAGE, withMachine } from '../support.ts';

type Read = (position: number, targets: readonly Uint8Array[]) => unknown;

function make(machine: Machine, read: Read, size: number): MappedFile {
  registerBacking('answers', () => ({ read, close: () => undefined }) as Backing);
  return closing(machine, machine.createFile('answers', {}, size));
}

/** Has every frame hold what another space must not see. */
function leaveSecrets(bench: { machine: Machine; newSpace(): ReturnType<Machine['createSpace']> }): void {
  const theirs = bench.newSpace();
  const pages = bench.machine.memory / PAGE - 8;
  const at = map(theirs, pages);
  theirs.fill(at, pages * PAGE, 0x5e);
  theirs.munmap(at, pages * PAGE);
  bench.machine.drain();
}

let converted = 0;
const code = (): never => {
  converted++;
  throw new Error('a conversion ran');
};
const hostile = { valueOf: code, toString: code, [Symbol.toPrimitive]: code, toJSON: code };

describe.each(DESIGNS)('answers under %s', (design) => {
  test.each<[string, unknown]>([
    ['nothing', undefined],
    ['null', null],
    ['NaN', Number.NaN],
    ['Infinity', Number.POSITIVE_INFINITY],
    ['-Infinity', Number.NEGATIVE_INFINITY],
    ['a negative number', -4096],
    ['a fraction', 4096.5],
    ['a fraction of what is expected', 4095.5],
    ['one byte too much', 4 * PAGE + 1],
    ['1e9', 1e9],
    ['2 ** 32 more than asked for', 2 ** 32 + PAGE],
    ['a bigint', 4096n],
    ['a string', '4096'],
    ['true', true],
    ['a symbol', Symbol('4096')],
    ['an object', hostile],
    ['a boxed number', Object(PAGE)],
    ['an array', [PAGE]],
    ['a function', () => PAGE],
  ])('%s is EIO, and is not converted', (_name, answer) => {
    withMachine({ design, memory: 64 * PAGE }, (bench) => {
      leaveSecrets(bench);
      converted = 0;
      const file = make(bench.machine, () => answer, 8 * PAGE);
      const at = bench.space.mmap({ length: file.size, prot: PROT_READ, flags: MAP_PRIVATE, file });
      for (const call of [() => bench.space.load32(at), () => bench.space.load32(at + PAGE)]) {
        expect(expectFault('BUS_ADRERR', call).cause).toMatchObject({ code: 'EIO' });
      }
      expectFault('BUS_ADRERR', () => bench.space.read(at, new Uint8Array(PAGE)));
      expect(converted).toBe(0);
      bench.machine.drain();
      expect(bench.machine.census().frames.live).toBe(0);
    });
  });

  test('what a backing says it has read and has not written reads zero', () => {
    withMachine({ design, memory: 64 * PAGE }, (bench) => {
      leaveSecrets(bench);
      const file = make(
        bench.machine,
        (_position, targets) => {
          targets[0]?.fill(7, 0, 100);
          return targets.length * PAGE;
        },
        16 * PAGE + 10,
      );
      const at = bench.space.mmap({ length: file.size, prot: PROT_READ, flags: MAP_PRIVATE, file });
      const got = new Uint8Array(17 * PAGE);
      expect(bench.space.read(at, got)).toBe(17 * PAGE);
      expect([...new Set(got)].sort()).toEqual([0, 7]);
    });
  });

  test('what was written before a failure is not seen when the next try writes nothing', () => {
    withMachine({ design, memory: 64 * PAGE }, ({ machine, space }) => {
      let tries = 0;
      const read: Read = (_position, targets) => {
        if (tries++ > 0) return PAGE;
        targets[0]?.fill(9);
        throw new Error('bad sector');
      };
      const file = make(machine, read, PAGE);
      const at = space.mmap({ length: file.size, prot: PROT_READ, flags: MAP_PRIVATE, file });
      expectFault('BUS_ADRERR', () => space.load32(at));
      expect(space.load32(at)).toBe(0);
    });
  });

  test('targets are plain arrays over the frames', () => {
    withMachine({ design }, ({ machine, space }) => {
      const seen: unknown[] = [];
      const file = make(
        machine,
        (_position, targets) => {
          for (const target of targets) {
            seen.push(
              Object.getPrototypeOf(target) === Uint8Array.prototype,
              Reflect.ownKeys(target).length,
              target.BYTES_PER_ELEMENT,
            );
          }
          return targets.length * PAGE;
        },
        PAGE,
      );
      space.load8(space.mmap({ length: PAGE, prot: PROT_READ, flags: MAP_PRIVATE, file }));
      expect(seen).toEqual([true, PAGE, 1]);
    });
  });

  test('a list of targets that the backing has changed does not confuse the read', () => {
    withMachine({ design }, ({ machine, space }) => {
      const read: Read = (_position, targets) => {
        const { length } = targets;
        for (const target of targets) target.fill(3);
        (targets as Uint8Array[]).length = 0;
        return length * PAGE;
      };
      const file = make(machine, read, 4 * PAGE);
      const at = space.mmap({ length: file.size, prot: PROT_READ, flags: MAP_PRIVATE, file });
      for (let page = 0; page < 4; page++) expect(space.load8(at + page * PAGE)).toBe(3);
    });
  });
});
