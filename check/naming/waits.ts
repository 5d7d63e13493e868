/** Whom a cpu waits for, told from the words of a machine: for an execution in which nobody can go on. */
import { MAX_CPUS } from '../../src/base/limits.ts';
import * as control from '../../src/sync/control.layout.ts';
import { OWNER_MASK } from '../../src/sync/lock-classes.ts';
import { describeMachine, isLock } from './machine.ts';

/** The modelled thread that runs on a thread of the host (worker_threads' threadId). */
export type ThreadOf = (hostThread: number) => string | undefined;

/**
 * Says what somebody waits for that sleeps on a byte of the control memory: the lock behind a cpu's parking word and who holds it,
 * the owner of a spinlock, the sections that a grace period waits for. Undefined where that word has no such meaning.
 */
export function describeWait(
  memory: SharedArrayBuffer,
  byte: number,
  threadOf: ThreadOf,
  describe: (byte: number) => string = describeMachine(memory),
): string | undefined {
  const words = new Int32Array(memory);
  const at = byte >> 2;
  const nameAt = (word: number): string => describe(word * 4);
  const cpus = Array.from({ length: words[control.CPUS_USED] as number }, (_, id) => id);
  const cpuText = (id: number): string => {
    const name = threadOf(words[control.cpuSlot(id) + control.C_THREAD] as number);
    return name === undefined ? `cpu ${id}` : `${name} (cpu ${id})`;
  };
  const readersOf = (sem: number): string[] =>
    cpus
      .filter((id) => words[control.cpuSlot(id) + control.C_RW_HOLD] === sem)
      .map((id) => `${cpuText(id)} for reading`);
  const holders = (sem: number): string => {
    const owner = ((words[sem] as number) & OWNER_MASK) - 1;
    const texts = readersOf(sem);
    if (owner >= 0) texts.unshift(`${cpuText(owner)} for writing`);
    return texts.length === 0 ? 'nobody' : texts.join(', ');
  };
  if (at === control.GRACE) {
    const inside = cpus.filter((id) => ((words[control.cpuSlot(id) + control.C_SLOT] as number) & 1) === 1);
    if (inside.length === 0) return 'for the end of a grace period, though nobody is in a section';
    return `for the end of a grace period: ${inside.map((id) => cpuText(id)).join(', ')} in a section`;
  }
  if (at >= control.CPUS && at < control.CPUS + MAX_CPUS * control.CPU_WORDS) {
    const me = Math.floor((at - control.CPUS) / control.CPU_WORDS);
    const slot = control.cpuSlot(me);
    if (at !== slot + control.C_WAKE) return undefined;
    const wanted = words[slot + control.C_RW_WAIT] as number;
    if (wanted !== 0) return `for ${nameAt(wanted)}, held by ${holders(wanted)}`;
    const bucket = words[slot + control.C_FUTEX] as number;
    if (bucket !== 0) return `for a notify in ${nameAt(bucket)}`;
    const mine = cpus
      .flatMap((id) =>
        [control.C_RW_HOLD, control.C_RW_WAIT].map((word) => words[control.cpuSlot(id) + word] as number),
      )
      .find((sem) => sem !== 0 && ((words[sem] as number) & OWNER_MASK) === me + 1);
    return mine === undefined
      ? undefined
      : `for the readers of ${nameAt(mine)}: ${readersOf(mine).join(', ') || 'nobody'}`;
  }
  if (!isLock(nameAt(at))) return undefined;
  const owner = ((words[at] as number) & OWNER_MASK) - 1;
  return `held by ${owner < 0 ? 'nobody' : cpuText(owner)}`;
}
