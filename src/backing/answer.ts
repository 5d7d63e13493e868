/** What a backing's `read` has answered. It may be anything: it is looked at, never converted, as that would run its author's code. */
import { VmError } from '../base/errors.ts';

/** Stands for a promise. */
const PROMISE = Symbol('a promise');

/**
 * Throws EIO unless `got` is a number of bytes between `expected`, what the file still has at `position`, and `asked`, the room
 * there was.
 */
export function checkAnswer(got: unknown, position: number, expected: number, asked: number): void {
  if (got === PROMISE) throw wrong('a promise (read is synchronous, readAsync is not)', position, asked);
  if (typeof got !== 'number') throw wrong(got === null ? 'null' : `a value of type ${typeof got}`, position, asked);
  if (!Number.isInteger(got) || got < 0 || got > asked) throw wrong(String(got), position, asked);
  if (got >= expected) return;
  throw new VmError('EIO', 'read', `the file gave ${got} bytes of ${expected} at ${position}: has it been truncated?`);
}

/** Whether `got` is a promise. Its rejection is nobody's then, as in `handled`. Requires: the backing's code may run. */
export function isHandled(got: unknown): boolean {
  return handled(got) === PROMISE;
}

/** `got`. If it is a promise, its rejection is nobody's: the answer is an error already. Requires: the backing's code may run. */
export function handled(got: unknown): unknown {
  if (typeof got !== 'object' || got === null) return got;
  try {
    Reflect.apply(Promise.prototype.then, got, [undefined, () => undefined]);
    return PROMISE;
  } catch {
    return got; // it is none
  }
}

function wrong(what: string, position: number, asked: number): VmError {
  return new VmError('EIO', 'read', `the backing answered ${what}, asked for ${asked} bytes at ${position}`);
}
