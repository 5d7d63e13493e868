/**
 * Errors of the public surface. What a caller can cause is a `VmError` and changes nothing; a broken internal rule is an
 * `Oops`. Codes are those of errno(3).
 */

/** The codes of `VmError`: names of errno(3). */
export type ErrnoCode =
  | 'EACCES'
  | 'EAGAIN'
  | 'EBADF'
  | 'EBUSY'
  | 'EDEADLK'
  | 'EEXIST'
  | 'EFAULT'
  | 'EFBIG'
  | 'EINVAL'
  | 'EIO'
  | 'EISDIR'
  | 'EMFILE'
  | 'ENODEV'
  | 'ENOENT'
  | 'ENOMEM'
  | 'ENOSYS'
  | 'ENOTSUP'
  | 'EOVERFLOW'
  | 'EPERM'
  | 'EPROTO'
  | 'ESTALE'
  | 'ETIMEDOUT'
  | 'EWOULDBLOCK';

/**
 * A failed call. `code` is the errno name, `syscall` the public method, `address` the byte address concerned, if any. A bulk call
 * that ends in the middle has changed something: `done` says how much.
 */
export class VmError extends Error {
  /** What kind of error it is: the name of an errno. */
  readonly code: ErrnoCode;
  /** The public method or function that failed. */
  readonly syscall: string;
  /** The byte address concerned. Undefined when there is none. */
  declare readonly address: number | undefined;
  /** Of `read`, `write`, `copy`, `fill` and `populate`: the bytes done before it. Undefined for calls that do all or nothing. */
  declare readonly done: number | undefined;
  /** What went wrong: the message without code, call and address. */
  declare readonly detail: string;

  /**
   * @param code the errno.
   * @param syscall the public method that fails.
   * @param detail what went wrong.
   * @param address the byte address concerned.
   * @param done the bytes done before it.
   */
  constructor(code: ErrnoCode, syscall: string, detail: string, address?: number, done?: number) {
    const at = address === undefined ? '' : ` ${hex(address)}`;
    const after = done === undefined || done === 0 ? '' : ` after ${done} bytes`;
    super(`${code}: ${detail}, ${syscall}${at}${after}`);
    this.code = code;
    this.syscall = syscall;
    // An error is printed with its own properties: those that say nothing, or what the message says, are not among them.
    if (address !== undefined) this.address = address;
    if (done !== undefined) this.done = done;
    hide(this, 'detail', detail);
  }
}
hide(VmError.prototype, 'name', 'VmError');
hide(VmError.prototype, 'address', undefined);
hide(VmError.prototype, 'done', undefined);

/** Gives `target` a property that is not shown when it is printed. */
function hide(target: object, key: string, value: unknown): void {
  Object.defineProperty(target, key, { value, writable: true, configurable: true });
}

function hex(address: number): string {
  return address < 0 ? `-0x${(-address).toString(16)}` : `0x${address.toString(16)}`;
}

/** SIGSEGV. `reason` is the `si_code`: `SEGV_MAPERR` (nothing mapped there) or `SEGV_ACCERR` (the protection forbids it). */
export class SegmentationFault extends VmError {
  /** The `si_code`: `SEGV_MAPERR` or `SEGV_ACCERR`. */
  readonly reason: 'SEGV_MAPERR' | 'SEGV_ACCERR';

  /** The library makes it. `access` is the method, `address` and `done` are in bytes. */
  constructor(reason: 'SEGV_MAPERR' | 'SEGV_ACCERR', access: string, address: number, done?: number) {
    const why = reason === 'SEGV_MAPERR' ? 'address not mapped' : 'protection forbids the access';
    super('EFAULT', access, `segmentation fault (${reason}), ${why}`, address, done);
    this.reason = reason;
  }
}
hide(SegmentationFault.prototype, 'name', 'SegmentationFault');

const BUS_ERROR = 'bus error (BUS_ADRERR), ';

/** SIGBUS. `BUS_ADRERR`: beyond the end of the file, or the page could not be read (`cause` has the I/O error). */
export class BusError extends VmError {
  /** The `si_code`: always `BUS_ADRERR`. */
  readonly reason: 'BUS_ADRERR';

  /** The library makes it. `access` is the method, `address` and `done` are in bytes. */
  constructor(access: string, address: number, detail: string, cause?: unknown, done?: number) {
    super('EFAULT', access, BUS_ERROR + detail, address, done);
    this.reason = 'BUS_ADRERR';
    if (cause !== undefined) hide(this, 'cause', cause); // as the engine's own causes
  }
}
hide(BusError.prototype, 'name', 'BusError');

/**
 * The thread must not block (a browser's main thread) and the call would have had to. Nothing has changed, but for what `done`
 * says, and for `mprotect`, which then had nothing left to do but to wait.
 */
export class WouldBlock extends VmError {
  /** What the call would have waited for. */
  declare readonly what: string;

  /** A backing throws it where it cannot read: `syscall` is `'read'`, `what` says what it would wait for. Bytes otherwise. */
  constructor(syscall: string, what: string, address?: number, done?: number) {
    super('EWOULDBLOCK', syscall, `this thread must not block, and the call would wait for ${what}`, address, done);
    hide(this, 'what', what);
  }
}
hide(WouldBlock.prototype, 'name', 'WouldBlock');

/**
 * An error of an access as the caller of `syscall` is to see it: with the name of that call, the address it had come to, and the
 * bytes done before. What the inside has thrown is the cause. Anything but a VmError stays what it is.
 *
 * @internal
 */
export function seenFrom(error: unknown, syscall: string, address: number, done?: number): unknown {
  if (!(error instanceof VmError)) return error;
  if (error.syscall === syscall && error.address !== undefined && error.done === done) return error;
  return retold(error, syscall, error.address ?? address, done);
}

/** @internal An error of any call as the caller of `syscall` is to see it. What it does not know (a lock, an allocation) it does not name. */
export function inNameOf(error: unknown, syscall: string): unknown {
  if (!(error instanceof VmError) || error.syscall === syscall) return error;
  return retold(error, syscall, error.address, error.done);
}

/** @internal Runs a part of the public call `syscall` that is a call itself. */
export function calledAs<T>(syscall: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw inNameOf(error, syscall);
  }
}

function retold(error: VmError, syscall: string, at: number | undefined, done: number | undefined): VmError {
  if (error instanceof SegmentationFault) return new SegmentationFault(error.reason, syscall, at as number, done);
  if (error instanceof BusError) {
    return new BusError(syscall, at as number, error.detail.slice(BUS_ERROR.length), error.cause, done);
  }
  const seen =
    error instanceof WouldBlock
      ? new WouldBlock(syscall, error.what, at, done)
      : new VmError(error.code, syscall, error.detail, at, done);
  hide(seen, 'cause', error.cause ?? error);
  return seen;
}

/**
 * A broken rule. One of the library's own poisons the machine: every later call on it throws an `Oops` that names the first one. One of a
 * caller's, a backing that touches mapped memory or changes a layout (rule H1), does not: the machine works on.
 */
export class Oops extends Error {
  /** The number or name of the rule, as docs/invariants.md has it. */
  readonly rule: string;

  /** The library makes it. */
  constructor(rule: string, detail: string) {
    super(`${rule}: ${detail}`);
    this.rule = rule;
  }
}
hide(Oops.prototype, 'name', 'Oops');
