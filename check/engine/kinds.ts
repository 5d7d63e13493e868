/**
 * What each kind of access does, as far as schedules and races are concerned. (This file imports nothing: the bundler
 * puts its numbers in their place.)
 */
export const WRITE = 1;
export const ATOMIC = 2;
export const PLAIN = 4;
/** Frame data, touched by a user of the library. */
export const USER = 8;
/** Frame data, touched by the library: zeroing, copying in. */
export const BULK = 16;
/** Both are one location per page. */
export const PAGE = 24;

/** Bytes of a page of frame data. */
export const PAGE_BYTES = 4096;

/** The classes of a kind of access. A `cas` is said to be a read: it writes too if the word holds what is expected. */
export function classesOf(kind: string): number {
  switch (kind) {
    case 'peek':
      return PLAIN;
    case 'poke':
      return PLAIN | WRITE;
    case 'load':
    case 'cas':
      return ATOMIC;
    case 'store':
    case 'add':
    case 'sub':
    case 'and':
    case 'or':
    case 'xor':
    case 'exchange':
      return ATOMIC | WRITE;
    case 'notify':
      return WRITE;
    case 'data':
      return USER;
    case 'setData':
      return USER | WRITE;
    case 'bulk':
      return PLAIN | BULK;
    case 'setBulk':
      return PLAIN | BULK | WRITE;
    case 'racyPeek':
      return 0;
    case 'racyPoke':
      return WRITE;
    default:
      throw new Error(`the port announced an unknown access: ${kind}`);
  }
}

/** Whether an access of this kind changes memory: outside an execution, that must be put back all the same. */
export function changes(kind: string): boolean {
  switch (kind) {
    case 'peek':
    case 'load':
    case 'data':
    case 'bulk':
    case 'racyPeek':
    case 'wait':
    case 'notify':
      return false;
    default:
      return true;
  }
}

/**
 * Whether an Atomics operation leaves the word as it is: a lock that is tried and found taken, a look in the shape of
 * an addition.
 */
export function keeps(kind: string, found: number | bigint, value: number): boolean {
  if (typeof found === 'bigint') return false;
  switch (kind) {
    case 'store':
    case 'exchange':
      return found === value;
    case 'add':
    case 'sub':
    case 'xor':
      return value === 0;
    case 'or':
      return (found | value) === (found | 0);
    case 'and':
      return (found & value) === (found | 0);
    default:
      return false;
  }
}
