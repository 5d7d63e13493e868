/** Loads, stores, copies, atomics, wait and notify: compared with a DataView, byte for byte. */
import { describe, expect, test } from 'vitest';
import {
  type Accessor,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_SHARED,
  PROT_NONE,
  PROT_READ,
  type Space,
  type Synchronous,
} from '../../src/index.ts';
import {
  DESIGNS,
  expectError,
  expectFault,
  map,
  PAGE,
  PRIVATE,
  pattern,
  RW,
  seeded,
  sleeps,
  withMachine,
} from '../support.ts';

/** Each width: how a DataView and an accessor do it, and values that show sign, order and rounding. */
interface Width {
  readonly name: string;
  readonly size: number;
  readonly load: (m: Accessor | Space, address: number) => number | bigint;
  readonly store: (m: Accessor | Space, address: number, value: never) => void;
  readonly get: (view: DataView, offset: number) => number | bigint;
  readonly set: (view: DataView, offset: number, value: never) => void;
  readonly values: readonly (number | bigint)[];
}
const INTEGERS = [
  0,
  1,
  -1,
  0x7f,
  0x80,
  0xff,
  0x1234,
  0xfedc,
  0x12345678,
  0x87654321,
  -0x80000000,
  2 ** 40 + 3,
  1.9,
  -1.9,
];
const FLOATS = [
  0,
  -0,
  1.5,
  -1 / 3,
  1e-45,
  3.4e38,
  1e300,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  Number.NaN,
];
const WIDTHS: readonly Width[] = [
  {
    name: '8',
    size: 1,
    load: (m, a) => m.load8(a),
    store: (m, a, v) => m.store8(a, v),
    get: (d, o) => d.getUint8(o),
    set: (d, o, v) => d.setUint8(o, v),
    values: INTEGERS,
  },
  {
    name: '16',
    size: 2,
    load: (m, a) => m.load16(a),
    store: (m, a, v) => m.store16(a, v),
    get: (d, o) => d.getUint16(o, true),
    set: (d, o, v) => d.setUint16(o, v, true),
    values: INTEGERS,
  },
  {
    name: '32',
    size: 4,
    load: (m, a) => m.load32(a),
    store: (m, a, v) => m.store32(a, v),
    get: (d, o) => d.getInt32(o, true),
    set: (d, o, v) => d.setInt32(o, v, true),
    values: INTEGERS,
  },
  {
    name: 'U32',
    size: 4,
    load: (m, a) => m.loadU32(a),
    store: (m, a, v) => m.store32(a, v),
    get: (d, o) => d.getUint32(o, true),
    set: (d, o, v) => d.setUint32(o, v, true),
    values: INTEGERS,
  },
  {
    name: 'I64',
    size: 8,
    load: (m, a) => m.loadI64(a),
    store: (m, a, v) => m.storeI64(a, v),
    get: (d, o) => d.getBigInt64(o, true),
    set: (d, o, v) => d.setBigInt64(o, v, true),
    values: [0n, -1n, 1n, 0x123456789abcdef0n, -(2n ** 63n), 2n ** 63n - 1n, 2n ** 65n + 5n],
  },
  {
    name: 'F32',
    size: 4,
    load: (m, a) => m.loadF32(a),
    store: (m, a, v) => m.storeF32(a, v),
    get: (d, o) => d.getFloat32(o, true),
    set: (d, o, v) => d.setFloat32(o, v, true),
    values: FLOATS,
  },
  {
    name: 'F64',
    size: 8,
    load: (m, a) => m.loadF64(a),
    store: (m, a, v) => m.storeF64(a, v),
    get: (d, o) => d.getFloat64(o, true),
    set: (d, o, v) => d.setFloat64(o, v, true),
    values: FLOATS,
  },
];
/** Offsets around the start of a page, its middle, and over its end. */
const OFFSETS = [0, 1, 2, 3, 4, 5, 7, 8, 9, 2047, 2048, ...Array.from({ length: 12 }, (_, i) => PAGE - 10 + i)];

describe.each(DESIGNS)('accesses under %s', (design) => {
  test.each(WIDTHS)('of width $name equal a DataView’s at every offset, first and again', (width) => {
    withMachine({ design }, ({ space }) => {
      const at = map(space, 2);
      const mirror = new DataView(new ArrayBuffer(2 * PAGE));
      const expected = new Uint8Array(mirror.buffer);
      const got = new Uint8Array(2 * PAGE);
      for (const offset of OFFSETS) {
        for (const value of width.values) {
          width.store(space, at + offset, value as never);
          width.set(mirror, offset, value as never);
          expect(width.load(space, at + offset)).toBe(width.get(mirror, offset));
        }
      }
      space.read(at, got);
      expect(got).toEqual(expected);
      space.run((m) => {
        for (const offset of [...OFFSETS].reverse()) {
          for (const value of width.values) {
            width.store(m, at + offset, value as never);
            width.set(mirror, offset, value as never);
            expect(width.load(m, at + offset)).toBe(width.get(mirror, offset));
          }
        }
      });
      space.read(at, got);
      expect(got).toEqual(expected);
    });
  });

  test.each(WIDTHS.filter(({ size }) => size > 1))(
    'of width $name over a page boundary that is not mapped or not writable change nothing',
    (width) => {
      withMachine({ design }, ({ space }) => {
        const at = map(space, 4);
        space.fill(at, 3 * PAGE, 0xa5);
        space.mprotect(at + PAGE, PAGE, PROT_READ);
        space.munmap(at + 3 * PAGE, PAGE);
        const before = new Uint8Array(3 * PAGE);
        space.read(at, before);
        const value = width.values[1] as never;
        for (let over = 1; over < width.size; over++) {
          expectFault('SEGV_ACCERR', () => width.store(space, at + PAGE - over, value));
          expectFault('SEGV_ACCERR', () => width.store(space, at + 2 * PAGE - over, value));
          expectFault('SEGV_MAPERR', () => width.store(space, at + 3 * PAGE - over, value));
          expectFault('SEGV_MAPERR', () => width.load(space, at + 3 * PAGE - over));
          expectFault('SEGV_MAPERR', () => space.run((m) => width.store(m, at + 3 * PAGE - over, value)));
          width.load(space, at + PAGE - over); // the control: reading is allowed
        }
        const after = new Uint8Array(3 * PAGE);
        space.read(at, after);
        expect(after).toEqual(before);
      });
    },
  );

  test('a store over two untouched pages gives both a frame', () => {
    withMachine({ design }, ({ space, machine }) => {
      const at = map(space, 2);
      expect([space.load8(at), space.load8(at + PAGE)]).toEqual([0, 0]); // the zero page, twice
      expect(machine.census().frames.live).toBe(0);
      space.storeF64(at + PAGE - 3, 1.25);
      expect(space.loadF64(at + PAGE - 3)).toBe(1.25);
      expect(machine.census().frames.live).toBe(2);
    });
  });

  test('the zero page is read, then written, and its other mappings stay zero', () => {
    withMachine({ design }, ({ space, machine }) => {
      const at = map(space, 3);
      space.run((m) => {
        for (let page = 0; page < 3; page++) expect(m.load32(at + page * PAGE)).toBe(0);
        m.store32(at + PAGE, 7);
        expect([m.load32(at), m.load32(at + PAGE), m.load32(at + 2 * PAGE)]).toEqual([0, 7, 0]);
      });
      expect(machine.counters()).toMatchObject({ 'fault.anon.read': 3, 'fault.zero.upgrade': 1 });
      expect(space.counters().residentPages).toBe(3);
    });
  });

  test('more pages than a TLB has entries keep their bytes', () => {
    withMachine({ design, memory: 8 * 2 ** 20 }, ({ space }) => {
      const pages = 1500;
      const at = map(space, pages);
      space.run((m) => {
        for (let i = 0; i < pages; i++) m.store32(at + i * PAGE + 8, i);
        for (let i = 0; i < pages; i++) expect(m.load32(at + i * PAGE + 8)).toBe(i);
      });
    });
  });

  test('addresses that share a TLB entry or their low 32 bits are different places', () => {
    withMachine({ design }, ({ space }) => {
      const places = [2 ** 20, 2 ** 20 + 2 ** 22, 2 ** 20 + 2 ** 32, 2 ** 20 + 2 ** 33, 2 ** 20 + 2 ** 46];
      for (const addr of places) space.mmap({ addr, length: PAGE, prot: RW, flags: PRIVATE | MAP_FIXED });
      space.run((m) => {
        places.forEach((addr, i) => {
          m.store32(addr, i + 1);
        });
        expect(places.map((addr) => m.load32(addr))).toEqual([1, 2, 3, 4, 5]);
        expectFault('SEGV_MAPERR', () => m.load32(2 ** 20 + 2 ** 34));
        expectFault('SEGV_MAPERR', () => m.load32(2 ** 20 - 2 ** 32));
      });
    });
  });

  describe('read, write, copy, fill', () => {
    test('write then read gives the bytes at any offset and length', () => {
      withMachine({ design }, ({ space }) => {
        const at = map(space, 8);
        for (const [offset, length] of [
          [0, 1],
          [1, PAGE],
          [PAGE - 1, 2],
          [100, 3 * PAGE],
          [0, 8 * PAGE],
          [8 * PAGE - 1, 1],
        ] as const) {
          const bytes = pattern(length, offset + length);
          expect(space.write(at + offset, bytes)).toBe(length);
          const got = new Uint8Array(length);
          expect(space.read(at + offset, got)).toBe(length);
          expect(got).toEqual(bytes);
        }
      });
    });

    test('of nothing are 0, wherever', () => {
      withMachine({ design }, ({ space }) => {
        expect([space.read(0, new Uint8Array(0)), space.write(0, new Uint8Array(0)), space.fill(0, 0, 1)]).toEqual([
          0, 0, 0,
        ]);
        expect(space.copy(0, PAGE, 0)).toBe(0);
      });
    });

    test('buffers that are views into a larger or a shared one get their part only', () => {
      withMachine({ design }, ({ space }) => {
        const at = map(space, 1);
        space.write(at, pattern(64));
        const whole = new Uint8Array(new SharedArrayBuffer(32)).fill(0xee);
        space.read(at + 3, whole.subarray(8, 16));
        expect([...whole]).toEqual([
          ...new Array(8).fill(0xee),
          ...pattern(64).subarray(3, 11),
          ...new Array(16).fill(0xee),
        ]);
      });
    });

    test('report what was done up to a hole, and throw if it is the first byte', () => {
      withMachine({ design }, ({ space }) => {
        const at = map(space, 4);
        space.fill(at, 4 * PAGE, 1);
        space.munmap(at + 2 * PAGE, PAGE);
        const buffer = new Uint8Array(4 * PAGE);
        expect(space.read(at + 100, buffer)).toBe(2 * PAGE - 100);
        expect(buffer[2 * PAGE - 101]).toBe(1);
        expect(buffer[2 * PAGE - 100]).toBe(0);
        expect(space.write(at, new Uint8Array(4 * PAGE).fill(2))).toBe(2 * PAGE);
        expect(space.fill(at + PAGE, 3 * PAGE, 3)).toBe(PAGE);
        expect([at, at + PAGE, at + 3 * PAGE].map((address) => space.load8(address))).toEqual([2, 3, 1]);
        expect(space.copy(at + 3 * PAGE, at, 2 * PAGE)).toBe(PAGE);
        for (const call of [
          () => space.read(at + 2 * PAGE, buffer),
          () => space.write(at + 2 * PAGE, buffer),
          () => space.fill(at + 2 * PAGE, 5, 0),
          () => space.copy(at, at + 2 * PAGE, 5),
          () => space.copy(at + 2 * PAGE, at, 5),
        ]) {
          expectFault('SEGV_MAPERR', call);
        }
      });
    });

    test('stop at a page that may not be written or read', () => {
      withMachine({ design }, ({ space }) => {
        const at = map(space, 3);
        space.mprotect(at + PAGE, PAGE, PROT_READ);
        space.mprotect(at + 2 * PAGE, PAGE, PROT_NONE);
        expect(space.write(at + 10, new Uint8Array(3 * PAGE))).toBe(PAGE - 10);
        expect(space.read(at, new Uint8Array(3 * PAGE))).toBe(2 * PAGE);
        expectFault('SEGV_ACCERR', () => space.fill(at + PAGE, 1, 0));
        expectFault('SEGV_ACCERR', () => space.read(at + 2 * PAGE, new Uint8Array(1)));
      });
    });

    test('copy equals copyWithin for every overlap', () => {
      withMachine({ design }, ({ space }) => {
        const at = map(space, 6);
        const random = seeded(12);
        const pick = (n: number): number => Math.floor(random() * n);
        const mirror = pattern(6 * PAGE);
        space.write(at, mirror);
        const got = new Uint8Array(6 * PAGE);
        for (let i = 0; i < 60; i++) {
          const near = i % 2 === 0 ? pick(64) : pick(2 * PAGE);
          const source = 2 * PAGE + pick(PAGE);
          const target = i % 3 === 0 ? source - near : source + near;
          const length = pick(2 * PAGE);
          expect(space.copy(at + target, at + source, length)).toBe(length);
          mirror.copyWithin(target, source, source + length);
          space.read(at, got);
          expect(Buffer.compare(got, mirror), `copy ${target} <- ${source}, ${length} bytes`).toBe(0);
        }
      });
    });

    test('an overlapping copy towards higher addresses is done whole or not at all', () => {
      withMachine({ design }, ({ space }) => {
        const at = map(space, 4);
        space.write(at, pattern(4 * PAGE));
        space.munmap(at + 3 * PAGE, PAGE);
        expectFault('SEGV_MAPERR', () => space.copy(at + PAGE, at, 2 * PAGE + 1));
        const got = new Uint8Array(3 * PAGE);
        space.read(at, got);
        expect(got).toEqual(pattern(4 * PAGE).subarray(0, 3 * PAGE));
        expect(space.copy(at + PAGE, at, 2 * PAGE)).toBe(2 * PAGE);
      });
    });

    test('fill takes the low 8 bits', () => {
      withMachine({ design }, ({ space }) => {
        const at = map(space, 2);
        space.fill(at + 5, PAGE, 0x1ff);
        space.fill(at + 10, 4, -2);
        expect([4, 5, 9, 10, 13, 14, PAGE + 4, PAGE + 5].map((offset) => space.load8(at + offset))).toEqual([
          0, 255, 255, 254, 254, 255, 255, 0,
        ]);
      });
    });

    test('populate faults pages in, once', async () => {
      await withMachine({ design }, async ({ space }) => {
        const at = map(space, 8);
        expect(await space.populate(at, 8 * PAGE)).toBe(8 * PAGE);
        expect(space.counters().residentPages).toBe(8);
        expect(await space.populate(at, 9 * PAGE)).toBe(8 * PAGE);
        await expect(space.populate(at - PAGE, PAGE)).rejects.toMatchObject({ reason: 'SEGV_MAPERR' });
      });
    });
  });

  test('atomics do what Atomics does', () => {
    withMachine({ design }, ({ space }) => {
      const at = map(space, 1) + 8;
      for (const m of [space, undefined]) {
        const call = <T>(f: (memory: Space | Accessor) => Synchronous<T>): T => (m === undefined ? space.run(f) : f(m));
        call((x) => x.atomicStore32(at, -5));
        expect(call((x) => x.atomicLoad32(at))).toBe(-5);
        expect(call((x) => x.cas32(at, 4, 9))).toBe(-5);
        expect(call((x) => x.load32(at))).toBe(-5);
        expect(call((x) => x.cas32(at, 2 ** 32 - 5, 0x7fffffff))).toBe(-5);
        expect(call((x) => x.add32(at, 1))).toBe(0x7fffffff);
        expect(call((x) => x.exchange32(at, 3))).toBe(-0x80000000);
        expect(call((x) => x.add32(at, -10))).toBe(3);
        expect(call((x) => x.atomicLoad32(at))).toBe(-7);
        expect(call((x) => x.and32(at, 0xff))).toBe(-7);
        expect(call((x) => x.or32(at, 0x100))).toBe(0xf9);
        expect(call((x) => x.xor32(at, -1))).toBe(0x1f9);
        expect(call((x) => x.atomicLoad32(at))).toBe(~0x1f9);
      }
    });
  });

  test('atomics of 64 bits do what Atomics does, and keep the low 64', () => {
    withMachine({ design }, ({ space }) => {
      const at = map(space, 1) + PAGE - 8;
      for (const m of [space, undefined]) {
        const call = <T>(f: (memory: Space | Accessor) => Synchronous<T>): T => (m === undefined ? space.run(f) : f(m));
        call((x) => x.atomicStore64(at, -5n));
        expect(call((x) => x.atomicLoad64(at))).toBe(-5n);
        expect(call((x) => x.loadI64(at))).toBe(-5n);
        expect(call((x) => x.cas64(at, 4n, 9n))).toBe(-5n);
        expect(call((x) => x.cas64(at, 2n ** 64n - 5n, 2n ** 63n - 1n))).toBe(-5n);
        expect(call((x) => x.add64(at, 1n))).toBe(2n ** 63n - 1n);
        expect(call((x) => x.exchange64(at, 2n ** 64n + 3n))).toBe(-(2n ** 63n));
        expect(call((x) => x.add64(at, -10n))).toBe(3n);
        expect([call((x) => x.atomicLoad64(at)), space.load32(at), space.load32(at + 4)]).toEqual([-7n, -7, -1]);
        for (const off of [1, 2, 4, 7]) expectError('EINVAL', () => call((x) => x.add64(at - off, 1n)));
        expect(call((x) => x.add32(at - 4, 0))).toBe(0); // the control: aligned to 4 bytes
      }
    });
  });

  test('atomics need the right to write, loads the right to read', () => {
    withMachine({ design }, ({ space }) => {
      const at = map(space, 1);
      space.store32(at, 1);
      space.mprotect(at, PAGE, PROT_READ);
      expect([space.atomicLoad32(at), space.atomicLoad64(at)]).toEqual([1, 1n]);
      for (const call of [
        () => space.atomicStore32(at, 2),
        () => space.cas32(at, 0, 2),
        () => space.cas32(at, 1, 2),
        () => space.add32(at, 1),
        () => space.exchange32(at, 1),
        () => space.and32(at, 1),
        () => space.or32(at, 1),
        () => space.xor32(at, 1),
        () => space.atomicStore64(at, 2n),
        () => space.cas64(at, 0n, 2n),
        () => space.add64(at, 0n),
        () => space.exchange64(at, 1n),
      ]) {
        expectFault('SEGV_ACCERR', call);
      }
      expect(space.load32(at)).toBe(1);
    });
  });

  describe('wait and notify in one thread', () => {
    test('not-equal returns at once, equal times out, and nobody is woken afterwards', () => {
      withMachine({ design }, ({ space, machine }) => {
        const at = map(space, 1);
        space.store32(at, 5);
        expect(space.wait(at, 6)).toBe('not-equal');
        expect(space.wait(at, 5, 0)).toBe('timed-out');
        const slept = sleeps(() => expect(space.wait(at, 5, 30)).toBe('timed-out'));
        expect(slept.reduce((sum, milliseconds) => sum + milliseconds, 0)).toBeCloseTo(30);
        expect(space.wait(at, 5, -1)).toBe('timed-out');
        expect([space.notify(at), space.notify(at, 0), space.notify(at, 1)]).toEqual([0, 0, 0]);
        expect(machine.counters()).toMatchObject({ 'futex.waits': 3, 'futex.wakes': 0 });
      });
    });

    test('an expected value may be written signed or unsigned', () => {
      withMachine({ design }, ({ space }) => {
        const at = map(space, 1);
        space.store32(at, -1);
        expect([space.wait(at, -1, 0), space.wait(at, 0xffffffff, 0), space.wait(at, 1, 0)]).toEqual([
          'timed-out',
          'timed-out',
          'not-equal',
        ]);
      });
    });

    test('an untouched page is 0, memory that may not be read is EFAULT', () => {
      withMachine({ design }, ({ space }) => {
        const at = map(space, 2);
        space.mprotect(at + PAGE, PAGE, PROT_NONE);
        expect(space.wait(at, 0, 0)).toBe('timed-out');
        expect(space.wait(at, 1, 0)).toBe('not-equal');
        expectFault('SEGV_ACCERR', () => space.wait(at + PAGE, 0, 0));
        expectFault('SEGV_ACCERR', () => space.notify(at + PAGE));
      });
    });

    test('on a machine that is not shared waiting is EDEADLK and leaves nobody in the queue', () => {
      withMachine({ design, shared: false }, ({ space }) => {
        const at = map(space, 1);
        expectError('EDEADLK', () => space.wait(at, 0, 10));
        expect(space.wait(at, 1, 10)).toBe('not-equal');
        expect(space.notify(at)).toBe(0);
      });
    });
  });

  test('shared anonymous memory of one space is memory', () => {
    withMachine({ design }, ({ space }) => {
      const at = space.mmap({ length: 2 * PAGE, prot: RW, flags: MAP_SHARED | MAP_ANONYMOUS });
      space.store32(at, 1);
      expect([space.load32(at), space.load32(at + PAGE)]).toEqual([1, 0]);
      expect(space.wait(at, 2, 0)).toBe('not-equal');
    });
  });

  test('the fault names the call, the address and the reason', () => {
    withMachine({ design }, ({ space }) => {
      const error = expectFault('SEGV_MAPERR', () => space.load16(0x12345000));
      expect(error).toMatchObject({
        name: 'SegmentationFault',
        code: 'EFAULT',
        syscall: 'load16',
        address: 0x12345000,
      });
      expect(error.message).toContain('0x12345000');
    });
  });
});
