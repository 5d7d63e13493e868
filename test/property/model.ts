/**
 * A plain model of an address space: a map from page number to what the page is. It knows nothing of trees, tables, TLBs or
 * locks, and predicts the layout, every byte and every fault.
 */
import { PROT_WRITE } from '../../src/index.ts';

const PAGE = 4096;

export interface ModelFile {
  readonly bytes: Uint8Array;
}

interface Page {
  prot: number;
  readonly shared: boolean;
  readonly noreserve: boolean;
  readonly file: ModelFile | undefined;
  /** Page index in the file. */
  readonly index: number;
  /** Shared anonymous memory never merges: the mmap call it is from, cut further by mprotect. */
  segment: number;
  /** The page's own bytes; none while it is still the file's or zero. */
  bytes: Uint8Array | undefined;
}

export type Reason = 'SEGV_MAPERR' | 'SEGV_ACCERR' | 'BUS_ADRERR';

/** One line of the layout; `file` is the model's. */
export interface ModelMapping {
  readonly start: number;
  readonly end: number;
  readonly prot: number;
  readonly shared: boolean;
  readonly file: ModelFile | undefined;
  readonly offset: number;
}

export interface ModelMap {
  readonly page: number;
  readonly pages: number;
  readonly prot: number;
  readonly shared: boolean;
  readonly noreserve: boolean;
  readonly file: ModelFile | undefined;
  readonly index: number;
}

const ZEROES = new Uint8Array(PAGE);

export class Model {
  readonly pages: Map<number, Page> = new Map();
  private _segments = 0;

  /* Layout. */

  isFree(page: number, pages: number): boolean {
    for (let i = 0; i < pages; i++) if (this.pages.has(page + i)) return false;
    return true;
  }

  map({ page, pages, file, index, ...rest }: ModelMap): void {
    const segment = ++this._segments;
    for (let i = 0; i < pages; i++) {
      this.pages.set(page + i, { ...rest, file, index: file === undefined ? 0 : index + i, segment, bytes: undefined });
    }
  }

  unmap(page: number, pages: number): void {
    for (let i = 0; i < pages; i++) this.pages.delete(page + i);
  }

  /** False, and nothing done, if there is a hole, or (the second value) if a shared file would become writable. */
  protect(page: number, pages: number, prot: number): 'done' | 'ENOMEM' | 'EACCES' {
    for (let i = 0; i < pages; i++) if (!this.pages.has(page + i)) return 'ENOMEM';
    for (let i = 0; i < pages; i++) {
      const one = this.pages.get(page + i) as Page;
      if ((prot & PROT_WRITE) !== 0 && one.shared && one.file !== undefined) return 'EACCES';
    }
    const fresh = new Map<string, number>();
    const cut = (one: Page, part: string): number => {
      const key = `${one.segment}${part}`;
      if (!fresh.has(key)) fresh.set(key, ++this._segments);
      return fresh.get(key) as number;
    };
    const changed = new Set<number>();
    for (let i = 0; i < pages; i++) {
      const one = this.pages.get(page + i) as Page;
      if (one.prot !== prot) changed.add(one.segment);
    }
    const behind: [Page, number][] = [];
    for (let at = page + pages; ; at++) {
      const one = this.pages.get(at);
      if (one === undefined || !changed.has(one.segment)) break;
      behind.push([one, cut(one, 'behind')]);
    }
    for (let i = 0; i < pages; i++) {
      const one = this.pages.get(page + i) as Page;
      if (!changed.has(one.segment)) continue;
      one.prot = prot;
      one.segment = cut(one, 'inside');
    }
    for (const [one, segment] of behind) one.segment = segment;
    return 'done';
  }

  layout(): ModelMapping[] {
    const out: (ModelMapping & { end: number })[] = [];
    let last: Page | undefined;
    for (const page of [...this.pages.keys()].sort((a, b) => a - b)) {
      const one = this.pages.get(page) as Page;
      const line = out.at(-1);
      if (line !== undefined && last !== undefined && line.end === page * PAGE && joins(last, one)) {
        line.end += PAGE;
      } else {
        const { prot, shared, file, index } = one;
        out.push({ start: page * PAGE, end: (page + 1) * PAGE, prot, shared, file, offset: index * PAGE });
      }
      last = one;
    }
    return out;
  }

  /* Bytes. */

  /** What an access to the page would be refused for. */
  refuses(page: number, write: boolean): Reason | undefined {
    const one = this.pages.get(page);
    if (one === undefined) return 'SEGV_MAPERR';
    if ((write ? one.prot & PROT_WRITE : one.prot) === 0) return 'SEGV_ACCERR';
    if (one.bytes === undefined && one.file !== undefined && one.index * PAGE >= one.file.bytes.length)
      return 'BUS_ADRERR';
    return undefined;
  }

  /** The same for a range: the first page that refuses, and why. */
  firstRefusal(address: number, length: number, write: boolean): { address: number; reason: Reason } | undefined {
    for (let at = address; at < address + length; at = (Math.floor(at / PAGE) + 1) * PAGE) {
      const reason = this.refuses(Math.floor(at / PAGE), write);
      if (reason !== undefined) return { address: at, reason };
    }
    return undefined;
  }

  /** Requires: readable. */
  read(address: number, length: number): Uint8Array {
    const out = new Uint8Array(length);
    for (let i = 0; i < length; ) {
      const offset = (address + i) % PAGE;
      const size = Math.min(length - i, PAGE - offset);
      out.set(this.pageBytes(Math.floor((address + i) / PAGE)).subarray(offset, offset + size), i);
      i += size;
    }
    return out;
  }

  /** Requires: writable. */
  write(address: number, bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; ) {
      const offset = (address + i) % PAGE;
      const size = Math.min(bytes.length - i, PAGE - offset);
      const page = Math.floor((address + i) / PAGE);
      const one = this.pages.get(page) as Page;
      one.bytes ??= this.pageBytes(page).slice();
      one.bytes.set(bytes.subarray(i, i + size), offset);
      i += size;
    }
  }

  pageBytes(page: number): Uint8Array {
    const one = this.pages.get(page) as Page;
    if (one.bytes !== undefined) return one.bytes;
    if (one.file === undefined) return ZEROES;
    const part = one.file.bytes.subarray(one.index * PAGE, (one.index + 1) * PAGE);
    if (part.length === PAGE) return part;
    const padded = new Uint8Array(PAGE);
    padded.set(part);
    return padded;
  }
}

function joins(a: Page, b: Page): boolean {
  if (a.prot !== b.prot || a.shared !== b.shared || a.noreserve !== b.noreserve || a.file !== b.file) return false;
  if (a.file !== undefined) return a.index + 1 === b.index;
  return !a.shared || a.segment === b.segment;
}
