/** What `mmap` is asked, checked: throws before anything has changed. */
import { byteCount, checkProt, isCombination, MAX_FILE_PAGES, show } from '../base/arguments.ts';
import type { MappingRef } from '../base/brands.ts';
import { NONE } from '../base/brands.ts';
import {
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_FIXED_NOREPLACE,
  MAP_NORESERVE,
  MAP_PRIVATE,
  MAP_SHARED,
  PROT_WRITE,
} from '../base/constants.ts';
import { VmError } from '../base/errors.ts';
import { ADDRESS_LIMIT, MIN_VPN, PAGE_MASK, PAGE_SIZE } from '../base/limits.ts';
import type { MapRequest, Placement } from '../space/map.ts';
import { VM_MAYEXEC, VM_MAYREAD, VM_MAYWRITE, VM_NORESERVE, VM_SHARED } from '../vma/vma.layout.ts';

const ALL_MAP: number = MAP_SHARED | MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;

export interface MmapArguments {
  readonly addr: unknown;
  readonly length: unknown;
  readonly prot: unknown;
  readonly flags: unknown;
  readonly offset: unknown;
  /** The file's record, 0 without a file. */
  readonly mapping: MappingRef;
}

export function mapRequest(options: MmapArguments): MapRequest {
  const prot = checkProt(options.prot, 'mmap');
  const flags = checkFlags(options.flags);
  const length = byteCount(options.length, 'length', 'mmap');
  if (length === 0) throw new VmError('EINVAL', 'mmap', 'the length is 0');
  const pages = Math.ceil(length / PAGE_SIZE);
  if (pages * PAGE_SIZE > ADDRESS_LIMIT) throw new VmError('ENOMEM', 'mmap', 'the length is beyond the address space');
  const { placement, start } = place(byteCount(options.addr, 'addr', 'mmap'), pages, flags);
  const offset = fileOffset(options, pages, flags, prot);
  return { pages, placement, start, flags: vmaFlags(prot, flags, options.mapping), mapping: options.mapping, offset };
}

function checkFlags(flags: unknown): number {
  if (!isCombination(flags, ALL_MAP)) {
    throw new VmError('EINVAL', 'mmap', `flags must be a combination of MAP_*, got ${show(flags)}`);
  }
  const kind = flags & (MAP_SHARED | MAP_PRIVATE);
  if (kind !== MAP_SHARED && kind !== MAP_PRIVATE) {
    throw new VmError('EINVAL', 'mmap', 'flags must have one of MAP_SHARED and MAP_PRIVATE');
  }
  return flags;
}

function place(addr: number, pages: number, flags: number): { placement: Placement; start: number } {
  const fixed = (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) !== 0;
  if (!fixed) {
    // A hint is rounded down, and ignored when it cannot be.
    const start = Math.floor(addr / PAGE_SIZE);
    return { placement: addr === 0 || addr >= ADDRESS_LIMIT ? 'anywhere' : 'hint', start };
  }
  if ((addr & PAGE_MASK) !== 0) throw new VmError('EINVAL', 'mmap', 'a fixed address must be page-aligned', addr);
  const start = addr / PAGE_SIZE;
  if (addr + pages * PAGE_SIZE > ADDRESS_LIMIT) {
    throw new VmError('ENOMEM', 'mmap', 'the range ends beyond the address space', addr);
  }
  if (start < MIN_VPN)
    throw new VmError('EPERM', 'mmap', `addresses below ${MIN_VPN * PAGE_SIZE} cannot be mapped`, addr);
  return { placement: (flags & MAP_FIXED_NOREPLACE) !== 0 ? 'fixed-noreplace' : 'fixed', start };
}

function fileOffset({ mapping, offset }: MmapArguments, pages: number, flags: number, prot: number): number {
  const bytes = byteCount(offset, 'offset', 'mmap');
  if ((bytes & PAGE_MASK) !== 0) throw new VmError('EINVAL', 'mmap', 'the offset is not page-aligned');
  const anonymous = (flags & MAP_ANONYMOUS) !== 0;
  if (anonymous && mapping !== NONE) throw new VmError('EINVAL', 'mmap', 'MAP_ANONYMOUS takes no file');
  if (anonymous) return 0;
  if (mapping === NONE) throw new VmError('EBADF', 'mmap', 'neither a file nor MAP_ANONYMOUS was given');
  const index = bytes / PAGE_SIZE;
  if (index + pages > MAX_FILE_PAGES) throw new VmError('EOVERFLOW', 'mmap', 'the range ends beyond the largest file');
  if ((flags & MAP_SHARED) !== 0 && (prot & PROT_WRITE) !== 0) {
    throw new VmError('EACCES', 'mmap', 'a shared writable mapping needs a file that is open for writing');
  }
  return index;
}

function vmaFlags(prot: number, flags: number, mapping: MappingRef): number {
  const shared = (flags & MAP_SHARED) !== 0;
  const mayWrite = shared && mapping !== NONE ? 0 : VM_MAYWRITE;
  const reserve = (flags & MAP_NORESERVE) !== 0 ? VM_NORESERVE : 0;
  return prot | VM_MAYREAD | VM_MAYEXEC | mayWrite | reserve | (shared ? VM_SHARED : 0);
}
