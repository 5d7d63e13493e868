/**
 * The fault: one entry for accesses, copies, populate and (later) pins. Tries without sleeping; when it must sleep it keeps only
 * what the protocol lets it keep, and starts again from the look-up, counting why (I4).
 */
import { load, now, pause, wait } from '#atomics';
import { BackingFailure } from '../backing/failure.ts';
import { pageUnlock } from '../backing/page-lock.ts';
import type { MappingRef, MmRef, PageRef, Pfn, VmaRef, Vpn } from '../base/brands.ts';
import { NONE } from '../base/brands.ts';
import { BusError, SegmentationFault, VmError, WouldBlock } from '../base/errors.ts';
import { PAGE_SIZE } from '../base/limits.ts';
import { MAX_OPTIMISTIC_RESTARTS } from '../base/tunables.ts';
import { MM_REPLACED } from '../paging/mm.layout.ts';
import type { View } from '../paging/view.ts';
import type { Kernel } from '../space/kernel.ts';
import { rootOf } from '../space/layout.ts';
import { cutShort } from '../sync/spinlock.ts';
import { COUNTER } from '../trace/counters.ts';
import { attempt } from './attempt.ts';
import {
  ACCERR,
  BUS,
  CHANGED,
  DETACHED,
  DONE,
  MAPERR,
  NEED_FRAME,
  NEED_PAGE,
  NEED_RECORD,
  PAGE_BUSY,
  TRUNCATED,
  UNHOOKED,
  WAIT,
} from './outcome.ts';
import type { FaultProtocol } from './protocol.ts';

/** What a fault that sleeps throws of itself. Any other code says that the page could not be read. */
const OUR_CODES = new Set(['ENOMEM', 'EWOULDBLOCK', 'EDEADLK', 'ETIMEDOUT']);
/** Sleeps of one fault. Each brings what it was for, unless another thread is faster every time. */
const MAX_SLEEPS = 10_000;
/** Milliseconds that a thread which must not block spins for it. */
const SPIN_MS = 10;
/** Milliseconds to sleep for a MAP_FIXED that is tearing the old mapping down. */
const REMAP_WAIT_MS = 1;

export class Faulter {
  readonly k: Kernel;
  readonly mm: MmRef;
  readonly view: View;
  readonly protocol: FaultProtocol;
  /** The fault in hand. */
  vpn: Vpn = 0 as Vpn;
  write = false;
  /** The VMA of the last attempt. */
  vma: VmaRef = NONE as VmaRef;
  root = 0;
  mapping: MappingRef = NONE as MappingRef;
  index = 0;
  /** A frame kept from one attempt to the next; back to the pool if nobody needs it. */
  spare: Pfn = 0 as Pfn;
  /** A page that `fetch` has left locked for us, 0 for none. */
  held: PageRef = NONE as PageRef;
  /** So many attempts have lost against writers that this one looks up and commits under the tree lock. */
  pessimistic = false;

  constructor(k: Kernel, mm: MmRef, view: View, protocol: FaultProtocol) {
    this.k = k;
    this.mm = mm;
    this.view = view;
    this.protocol = protocol;
  }

  /**
   * Makes `vpn` accessible and fills the TLB entry. Requires: a section; translations made before are void afterwards. Throws
   * SegmentationFault, BusError, ENOMEM, WouldBlock. `access` is the caller's name, for messages.
   */
  fault(vpn: Vpn, write: boolean, address: number, access: string): void {
    this.vpn = vpn;
    this.write = write;
    this.protocol.begin(this.k, this.mm);
    try {
      this._run(address, access);
    } catch (error) {
      throw cutShort(this.k.cpu, error);
    } finally {
      this._release();
      this.protocol.end(this.k, this.mm);
    }
  }

  private _run(address: number, access: string): void {
    const { cpu } = this.k;
    let lost = 0;
    let slept = 0;
    let since = 0;
    this.pessimistic = false;
    for (;;) {
      const outcome = attempt(this);
      if (outcome === DONE) return;
      if (outcome >= MAPERR) this._fail(outcome, address, access);
      if (outcome <= NEED_RECORD) {
        if (++slept > MAX_SLEEPS) {
          throw new VmError(
            'EAGAIN',
            access,
            `after ${MAX_SLEEPS} waits others still take what the fault waits for`,
            address,
          );
        }
        this._sleepFor(outcome, address, access);
        continue;
      }
      cpu.count(RESTART_COUNTERS[outcome] as number);
      if (outcome === WAIT) this._waitForRemap();
      if (++lost > MAX_OPTIMISTIC_RESTARTS) {
        this.pessimistic = true;
        if (since === 0) since = now();
        else if (!cpu.canBlock && now() - since > SPIN_MS) throw new WouldBlock(access, 'a layout operation', address);
        else if (now() - since > cpu.stallLimit) {
          throw new VmError('ETIMEDOUT', access, `a layout operation has not ended for ${cpu.stallLimit} ms`, address);
        }
      }
    }
  }

  private _sleepFor(outcome: number, address: number, access: string): void {
    const { k } = this;
    // The layout may have changed since the page was locked: no sleep with the lock of a page that is not of this mapping.
    if (k.vmas.mapping(this.vma) !== this.mapping) this._dropHeld();
    let failure: { readonly error: unknown } | undefined; // what was thrown may itself be undefined
    const ran = this.protocol.sleep(k, this.mm, this.vma, () => {
      try {
        if (outcome === NEED_FRAME) this.spare = k.reclaim.obtainFrame();
        else if (outcome === NEED_RECORD) k.reclaim.makeRoom();
        else this._fetch();
      } catch (error) {
        failure = { error };
      }
    });
    k.cpu.count(ran ? (SLEEP_COUNTERS[outcome] as number) : COUNTER['restart.detached']);
    if (failure !== undefined) this._failIo(failure.error, outcome, address, access);
  }

  private _fetch(): void {
    this._dropHeld();
    this.held = this.k.files.fetch(this.mapping, this.index);
  }

  /** What a backing throws reaches the access as SIGBUS, and an answer that will not do; what else we throw, as it is. */
  private _failIo(error: unknown, outcome: number, address: number, access: string): never {
    const failed = error instanceof BackingFailure;
    const reading = outcome !== NEED_FRAME && outcome !== NEED_RECORD;
    const answered = reading && error instanceof VmError && !OUR_CODES.has(error.code);
    if (!failed && !answered) throw error;
    this.k.cpu.count(COUNTER['fault.bus']);
    const why = failed ? error.why : error.message;
    throw new BusError(access, address, `the page could not be read: ${why}`, failed ? error.thrown : error);
  }

  private _fail(outcome: number, address: number, access: string): never {
    const { cpu } = this.k;
    if (outcome === BUS) {
      cpu.count(COUNTER['fault.bus']);
      const size = this.k.files.size(this.mapping);
      throw new BusError(access, address, `page ${this.index} is beyond the end of the file (${size} bytes)`);
    }
    cpu.count(COUNTER['fault.segv']);
    throw new SegmentationFault(outcome === ACCERR ? 'SEGV_ACCERR' : 'SEGV_MAPERR', access, address);
  }

  /**
   * Until MAP_FIXED has published what replaces the mapping. Its count rises behind the root: if the root is still the one in which
   * the mapping was found, the rise is yet to come. Inside the section the root cannot be one that was used again; outside it can.
   */
  private _waitForRemap(): void {
    const { k, mm, root } = this;
    const seen = load(k.words, mm + MM_REPLACED); // before the second look at the root; pairs with announceReplaced
    if (rootOf(k, mm) !== root) return;
    k.rcu.outside(() => {
      if (k.cpu.canBlock) wait(k.words, mm + MM_REPLACED, seen, REMAP_WAIT_MS);
      else pause();
    });
  }

  /** Forgets what it has before it gives it back: that may fail, and is somebody else's then. */
  private _release(): void {
    const { spare } = this;
    this.spare = 0 as Pfn;
    this._dropHeld();
    if (spare !== 0) this.k.frames.free(spare);
  }

  private _dropHeld(): void {
    if (this.held === NONE) return;
    const page = this.held;
    this.held = NONE as PageRef;
    pageUnlock(this.k.cpu, page);
  }
}

/** For callers that only name the address. */
export function addressOf(vpn: Vpn): number {
  return vpn * PAGE_SIZE;
}

const RESTART_COUNTERS: readonly number[] = [];
(RESTART_COUNTERS as number[])[DETACHED] = COUNTER['restart.detached'];
(RESTART_COUNTERS as number[])[WAIT] = COUNTER['restart.detached'];
(RESTART_COUNTERS as number[])[UNHOOKED] = COUNTER['restart.unhooked'];
(RESTART_COUNTERS as number[])[CHANGED] = COUNTER['restart.changed'];
(RESTART_COUNTERS as number[])[TRUNCATED] = COUNTER['restart.truncated'];

const SLEEP_COUNTERS: readonly number[] = [];
(SLEEP_COUNTERS as number[])[NEED_FRAME] = COUNTER['restart.memory'];
(SLEEP_COUNTERS as number[])[NEED_PAGE] = COUNTER['restart.io'];
(SLEEP_COUNTERS as number[])[PAGE_BUSY] = COUNTER['restart.page-lock'];
(SLEEP_COUNTERS as number[])[NEED_RECORD] = COUNTER['restart.table'];
