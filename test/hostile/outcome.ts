/** Running a call that may never end, and judging how it ended. */
import { Script } from 'node:vm';
import { Oops, VmError } from '../../src/node.ts';

/** A call takes a millisecond or so, and no wait is longer than the machine's limits: what is not over by now never will be. */
const HANG_MS = 30_000;
const CODES =
  /^E(ACCES|AGAIN|BADF|BUSY|DEADLK|EXIST|FAULT|FBIG|INVAL|IO|ISDIR|MFILE|NODEV|NOENT|NOMEM|NOSYS|NOTSUP|OVERFLOW|PERM|PROTO|STALE|TIMEDOUT|WOULDBLOCK)$/;

export type Outcome =
  | { readonly how: 'returned'; readonly value: unknown }
  | { readonly how: 'threw'; readonly value: unknown }
  | { readonly how: 'hung' };

const SLOT = '__hostile';
const script = new Script(`globalThis.${SLOT}()`);

/** As `call()`, ended from outside if it does not come back; what it used must not be touched then. */
export function outcomeOf(call: () => unknown): Outcome {
  let outcome: Outcome = { how: 'hung' };
  (globalThis as Record<string, unknown>)[SLOT] = (): void => {
    try {
      outcome = { how: 'returned', value: call() };
    } catch (error) {
      outcome = { how: 'threw', value: error };
    }
  };
  try {
    script.runInThisContext({ timeout: HANG_MS });
  } catch {
    outcome = { how: 'hung' };
  }
  return outcome;
}

/** The outcome of what a promise says. */
export async function settled(promise: Promise<unknown>): Promise<Outcome> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Outcome>((resolve) => {
    timer = setTimeout(() => resolve({ how: 'hung' }), HANG_MS);
  });
  try {
    return await Promise.race([
      late,
      promise.then(
        (value): Outcome => ({ how: 'returned', value }),
        (value: unknown): Outcome => ({ how: 'threw', value }),
      ),
    ]);
  } finally {
    clearTimeout(timer);
  }
}

/** What is wrong with the end of the public call `names` (one of them); undefined if nothing is. `tossed`: what the caller's own code threw. */
export function judge(
  outcome: Outcome,
  names: readonly string[],
  tossed: readonly unknown[],
  inBacking = false,
): string | undefined {
  if (outcome.how === 'returned') return undefined;
  if (outcome.how === 'hung') return 'did not end';
  const error = outcome.value;
  if (tossed.includes(error)) return undefined;
  if (error instanceof Oops && error.rule === 'H1' && inBacking) return undefined;
  if (!(error instanceof VmError)) return `threw ${nameOf(error)}`;
  if (!CODES.test(error.code)) return `threw a VmError with the code ${nameOf(error.code)}`;
  if (!names.includes(error.syscall)) return `threw ${error.code} in the name of '${error.syscall}'`;
  return undefined;
}

export function nameOf(value: unknown): string {
  try {
    if (value instanceof Error) return `${value.name}: ${value.message}`;
    if (typeof value === 'object' && value !== null) return 'an object';
    return typeof value === 'function' ? 'a function' : `${typeof value} ${String(value)}`;
  } catch {
    return 'something that cannot be looked at';
  }
}
