/** What a module exports as `models`, looked at before anything runs: a model that is not one would exhaust nothing. */
import { MAX_THREADS } from './engine/board/places.ts';
import type { WordRange } from './engine/regions.ts';
import type { Model } from './model.ts';

/** A model cannot be checked as it is. The message says what to change. */
export class ModelError extends Error {
  override readonly name = 'ModelError';
}

type Loose = Readonly<Record<string, unknown>>;

/** The models of a module. Throws ModelError. */
export function modelsOf(module: unknown, url: string): readonly Model<unknown>[] {
  const exported = (module as { models?: unknown }).models;
  const models = typeof exported === 'function' ? (exported as () => unknown)() : exported;
  if (!Array.isArray(models)) throw new ModelError(`${url} does not export \`models\`, an array`);
  if (models.length === 0) throw new ModelError(`${url} exports no model: \`models\` is empty`);
  const names = new Set<string>();
  for (const model of models) {
    validate(model);
    const { name } = model as Model;
    if (names.has(name)) throw new ModelError(`${url} has two models called '${name}'`);
    names.add(name);
  }
  return models;
}

function validate(model: unknown): void {
  if (typeof model !== 'object' || model === null) throw new ModelError(`a model is an object, got ${show(model)}`);
  const fields = model as Loose;
  const { name } = fields;
  if (typeof name !== 'string' || !/^[\w.:-]+$/.test(name))
    throw new ModelError(`a model's name is made of letters, digits, '-', '_', '.' and ':', got ${show(name)}`);
  const demand = (field: string, ok: boolean, what: string): void => {
    if (!ok) throw new ModelError(`model '${name}': ${field} must be ${what}, got ${show(fields[field])}`);
  };
  const optional = (field: string, ok: (value: unknown) => boolean, what: string): void =>
    demand(field, fields[field] === undefined || ok(fields[field]), what);
  const isText = (value: unknown): boolean => typeof value === 'string';
  const isFunction = (value: unknown): boolean => typeof value === 'function';
  const isCount = (value: unknown): boolean => Number.isInteger(value) && (value as number) >= 0;
  demand('title', isText(fields.title), 'a text');
  demand('invariant', isText(fields.invariant), 'a text');
  demand('preemptions', isCount(fields.preemptions), 'a whole number, 0 or more');
  optional('longPreemptions', isCount, 'a whole number, 0 or more');
  demand('setup', isFunction(fields.setup), 'a function that returns the shared memory');
  for (const field of ['check', 'describe', 'value', 'waits', 'ignore', 'racy'])
    optional(field, isFunction, 'a function');
  optional('outcomes', (value) => Array.isArray(value) && value.every(isText), 'an array of texts');
  optional('timeouts', (value) => value === 'report' || value === 'allow', "'report' or 'allow'");
  optional('points', (value) => value === 'sync' || value === 'all', "'sync' or 'all'");
  optional('races', (value) => typeof value === 'boolean', 'true or false');
  optional(
    'steps',
    (value) => isCount(value) && (value as number) > 0 && (value as number) <= 10_000_000,
    '1 to 10,000,000',
  );
  optional('granule', (value) => value === 1 || value === 2 || value === 4, '1, 2 or 4');
  const { threads } = fields;
  demand(
    'threads',
    Array.isArray(threads) && threads.length > 0 && threads.length <= MAX_THREADS,
    `an array of 1 to ${MAX_THREADS} threads`,
  );
  const seen = new Set<unknown>();
  for (const thread of threads as Loose[]) {
    const whose = `model '${name}': a thread`;
    if (typeof thread !== 'object' || thread === null)
      throw new ModelError(`${whose} is an object, got ${show(thread)}`);
    if (!isText(thread.name) || (thread.name as string).trim() === '' || seen.has(thread.name))
      throw new ModelError(`${whose} needs a name of its own, got ${show(thread.name)}`);
    seen.add(thread.name);
    if (!isFunction(thread.run)) throw new ModelError(`${whose} needs a function \`run\`, got ${show(thread.run)}`);
    if (thread.prepare !== undefined && !isFunction(thread.prepare))
      throw new ModelError(`${whose}'s \`prepare\` must be a function, got ${show(thread.prepare)}`);
  }
}

function show(value: unknown): string {
  if (typeof value === 'string') return `'${value}'`;
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}

/** Whether somebody has given a promise where the checker needs the thing itself. */
export function isPromise(value: unknown): boolean {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function';
}

/** Looks at what `ignore` or `racy` returned. Throws ModelError. */
export function rangesOf(
  field: string,
  value: unknown,
  buffers: readonly SharedArrayBuffer[],
  why: boolean,
): readonly WordRange[] {
  const shape = `[buffer, first byte, byte behind the last${why ? ', why' : ''}]`;
  if (!Array.isArray(value)) throw new ModelError(`${field} must return an array of ${shape}, got ${show(value)}`);
  for (const range of value as unknown[]) {
    const [buffer, from, to, reason] = (Array.isArray(range) ? range : []) as unknown[];
    const size = buffers[buffer as number]?.byteLength ?? -1;
    const fits =
      Number.isInteger(from) && Number.isInteger(to) && (from as number) >= 0 && (from as number) < (to as number);
    if (!fits || (to as number) > size)
      throw new ModelError(`${field}: ${JSON.stringify(range)} is not ${shape} of a buffer that is there`);
    if (why && (typeof reason !== 'string' || reason.trim() === ''))
      throw new ModelError(`${field}: ${JSON.stringify(range)} needs a reason: why the accesses may race`);
  }
  return value as readonly WordRange[];
}
