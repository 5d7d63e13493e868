/**
 * Errors of the public surface. What a caller can cause is a `VmError` and changes nothing; a broken internal rule is an
 * `Oops`. Codes are those of errno(3).
 */
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

/** A failed call. `code` is the errno name, `syscall` the public method, `address` the byte address concerned, if any. */
export class VmError extends Error {
  readonly code: ErrnoCode;
  readonly syscall: string;
  readonly address: number | undefined;

  constructor(code: ErrnoCode, syscall: string, detail: string, address?: number) {
    super(`${code}: ${detail}, ${syscall}${address === undefined ? '' : ` 0x${address.toString(16)}`}`);
    this.name = 'VmError';
    this.code = code;
    this.syscall = syscall;
    this.address = address;
  }
}

/** SIGSEGV. `reason` is the `si_code`: `SEGV_MAPERR` (nothing mapped there) or `SEGV_ACCERR` (the protection forbids it). */
export class SegmentationFault extends VmError {
  readonly reason: 'SEGV_MAPERR' | 'SEGV_ACCERR';

  constructor(reason: 'SEGV_MAPERR' | 'SEGV_ACCERR', access: string, address: number) {
    const why = reason === 'SEGV_MAPERR' ? 'address not mapped' : 'protection forbids the access';
    super('EFAULT', access, `segmentation fault (${reason}), ${why}`, address);
    this.name = 'SegmentationFault';
    this.reason = reason;
  }
}

/** SIGBUS. `BUS_ADRERR`: beyond the end of the file, or the page could not be read (`cause` has the I/O error). */
export class BusError extends VmError {
  readonly reason: 'BUS_ADRERR';

  constructor(access: string, address: number, detail: string, cause?: unknown) {
    super('EFAULT', access, `bus error (BUS_ADRERR), ${detail}`, address);
    this.name = 'BusError';
    this.reason = 'BUS_ADRERR';
    if (cause !== undefined) this.cause = cause;
  }
}

/**
 * The thread must not block (a browser's main thread) and the call would have had to. Nothing has changed, but for `mprotect`, which
 * then had nothing left to do but to wait.
 */
export class WouldBlock extends VmError {
  constructor(syscall: string, what: string, address?: number) {
    super('EWOULDBLOCK', syscall, `this thread must not block, and the call would wait for ${what}`, address);
    this.name = 'WouldBlock';
  }
}

/** A broken internal rule. The machine is poisoned: every later call on it throws an `Oops` that names the first one. */
export class Oops extends Error {
  readonly rule: string;

  constructor(rule: string, detail: string) {
    super(`Oops: ${rule}: ${detail}`);
    this.name = 'Oops';
    this.rule = rule;
  }
}
