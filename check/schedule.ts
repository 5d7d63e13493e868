/**
 * Schedules as text: what to type to see a failure again. Each part is a position and what happens there instead of the
 * usual: `57b` lets the second thread go on at decision 57, `90!` ends the running thread there. `-` is the schedule without any.
 */
import { KILL, MAX_THREADS } from './engine/board.ts';

export function formatSchedule(script: readonly number[]): string {
  if (script.length === 0) return '-';
  const parts: string[] = [];
  for (let i = 0; i < script.length; i += 2) {
    const action = script[i + 1] as number;
    parts.push(`${script[i]}${action === KILL ? '!' : String.fromCharCode(97 + action)}`);
  }
  return parts.join('.');
}

/** Throws a RangeError that says what is wrong. */
export function parseSchedule(text: string): number[] {
  if (text === '-') return [];
  const script: number[] = [];
  let last = -1;
  for (const part of text.split('.')) {
    const match = /^(\d{1,7})([a-z!])$/.exec(part);
    if (match === null)
      throw new RangeError(`'${part}' is not a part of a schedule: a position and a thread, as in 57b, or 57!`);
    const position = Number(match[1]);
    const action = match[2] === '!' ? KILL : (match[2] as string).charCodeAt(0) - 97;
    if (action >= MAX_THREADS) throw new RangeError(`'${part}': there is no thread ${match[2]}`);
    if (position <= last) throw new RangeError(`'${part}': the positions of a schedule rise`);
    last = position;
    script.push(position, action);
  }
  return script;
}

/** Preemptions and deaths of a schedule are not known from its text alone: how many deviations it has. */
export function deviations(script: readonly number[]): number {
  return script.length / 2;
}
