/**
 * Schedules as text: what to type to see a failure again. Each part is a position and what happens there instead of the
 * usual: `57b` lets the second thread go on at decision 57, `90!` ends the running thread there, `61~1` has a marked read return
 * the newest of its old values. `-` is the schedule without any.
 */
import { MAX_THREADS } from './engine/board/places.ts';
import { KILL, OLDER } from './engine/board/values.ts';

export function formatSchedule(script: readonly number[]): string {
  if (script.length === 0) return '-';
  const parts: string[] = [];
  for (let i = 0; i < script.length; i += 2) {
    const action = script[i + 1] as number;
    parts.push(`${script[i]}${actionText(action)}`);
  }
  return parts.join('.');
}

/** What a thread is called in a schedule. */
export function letterOf(thread: number): string {
  return String.fromCharCode(97 + thread);
}

function actionText(action: number): string {
  if (action === KILL) return '!';
  return action < OLDER ? `~${OLDER - action}` : letterOf(action);
}

/** Throws a RangeError that says what is wrong. */
export function parseSchedule(text: string): number[] {
  if (text === '-') return [];
  const script: number[] = [];
  let last = -1;
  for (const part of text.split('.')) {
    const match = /^(\d{1,7})([a-z!]|~[1-9]\d{0,3})$/.exec(part);
    if (match === null)
      throw new RangeError(
        `'${part}' is not a part of a schedule: a position and a thread, as in 57b, or 57!, or 57~1`,
      );
    const position = Number(match[1]);
    const action = actionOf(match[2] as string);
    if (action >= MAX_THREADS) throw new RangeError(`'${part}': there is no thread ${match[2]}`);
    if (position <= last) throw new RangeError(`'${part}': the positions of a schedule rise`);
    last = position;
    script.push(position, action);
  }
  return script;
}

function actionOf(text: string): number {
  if (text === '!') return KILL;
  return text.startsWith('~') ? OLDER - Number(text.slice(1)) : text.charCodeAt(0) - 97;
}

/** Preemptions and deaths of a schedule are not known from its text alone: how many deviations it has. */
export function deviations(script: readonly number[]): number {
  return script.length / 2;
}
