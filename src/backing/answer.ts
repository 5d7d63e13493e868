/** What a backing's `read` has answered. It may be anything: it is looked at, never converted, as that would run its author's code. */
import { VmError } from '../base/errors.ts';

/**
 * Throws EIO unless `got` is a number of bytes between `expected`, what the file still has at `position`, and `asked`, the room
 * there was.
 */
export function checkAnswer(got: unknown, position: number, expected: number, asked: number): void {
  if (typeof got !== 'number') throw wrong(`a value of type ${typeof got}`, position, asked);
  if (!Number.isInteger(got) || got < 0 || got > asked) throw wrong(String(got), position, asked);
  if (got >= expected) return;
  throw new VmError('EIO', 'read', `the file gave ${got} bytes of ${expected} at ${position}: has it been truncated?`);
}

function wrong(what: string, position: number, asked: number): VmError {
  return new VmError('EIO', 'read', `the backing answered ${what}, asked for ${asked} bytes at ${position}`);
}
