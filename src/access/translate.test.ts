import { describe, expect, test } from 'vitest';
import { counted, faultBench, justBefore, numberedFile, R, type Thread } from '../../test/faulting.ts';
import { meeting, vpn } from '../../test/kernel.ts';
import type { Backing } from '../backing/backing.ts';
import { descriptorText } from '../backing/descriptor.ts';
import { SegmentationFault, VmError } from '../base/errors.ts';
import { ADDRESS_LIMIT } from '../base/limits.ts';
import type { Faulter } from '../fault/faulter.ts';
import { PTE_ACCESSED, ptePfn, zappedPte } from '../paging/pte.ts';
import { Tlb } from '../paging/tlb.ts';
import { View } from '../paging/view.ts';
import { unmapPages } from '../space/unmap.ts';
import { MAX_PAIR_ATTEMPTS, Translator } from './translate.ts';

const AT = 100 * 4096;

function translate(me: Thread, address: number, access: 'read' | 'write' = 'read'): number {
  return me.inSection(() => me.translator.translate(address, access === 'write', access));
}

describe('an address', () => {
  test('that is none is EINVAL, one outside of the space a SEGV, and no fault is tried', () => {
    const { me } = faultBench();
    me.faulter.fault = () => expect.fail('a fault');
    for (const wrong of [1.5, Number.NaN, Number.POSITIVE_INFINITY, '4096', undefined]) {
      expect(() => translate(me, wrong as number)).toThrow(/^EINVAL: .* is not an address/);
    }
    for (const beyond of [-1, ADDRESS_LIMIT]) expect(() => translate(me, beyond)).toThrow(SegmentationFault);
  });

  test('up to the last byte is looked up', () => {
    const { me } = faultBench();
    expect(() => translate(me, ADDRESS_LIMIT - 1)).toThrow(/SEGV_MAPERR/);
    me.map(2 ** 35 - 1, 1);
    const at = translate(me, ADDRESS_LIMIT - 1, 'write');
    expect(at).toBe(ptePfn(me.pte(2 ** 35 - 1)) * 4096 + 4095);
  });
});

describe('a translation', () => {
  test('is found in the page tables without a fault, if another thread has made the entry', () => {
    const { me, other } = faultBench();
    me.map(100, 1);
    other.fault(100, 'write');
    me.faulter.fault = () => expect.fail('a fault');
    expect(translate(me, AT + 17, 'write')).toBe(ptePfn(me.pte(100)) * 4096 + 17);
    expect([me.mayRead(100), me.mayWrite(100)]).toEqual([true, true]);
  });

  test('for writing needs an entry for writing: else there is a fault, once', () => {
    const { me } = faultBench();
    me.map(100, 1);
    expect(counted(me.k, () => translate(me, AT))).toEqual({ 'fault.anon.read': 1 });
    expect(counted(me.k, () => translate(me, AT))).toEqual({});
    expect(counted(me.k, () => translate(me, AT, 'write'))).toEqual({
      'fault.zero.upgrade': 1,
      'fault.anon.write': 1,
    });
    expect(counted(me.k, () => translate(me, AT, 'write'))).toEqual({});
  });

  test('marks the entry as used, and keeps what else it says (I10)', () => {
    const { me, words } = faultBench();
    me.map(100, 1);
    me.fault(100, 'write');
    me.view.tlb.flush();
    const pte = me.pte(100);
    words[me.entryOf(100)] = pte & ~PTE_ACCESSED;
    translate(me, AT);
    expect(me.pte(100)).toBe(pte);
  });

  test('is not made of an entry that changes before it is marked (I10): the fault looks again', () => {
    const { me, other, words } = faultBench();
    me.map(100, 1);
    me.fault(100, 'write');
    me.view.tlb.flush();
    const entry = me.entryOf(100);
    words[entry] = me.pte(100) & ~PTE_ACCESSED;
    const take = justBefore('compareExchange', entry, () => {
      words[entry] = zappedPte(me.pte(100));
      unmapPages(other.k, other.mm, vpn(100), vpn(101));
    });
    expect(() => meeting(() => translate(me, AT), take)).toThrow(/SEGV_MAPERR/);
    expect(me.mayRead(100)).toBe(false);
  });

  test('of before is not used when the generation has moved on, in the middle of a section (I11)', () => {
    const { me, other } = faultBench();
    me.map(100, 2);
    me.inSection(() => {
      me.translator.translate(AT, true, 'write');
      unmapPages(other.k, other.mm, vpn(100), vpn(101));
      expect(() => me.translator.translate(AT, true, 'write')).toThrow(/SEGV_MAPERR/);
      me.translator.translate(AT + 4096, true, 'write');
    });
  });

  test('that is taken away each time ends in EAGAIN', () => {
    const { me } = faultBench();
    me.map(100, 1);
    let faults = 0;
    const idle = { fault: () => faults++ } as unknown as Faulter;
    const translator = new Translator(me.k, me.view, idle);
    const call = () => me.inSection(() => translator.translate(AT, false, 'load8'));
    expect(call).toThrow(/^EAGAIN: the page is taken away each time, load8 0x64000$/);
    expect(faults).toBe(MAX_PAIR_ATTEMPTS + 1);
  });

  test('by a blind TLB follows the memory each time, and says in the caller’s name that it is gone', () => {
    const { me } = faultBench();
    me.map(100, 1);
    const view = new View(me.k.cpu, me.mm, new Tlb('blind'));
    const translator = new Translator(me.k, view, me.faulter);
    let followed = 0;
    me.k.frames.follow = () => ++followed < 0;
    me.fault(100, 'write');
    const call = () => {
      me.k.rcu.enter(view);
      try {
        return translator.translate(AT, true, 'store8');
      } finally {
        me.k.rcu.leave(view);
      }
    };
    const at = ptePfn(me.pte(100)) * 4096;
    expect([call(), call()]).toEqual([at, at]);
    expect(followed).toBe(2);
    me.k.frames.follow = () => {
      throw new VmError('EIO', 'access', 'gone');
    };
    expect(call).toThrow(/^EIO: gone, store8 0x64000$/);
  });
});

describe('a fault of an access', () => {
  test('bears the access’s name and address, and leaves the cpu outside of faults', () => {
    const { me } = faultBench();
    me.map(100, 1, { flags: R });
    let thrown: unknown;
    try {
      translate(me, AT + 5, 'write');
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ reason: 'SEGV_ACCERR', syscall: 'write', address: AT + 5 });
    expect([me.k.cpu.inFault, me.k.rcu.depth]).toEqual([false, 0]);
    translate(me, AT);
    expect(me.k.cpu.inFault).toBe(false);
  });
});

describe('two pages at the same instant', () => {
  /** Page 100 is memory, page 101 that of a file, in whose read `act` is done. */
  function sleepy(act: (bench: ReturnType<typeof faultBench>) => void) {
    const bench = faultBench();
    const { me } = bench;
    const backing: Backing = {
      read(_position, targets) {
        act(bench);
        for (const target of targets) target.fill(7);
        return 4096;
      },
      close: () => undefined,
    };
    me.map(100, 1);
    me.map(101, 1, { mapping: me.k.files.create(descriptorText('sleepy', {}), 4096, backing) });
    return bench;
  }

  test('are both translated anew when the second has slept: the first may be another by then', () => {
    const { me } = sleepy(({ other }) => other.map(100, 1));
    me.inSection(() => {
      me.translator.translatePair(AT + 4092, 8, true, 'store64');
      expect([me.mayWrite(100), me.mayWrite(101)]).toEqual([true, true]);
    });
  });

  test('fail as the one of them fails that cannot be had', () => {
    const { me } = sleepy(({ other }) => unmapPages(other.k, other.mm, vpn(100), vpn(101)));
    const call = () => me.inSection(() => me.translator.translatePair(AT + 4092, 8, false, 'load64'));
    expect(call).toThrow(/SEGV_MAPERR.* 0x64ffc$/);
  });

  test('end in EAGAIN when they are never to be had together', () => {
    const bench = faultBench();
    const { me } = bench;
    me.map(100, 2, { mapping: numberedFile(bench, 8192) });
    const { translate: really } = me.translator;
    let calls = 0;
    me.translator.translate = (...given) => {
      calls++;
      me.k.rcu.republish();
      return really.apply(me.translator, given);
    };
    const call = () => me.inSection(() => me.translator.translatePair(AT + 4090, 8, false, 'load64'));
    expect(call).toThrow(/^EAGAIN: both pages/);
    expect(calls).toBe(2 * MAX_PAIR_ATTEMPTS);
  });
});
