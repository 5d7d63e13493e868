/**
 * `space.populate`: faults pages in, also in a thread that must not block and so cannot read a file itself. What a fault cannot have
 * there is read asynchronously first, with nothing held and outside every section, and put into the page cache; then the
 * fault is tried again. Whatever else a fault would wait for (another thread's read, memory, a grace period) is waited for by
 * trying again. Both end at the machine's I/O limit.
 */
import { now } from '#atomics';
import type { Backing } from '../backing/backing.ts';
import { byteCount, typeName } from '../base/arguments.ts';
import type { Vpn } from '../base/brands.ts';
import { BusError, SegmentationFault, seenFrom, VmError, WouldBlock } from '../base/errors.ts';
import { plainBytes } from '../base/foreign.ts';
import { PAGE_MASK, PAGE_SIZE } from '../base/limits.ts';
import { READAHEAD_MAX } from '../base/tunables.ts';
import { type AbsentPages, absentPages, bytesIn, providePages } from '../fault/absent.ts';
import type { Faulter } from '../fault/faulter.ts';
import { publicCall } from '../recovery/public-call.ts';
import type { Kernel } from '../space/kernel.ts';
import { COUNTER } from '../trace/counters.ts';
import type { Translator } from './translate.ts';

/** What `populate` needs of its space. */
export interface Populated {
  readonly translator: Translator;
  readonly faulter: Faulter;
  /** Throws EBADF when the space was closed meanwhile. */
  checkOpen(): void;
}

/** Reads of one page, without a byte gained, before it is given up: others reclaim it each time. */
const MAX_READS = 64;
const FIRST_NAP_MS = 1;
const LONGEST_NAP_MS = 16;

/** Reads under way in this thread: who wants a page of one waits for it, and a backing that asks itself ends at the time limit. */
interface Read {
  readonly pages: AbsentPages;
  readonly settled: Promise<void>;
}
const underWay = new WeakMap<Kernel, Set<Read>>();

/** Resolves to the bytes done: less than `length` if a bad address, or a page that could not be read, comes in between. */
export async function populate(space: Populated, address: number, length: number): Promise<number> {
  byteCount(address, 'address', 'populate');
  byteCount(length, 'length', 'populate');
  const populating = new Populating(space, address, length);
  try {
    while (!populating.faultIn()) await populating.help();
  } catch (error) {
    const fault = error instanceof SegmentationFault || error instanceof BusError;
    if (!fault || populating.done === 0) throw seenFrom(error, 'populate', address + populating.done, populating.done);
  }
  return populating.done;
}

class Populating {
  done = 0;
  readonly #space: Populated;
  readonly #address: number;
  readonly #length: number;
  /** Since the last page that was had. */
  #since = now();
  #reads = 0;
  #nap = FIRST_NAP_MS;
  #why: unknown;

  constructor(space: Populated, address: number, length: number) {
    this.#space = space;
    this.#address = address;
    this.#length = length;
  }

  get #k(): Kernel {
    return this.#space.translator.k;
  }

  get #at(): number {
    return this.#address + this.done;
  }

  get #vpn(): Vpn {
    return Math.floor(this.#at / PAGE_SIZE) as Vpn;
  }

  /** As far as it goes without waiting. True if it is all done. */
  faultIn(): boolean {
    const { translator, checkOpen } = this.#space;
    const { rcu } = this.#k;
    const before = this.done;
    checkOpen();
    rcu.enter(translator.view);
    try {
      while (this.done < this.#length) {
        translator.translate(this.#at, false, 'populate');
        this.done += Math.min(this.#length - this.done, PAGE_SIZE - (this.#at & PAGE_MASK));
      }
      return true;
    } catch (error) {
      if (!(error instanceof WouldBlock)) throw error;
      if (this.done > before) this.#progress();
      this.#why = error;
      return false;
    } finally {
      rcu.leave(translator.view);
    }
  }

  /** Brings what the fault lacked, or lets some time pass. */
  async help(): Promise<void> {
    await undefined; // out of the caller's sections, if it is in some: a backing is called with nothing held
    this.#space.checkOpen();
    this.#checkLimit();
    const wanted = Math.min(READAHEAD_MAX, Math.ceil((this.#length - this.done + (this.#at & PAGE_MASK)) / PAGE_SIZE));
    const pages = absentPages(this.#space.faulter, this.#vpn, wanted);
    const backing = pages === undefined ? undefined : this.#k.files.localBacking(pages.mapping);
    if (pages === undefined || backing === undefined) return this.#sleep();
    const other = [...this.#underWay()].find((read) => covers(read.pages, pages));
    if (other === undefined) return this.#read(pages, backing);
    await this.#within(other.settled).catch(() => undefined); // whatever came of it, the fault looks again
  }

  async #read(pages: AbsentPages, backing: Backing): Promise<void> {
    if (++this.#reads > MAX_READS) {
      const what = `the page was read ${MAX_READS} times and was reclaimed each time before it could be mapped`;
      throw new VmError('EAGAIN', 'populate', what, this.#at);
    }
    const all = this.#underWay();
    const bringing = this.#bring(pages, backing);
    const read: Read = { pages, settled: bringing.catch(() => undefined) };
    all.add(read);
    try {
      await bringing;
    } finally {
      all.delete(read);
    }
  }

  /** Reads the pages and puts them into the cache. */
  async #bring(pages: AbsentPages, backing: Backing): Promise<void> {
    await undefined; // the read is known to be under way before the backing is called
    const bytes = await this.#ask(pages, backing);
    if (bytes === undefined) {
      this.#reads--; // nothing was read
      return this.#sleep();
    }
    for (;;) {
      this.#space.checkOpen();
      try {
        return publicCall(this.#k, 'populate', () => providePages(this.#space.faulter, this.#vpn, pages, bytes));
      } catch (error) {
        if (!(error instanceof WouldBlock)) throw error;
        this.#why = error;
      }
      this.#checkLimit();
      await this.#sleep();
    }
  }

  /** What the backing answers, copied; undefined if it cannot read asynchronously. Throws BusError, ETIMEDOUT. */
  async #ask(pages: AbsentPages, backing: Backing): Promise<Uint8Array | undefined> {
    const length = bytesIn(this.#space.faulter, pages);
    let answer: unknown;
    try {
      if (backing.readAsync === undefined) return undefined;
      answer = await this.#within(Promise.resolve(backing.readAsync(pages.index * PAGE_SIZE, length)));
      return ownBytes(answer, length);
    } catch (error) {
      if (error instanceof TimeUp) this.#timeOut(`the file has not answered for ${this.#k.cpu.ioLimit} ms`);
      this.#space.checkOpen();
      return this.#fail(error);
    }
  }

  #fail(error: unknown): never {
    this.#k.cpu.count(COUNTER['io.errors']);
    this.#k.cpu.count(COUNTER['fault.bus']);
    const why =
      error instanceof Error ? error.message : typeof error === 'string' ? error : `a thrown ${typeName(error)}`;
    throw new BusError('populate', this.#at, `the page could not be read: ${why}`, error);
  }

  /* Time. */

  #progress(): void {
    this.#since = now();
    this.#reads = 0;
    this.#nap = FIRST_NAP_MS;
  }

  #left(): number {
    return this.#since + this.#k.cpu.ioLimit - now();
  }

  #checkLimit(): void {
    if (this.#left() <= 0) this.#timeOut(`nothing could be done for ${this.#k.cpu.ioLimit} ms`);
  }

  #timeOut(what: string): never {
    const why = this.#why instanceof Error ? `: ${this.#why.message}` : '';
    throw new VmError('ETIMEDOUT', 'populate', `${what}${why}`, this.#at);
  }

  async #sleep(): Promise<void> {
    const nap = this.#nap;
    this.#nap = Math.min(LONGEST_NAP_MS, nap * 2);
    await new Promise((resolve) => setTimeout(resolve, nap));
  }

  /** What `promise` gives, or TimeUp. */
  async #within<T>(promise: Promise<T>): Promise<T> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const timeUp = new Promise<never>((_done, failed) => {
      timer = setTimeout(() => failed(new TimeUp()), Math.max(0, Math.ceil(this.#left())));
    });
    try {
      return await Promise.race([promise, timeUp]);
    } finally {
      clearTimeout(timer);
    }
  }

  #underWay(): Set<Read> {
    const all = underWay.get(this.#k) ?? new Set();
    underWay.set(this.#k, all);
    return all;
  }
}

class TimeUp {}

function covers(a: AbsentPages, b: AbsentPages): boolean {
  return a.mapping === b.mapping && a.serial === b.serial && a.index <= b.index && b.index < a.index + a.count;
}

/** A copy that nobody else can change. Asks no getter, subclass or Proxy of the caller's. Throws EIO. */
function ownBytes(answer: unknown, expected: number): Uint8Array {
  let given: Uint8Array;
  try {
    given = plainBytes(answer, 'read');
  } catch {
    throw new VmError('EIO', 'read', 'readAsync did not give a Uint8Array');
  }
  if (given.length === expected) return given.slice();
  throw new VmError('EIO', 'read', `readAsync gave ${given.length} bytes, ${expected} were asked for`);
}
