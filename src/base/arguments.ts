/** Checks of what callers hand in. Everything here throws before anything has changed. */

import { PROT_EXEC, PROT_READ, PROT_WRITE } from './constants.ts';
import { type ErrnoCode, VmError } from './errors.ts';
import { ADDRESS_LIMIT, PAGE_MASK, PAGE_SIZE } from './limits.ts';

const ALL_PROT: number = PROT_READ | PROT_WRITE | PROT_EXEC;
/** An index of a page is a 32-bit word in the page's record. */
export const MAX_FILE_PAGES: number = 2 ** 31;

/** A value of any kind for a message: neither its conversion to text nor a method of its own is asked. */
export function show(value: unknown): string {
  if (typeof value === 'string') return `'${value}'`; // '5' is not the number 5
  if (typeof value === 'object' && value !== null) return 'an object';
  return typeof value === 'function' ? 'a function' : String(value);
}

/** The type of a value for a message. */
export function typeName(value: unknown): string {
  return value === null ? 'null' : typeof value;
}

/** What a call takes its options from. */
export function checkObject(value: unknown, what: string, syscall: string): void {
  if (typeof value !== 'object' || value === null) throw new VmError('EINVAL', syscall, `${what} must be an object`);
}

/** A whole number of bytes, not negative. */
export function byteCount(value: unknown, what: string, syscall: string): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    throw new VmError('EINVAL', syscall, `${what} must be a whole number of bytes, got ${show(value)}`);
  }
  return value;
}

/** The size of a file in bytes, all of whose pages can be numbered. */
export function fileSize(value: unknown, syscall: string): number {
  const bytes = byteCount(value, 'size', syscall);
  if (bytes <= MAX_FILE_PAGES * PAGE_SIZE) return bytes;
  throw new VmError('EOVERFLOW', syscall, `files have ${MAX_FILE_PAGES * PAGE_SIZE} bytes at most, got ${bytes}`);
}

/** A page-aligned range below the address limit, as [first page, end page). Length 0 is EINVAL. */
export function pageRange(
  address: unknown,
  length: unknown,
  syscall: string,
  beyond: ErrnoCode,
): { start: number; end: number } {
  const at = byteCount(address, 'address', syscall);
  const bytes = byteCount(length, 'length', syscall);
  if ((at & PAGE_MASK) !== 0) throw new VmError('EINVAL', syscall, 'the address is not page-aligned', at);
  if (bytes === 0) throw new VmError('EINVAL', syscall, 'the length is 0', at);
  const pages = Math.ceil(bytes / PAGE_SIZE);
  const start = at / PAGE_SIZE;
  if ((start + pages) * PAGE_SIZE > ADDRESS_LIMIT) {
    throw new VmError(beyond, syscall, 'the range ends beyond the address space', at);
  }
  return { start, end: start + pages };
}

export function checkProt(prot: unknown, syscall: string): number {
  if (!isCombination(prot, ALL_PROT)) {
    throw new VmError('EINVAL', syscall, `prot must be a combination of PROT_*, got ${show(prot)}`);
  }
  return prot;
}

/** Bits of `all` and no others, not even above the 32 that bit operations see. */
export function isCombination(value: unknown, all: number): value is number {
  return typeof value === 'number' && value === (value & all);
}
