import { describe, expect, test } from 'vitest';
import { assertRule, oops } from './assert.ts';
import { BusError, Oops, SegmentationFault, VmError, WouldBlock } from './errors.ts';

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

  test('of ours are no VmErrors: a broken rule is nobody’s errno', () => {
    expect(() => oops('I5', 'detail')).toThrow(new Oops('I5', 'detail'));
    expect(new Oops('I5', 'x')).not.toBeInstanceOf(VmError);
    expect(new Oops('I5', 'x')).toMatchObject({ name: 'Oops', rule: 'I5', message: 'Oops: I5: x' });
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
