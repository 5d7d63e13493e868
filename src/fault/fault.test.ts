import { expect, test } from 'vitest';
import { faultBench } from '../../test/faulting.ts';
import { vpn } from '../../test/kernel.ts';
import type { Pfn, VmaRef } from '../base/brands.ts';
import { rcuProtocol } from '../design/rcu.ts';
import { FaultRecord } from './fault.ts';

test('a record begun anew asks what is asked now, and is optimistic again', () => {
  const { me } = faultBench();
  const record = new FaultRecord({ k: me.k, mm: me.mm, view: me.view, protocol: rcuProtocol });
  const first = record.begin(vpn(100), true, 100 * 4096 + 7, 'store8');
  expect(first).toMatchObject({ vpn: 100, write: true, address: 100 * 4096 + 7, access: 'store8', mm: me.mm });
  first.pessimistic = true;
  const second = record.begin(vpn(5), false, 5 * 4096, 'load32');
  expect(second).toMatchObject({ vpn: 5, write: false, address: 5 * 4096, access: 'load32', pessimistic: false });
});

test('what an attempt has in hand is kept from one begin to the next: to give it back is the end of a fault', () => {
  const { me } = faultBench();
  const record = new FaultRecord({ k: me.k, mm: me.mm, view: me.view, protocol: rcuProtocol });
  expect(record).toMatchObject({ spare: 0, held: 0, leaf: 0, vma: 0 });
  record.spare = 9 as Pfn;
  record.vma = 77 as VmaRef;
  expect(record.begin(vpn(1), false, 4096, 'x')).toMatchObject({ spare: 9, vma: 77 });
});
