/** What ends the command: each has its exit code and is printed without a stack trace. */

/** What the user can put right: bad arguments, a file that cannot be mapped. */
export class UsageError extends Error {
  readonly exitCode = 2;
}

/** The host does not let us (a full disk, say). */
export class RunError extends Error {
  readonly exitCode = 1;
}

export const EXIT_FAILED = 1;
/** 128 + the signal's number, as shells count. */
export const EXIT_SIGNALS: { readonly SIGINT: number; readonly SIGTERM: number } = { SIGINT: 130, SIGTERM: 143 };

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
