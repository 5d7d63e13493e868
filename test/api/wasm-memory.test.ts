/** Frames in a WebAssembly.Memory that wasm grows: unshared, growing takes the old ArrayBuffer away; shared, it stays good. */
import { describe, expect, test } from 'vitest';
import {
  type Accessor,
  attachMachine,
  attachSpace,
  createMachine,
  KiB,
  MAP_PRIVATE,
  type Machine,
  PROT_READ,
  registerBacking,
  type Space,
  WouldBlock,
} from '../../src/index.ts';
import { DESIGNS, expectError, expectFault, expectNothingLeft, map, PAGE, pattern, RW, seeded } from '../support.ts';

const MACHINE_PAGES = 8; // of 64 KiB
const ANY_MAXIMUM = [0x80, 0x80, 0x04]; // 65,536

/** A module over imported memory `e.m`: `grow(pages)`, and `load(address)` of a byte. */
function growing(
  memory: WebAssembly.Memory,
  shared: boolean,
): { grow(pages: number): number; load(at: number): number } {
  const limits = shared ? [0x03, 0x01, ...ANY_MAXIMUM] : [0x00, 0x01];
  const bytes = [
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...[0x01, 0x06, 0x01, 0x60, 0x01, 0x7f, 0x01, 0x7f], // type 0: i32 -> i32
    ...[0x02, 6 + limits.length, 0x01, 0x01, 0x65, 0x01, 0x6d, 0x02, ...limits], // import memory
    ...[0x03, 0x03, 0x02, 0x00, 0x00], // two functions of type 0
    ...[0x07, 0x0f, 0x02, 0x04, ...Buffer.from('grow'), 0x00, 0x00, 0x04, ...Buffer.from('load'), 0x00, 0x01],
    ...[0x0a, 0x10, 0x02],
    ...[0x06, 0x00, 0x20, 0x00, 0x40, 0x00, 0x0b], // local.get 0, memory.grow
    ...[0x07, 0x00, 0x20, 0x00, 0x2d, 0x00, 0x00, 0x0b], // local.get 0, i32.load8_u
  ];
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(bytes)), { e: { m: memory } });
  return exports as never;
}

let inFactory: () => void = () => undefined;
let inRead: () => void = () => undefined;
registerBacking('test-growing', (_options, size) => {
  inFactory();
  const bytes = pattern(size, 4);
  return {
    read(position, targets) {
      inRead();
      let done = 0;
      for (const target of targets) {
        const part = bytes.subarray(position + done, position + done + target.length);
        if (target.length > 0) target.set(part);
        done += part.length;
      }
      return done;
    },
    close: () => undefined,
  };
});

/** Runs `grow` in the next read of a backing. */
function once(grow: () => void): () => void {
  return () => {
    inRead = () => undefined;
    grow();
  };
}

interface Wasm {
  readonly memory: WebAssembly.Memory;
  readonly machine: Machine;
  readonly space: Space;
  /** By wasm code. */
  grow(pages: number): number;
  load(at: number): number;
}

function withWasm(options: { design?: (typeof DESIGNS)[number]; shared?: boolean }, test: (wasm: Wasm) => void): void {
  const { shared = false } = options;
  const memory = new WebAssembly.Memory({ initial: MACHINE_PAGES, maximum: 256, shared });
  const machine = createMachine({ ...options, memory, shared, stallTimeout: 2000 });
  const space = machine.createSpace();
  try {
    test({ memory, machine, space, ...growing(memory, shared) });
    space.close();
    expectNothingLeft(machine);
  } finally {
    inRead = () => undefined;
    inFactory = () => undefined;
    machine.close();
  }
}

/** Every kind of load of the 8 bytes at `at`. */
function loads(m: Accessor | Space, at: number): unknown[] {
  return [
    m.load8(at),
    m.load16(at),
    m.load32(at),
    m.loadU32(at),
    m.loadI64(at),
    m.loadF32(at),
    m.loadF64(at),
    m.load16(at + 1),
    m.load32(at + 1),
    m.loadU32(at + 3),
    m.loadF32(at + 2),
    m.loadF64(at + 4),
    m.atomicLoad32(at),
  ];
}

const STORES: readonly ((m: Accessor | Space, at: number) => void)[] = [
  (m, at) => m.store8(at, 1),
  (m, at) => m.store16(at, 0x203),
  (m, at) => m.store32(at, 0x4050607),
  (m, at) => m.storeI64(at, 0x708090a0b0c0d0en),
  (m, at) => m.storeF32(at, 1.5),
  (m, at) => m.storeF64(at, -2.25),
  (m, at) => m.store16(at + 1, 0x1011),
  (m, at) => m.store32(at + 3, 0x12131415),
  (m, at) => m.storeF32(at + 1, 3.5),
  (m, at) => m.storeF64(at + 5, 7.125),
  (m, at) => m.atomicStore32(at, 77),
  (m, at) => m.add32(at, 5),
  (m, at) => m.exchange32(at, 9),
  (m, at) => m.cas32(at, 9, 10),
  (m, at) => m.and32(at, 6),
  (m, at) => m.or32(at, 0x30),
  (m, at) => m.xor32(at, -1),
];

describe.each(DESIGNS)('memory that wasm grows, not shared, under %s', (design) => {
  test('loads and stores find their bytes after it, between calls and in the middle of run', () => {
    withWasm({ design }, ({ memory, space, grow }) => {
      const at = map(space, 4) + PAGE - 4; // across a page boundary
      const plain = new Uint8Array(4 * PAGE);
      const same = (): void => {
        const got = new Uint8Array(4 * PAGE);
        expect(space.read(at - PAGE + 4, got)).toBe(4 * PAGE);
        expect(Buffer.from(got).equals(Buffer.from(plain))).toBe(true);
      };
      // The same stores, in a machine that does not grow.
      const model = createMachine({ memory: 256 * KiB, shared: false });
      const other = model.createSpace();
      const there = map(other, 4) + PAGE - 4;
      const aligned = (base: number): number => base + 4;
      for (const [i, store] of STORES.entries()) {
        for (const where of i >= 10 ? [aligned] : [aligned, (base: number) => base]) {
          store(space, where(at));
          store(other, where(there));
          expect(grow(1)).toBeGreaterThan(0);
          other.read(there - PAGE + 4, plain);
          same();
          expect(loads(space, aligned(at))).toEqual(loads(other, aligned(there)));
          space.run((m) => {
            other.run((n) => {
              store(m, where(at));
              store(n, where(there));
              expect(grow(1)).toBeGreaterThan(0);
              store(m, where(at));
              store(n, where(there));
              expect(m.load8(at + 3)).toBe(n.load8(there + 3));
              expect(memory.grow(0)).toBeGreaterThan(0);
              expect(loads(m, aligned(at))).toEqual(loads(n, aligned(there)));
            });
          });
          other.read(there - PAGE + 4, plain);
          same();
        }
      }
      model.close();
    });
  });

  test('what is stored after it is what wasm sees', () => {
    withWasm({ design }, ({ memory, space, grow, load }) => {
      const at = map(space, 1);
      space.store8(at, 1);
      grow(2);
      space.write(at, Buffer.from('seen by wasm'));
      const found = Buffer.from(memory.buffer).indexOf('seen by wasm');
      expect(found).toBeGreaterThan(0);
      expect(String.fromCharCode(load(found), load(found + 8))).toBe('sw');
      new Uint8Array(memory.buffer)[found] = 83;
      expect(space.load8(at)).toBe(83);
    });
  });

  test('copies, fills, faults on fresh pages and zero pages go on in the new memory', () => {
    withWasm({ design }, ({ space, grow }) => {
      const at = map(space, 20);
      const got = new Uint8Array(4 * PAGE);
      grow(1);
      expect(space.load8(at)).toBe(0);
      grow(1);
      space.store8(at, 5); // over the zero page
      grow(1);
      expect(space.fill(at + PAGE, 2 * PAGE, 6)).toBe(2 * PAGE);
      grow(1);
      expect(space.copy(at + 4 * PAGE + 10, at, 3 * PAGE)).toBe(3 * PAGE);
      grow(1);
      expect(space.copy(at + 4 * PAGE, at + 4 * PAGE + 10, 3 * PAGE)).toBe(3 * PAGE);
      grow(1);
      expect(space.copy(at + 5 * PAGE, at + 4 * PAGE, 3 * PAGE)).toBe(3 * PAGE);
      grow(1);
      expect(space.read(at + 5 * PAGE, got)).toBe(4 * PAGE);
      const expected = new Uint8Array(4 * PAGE).fill(6, PAGE, 3 * PAGE);
      expected[0] = 5;
      expect(
        Buffer.from(got)
          .subarray(0, 3 * PAGE)
          .equals(Buffer.from(expected).subarray(0, 3 * PAGE)),
      ).toBe(true);
      grow(1);
      expect(space.write(at, pattern(2 * PAGE))).toBe(2 * PAGE);
      grow(1);
      space.mprotect(at, PAGE, PROT_READ);
      grow(1);
      expectFault('SEGV_ACCERR', () => space.store8(at, 1));
      space.munmap(at + PAGE, PAGE);
      grow(1);
      expect(space.load8(at)).toBe(pattern(1)[0]);
      expect(space.wait(at + 8 * PAGE, 1, 0)).toBe('not-equal');
      expectError('EDEADLK', () => space.wait(at + 8 * PAGE, 0, 0));
      expect(space.notify(at + 8 * PAGE)).toBe(0);
    });
  });

  test('a read of a file in which it happens is an I/O error, and the next one is right', () => {
    withWasm({ design }, ({ machine, space, grow }) => {
      const file = machine.createFile('test-growing', {}, 10 * PAGE);
      const at = space.mmap({ length: 10 * PAGE, prot: RW, flags: MAP_PRIVATE, file });
      const bytes = pattern(10 * PAGE, 4);
      inRead = once(() => grow(1));
      expectFault('BUS_ADRERR', () => space.load8(at));
      expect(space.load8(at)).toBe(bytes[0]);
      inRead = once(() => grow(1));
      space.run((m) => {
        expectFault('BUS_ADRERR', () => m.store8(at + PAGE, 1));
        m.store8(at + PAGE, 99);
        expect([m.load8(at + PAGE), m.load8(at + PAGE + 1)]).toEqual([99, bytes[PAGE + 1]]);
      });
      const got = new Uint8Array(10 * PAGE);
      inRead = once(() => grow(1));
      expect(space.read(at, got)).toBe(2 * PAGE);
      expect(space.read(at, got)).toBe(10 * PAGE);
      expect([got[0], got[PAGE], got[9 * PAGE + 5]]).toEqual([bytes[0], 99, bytes[9 * PAGE + 5]]);
      file.close();
    });
  });

  test('the factory of a backing may do it, and the tail of the file is zeroed in the new memory', () => {
    withWasm({ design }, ({ machine, space, grow }) => {
      const scratch = map(space, 60);
      space.fill(scratch, 60 * PAGE, 0xff); // so that no frame is zero by chance
      space.munmap(scratch, 60 * PAGE);
      machine.drain();
      inFactory = () => grow(1);
      const file = machine.createFile('test-growing', {}, PAGE + 100);
      const at = space.mmap({ length: 2 * PAGE, prot: RW, flags: MAP_PRIVATE, file });
      const bytes = pattern(PAGE + 100, 4);
      space.store8(at + PAGE, 1);
      expect([space.load8(at + PAGE), space.load8(at + PAGE + 99)]).toEqual([1, bytes[PAGE + 99]]);
      expect(space.load8(at + PAGE + 100)).toBe(0);
      expect(space.load8(at)).toBe(bytes[0]);
      file.close();
    });
  });

  test('handles go on naming the machine and the space', () => {
    withWasm({ design }, ({ memory, machine, space, grow }) => {
      const at = map(space, 1);
      space.store8(at, 3);
      grow(1);
      expect(machine.handle.frames === memory.buffer).toBe(true); // not toBe: it would compare the bytes
      expect(attachMachine(machine.handle) === machine).toBe(true);
      const second = attachSpace({ ...space.handle });
      expect(second.load8(at)).toBe(3);
      const third = machine.createSpace();
      const there = map(third, 1);
      third.store8(there, 4);
      grow(1);
      expect(third.load8(there)).toBe(4);
      third.close();
      second.close();
      expect(machine.memory).toBe(MACHINE_PAGES * 64 * KiB);
    });
  });

  test('random loads, stores and copies with growth between them are those of a plain array', () => {
    withWasm({ design }, ({ space, grow }) => {
      const random = seeded(31);
      const below = (limit: number): number => Math.floor(random() * limit);
      const bytes = 30 * PAGE;
      const at = map(space, 30);
      const model = new Uint8Array(bytes);
      const view = new DataView(model.buffer);
      for (let i = 0; i < 3000; i++) {
        const p = below(bytes - 8);
        const q = below(bytes - 8);
        const value = below(2 ** 32);
        if (i % 17 === 0) grow(below(2) === 0 ? 0 : i % 170 === 0 ? 1 : 0);
        const kind = below(6);
        if (kind === 0) expect(space.load32(at + p)).toBe(view.getInt32(p, true));
        else if (kind === 1) expect(space.loadF64(at + p)).toBe(view.getFloat64(p, true));
        else if (kind === 2) {
          space.store32(at + p, value);
          view.setInt32(p, value, true);
        } else if (kind === 3) {
          space.store8(at + p, value);
          view.setUint8(p, value);
        } else if (kind === 4) {
          const length = below(bytes - Math.max(p, q));
          space.copy(at + p, at + q, length);
          model.copyWithin(p, q, q + length);
        } else {
          const length = below(Math.min(bytes - p, 9000));
          space.fill(at + p, length, value & 255);
          model.fill(value & 255, p, p + length);
        }
      }
      const got = new Uint8Array(bytes);
      space.read(at, got);
      expect(Buffer.from(got).equals(Buffer.from(model))).toBe(true);
    });
  });
});

test('a machine that is closed and attached again follows the memory still', () => {
  const memory = new WebAssembly.Memory({ initial: MACHINE_PAGES, maximum: 64 });
  const machine = createMachine({ memory, shared: false });
  const { handle } = machine;
  machine.close();
  memory.grow(1);
  const again = attachMachine(handle);
  const space = again.createSpace();
  const at = map(space, 1);
  space.store8(at, 5);
  memory.grow(1);
  expect(space.load8(at)).toBe(5);
  again.close();
});

test('memory that was taken away altogether is EIO at every access, not undefined', () => {
  const buffer = new ArrayBuffer(256 * KiB);
  const machine = createMachine({ memory: { buffer }, shared: false });
  const space = machine.createSpace();
  const at = map(space, 2);
  space.store8(at, 5);
  const elsewhere = structuredClone(buffer, { transfer: [buffer] });
  expect(elsewhere.byteLength).toBe(256 * KiB);
  expect(expectError('EIO', () => space.load8(at))).toMatchObject({ syscall: 'load8', address: at });
  expect(expectError('EIO', () => space.write(at, new Uint8Array(5)))).toMatchObject({ syscall: 'write', done: 0 });
  for (const store of STORES) expectError('EIO', () => store(space, at));
  expectError('EIO', () => space.run((m) => m.store32(at + PAGE, 1)));
  machine.close();
});

test('a getter of the caller for the buffer is asked once', () => {
  let asked = 0;
  const memory = {
    get buffer() {
      asked++;
      return new ArrayBuffer(256 * KiB);
    },
  };
  const machine = createMachine({ memory, shared: false });
  const space = machine.createSpace();
  space.store8(map(space, 1), 5);
  expect(asked).toBe(1);
  machine.close();
});

test.each(DESIGNS)(
  'memory that wasm grows, shared: the machine goes on in the part that it has, under %s',
  (design) => {
    withWasm({ design, shared: true }, ({ memory, machine, space, grow, load }) => {
      const at = map(space, 3);
      const before = memory.buffer;
      space.write(at, pattern(2 * PAGE));
      space.run((m) => {
        m.store32(at, 1);
        expect(grow(3)).toBe(MACHINE_PAGES);
        expect(m.load32(at)).toBe(1);
        m.store32(at + 2 * PAGE, 2);
      });
      expect(memory.buffer === before).toBe(false);
      const got = new Uint8Array(2 * PAGE);
      expect(space.read(at, got)).toBe(2 * PAGE);
      expect(
        Buffer.from(got)
          .subarray(4)
          .equals(Buffer.from(pattern(2 * PAGE)).subarray(4)),
      ).toBe(true);
      space.write(at + 8, Buffer.from('seen by wasm'));
      const found = Buffer.from(memory.buffer).indexOf('seen by wasm');
      expect(load(found)).toBe(115);
      const file = machine.createFile('test-growing', {}, 2 * PAGE);
      const there = space.mmap({ length: 2 * PAGE, prot: RW, flags: MAP_PRIVATE, file });
      inRead = once(() => grow(1));
      expect(space.load8(there)).toBe(pattern(1, 4)[0]);
      expect(attachMachine(machine.handle) === machine).toBe(true);
      file.close();
    });
  },
);

test('memory that is not shared and grows while a page is read asynchronously is followed before the page is put into it', async () => {
  const memory = new WebAssembly.Memory({ initial: MACHINE_PAGES, maximum: 64 });
  const machine = createMachine({ memory, shared: false });
  registerBacking('test-growing-async', () => ({
    read: () => {
      throw new WouldBlock('fault', 'an asynchronous read');
    },
    readAsync: async (_position, length) => {
      memory.grow(1);
      return new Uint8Array(length).fill(7);
    },
    close: () => undefined,
  }));
  const file = machine.createFile('test-growing-async', {}, PAGE);
  const space = machine.createSpace();
  const at = space.mmap({ length: PAGE, prot: PROT_READ, flags: MAP_PRIVATE, file });
  expect(await space.populate(at, PAGE)).toBe(PAGE);
  expect([space.load8(at), memory.buffer.byteLength]).toEqual([7, (MACHINE_PAGES + 1) * 64 * KiB]);
  space.close();
  file.close();
  expectNothingLeft(machine);
  machine.close();
});
