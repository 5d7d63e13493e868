/** A search that was stopped, as what goes into a file and comes back from one. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { CheckerError } from './crews.ts';
import { MAX_THREADS, SCRIPT_ENTRIES } from './engine/board/places.ts';
import { KILL, OLDER } from './engine/board/values.ts';
import type { Prefix } from './engine/leader.ts';
import type { ModelSource } from './engine/protocol.ts';

export interface Checkpoint {
  readonly version: 2;
  readonly model: string;
  /** Of the module's file: schedules are of one program. */
  readonly program: string;
  readonly bound: number;
  readonly preemptions: number;
  /** Shared words: an address, and who touched it, in turn. */
  readonly known: readonly number[];
  readonly frontier: readonly Prefix[];
  readonly executions: number;
  readonly outcomes: readonly (readonly [string, number])[];
  /** Whether the search before this bound's end has met new shared words: the bound is then searched again. */
  readonly grew: boolean;
}

/** SHA-256 of the module's own text, not of what it imports; '' where it is not a file. */
export function programOf({ url, transform }: ModelSource): string {
  if (!url.startsWith('file:')) return '';
  try {
    return createHash('sha256')
      .update(readFileSync(fileURLToPath(url)))
      .update(transform ? 'rewritten' : '')
      .digest('hex');
  } catch (error) {
    throw new CheckerError(`${url} cannot be read: ${(error as Error).message}`);
  }
}

const isWhole = (value: unknown, most = Number.MAX_SAFE_INTEGER): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= most;

/** Looks at what came from a file. Throws CheckerError. */
export function validCheckpoint(value: unknown, source: ModelSource, preemptions: number | undefined): Checkpoint {
  const demand = (ok: boolean, why: string): void => {
    if (!ok) throw new CheckerError(`the checkpoint cannot be used: ${why}`);
  };
  demand(typeof value === 'object' && value !== null && 'version' in value, 'it is none');
  const point = value as Checkpoint;
  demand(point.version === 2, `it is of version ${String(point.version)}, and this checker's are of version 2`);
  demand(point.model === source.name, `it is of the model ${String(point.model)}, not of ${source.name}`);
  demand(point.program === programOf(source), 'the program has changed since it was written');
  demand(isWhole(point.bound) && isWhole(point.preemptions) && point.bound <= point.preemptions, 'bad bounds');
  demand(isWhole(point.executions), 'a bad number of executions');
  demand(typeof point.grew === 'boolean', 'a bad `grew`');
  demand(
    Array.isArray(point.known) && point.known.length % 2 === 0 && point.known.every((word) => isWhole(word)),
    'bad shared words',
  );
  demand(
    Array.isArray(point.outcomes) &&
      point.outcomes.every(
        (pair: unknown) =>
          Array.isArray(pair) && pair.length === 2 && typeof pair[0] === 'string' && isWhole(pair[1] as unknown),
      ),
    'bad outcomes',
  );
  demand(Array.isArray(point.frontier) && point.frontier.every(isPrefix), 'a bad schedule');
  demand(
    preemptions === undefined || preemptions >= point.bound,
    `it has exhausted ${point.bound - 1} preemptions already, and ${preemptions} are asked for`,
  );
  return point;
}

function isPrefix(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { script, preemptions } = value as Prefix;
  return isScript(script) && isWhole(preemptions);
}

/** Whether it is a schedule: positions that rise, each with an action. */
export function isScript(script: unknown): script is readonly number[] {
  if (!Array.isArray(script) || script.length % 2 !== 0 || script.length >= SCRIPT_ENTRIES * 2) return false;
  let last = -1;
  for (let i = 0; i < script.length; i += 2) {
    const [position, action] = [script[i], script[i + 1]] as [unknown, unknown];
    if (!isWhole(position) || position <= last) return false;
    const old = Number.isInteger(action) && (action as number) < OLDER;
    if (!old && action !== KILL && !isWhole(action, MAX_THREADS - 1)) return false;
    last = position;
  }
  return true;
}
