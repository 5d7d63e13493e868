/** Bad input for every public call: each is a VmError with the code that the manual pages give, and changes nothing. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  attachMachine,
  attachSpace,
  createMachine,
  DESIGN_NAMES,
  KiB,
  MAP_FIXED,
  MAP_FIXED_NOREPLACE,
  MAP_PRIVATE,
  MAP_SHARED,
  type Machine,
  type MappedFile,
  MiB,
  machineOf,
  openFile,
  openFileSync,
  PROT_READ,
  registerBacking,
  type Space,
} from '../../src/node.ts';
import {
  DESIGNS,
  expectError,
  expectNothingLeft,
  expectRejection,
  inUse,
  map,
  PAGE,
  PRIVATE,
  pattern,
  RW,
  temporaryFiles,
} from '../support.ts';

const LIMIT = 2 ** 47;

/** A value of the wrong kind and its name. */
const thrower = {
  valueOf(): never {
    throw new Error('valueOf was called');
  },
  toString(): never {
    throw new Error('toString was called');
  },
};
const WRONG_TYPES: [string, unknown][] = [
  ['a string', '65536'],
  ['a bigint', 65536n],
  ['a symbol', Symbol('address')],
  ['true', true],
  ['null', null],
  ['an array', [65536]],
  ['an object', {}],
  ['an object without prototype', Object.create(null)],
  ['an object that throws', thrower],
  ['a function', () => 65536],
];
/** No whole number of bytes. */
const NOT_COUNTS: [string, unknown][] = [
  ...WRONG_TYPES,
  ['NaN', Number.NaN],
  ['Infinity', Number.POSITIVE_INFINITY],
  ['a negative number', -4096],
  ['a fraction', 4096.5],
  ['2^53', 2 ** 53],
];
const NOT_FLAGS: [string, unknown][] = [
  ...WRONG_TYPES,
  ['NaN', Number.NaN],
  ['a fraction', 1.5],
  ['a negative number', -1],
  ['an unknown bit', 1 << 30],
  ['a known bit and 2^32', 2 ** 32 + 1],
  ['minus 2^32 and a known bit', 1 - 2 ** 32],
];

describe.each(DESIGNS)('bad input under %s', (design) => {
  const files = temporaryFiles();
  let machine: Machine;
  let space: Space;
  let file: MappedFile;
  let at: number;
  let path: string;

  beforeAll(() => {
    path = files.write('bad-input', pattern(3 * PAGE));
    machine = createMachine({ memory: 1 * MiB, design, stallTimeout: 1000 });
    space = machine.createSpace();
    file = openFileSync(machine, path);
    at = map(space, 8);
    space.mprotect(at + 2 * PAGE, PAGE, PROT_READ);
    space.fill(at, PAGE, 7);
  });

  afterAll(() => {
    file.close();
    space.close();
    expectNothingLeft(machine);
    machine.close();
    files.remove();
  });

  /** The call throws `code` and leaves layout and memory as they were, and the thread outside every section. */
  function rejects(code: string, call: () => unknown): void {
    machine.drain();
    const before = { maps: space.maps(), census: inUse(machine), sequence: space.sequence() };
    const error = expectError(code, call);
    expect(error.syscall).not.toBe('');
    machine.drain();
    expect({ maps: space.maps(), census: inUse(machine), sequence: space.sequence() }).toEqual(before);
  }

  const any = <T>(value: unknown): T => value as T;

  describe('mmap', () => {
    const base = { length: PAGE, prot: RW, flags: PRIVATE };

    test('the control: the same call with good arguments works', () => {
      const got = space.mmap(base);
      expect(got % PAGE).toBe(0);
      space.munmap(got, PAGE);
    });

    test.each(WRONG_TYPES.filter(([, value]) => typeof value !== 'object' || value === null))(
      'options that are %s are EINVAL',
      (_name, value) => rejects('EINVAL', () => space.mmap(any(value))),
    );
    test('no options are EINVAL', () => rejects('EINVAL', () => space.mmap(any(undefined))));
    test('empty options are EINVAL', () => rejects('EINVAL', () => space.mmap(any({}))));

    test.each([...NOT_COUNTS, ['0', 0], ['undefined', undefined]])('length %s is EINVAL', (_name, length) =>
      rejects('EINVAL', () => space.mmap(any({ ...base, length }))),
    );
    test.each([...NOT_FLAGS, ['undefined', undefined]])('prot %s is EINVAL', (_name, prot) =>
      rejects('EINVAL', () => space.mmap(any({ ...base, prot }))),
    );
    test.each([...NOT_FLAGS, ['undefined', undefined], ['0', 0], ['both kinds', MAP_SHARED | MAP_PRIVATE]])(
      'flags %s are EINVAL',
      (_name, flags) => rejects('EINVAL', () => space.mmap(any({ ...base, flags }))),
    );
    test('flags with a known bit and 2^32 are EINVAL', () =>
      rejects('EINVAL', () => space.mmap({ ...base, flags: PRIVATE + 2 ** 32 })));
    test.each(NOT_COUNTS)('addr %s is EINVAL', (_name, addr) =>
      rejects('EINVAL', () => space.mmap(any({ ...base, addr }))),
    );
    test.each(NOT_COUNTS)('offset %s is EINVAL', (_name, offset) =>
      rejects('EINVAL', () => space.mmap(any({ ...base, offset }))),
    );
    test.each([
      ...WRONG_TYPES,
      ['something that looks like a file', { mappingFor: () => 99 }],
      ['something that half looks like a file', { mappingFor: 5 }],
    ])('file %s is EINVAL', (_name, value) =>
      rejects('EINVAL', () => space.mmap(any({ length: PAGE, prot: PROT_READ, flags: MAP_PRIVATE, file: value }))),
    );

    test('an unaligned offset is EINVAL', () => {
      rejects('EINVAL', () => space.mmap({ ...base, offset: 100 }));
      rejects('EINVAL', () => space.mmap({ length: PAGE, prot: PROT_READ, flags: MAP_PRIVATE, file, offset: 512 }));
    });
    test('an unaligned fixed address is EINVAL', () => {
      for (const flag of [MAP_FIXED, MAP_FIXED_NOREPLACE]) {
        rejects('EINVAL', () => space.mmap({ ...base, addr: at + 1, flags: PRIVATE | flag }));
      }
    });
    test('a fixed address below the lowest is EPERM', () => {
      for (const addr of [0, PAGE, 15 * PAGE]) {
        rejects('EPERM', () => space.mmap({ ...base, addr, flags: PRIVATE | MAP_FIXED }));
      }
    });
    test('a range that ends beyond the address space is ENOMEM', () => {
      rejects('ENOMEM', () => space.mmap({ ...base, addr: LIMIT, flags: PRIVATE | MAP_FIXED }));
      rejects('ENOMEM', () =>
        space.mmap({ ...base, length: 2 * PAGE, addr: LIMIT - PAGE, flags: PRIVATE | MAP_FIXED }),
      );
      rejects('ENOMEM', () => space.mmap({ ...base, addr: 2 ** 53 - PAGE, flags: PRIVATE | MAP_FIXED }));
      rejects('ENOMEM', () => space.mmap({ ...base, length: LIMIT + PAGE }));
      rejects('ENOMEM', () => space.mmap({ ...base, length: LIMIT }));
      rejects('ENOMEM', () => space.mmap({ ...base, length: Number.MAX_SAFE_INTEGER }));
    });
    test('MAP_ANONYMOUS with a file is EINVAL, neither is EBADF', () => {
      rejects('EINVAL', () => space.mmap({ ...base, file }));
      rejects('EBADF', () => space.mmap({ ...base, flags: MAP_PRIVATE }));
      rejects('EBADF', () => space.mmap({ ...base, flags: MAP_SHARED }));
    });
    test('a shared writable mapping of a file that was opened for reading is EACCES', () => {
      rejects('EACCES', () => space.mmap({ length: PAGE, prot: RW, flags: MAP_SHARED, file }));
    });
    test('an offset beyond the largest file is EOVERFLOW', () => {
      const options = { length: PAGE, prot: PROT_READ, flags: MAP_PRIVATE, file };
      rejects('EOVERFLOW', () => space.mmap({ ...options, offset: 2 ** 31 * PAGE }));
      rejects('EOVERFLOW', () => space.mmap({ ...options, length: 2 * PAGE, offset: (2 ** 31 - 1) * PAGE }));
    });
    test('MAP_FIXED_NOREPLACE over a mapping is EEXIST', () => {
      rejects('EEXIST', () => space.mmap({ ...base, addr: at + PAGE, flags: PRIVATE | MAP_FIXED_NOREPLACE }));
    });
  });

  describe('munmap and mprotect', () => {
    test.each(NOT_COUNTS)('address %s is EINVAL', (_name, address) => {
      rejects('EINVAL', () => space.munmap(any(address), PAGE));
      rejects('EINVAL', () => space.mprotect(any(address), PAGE, RW));
    });
    test.each([...NOT_COUNTS, ['undefined', undefined]])('length %s is EINVAL', (_name, length) => {
      rejects('EINVAL', () => space.munmap(at, any(length)));
      rejects('EINVAL', () => space.mprotect(at, any(length), RW));
    });
    test.each([...NOT_FLAGS, ['undefined', undefined]])('prot %s is EINVAL', (_name, prot) =>
      rejects('EINVAL', () => space.mprotect(at, PAGE, any(prot))),
    );
    test('an unaligned address is EINVAL', () => {
      rejects('EINVAL', () => space.munmap(at + 1, PAGE));
      rejects('EINVAL', () => space.mprotect(at + 2048, PAGE, RW));
      rejects('EINVAL', () => space.mprotect(at + 2048, 0, RW));
    });
    test('munmap of nothing is EINVAL, mprotect of nothing does nothing', () => {
      rejects('EINVAL', () => space.munmap(at, 0));
      const before = space.sequence();
      space.mprotect(at, 0, PROT_READ);
      expect(space.sequence()).toBe(before);
    });
    test('a range that ends beyond the address space is EINVAL for munmap, ENOMEM for mprotect', () => {
      for (const [address, length] of [
        [LIMIT, PAGE],
        [LIMIT - PAGE, 2 * PAGE],
        [at, Number.MAX_SAFE_INTEGER],
        [2 ** 53 - PAGE, PAGE],
      ] as const) {
        rejects('EINVAL', () => space.munmap(address, length));
        rejects('ENOMEM', () => space.mprotect(address, length, RW));
      }
    });
    test('mprotect of a hole is ENOMEM', () =>
      rejects('ENOMEM', () => space.mprotect(at + 7 * PAGE, 2 * PAGE, PROT_READ)));
    test('mprotect that would make a shared file mapping writable is EACCES', () => {
      const shared = space.mmap({ length: PAGE, prot: PROT_READ, flags: MAP_SHARED, file });
      rejects('EACCES', () => space.mprotect(shared, PAGE, RW));
      space.munmap(shared, PAGE);
    });
  });

  describe('accesses', () => {
    type Access = (memory: Space, address: number) => unknown;
    const loads: [string, Access][] = [
      ['load8', (m, a) => m.load8(a)],
      ['load16', (m, a) => m.load16(a)],
      ['load32', (m, a) => m.load32(a)],
      ['loadU32', (m, a) => m.loadU32(a)],
      ['loadI64', (m, a) => m.loadI64(a)],
      ['loadF32', (m, a) => m.loadF32(a)],
      ['loadF64', (m, a) => m.loadF64(a)],
      ['store8', (m, a) => m.store8(a, 1)],
      ['store16', (m, a) => m.store16(a, 1)],
      ['store32', (m, a) => m.store32(a, 1)],
      ['storeI64', (m, a) => m.storeI64(a, 1n)],
      ['storeF32', (m, a) => m.storeF32(a, 1)],
      ['storeF64', (m, a) => m.storeF64(a, 1)],
    ];
    const atomics: [string, Access][] = [
      ['atomicLoad32', (m, a) => m.atomicLoad32(a)],
      ['atomicStore32', (m, a) => m.atomicStore32(a, 1)],
      ['cas32', (m, a) => m.cas32(a, 0, 1)],
      ['add32', (m, a) => m.add32(a, 1)],
      ['exchange32', (m, a) => m.exchange32(a, 1)],
      ['and32', (m, a) => m.and32(a, 1)],
      ['or32', (m, a) => m.or32(a, 1)],
      ['xor32', (m, a) => m.xor32(a, 1)],
      ['atomicLoad64', (m, a) => m.atomicLoad64(a)],
      ['atomicStore64', (m, a) => m.atomicStore64(a, 1n)],
      ['cas64', (m, a) => m.cas64(a, 0n, 1n)],
      ['add64', (m, a) => m.add64(a, 1n)],
      ['exchange64', (m, a) => m.exchange64(a, 1n)],
    ];
    const addresses: [string, unknown][] = [
      ...WRONG_TYPES,
      ['NaN', Number.NaN],
      ['Infinity', Number.POSITIVE_INFINITY],
      ['-Infinity', Number.NEGATIVE_INFINITY],
      ['a fraction', 65536.5],
      ['undefined', undefined],
    ];
    const outside: [string, number][] = [
      ['a negative address', -8],
      ['-2^53', -(2 ** 53)],
      ['the address limit', LIMIT],
      ['2^53', 2 ** 53],
      ['2^64', 2 ** 64],
      ['page 0', 8],
    ];

    describe.each([...loads, ...atomics])('%s', (_access, access) => {
      test.each(addresses)('at %s is EINVAL', (_name, address) => {
        rejects('EINVAL', () => access(space, any(address)));
        rejects('EINVAL', () => space.run((m) => access(any(m), any(address))));
      });
      test.each(outside)('at %s is a segmentation fault', (_name, address) => {
        rejects('EFAULT', () => access(space, address));
        rejects('EFAULT', () => space.run((m) => access(any(m), address)));
      });
    });

    test.each(atomics)('%s of an unaligned word is EINVAL', (_name, access) => {
      for (const offset of [1, 2, 3, PAGE - 1]) rejects('EINVAL', () => access(space, at + offset));
    });

    test('a fraction near a page that is in the TLB is still EINVAL', () => {
      space.run((m) => {
        m.load32(at);
        for (const address of [at + 0.5, at + 4094.5, at + 4095.999]) {
          for (const [, access] of loads) expectError('EINVAL', () => access(any(m), address));
        }
      });
    });

    test('a bigint store of a number is EINVAL', () => {
      rejects('EINVAL', () => space.storeI64(at, any(5)));
      rejects('EINVAL', () => space.storeI64(at, any(undefined)));
    });

    test('values are converted as a typed array converts them', () => {
      space.store32(at, 2 ** 32 + 5);
      expect(space.load32(at)).toBe(5);
      space.store8(at, -1);
      expect(space.load8(at)).toBe(255);
      space.store16(at + PAGE - 1, -2);
      expect(space.load16(at + PAGE - 1)).toBe(0xfffe);
      space.store32(at, Number.NaN);
      expect(space.load32(at)).toBe(0);
      space.fill(at, PAGE, 7);
    });
  });

  describe('read, write, copy, fill, populate', () => {
    const bytes = new Uint8Array(16);

    test.each([...NOT_COUNTS, ['undefined', undefined]])('address %s is EINVAL', async (_name, address) => {
      rejects('EINVAL', () => space.read(any(address), bytes));
      rejects('EINVAL', () => space.write(any(address), bytes));
      rejects('EINVAL', () => space.fill(any(address), 16, 0));
      rejects('EINVAL', () => space.copy(any(address), at, 16));
      rejects('EINVAL', () => space.copy(at, any(address), 16));
      await expectRejection('EINVAL', () => space.populate(any(address), PAGE));
    });
    test.each([...NOT_COUNTS, ['undefined', undefined]])('length %s is EINVAL', async (_name, length) => {
      rejects('EINVAL', () => space.fill(at, any(length), 0));
      rejects('EINVAL', () => space.copy(at, at + PAGE, any(length)));
      await expectRejection('EINVAL', () => space.populate(at, any(length)));
    });
    test.each([
      ...WRONG_TYPES,
      ['undefined', undefined],
      ['an ArrayBuffer', new ArrayBuffer(8)],
      ['a Uint16Array', new Uint16Array(8)],
      ['a DataView', new DataView(new ArrayBuffer(8))],
    ])('a buffer that is %s is EINVAL', (_name, buffer) => {
      rejects('EINVAL', () => space.read(at, any(buffer)));
      rejects('EINVAL', () => space.write(at, any(buffer)));
    });
    test.each([...WRONG_TYPES, ['NaN', Number.NaN], ['a fraction', 1.5], ['undefined', undefined]])(
      'a fill value of %s is EINVAL',
      (_name, value) => rejects('EINVAL', () => space.fill(at, 16, any(value))),
    );
    test('an address beyond the address space is EFAULT', () => {
      rejects('EFAULT', () => space.read(LIMIT, bytes));
      rejects('EFAULT', () => space.write(2 ** 52, bytes));
      rejects('EFAULT', () => space.fill(LIMIT, 1, 0));
      rejects('EFAULT', () => space.copy(LIMIT, at, 1));
    });
  });

  describe('wait and notify', () => {
    test.each([
      ...WRONG_TYPES,
      ['NaN', Number.NaN],
      ['a fraction', 65536.5],
      ['undefined', undefined],
      ['an unaligned address', 65538],
    ])('at %s is EINVAL', (_name, address) => {
      rejects('EINVAL', () => space.wait(any(address), 0, 0));
      rejects('EINVAL', () => space.notify(any(address), 1));
    });
    test.each([
      ...WRONG_TYPES,
      ['NaN', Number.NaN],
      ['a fraction', 0.5],
      ['2^53', 2 ** 53],
      ['2^32', 2 ** 32],
      ['undefined', undefined],
    ])('an expected value of %s is EINVAL', (_name, expected) =>
      rejects('EINVAL', () => space.wait(at, any(expected), 0)),
    );
    test.each([...WRONG_TYPES, ['NaN', Number.NaN]])('a timeout of %s is EINVAL', (_name, timeout) =>
      rejects('EINVAL', () => space.wait(at, 0, any(timeout))),
    );
    test.each([...WRONG_TYPES, ['NaN', Number.NaN], ['-1', -1]])('a count of %s is EINVAL', (_name, count) =>
      rejects('EINVAL', () => space.notify(at, any(count))),
    );
    test('where nothing is mapped it is EFAULT', () => {
      rejects('EFAULT', () => space.wait(4 * PAGE, 0, 0));
      rejects('EFAULT', () => space.notify(4 * PAGE, 1));
      rejects('EFAULT', () => space.wait(-4, 0, 0));
      rejects('EFAULT', () => space.notify(LIMIT, 1));
    });
  });

  describe('run', () => {
    test.each([...WRONG_TYPES.filter(([, value]) => typeof value !== 'function'), ['undefined', undefined]])(
      'of %s is EINVAL',
      (_name, value) => rejects('EINVAL', () => space.run(any(value))),
    );
  });

  describe('the machine', () => {
    test.each(WRONG_TYPES.filter(([, value]) => typeof value !== 'object' || value === null))(
      'createSpace with options that are %s is EINVAL',
      (_name, options) => rejects('EINVAL', () => machine.createSpace(any(options))),
    );
    test.each([...NOT_COUNTS, ['0', 0], ['less than a page', PAGE - 1]])('a limit of %s is EINVAL', (_name, limit) =>
      rejects('EINVAL', () => machine.createSpace(any({ limit }))),
    );
    test.each([...NOT_COUNTS, ['undefined', undefined]])('reap of %s is EINVAL', (_name, cpu) =>
      rejects('EINVAL', () => machine.reap(any(cpu))),
    );
    test('reap of itself is EINVAL, of a cpu beyond the last is EINVAL, of a free one is false', () => {
      rejects('EINVAL', () => machine.reap(machine.cpu));
      rejects('EINVAL', () => machine.reap(64));
      rejects('EINVAL', () => machine.reap(1e9));
      expect(machine.reap(63)).toBe(false);
    });
    test.each([...WRONG_TYPES, ['undefined', undefined], ['an ended worker', { threadId: -1, once() {} }]])(
      'watch of %s is EINVAL',
      (_name, worker) => rejects('EINVAL', () => machine.watch(any(worker))),
    );
    test.each([...NOT_COUNTS, ['undefined', undefined], ['64', 64]])('cpuCounters of %s is EINVAL', (_name, cpu) =>
      rejects('EINVAL', () => machine.cpuCounters(any(cpu))),
    );
    test.each([...WRONG_TYPES.filter(([name]) => name !== 'a string'), ['', ''], ['undefined', undefined]])(
      'createFile of the kind %s is EINVAL',
      (_name, kind) => rejects('EINVAL', () => machine.createFile(any(kind), {}, PAGE)),
    );
    test.each([...NOT_COUNTS, ['undefined', undefined]])('createFile of the size %s is EINVAL', (_name, size) =>
      rejects('EINVAL', () => machine.createFile('node-file', {}, any(size))),
    );
    test.each([2 ** 43 + 1, 2 ** 43 + PAGE, Number.MAX_SAFE_INTEGER])(
      'createFile of %i bytes is EOVERFLOW: not every page could be numbered',
      (size) => rejects('EOVERFLOW', () => machine.createFile('bad', {}, size)),
    );
    test('the largest file is closed at once when no page of it is in memory', () => {
      registerBacking('empty', () => ({ read: () => 0, close() {} }));
      machine.createFile('empty', {}, 2 ** 43).close();
    });
    test.each([
      ['nothing but a bad path', {}],
      ['a path alone', { path: '/etc/hostname' }],
      ['no object', 'path'],
      ['nothing', undefined],
    ])('createFile of a file of the host with %s is EINVAL: it is opened with openFile', (_name, options) => {
      rejects('EINVAL', () => machine.createFile('node-file', options, PAGE));
      rejects('EINVAL', () => machine.createFile('slow-file', options, PAGE));
    });
    test.each(WRONG_TYPES)('attachFile of %s is EINVAL', (_name, handle) =>
      rejects('EINVAL', () => machine.attachFile(any(handle))),
    );
    test.each(NOT_COUNTS)('attachFile of a handle whose file is %s is EINVAL or ESTALE', (_name, value) => {
      const call = () => machine.attachFile(any({ ...file.handle, file: value }));
      expect(['EINVAL', 'ESTALE']).toContain(codeOf(call));
    });
    test('attachFile of a handle with another version is EPROTO', () => {
      rejects('EPROTO', () => machine.attachFile(any({ ...file.handle, version: 0 })));
    });
    test('attachFile of a record that is no file is ESTALE', () => {
      for (const record of [0, 1, 7, 2 ** 31, file.handle.file + 1]) {
        rejects('ESTALE', () => machine.attachFile(any({ ...file.handle, file: record })));
      }
    });
    test.each(WRONG_TYPES)('attachSpace of %s is EINVAL', (_name, handle) => {
      rejects('EINVAL', () => machine.attachSpace(any(handle)));
      rejects('EINVAL', () => attachSpace(any(handle)));
    });
    test.each(NOT_COUNTS)('attachSpace of a handle whose space is %s is EINVAL or ESTALE', (_name, value) => {
      const call = () => machine.attachSpace(any({ ...space.handle, space: value }));
      expect(['EINVAL', 'ESTALE']).toContain(codeOf(call));
      machine.createSpace().close(); // the list's lock is free
    });
    test.each(NOT_COUNTS)('attachSpace of a handle whose serial is %s is EINVAL or ESTALE', (_name, value) => {
      const call = () => machine.attachSpace(any({ ...space.handle, serial: value }));
      expect(['EINVAL', 'ESTALE']).toContain(codeOf(call));
    });
    test('attachSpace of a record that is no space is ESTALE', () => {
      for (const record of [0, 1, space.handle.space + 1, space.handle.space + 256 * 63, 2 ** 31]) {
        rejects('ESTALE', () => machine.attachSpace(any({ ...space.handle, space: record })));
      }
    });
    test('a handle with another layout version is EPROTO', () => {
      rejects('EPROTO', () => machine.attachSpace(any({ ...space.handle, version: 0 })));
      rejects('EPROTO', () => attachSpace(any({ ...space.handle, version: space.handle.version + 1 })));
      rejects('EPROTO', () => attachMachine(any({ ...machine.handle, version: undefined })));
    });
    test.each(WRONG_TYPES)('attachMachine of %s is EINVAL', (_name, handle) =>
      rejects('EINVAL', () => attachMachine(any(handle))),
    );
    test.each([
      ...NOT_COUNTS,
      ['undefined', undefined],
      ['a big number', 2 ** 31],
      ['odd bytes', new SharedArrayBuffer(7)],
    ])('attachMachine of a handle whose memory is %s is EPROTO or EINVAL', (_name, value) => {
      for (const key of ['control', 'frames', 'frameBytes']) {
        const code = codeOf(() => attachMachine(any({ ...machine.handle, [key]: value })));
        expect(['EINVAL', 'EPROTO'], key).toContain(code);
      }
    });
    test('attachMachine of memory that holds no machine is EPROTO', () => {
      rejects('EPROTO', () => attachMachine({ ...machine.handle, control: new SharedArrayBuffer(64 * KiB) }));
      rejects('EPROTO', () => attachMachine({ ...machine.handle, control: new SharedArrayBuffer(0) }));
    });
    test.each([...WRONG_TYPES, ['undefined', undefined]])('machineOf %s is EINVAL', (_name, value) =>
      rejects('EINVAL', () => machineOf(any(value))),
    );
    test('machineOf a space is its machine', () => expect(machineOf(space)).toBe(machine));
  });

  describe('openFile', () => {
    test.each([
      ...WRONG_TYPES.filter(([name]) => name !== 'a string'),
      ['the empty string', ''],
      ['undefined', undefined],
    ])('of the path %s is EINVAL', async (_name, value) => {
      rejects('EINVAL', () => openFileSync(machine, any(value)));
      await expectRejection('EINVAL', () => openFile(machine, any(value)));
    });
    test.each([
      ['that is no file URL', () => new URL('https://example.org/etc/passwd')],
      ['with a host', () => new URL('file://host/etc/passwd')],
      ['with a broken escape', () => new URL('file:///%E0%A4%A')],
      ['with a slash in an escape', () => new URL('file:///tmp%2Fx')],
    ])('of a URL %s is EINVAL', (_name, make) => rejects('EINVAL', () => openFileSync(machine, make())));
    test('of a path with a NUL is EINVAL', () => rejects('EINVAL', () => openFileSync(machine, 'a\0b')));
    test.each(WRONG_TYPES)('with options that are %s is EINVAL', (_name, options) => {
      if (typeof options === 'object' && options !== null) return;
      rejects('EINVAL', () => openFileSync(machine, path, any(options)));
    });
    test.each(['w', 'r+', '', 5, null])('in the mode %j is ENOTSUP', (mode) =>
      rejects('ENOTSUP', () => openFileSync(machine, path, any({ mode }))),
    );
    test.each([...NOT_COUNTS.filter(([name]) => name !== 'a fraction' && name !== '2^53')])(
      'with a delay of %s is EINVAL',
      (_name, milliseconds) => {
        rejects('EINVAL', () => openFileSync(machine, path, any({ delay: { milliseconds } })));
        rejects('EINVAL', () => openFileSync(machine, path, any({ delay: { milliseconds: 1, every: milliseconds } })));
        if (milliseconds !== undefined)
          rejects('EINVAL', () => openFileSync(machine, path, any({ delay: milliseconds })));
      },
    );
    test.each([...WRONG_TYPES, ['undefined', undefined]])('on a machine that is %s is EINVAL', (_name, value) =>
      rejects('EINVAL', () => openFileSync(any(value), path)),
    );
    test('of a file URL works', () => {
      const opened = openFileSync(machine, new URL(`file://${path}`));
      expect(opened.size).toBe(3 * PAGE);
      opened.close();
    });
  });

  test.each([...WRONG_TYPES.filter(([name]) => name !== 'a string'), ['', '']])(
    'registerBacking of the kind %s is EINVAL',
    (_name, kind) => {
      rejects('EINVAL', () => registerBacking(any(kind), () => ({ read: () => 0, close() {} })));
    },
  );
  test.each(WRONG_TYPES.filter(([, value]) => typeof value !== 'function'))(
    'registerBacking of the factory %s is EINVAL',
    (_name, factory) => rejects('EINVAL', () => registerBacking('bad', any(factory))),
  );
});

describe('createMachine', () => {
  const fails = (options: unknown, code = 'EINVAL') => expectError(code, () => createMachine(options as never));

  test.each([...WRONG_TYPES, ['undefined', undefined], ['empty', {}]])(
    'with options that are %s is EINVAL',
    (_name, value) => {
      fails(value);
    },
  );
  test.each([
    ...NOT_COUNTS,
    ['0', 0],
    ['less than 64 pages', 64 * PAGE - 1],
    ['more than 4 GiB', 4 * 2 ** 30 + PAGE],
    ['1 TiB', 2 ** 40],
    ['something with a buffer', { buffer: 5 }],
    ['a WebAssembly.Memory that is not shared', new WebAssembly.Memory({ initial: 4, maximum: 4 })],
    ['a WebAssembly.Memory that is too small', new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true })],
  ])('with memory %s is EINVAL', (_name, memory) => {
    fails({ memory });
  });
  test('over a shared WebAssembly.Memory with shared: false is EINVAL', () => {
    fails({ memory: new WebAssembly.Memory({ initial: 4, maximum: 4, shared: true }), shared: false });
  });
  test.each(WRONG_TYPES)('with the design %s is EINVAL', (_name, design) => {
    fails({ memory: MiB, design });
  });
  test.each(WRONG_TYPES.filter(([, value]) => typeof value !== 'boolean'))(
    'with shared: %s is EINVAL',
    (_name, shared) => {
      fails({ memory: MiB, shared });
    },
  );
  test.each([...NOT_COUNTS, ['0', 0], ['2^31', 2 ** 31]])('with a time-out of %s is EINVAL', (_name, milliseconds) => {
    fails({ memory: MiB, stallTimeout: milliseconds });
    fails({ memory: MiB, ioTimeout: milliseconds });
  });
  test('with every design works, and undefined options count as not given', () => {
    for (const design of DESIGN_NAMES) {
      const machine = createMachine({ memory: 256 * KiB, design, shared: undefined, stallTimeout: undefined });
      expect([machine.design, machine.memory, machine.shared]).toEqual([design, 256 * KiB, true]);
      machine.close();
    }
  });
  test('rounds the memory down to pages', () => {
    const machine = createMachine({ memory: 256 * KiB + 4095 });
    expect(machine.memory).toBe(256 * KiB);
    machine.close();
  });
});

function codeOf(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    return String((error as { code?: unknown }).code ?? error);
  }
  return 'no error';
}
