/** One thread waits; another notifies it while it sleeps, that is in place of the sleep. */
import { describe, expect, test, vi } from 'vitest';
import { faultBench, justBefore, numberedFile, RW, Thread } from '../../test/faulting.ts';
import { bareSpace, meeting, vpn } from '../../test/kernel.ts';
import { SegmentationFault, VmError } from '../base/errors.ts';
import { FrameViews } from '../memory/frame-views.ts';
import { MM_SERIAL } from '../paging/mm.layout.ts';
import { attachMm } from '../space/mm.ts';
import { unmapPages } from '../space/unmap.ts';
import { C_FUTEX } from '../sync/control.layout.ts';
import { bucketOf } from '../sync/futex.ts';
import { VM_SHARED } from '../vma/vma.layout.ts';
import { type FutexParts, futexNotify, futexWait } from './virtual-futex.ts';

const AT = 100 * 4096;

function parts({ k, view, translator }: Thread): FutexParts {
  const { buffer, byteLength } = k.frames.bytes;
  return { k, view, translator, views: new FrameViews(buffer as SharedArrayBuffer, byteLength, undefined) };
}

/** What the wait returns if `act` is what others do while the thread sleeps. */
function waiting(me: Thread, address: number, expected: number, act: () => void, timeout = 20): string {
  let isDone = false;
  let clock = 1000;
  const now = vi.spyOn(performance, 'now').mockImplementation(() => clock);
  const wait = vi.spyOn(Atomics, 'wait').mockImplementation(((
    _words: unknown,
    _at: unknown,
    _seen: unknown,
    ms = 0,
  ) => {
    if (!isDone) {
      isDone = true;
      act();
    }
    clock += ms as number;
    return 'timed-out';
  }) as typeof Atomics.wait);
  try {
    return futexWait(parts(me), true, address, expected, timeout);
  } finally {
    now.mockRestore();
    wait.mockRestore();
  }
}

function store(me: Thread, address: number, value: number): void {
  me.inSection(() => me.bulk.write(address, new Uint8Array(new Int32Array([value]).buffer)));
}

function waits(me: Thread): boolean {
  return me.k.words[me.k.cpu.base + C_FUTEX] !== 0;
}

describe('wait', () => {
  test('is not-equal, without a sleep, when the word is another', () => {
    const { me } = faultBench();
    me.map(100, 1);
    store(me, AT + 8, -2);
    const never = () => expect.fail('a sleep');
    expect(waiting(me, AT + 8, 0, never)).toBe('not-equal');
    expect([me.k.rcu.depth, me.k.cpu.heldDepth, waits(me)]).toEqual([0, 0, false]);
  });

  test('takes the value as signed or as unsigned', () => {
    const { me } = faultBench();
    me.map(100, 1);
    store(me, AT, -2);
    for (const same of [-2, 0xfffffffe]) expect(waiting(me, AT, same, () => undefined)).toBe('timed-out');
    expect(waits(me)).toBe(false);
  });

  test('sleeps outside of every section until another notifies the address', () => {
    const { me, other } = faultBench();
    me.map(100, 1);
    let during: unknown;
    const wake = () => {
      during = me.k.rcu.inSection;
      expect([futexNotify(parts(other), AT, 5), futexNotify(parts(other), AT, 5)]).toEqual([1, 0]);
    };
    expect([waiting(me, AT, 0, wake), during, me.k.rcu.depth]).toEqual(['ok', false, 0]);
  });

  test('looks again when the page is replaced before the queue is entered: the write has been notified', () => {
    const { me, other } = faultBench();
    me.map(100, 1);
    me.fault(100, 'read');
    const owner = me.mm;
    const bucket = bucketOf({ owner, serial: me.k.words[owner + MM_SERIAL] as number, address: AT });
    let woken = -1;
    let result = '';
    meeting(
      () => {
        result = waiting(me, AT, 0, () => expect.fail('a sleep'));
      },
      justBefore('compareExchange', bucket, () => {
        store(other, AT, 1); // the zero page becomes a page of its own: the old one still says 0
        woken = futexNotify(parts(other), AT, 1);
      }),
    );
    expect([result, woken]).toEqual(['not-equal', 0]);
  });

  test('ends in EAGAIN when the page never stays', () => {
    const { me } = faultBench();
    me.map(100, 1);
    const { translate } = me.translator;
    let calls = 0;
    me.translator.translate = (...given) => {
      calls++;
      const at = translate.apply(me.translator, given);
      me.view.generation--;
      return at;
    };
    expect(() => waiting(me, AT, 0, () => undefined)).toThrow(/^EAGAIN: the space changes without a pause, wait/);
    expect([calls, waits(me), me.k.rcu.depth]).toEqual([1000, false, 0]);
  });

  test('is refused, with nothing queued, where nobody could wake the thread or it must not block', () => {
    const { me } = faultBench();
    me.map(100, 1);
    expect(() => futexWait(parts(me), false, AT, 0, 10)).toThrow(/^EDEADLK/);
    Object.assign(me.k.cpu, { canBlock: false });
    expect(() => futexWait(parts(me), true, AT, 0, 10)).toThrow(/^EWOULDBLOCK/);
    expect(futexWait(parts(me), true, AT, 1, 10)).toBe('not-equal'); // that is no wait
    expect([waits(me), me.k.rcu.depth, me.k.cpu.heldDepth]).toEqual([false, 0, 0]);
  });
});

describe('who meets whom', () => {
  test('by private memory: the same address of the same space, and no other', () => {
    const { me, other, kernel } = faultBench();
    me.map(100, 2);
    const { mm } = bareSpace(kernel);
    const far = new Thread(other.k, mm);
    attachMm(other.k, mm, kernel.words[mm + MM_SERIAL] as number);
    far.map(100, 1);
    const act = () => {
      expect(futexNotify(parts(other), AT + 4, 9)).toBe(0);
      expect(futexNotify(parts(other), AT + 4096, 9)).toBe(0);
      expect(futexNotify(parts(far), AT, 9)).toBe(0);
    };
    expect(waiting(me, AT, 0, act)).toBe('timed-out');
  });

  test('by a shared file: the same byte of it, at whatever address; a private mapping of it is another matter', () => {
    const bench = faultBench();
    const { me, other } = bench;
    const mapping = numberedFile(bench, 8192);
    const flags = (RW & ~2) | VM_SHARED;
    me.map(100, 1, { mapping, flags, offset: 1 });
    me.map(200, 2, { mapping, flags });
    me.map(300, 2, { mapping });
    const seen = 0x02020202;
    const wrong = () => {
      expect(futexNotify(parts(other), 200 * 4096 + 8, 9)).toBe(0);
      expect(futexNotify(parts(other), 201 * 4096 + 12, 9)).toBe(0);
      expect(futexNotify(parts(other), 301 * 4096 + 8, 9)).toBe(0);
    };
    expect(waiting(me, AT + 8, seen, wrong)).toBe('timed-out');
    const right = () => expect(futexNotify(parts(other), 201 * 4096 + 8, 9)).toBe(1);
    expect(waiting(me, AT + 8, seen, right)).toBe('ok');
  });
});

describe('arguments', () => {
  test.each([2, 4097, 1.5, Number.NaN, '4096', undefined])('address %s is EINVAL', (address) => {
    const { me } = faultBench();
    expect(() => futexWait(parts(me), true, address as number, 0, 0)).toThrow(/^EINVAL: .* aligned 32-bit word, wait/);
    expect(() => futexNotify(parts(me), address as number, 0)).toThrow(/^EINVAL: .* aligned 32-bit word, notify/);
  });

  test('a value of more than 32 bits, no time limit and no number of threads are EINVAL', () => {
    const { me } = faultBench();
    me.map(100, 1);
    for (const value of [2 ** 32, -(2 ** 31) - 1, 0.5, '0']) {
      expect(() => futexWait(parts(me), true, AT, value as number, 0)).toThrow(/^EINVAL: .* 32-bit value/);
    }
    for (const limit of [Number.NaN, '1']) {
      expect(() => futexWait(parts(me), true, AT, 0, limit as number)).toThrow(/^EINVAL: .* milliseconds/);
    }
    for (const count of [Number.NaN, -1, '1']) {
      expect(() => futexNotify(parts(me), AT, count as number)).toThrow(/^EINVAL: .* number of threads/);
    }
  });

  test('an address where nothing is, or is no more, is a fault of the call', () => {
    const { me, other } = faultBench();
    for (const call of [() => futexWait(parts(me), true, AT, 0, 0), () => futexNotify(parts(me), AT, 1)]) {
      expect(call).toThrow(SegmentationFault);
    }
    me.map(100, 1);
    const { translate } = me.translator;
    me.translator.translate = (...given) => {
      const at = translate.apply(me.translator, given);
      unmapPages(other.k, other.mm, vpn(100), vpn(101));
      return at;
    };
    expect(() => futexNotify(parts(me), AT, 1)).toThrow(/SEGV_MAPERR.*notify 0x64000/);
    me.translator.translate = () => {
      throw new VmError('ENOMEM', 'fault', 'no frame');
    };
    expect(() => futexWait(parts(me), true, AT, 0, 0)).toThrow(/^ENOMEM: no frame, wait 0x64000/);
    expect(me.k.rcu.depth).toBe(0);
  });
});
