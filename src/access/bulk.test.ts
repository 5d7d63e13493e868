import { describe, expect, test } from 'vitest';
import { faultBench, R, type Thread } from '../../test/faulting.ts';
import { pattern } from '../../test/support.ts';
import type { Backing } from '../backing/backing.ts';
import { descriptorText } from '../backing/descriptor.ts';
import { BusError, VmError } from '../base/errors.ts';

const AT = 100 * 4096;
const PAGE = 4096;

function read(me: Thread, address: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  expect(me.inSection(() => me.bulk.read(address, bytes))).toBe(length);
  return bytes;
}

function write(me: Thread, address: number, bytes: Uint8Array): number {
  return me.inSection(() => me.bulk.write(address, bytes));
}

/** Four writable pages from page 100 on, full of a pattern; nothing before and behind them. */
function filled() {
  const bench = faultBench();
  bench.me.map(100, 4);
  const bytes = pattern(4 * PAGE);
  expect(write(bench.me, AT, bytes)).toBe(bytes.length);
  return { ...bench, bytes };
}

/** A file of one page, in whose read `act` is done, at page 200. */
function sleepy(me: Thread, act: () => void): void {
  const backing: Backing = {
    read(_position, targets) {
      act();
      for (const target of targets) target.fill(7);
      return PAGE;
    },
    close: () => undefined,
  };
  me.map(200, 1, { mapping: me.k.files.create(descriptorText('sleepy', {}), PAGE, backing) });
}

function thrownBy(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return error;
  }
  return expect.fail('nothing was thrown');
}

describe('read, write and fill', () => {
  test.each([
    [0, 1],
    [4095, 1],
    [4095, 2],
    [4096, 4096],
    [1, 3 * 4096],
    [17, 0],
  ])('from byte %i on %i bytes, over the borders of pages', (from, length) => {
    const { me, bytes } = filled();
    expect(read(me, AT + from, length)).toEqual(bytes.subarray(from, from + length));
    const other = pattern(length, 9);
    expect(write(me, AT + from, other)).toBe(length);
    bytes.set(other, from);
    expect(read(me, AT, 4 * PAGE)).toEqual(bytes);
    expect(me.inSection(() => me.bulk.fill(AT + from, length, 0x1ff))).toBe(length);
    bytes.fill(0xff, from, from + length);
    expect(read(me, AT, 4 * PAGE)).toEqual(bytes);
  });

  test('end before the first bad byte, and say how far they came', () => {
    const { me, bytes } = filled();
    const target = new Uint8Array(PAGE + 10);
    expect(me.inSection(() => me.bulk.read(AT + 3 * PAGE, target))).toBe(PAGE);
    expect(target).toEqual(new Uint8Array([...bytes.subarray(3 * PAGE), ...new Uint8Array(10)]));
    me.map(102, 1, { flags: R });
    expect(write(me, AT + 2 * PAGE - 5, new Uint8Array(20))).toBe(5);
    expect(me.inSection(() => me.bulk.fill(AT + 2 * PAGE - 5, 20, 1))).toBe(5);
  });

  test('throw when the first byte is bad, in their own name', () => {
    const { me } = filled();
    const calls = {
      read: () => me.bulk.read(AT - 1, new Uint8Array(10)),
      write: () => me.bulk.write(AT - 1, new Uint8Array(10)),
      fill: () => me.bulk.fill(AT - 1, 10, 0),
    };
    for (const [syscall, call] of Object.entries(calls)) {
      expect(thrownBy(() => me.inSection(call))).toMatchObject({ code: 'EFAULT', syscall, address: AT - 1 });
    }
  });

  test('throw what is no fault also in the middle, with the bytes done before it', () => {
    const { me } = filled();
    const error = new VmError('ETIMEDOUT', 'fault', 'nobody answers');
    const { translate } = me.translator;
    me.translator.translate = (address, ...more) => {
      if (address >= AT + PAGE) throw error;
      return translate.call(me.translator, address, ...more);
    };
    const thrown = thrownBy(() => write(me, AT + PAGE - 3, new Uint8Array(10)));
    expect(thrown).toMatchObject({ code: 'ETIMEDOUT', syscall: 'write', done: 3, address: AT + PAGE });
    expect(thrownBy(() => write(me, AT + PAGE, new Uint8Array(10)))).toMatchObject({ done: 0 });
  });

  test('refuse what is no byte, no length and no buffer', () => {
    const { me } = filled();
    for (const call of [
      () => me.bulk.fill(AT, 1, 1.5),
      () => me.bulk.fill(AT, -1, 0),
      () => me.bulk.read(AT, new Uint16Array(4) as never),
      () => me.bulk.write(-1, new Uint8Array(0)),
    ]) {
      expect(() => me.inSection(call)).toThrow(/^EINVAL/);
    }
  });

  test('end with EINVAL when a backing takes the caller’s buffer away during a fault', () => {
    const { me } = filled();
    const bytes = new Uint8Array(10);
    sleepy(me, () => structuredClone(bytes.buffer, { transfer: [bytes.buffer] }));
    expect(() => me.inSection(() => me.bulk.read(200 * PAGE, bytes))).toThrow(/^EINVAL: the buffer was detached/);
  });
});

describe('copy', () => {
  test.each([
    ['apart', 0, 2 * PAGE + 5, 2 * PAGE - 5],
    ['towards lower addresses, overlapping', 3, 10, 3 * PAGE],
    ['towards higher addresses, overlapping', 10, 3, 3 * PAGE],
    ['by a page up', PAGE, 0, 3 * PAGE],
    ['by a byte up, over a border', 1, 0, PAGE + 7],
    ['to where it is', 77, 77, 2 * PAGE],
    ['side by side', PAGE, 0, PAGE],
    ['nothing', 5, 9, 0],
  ])('%s moves the bytes as they were before', (_what, to, from, length) => {
    const { me, bytes } = filled();
    expect(me.inSection(() => me.bulk.copy(AT + to, AT + from, length))).toBe(length);
    bytes.copyWithin(to, from, from + length);
    expect(read(me, AT, 4 * PAGE)).toEqual(bytes);
  });

  test('ends before the first bad byte of either side', () => {
    const { me, bytes } = filled();
    me.map(300, 1);
    expect(me.inSection(() => me.bulk.copy(300 * PAGE + 100, AT, 2 * PAGE))).toBe(PAGE - 100);
    expect(me.inSection(() => me.bulk.copy(AT, AT + 4 * PAGE - 9, 20))).toBe(9);
    bytes.copyWithin(0, 4 * PAGE - 9);
    expect(read(me, AT, 4 * PAGE)).toEqual(bytes);
    expect(thrownBy(() => me.inSection(() => me.bulk.copy(AT, AT - 1, 2)))).toMatchObject({ address: AT - 1 });
  });

  test('backward does nothing unless it can do all: bytes from the end would tell the caller nothing', () => {
    const { me, bytes } = filled();
    const copy = () => me.inSection(() => me.bulk.copy(AT + 10, AT, 4 * PAGE));
    expect(thrownBy(copy)).toMatchObject({ code: 'EFAULT', syscall: 'copy', address: AT + 4 * PAGE, done: 0 });
    expect(read(me, AT, 4 * PAGE)).toEqual(bytes);
    me.map(102, 1, { flags: R });
    const blocked = thrownBy(() => me.inSection(() => me.bulk.copy(AT + 10, AT, 3 * PAGE)));
    expect(blocked).toMatchObject({ reason: 'SEGV_ACCERR', address: AT + 2 * PAGE, done: 0 });
    expect(read(me, AT, 2 * PAGE)).toEqual(bytes.subarray(0, 2 * PAGE));
    expect(read(me, AT + 3 * PAGE, PAGE)).toEqual(bytes.subarray(3 * PAGE)); // which a copy from the end comes to first
  });

  test('writes to what is mapped when it writes: a fault on the source may sleep, and the target be replaced', () => {
    const { me, other } = filled();
    sleepy(me, () => other.map(100, 1));
    expect(me.inSection(() => me.bulk.copy(AT, 200 * PAGE, 100))).toBe(100);
    expect([...read(me, AT, 101)]).toEqual([...new Array(100).fill(7), 0]);
  });

  test('of a page that cannot be read is a BusError', () => {
    const { me } = filled();
    sleepy(me, () => {
      throw new Error('no such sector');
    });
    expect(() => me.inSection(() => me.bulk.copy(AT, 200 * PAGE, 100))).toThrow(BusError);
    expect(me.inSection(() => me.bulk.copy(AT, AT + 1, 10))).toBe(10);
  });
});
