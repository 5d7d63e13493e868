import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { assertRule, oops } from './assert.ts';
import { BusError, Oops, SegmentationFault, seenFrom, VmError, WouldBlock } from './errors.ts';

describe('errors', () => {
  test('have the fields that callers tell them apart by', () => {
    const error = new VmError('EINVAL', 'mmap', 'the length is 0', 0x1000);
    expect(error).toMatchObject({ name: 'VmError', code: 'EINVAL', syscall: 'mmap', address: 0x1000 });
    expect(error.message).toBe('EINVAL: the length is 0, mmap 0x1000');
    expect(error).toBeInstanceOf(Error);
    expect(new VmError('ENOMEM', 'mmap', 'none').address).toBeUndefined();
    expect(new VmError('EINVAL', 'mmap', 'zero', 0).message).toContain('0x0');
  });

  test('of bad accesses are VmErrors with EFAULT and the reason of siginfo', () => {
    const segv = new SegmentationFault('SEGV_ACCERR', 'store8', 4096);
    expect(segv).toMatchObject({ name: 'SegmentationFault', code: 'EFAULT', reason: 'SEGV_ACCERR', syscall: 'store8' });
    const cause = new Error('disk');
    const bus = new BusError('load8', 4096, 'the page could not be read', cause);
    expect(bus).toMatchObject({ name: 'BusError', code: 'EFAULT', reason: 'BUS_ADRERR', cause });
    expect('cause' in new BusError('load8', 4096, 'beyond the end')).toBe(false);
    for (const error of [segv, bus]) expect(error).toBeInstanceOf(VmError);
  });

  test('of threads that must not block say what they would have waited for', () => {
    const error = new WouldBlock('fault', 'a page', 8);
    expect(error).toMatchObject({ name: 'WouldBlock', code: 'EWOULDBLOCK', address: 8 });
    expect(error.message).toContain('a page');
  });

  test('are shown to the caller of the public call, of their own kind, with the first one as the cause', () => {
    const inner = new VmError('ENOMEM', 'fault', 'no frame is free');
    const seen = seenFrom(inner, 'fill', 8192, 4096) as VmError;
    expect(seen).toMatchObject({ code: 'ENOMEM', syscall: 'fill', address: 8192, done: 4096, cause: inner });
    expect(seen.message).toBe('ENOMEM: no frame is free, fill 0x2000 after 4096 bytes');
    expect(seenFrom(seen, 'fill', 8192, 4096)).toBe(seen);
    expect((seenFrom(seen, 'populate', 0, 8192) as VmError).cause).toBe(inner);
    const blocked = seenFrom(new WouldBlock('lock', 'mmap_lock'), 'load8', 16);
    expect(blocked).toBeInstanceOf(WouldBlock);
    expect(blocked).toMatchObject({ syscall: 'load8', address: 16, what: 'mmap_lock', done: undefined });
    const disk = new Error('disk');
    const bus = seenFrom(new BusError('read', 4096, 'unread', disk), 'read', 0, 0) as BusError;
    expect(bus).toBeInstanceOf(BusError);
    expect(bus).toMatchObject({ address: 4096, cause: disk, done: 0 });
    expect(bus.message).toBe('EFAULT: bus error (BUS_ADRERR), unread, read 0x1000');
    const segv = seenFrom(new SegmentationFault('SEGV_ACCERR', 'write', 4096), 'write', 0, 0);
    expect(segv).toMatchObject({ name: 'SegmentationFault', reason: 'SEGV_ACCERR', address: 4096, done: 0 });
    for (const other of [new Oops('I1', 'x'), undefined, new Error('disk')]) {
      expect(seenFrom(other, 'load8', 0)).toBe(other);
    }
  });

  test('of ours are no VmErrors: a broken rule is nobody’s errno', () => {
    expect(() => oops('I5', 'detail')).toThrow(new Oops('I5', 'detail'));
    expect(new Oops('I5', 'x')).not.toBeInstanceOf(VmError);
    expect(new Oops('I5', 'x')).toMatchObject({ name: 'Oops', rule: 'I5', message: 'I5: x' });
    expect(String(new Oops('I5', 'x'))).toBe('Oops: I5: x');
  });

  test('are printed without what they do not know, and say nothing twice', () => {
    const printed = (error: Error): string => inspect(error).replace(/\n {4}at [^\n]*?( \{)?(?=\n|$)/g, '$1');
    const short = printed(new VmError('ENOMEM', 'mmap', 'none left'));
    expect(short).toBe("VmError: ENOMEM: none left, mmap {\n  code: 'ENOMEM',\n  syscall: 'mmap'\n}");
    for (const error of [
      new VmError('EINVAL', 'read', 'none left', 16, 8),
      new WouldBlock('read', 'none left'),
      new BusError('read', 16, 'none left', new Error('disk')),
      new SegmentationFault('SEGV_MAPERR', 'read', 16),
      new Oops('I5', 'none left'),
    ]) {
      const text = printed(error);
      for (const once of ['none left', 'not mapped', error.name, 'disk']) {
        expect(text.split(once).length, text).toBeLessThanOrEqual(2);
      }
      expect(text).not.toContain('undefined');
      expect(error.stack).toMatch(new RegExp(`^${error.name}: `));
    }
  });

  test('show negative addresses as negative numbers', () => {
    expect(new SegmentationFault('SEGV_MAPERR', 'load8', -1).message).toMatch(/ -0x1$/);
    expect(new SegmentationFault('SEGV_MAPERR', 'load8', -(2 ** 40)).message).toMatch(/ -0x10000000000$/);
  });

  test('survive structured cloning as errors with their message', () => {
    const error = structuredClone(new VmError('EINVAL', 'mmap', 'the length is 0'));
    expect(error.message).toBe('EINVAL: the length is 0, mmap');
  });
});

test('an assertion makes its text only when it fails', () => {
  assertRule(true, 'I1', () => expect.fail('made for nothing'));
  expect(() => assertRule(false, 'I1', () => 'made')).toThrow(/I1: made/);
});
