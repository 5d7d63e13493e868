/** `vmspace check`: explores the interleavings of the models, or of a user's. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import Table from 'cli-table3';
import {
  CheckerError,
  type Checkpoint,
  type CheckResult,
  check,
  FAILURE_NAMES,
  formatSchedule,
  type ModelSource,
  renderFailure,
  renderReplay,
  replay,
} from '../check/index.ts';
import { ModelError, modelsOf } from '../check/validate.ts';
import type { CheckCommand } from './check-options.ts';
import { EXIT_FAILED, messageOf, RunError, UsageError } from './errors.ts';

/** What is known of a model before it runs. */
export interface Listed {
  readonly name: string;
  readonly title: string;
  readonly preemptions: number;
  readonly longPreemptions?: number;
}

interface Collection {
  readonly url: string;
  readonly transform: boolean;
  readonly models: readonly Listed[];
}

const bundleUrl = (name: string): string => new URL(`../check/${name}.js`, import.meta.url).href;

/** Bundles of the package: the models, what the hazards run, and the checker's own litmus tests. */
export const COLLECTIONS: readonly string[] = ['models', 'hazards', 'litmus'];

async function listOf(url: string, transform: boolean): Promise<Collection> {
  try {
    return { url, transform, models: modelsOf(await import(url), url) };
  } catch (error) {
    throw new UsageError(error instanceof ModelError ? error.message : `${url} does not load: ${messageOf(error)}`);
  }
}

/** What a module prints while it loads is not our output. */
async function quietly<T>(load: () => Promise<T>): Promise<T> {
  const { write } = process.stdout;
  process.stdout.write = process.stderr.write.bind(process.stderr);
  try {
    return await load();
  } finally {
    process.stdout.write = write;
  }
}

async function collections(command: CheckCommand): Promise<Collection[]> {
  if (command.module === undefined) return Promise.all(COLLECTIONS.map((name) => listOf(bundleUrl(name), false)));
  const file = resolve(command.module);
  if (!existsSync(file)) throw new UsageError(`there is no module ${command.module}`);
  return [await quietly(() => listOf(pathToFileURL(file).href, command.transform))];
}

interface Chosen {
  readonly source: ModelSource;
  readonly listed: Listed;
}

function choose(all: readonly Collection[], names: readonly string[]): Chosen[] {
  const of = ({ url, transform }: Collection, listed: Listed): Chosen => ({
    source: { url, name: listed.name, transform },
    listed,
  });
  const first = all[0] as Collection;
  if (names.length === 0) return first.models.map((listed) => of(first, listed));
  return names.map((name) => {
    for (const collection of all) {
      const listed = collection.models.find((model) => model.name === name);
      if (listed !== undefined) return of(collection, listed);
    }
    throw new UsageError(`there is no model '${name}'; 'vmspace check --list' shows them`);
  });
}

/** Finds a model of the package by name. */
export async function sourceOf(name: string): Promise<ModelSource> {
  const all = await Promise.all(COLLECTIONS.map((collection) => listOf(bundleUrl(collection), false)));
  return (choose(all, [name])[0] as Chosen).source;
}

/** As one word of a shell. */
function quoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** What replays a schedule. */
export function replayCommand(
  command: Pick<CheckCommand, 'module' | 'transform'>,
  model: string,
  schedule: string,
): string {
  const { module: file, transform } = command;
  const module = file === undefined ? '' : ` --module ${quoted(file)}${transform ? ' --transform' : ''}`;
  return `npx vmspace check ${model}${module} --replay ${schedule}`;
}

/** Returns the exit code. */
export async function runCheck(command: CheckCommand, signal: AbortSignal): Promise<number> {
  const all = await collections(command);
  if (command.list) return list(all, command.json);
  const chosen = choose(all, command.models);
  if (command.replay === undefined) return await runAll(command, chosen, signal);
  try {
    return await runReplay(command, chosen[0] as Chosen);
  } catch (error) {
    if (error instanceof CheckerError) throw new RunError(error.message);
    if (error instanceof RangeError) throw new UsageError(`--replay: ${error.message}`);
    throw error;
  }
}

function list(all: readonly Collection[], json: boolean): number {
  if (json) {
    const models = all.flatMap(({ models }) =>
      models.map(({ name, title, preemptions }) => ({ name, title, preemptions })),
    );
    process.stdout.write(`${JSON.stringify(models, null, 2)}\n`);
    return 0;
  }
  for (const { url, models } of all) {
    process.stdout.write(`${fileURLToPath(url).replace(/^.*\//, '')}\n`);
    for (const { name, title } of models) process.stdout.write(`  ${name.padEnd(32)} ${title}\n`);
  }
  return 0;
}

async function runReplay(command: CheckCommand, { source }: Chosen): Promise<number> {
  const { text, script } = command.replay as { text: string; script: readonly number[] };
  const replayed = await replay(source, script);
  const { failure } = replayed.ended;
  if (command.json) {
    const kind = failure === undefined ? null : FAILURE_NAMES[failure.kind];
    const document = {
      model: source.name,
      schedule: text,
      failure: kind === null ? null : { kind, text: failure?.text },
      outcome: replayed.ended.outcome ?? null,
    };
    process.stdout.write(`${JSON.stringify(document, null, 2)}\n`);
  } else {
    process.stdout.write(`${source.name}: ${replayed.facts.title}\nmust hold: ${replayed.facts.invariant}\n\n`);
    process.stdout.write(`${renderReplay(replayed, command.full ? { context: Number.POSITIVE_INFINITY } : {})}\n`);
  }
  return failure === undefined ? 0 : EXIT_FAILED;
}

/** A model that could not be checked. */
interface Broken {
  readonly model: string;
  readonly verdict: 'broken';
  readonly error: string;
}

async function runAll(command: CheckCommand, chosen: readonly Chosen[], signal: AbortSignal): Promise<number> {
  const jobs = command.jobs ?? availableParallelism();
  const results: (CheckResult | Broken)[] = [];
  const failures: string[] = [];
  const queue = [...chosen];
  const from = loadCheckpoint(command);
  const status = new Status(chosen.length);
  const runOne = async ({ source, listed }: Chosen, processor: number, crews: number): Promise<void> => {
    const bound =
      command.preemptions ?? (command.long ? (listed.longPreemptions ?? listed.preemptions + 1) : undefined);
    const result = await check(source, {
      strategy: command.strategy,
      ...(bound === undefined ? {} : { preemptions: bound }),
      seconds: command.seconds,
      executions: command.executions,
      jobs: crews,
      processor,
      seed: command.seed,
      depth: command.depth,
      from,
      signal,
      onProgress: ({ executions, seconds, bound: at }) => status.show(source.name, executions, seconds, at),
    });
    keepCheckpoint(command, result);
    if (result.failure !== undefined) failures.push(await describe(command, source, result));
    results.push(result);
  };
  const lane = async (processor: number, crews: number): Promise<void> => {
    for (let next = queue.shift(); next !== undefined && !signal.aborted; next = queue.shift()) {
      try {
        await runOne(next, processor, crews);
      } catch (error) {
        if (!(error instanceof CheckerError)) throw error;
        results.push({ model: next.source.name, verdict: 'broken', error: error.message });
      }
      status.done();
    }
  };
  // One model: all crews. Several: one crew each, as many at a time as there are cores.
  const lanes = Math.min(jobs, chosen.length);
  await Promise.all(Array.from({ length: lanes }, (_, i) => lane(i, chosen.length === 1 ? jobs : 1)));
  status.clear();
  const order = new Map(chosen.map(({ source }, i) => [source.name, i]));
  results.sort((a, b) => (order.get(a.model) ?? 0) - (order.get(b.model) ?? 0));
  const broken = results.filter((result) => result.verdict === 'broken');
  if (command.json) {
    const documents = results.map((result) => (result.verdict === 'broken' ? result : toJson(command, result)));
    process.stdout.write(`${JSON.stringify(documents, null, 2)}\n`);
  } else if (results.length > broken.length) {
    const checked = results.filter((result) => result.verdict !== 'broken');
    process.stdout.write(`${renderResults(checked)}\n`);
    for (const result of checked) process.stdout.write(`${inWords(result)}\n`);
    for (const failure of failures) process.stdout.write(`\n${failure}\n`);
  }
  for (const { error } of broken) process.stderr.write(`vmspace: ${error}\n`);
  return results.some(({ verdict }) => verdict === 'failed' || verdict === 'broken') ? EXIT_FAILED : 0;
}

async function describe(command: CheckCommand, source: ModelSource, result: CheckResult): Promise<string> {
  const script = result.failure?.script ?? [];
  const replayed = await replay(source, script);
  const options = { command: replayCommand(command, source.name, formatSchedule(script)) };
  return renderFailure(result, replayed, command.full ? { ...options, context: Number.POSITIVE_INFINITY } : options);
}

function toJson(command: CheckCommand, result: CheckResult): object {
  const { model, verdict, strategy, bound, executions, redundant, seconds, outcomes, failure } = result;
  const schedule = failure === undefined ? '' : formatSchedule(failure.script);
  return {
    model,
    verdict,
    strategy,
    bound,
    executions,
    redundant,
    seconds: Number(seconds.toFixed(3)),
    outcomes: Object.fromEntries(outcomes),
    failure:
      failure === undefined
        ? null
        : {
            kind: FAILURE_NAMES[failure.kind],
            text: failure.text,
            schedule,
            after: result.foundAfter,
            command: replayCommand(command, model, schedule),
          },
  };
}

/** What the verdict means, for who sees one for the first time. */
function inWords({ model, verdict, strategy, bound, executions }: CheckResult): string {
  const ran = `${executions.toLocaleString('en-US')} ${executions === 1 ? 'execution' : 'executions'}`;
  if (verdict === 'failed') return `${model}: failed after ${ran}.`;
  if (strategy !== 'exhaustive') return `${model}: no failure in ${ran} chosen at random.`;
  if (verdict === 'stopped') return `${model}: no failure in ${ran}, but the search was stopped before its end.`;
  const preemptions = bound === 1 ? '1 preemption' : `${bound} preemptions`;
  return `${model}: passed. Every interleaving with at most ${preemptions} was explored (${ran}), and none fails.`;
}

function renderResults(results: readonly CheckResult[]): string {
  const table = new Table({
    head: ['model', 'verdict', 'preemptions', 'executions', 'repeats', 'steps each', 'seconds', 'per second'],
    colAligns: ['left', 'left', 'right', 'right', 'right', 'right', 'right', 'right'],
    style: { head: [], border: [], compact: true },
  });
  for (const result of results) {
    const { executions, steps, seconds, redundant } = result;
    table.push([
      result.model,
      result.verdict,
      result.strategy === 'exhaustive' ? `<= ${result.bound}` : result.strategy,
      executions.toLocaleString('en-US'),
      redundant.toLocaleString('en-US'),
      Math.round(steps / Math.max(1, executions)),
      seconds.toFixed(1),
      Math.round(executions / Math.max(0.001, seconds)).toLocaleString('en-US'),
    ]);
  }
  return table.toString();
}

/** What is in the file, if there is one; `check` looks at it more closely. */
function loadCheckpoint(command: CheckCommand): Checkpoint | undefined {
  if (command.checkpoint === undefined || !existsSync(command.checkpoint)) return undefined;
  try {
    const found = JSON.parse(readFileSync(command.checkpoint, 'utf8')) as Checkpoint | null;
    if (typeof found !== 'object' || found === null) throw new Error('it is not an object');
    return found;
  } catch (error) {
    throw new UsageError(`${command.checkpoint} is not a checkpoint to go on from: ${messageOf(error)}`);
  }
}

/** Writes where the search stopped, and takes the file away when the search has come to its end. */
function keepCheckpoint(command: CheckCommand, { verdict, checkpoint }: CheckResult): void {
  const file = command.checkpoint;
  if (file === undefined) return;
  try {
    if (checkpoint !== undefined) {
      writeFileSync(file, JSON.stringify(checkpoint));
      process.stderr.write(`the search can go on from ${file}: ${checkpoint.frontier.length} schedules wait\n`);
    } else if (verdict === 'exhausted') rmSync(file, { force: true });
  } catch (error) {
    throw new RunError(`the checkpoint cannot be written: ${messageOf(error)}`);
  }
}

const LINE_SECONDS = 10;

/** What runs, how far it is, how fast: one line that changes on a terminal, elsewhere a line now and then. */
class Status {
  private readonly _all: number;
  private _done = 0;
  private _spoke: number = performance.now();

  constructor(all: number) {
    this._all = all;
  }

  show(name: string, executions: number, seconds: number, bound: number): void {
    const terminal = process.stderr.isTTY;
    const now = performance.now();
    if (!terminal && now - this._spoke < LINE_SECONDS * 1000) return;
    this._spoke = now;
    const rate = Math.round(executions / Math.max(0.1, seconds)).toLocaleString('en-US');
    const text = `${this._done}/${this._all} ${name}: <= ${bound} preemptions, ${executions.toLocaleString('en-US')} executions, ${rate}/s`;
    if (terminal) process.stderr.write(`\r${text.slice(0, (process.stderr.columns ?? 80) - 1)}\u001b[K`);
    else process.stderr.write(`${text}\n`);
  }

  done(): void {
    this._done++;
  }

  clear(): void {
    if (process.stderr.isTTY) process.stderr.write('\r\u001b[K');
  }
}
