import { expect, test } from 'vitest';
import type { MappingRef } from '../base/brands.ts';
import { mapRequest } from './map-request.ts';

const NO_FILE = 0 as MappingRef;
const FILE = 77 as MappingRef;

test('the arguments of mmap become a request', () => {
  const base = { addr: 0, length: 5000, prot: 3, flags: 0x22, offset: 0, mapping: NO_FILE };
  expect(mapRequest(base)).toMatchObject({ pages: 2, placement: 'anywhere', mapping: NO_FILE, offset: 0 });
  expect(mapRequest({ ...base, addr: 0x12345678 })).toMatchObject({ placement: 'hint', start: 0x12345 });
  expect(mapRequest({ ...base, addr: 2 ** 47 })).toMatchObject({ placement: 'anywhere' });
  expect(mapRequest({ ...base, addr: 0x10000, flags: 0x32 })).toMatchObject({ placement: 'fixed', start: 16 });
  expect(mapRequest({ ...base, addr: 0x10000, flags: 0x100022 })).toMatchObject({ placement: 'fixed-noreplace' });
  expect(mapRequest({ ...base, prot: 1, flags: 1, offset: 3 * 4096, mapping: FILE })).toMatchObject({ offset: 3 });
});
