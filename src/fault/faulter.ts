/**
 * The fault: one entry for accesses, copies, populate and (later) pins. Tries without sleeping; when it must sleep it keeps only
 * what the protocol lets it keep, and starts again from the look-up, counting why (I4).
 */
import { load, now, pause, wait } from '#atomics';
import { BackingFailure } from '../backing/failure.ts';
import { pageUnlock } from '../backing/page-lock.ts';
import type { MmRef, PageRef, Pfn, Vpn } from '../base/brands.ts';
import { NONE } from '../base/brands.ts';
import { BusError, SegmentationFault, VmError, WouldBlock } from '../base/errors.ts';
import { MAX_OPTIMISTIC_RESTARTS } from '../base/tunables.ts';
import { MM_REPLACED } from '../paging/mm.layout.ts';
import type { View } from '../paging/view.ts';
import type { Kernel } from '../space/kernel.ts';
import { rootOf } from '../space/layout.ts';
import { cutShort } from '../sync/spinlock.ts';
import { COUNTER } from '../trace/counters.ts';
import { attempt } from './attempt.ts';
import { type Fault, type FaultContext, FaultRecord } from './fault.ts';
import {
  ACCERR,
  BUS,
  DONE,
  FAILURE_COUNTERS,
  type Failure,
  isFailure,
  isSleep,
  NEED_FRAME,
  NEED_PAGE,
  NEED_RECORD,
  PAGE_BUSY,
  RESTART_COUNTERS,
  SLEEP_COUNTERS,
  type Sleep,
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

export class Faulter implements FaultContext {
  readonly k: Kernel;
  readonly mm: MmRef;
  readonly view: View;
  readonly protocol: FaultProtocol;
  private readonly _record: FaultRecord;

  constructor(k: Kernel, mm: MmRef, view: View, protocol: FaultProtocol) {
    this.k = k;
    this.mm = mm;
    this.view = view;
    this.protocol = protocol;
    this._record = new FaultRecord(this);
  }

  /**
   * Makes `vpn` accessible and fills the TLB entry. Requires: a section; translations made before are void afterwards. Throws
   * SegmentationFault, BusError, ENOMEM, WouldBlock. `access` is the caller's name, for messages.
   */
  fault(vpn: Vpn, write: boolean, address: number, access: string): void {
    const f = this._record.begin(vpn, write, address, access);
    f.protocol.begin(f.k, f.mm);
    try {
      handle(f);
    } catch (error) {
      throw cutShort(f.k.cpu, error);
    } finally {
      release(f);
      f.protocol.end(f.k, f.mm);
    }
  }
}

function handle(f: Fault): void {
  const { cpu } = f.k;
  let lost = 0;
  let slept = 0;
  let since = 0;
  for (;;) {
    const outcome = attempt(f);
    if (outcome === DONE) return;
    if (isSleep(outcome)) {
      if (++slept > MAX_SLEEPS) {
        const what = `after ${MAX_SLEEPS} waits others still take what the fault waits for`;
        throw new VmError('EAGAIN', f.access, what, f.address);
      }
      sleepFor(f, outcome);
      continue;
    }
    if (isFailure(outcome)) fail(f, outcome);
    cpu.count(RESTART_COUNTERS[outcome]);
    if (outcome === WAIT) waitForRemap(f);
    if (++lost <= MAX_OPTIMISTIC_RESTARTS) continue;
    f.pessimistic = true;
    if (since === 0) since = now();
    else if (!cpu.canBlock && now() - since > SPIN_MS) throw new WouldBlock(f.access, 'a layout operation', f.address);
    else if (now() - since > cpu.stallLimit) {
      throw new VmError('ETIMEDOUT', f.access, `a layout operation has not ended for ${cpu.stallLimit} ms`, f.address);
    }
  }
}

function sleepFor(f: Fault, outcome: Sleep): void {
  const { k } = f;
  // The layout may have changed since the page was locked: no sleep with the lock of a page that is not of this mapping.
  if (k.vmas.mapping(f.vma) !== f.mapping) dropHeld(f);
  let failure: { readonly error: unknown } | undefined; // what was thrown may itself be undefined
  const ran = f.protocol.sleep(k, f.mm, f.vma, () => {
    try {
      bring(f, outcome);
    } catch (error) {
      failure = { error };
    }
  });
  k.cpu.count(ran ? SLEEP_COUNTERS[outcome] : COUNTER['restart.detached']);
  if (failure !== undefined) failIo(f, failure.error, outcome);
}

/** Gets what the attempt has lacked. Requires: outside sections. */
function bring(f: Fault, outcome: Sleep): void {
  switch (outcome) {
    case NEED_FRAME:
      f.spare = f.k.reclaim.obtainFrame();
      return;
    case NEED_RECORD:
      f.k.reclaim.makeRoom();
      return;
    case NEED_PAGE:
    case PAGE_BUSY:
      dropHeld(f);
      f.held = f.k.files.fetch(f.mapping, f.index);
      return;
    default:
      outcome satisfies never;
  }
}

/** What a backing throws reaches the access as SIGBUS, and an answer that will not do; what else we throw, as it is. */
function failIo(f: Fault, error: unknown, outcome: Sleep): never {
  const failed = error instanceof BackingFailure;
  const reading = outcome !== NEED_FRAME && outcome !== NEED_RECORD;
  const answered = reading && error instanceof VmError && !OUR_CODES.has(error.code);
  if (!failed && !answered) throw error;
  f.k.cpu.count(COUNTER['fault.bus']);
  const why = failed ? error.why : `${error.code}: ${error.detail}`; // not the call inside: the error names the caller's
  throw new BusError(f.access, f.address, `the page could not be read: ${why}`, failed ? error.thrown : error);
}

function fail(f: Fault, outcome: Failure): never {
  f.k.cpu.count(FAILURE_COUNTERS[outcome]);
  if (outcome === BUS) {
    const size = f.k.files.size(f.mapping);
    throw new BusError(f.access, f.address, `page ${f.index} is beyond the end of the file (${size} bytes)`);
  }
  throw new SegmentationFault(outcome === ACCERR ? 'SEGV_ACCERR' : 'SEGV_MAPERR', f.access, f.address);
}

/**
 * Until MAP_FIXED has published what replaces the mapping. Its count rises behind the root: if the root is still the one in which
 * the mapping was found, the rise is yet to come. Inside the section the root cannot be one that was used again; outside it can.
 */
function waitForRemap({ k, mm, root }: Fault): void {
  const seen = load(k.words, mm + MM_REPLACED); // before the second look at the root; pairs with announceReplaced
  if (rootOf(k, mm) !== root) return;
  k.rcu.outside(() => {
    if (k.cpu.canBlock) wait(k.words, mm + MM_REPLACED, seen, REMAP_WAIT_MS);
    else pause();
  });
}

/** Forgets what it has before it gives it back: that may fail, and is somebody else's then. */
function release(f: Fault): void {
  const { spare } = f;
  f.spare = 0 as Pfn;
  dropHeld(f);
  if (spare !== 0) f.k.frames.free(spare);
}

function dropHeld(f: Fault): void {
  if (f.held === NONE) return;
  const page = f.held;
  f.held = NONE as PageRef;
  pageUnlock(f.k.cpu, page);
}
