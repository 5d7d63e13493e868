/**
 * What a backing's code has thrown, on its way to the access that needed the page. It may be anything: a Proxy, an error whose
 * getters throw, one of our own errors. Nobody but `failureOf` looks at it, with nothing held but the pages that are being read.
 */
import { typeName } from '../base/arguments.ts';
import { type ErrnoCode, VmError, WouldBlock } from '../base/errors.ts';

export class BackingFailure {
  readonly thrown: unknown;
  readonly why: string;
  /** That of a VmError. */
  readonly code: ErrnoCode | undefined;

  constructor(thrown: unknown, why: string, code?: ErrnoCode) {
    this.thrown = thrown;
    this.why = why;
    this.code = code;
  }
}

/**
 * What is thrown on: a failure, or `thrown` itself if it says that this thread must not block, which is the access's business too.
 * Looking at it may run its author's code. Requires: no section, and public calls refused.
 */
export function failureOf(thrown: unknown): unknown {
  try {
    if (thrown instanceof WouldBlock) return thrown;
    return new BackingFailure(thrown, whyOf(thrown), codeOf(thrown));
  } catch {
    return new BackingFailure(thrown, 'something was thrown that cannot be looked at');
  }
}

function whyOf(thrown: unknown): string {
  const text = thrown instanceof Error ? thrown.message : thrown;
  return typeof text === 'string' ? text : `a thrown ${typeName(thrown)}`;
}

function codeOf(thrown: unknown): ErrnoCode | undefined {
  const code: unknown = thrown instanceof VmError ? thrown.code : undefined;
  return typeof code === 'string' && /^E[A-Z]+$/.test(code) ? (code as ErrnoCode) : undefined;
}
