/** `vmspace hazards`: what was feared of each design, found under the one that has it and exhausted under the default. */
import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import Table from 'cli-table3';
import { CheckerError, type CheckResult, check, formatSchedule, renderFailure, replay } from '../check/index.ts';
import { replayCommand, sourceOf } from './check.ts';
import type { HazardsCommand } from './check-options.ts';
import { EXIT_FAILED, UsageError } from './errors.ts';

/** A row as the bundle of hazards describes it; `model` is the name of one of its models. */
interface Scenario {
  readonly design: string;
  readonly model: string;
}
interface HazardRow {
  readonly id: string;
  readonly title: string;
  readonly answer: string;
  readonly found?: Scenario;
  readonly holds?: Scenario;
  readonly open?: string;
}

interface Outcome {
  readonly row: HazardRow;
  readonly found: { readonly design: string; readonly executions: number; readonly schedule: string } | null;
  readonly exhausted: { readonly design: string; readonly executions: number; readonly bound: number } | null;
  /** Why a part that is there did not show what it should. */
  readonly wrong: string[];
  readonly text: string;
}

export async function runHazards(command: HazardsCommand, signal: AbortSignal): Promise<number> {
  const { rows } = (await import(new URL('../check/hazards.js', import.meta.url).href)) as {
    rows: readonly HazardRow[];
  };
  const unknown = command.hazards.filter((id) => !rows.some((row) => row.id === id));
  if (unknown.length > 0)
    throw new UsageError(`there is no hazard ${unknown.join(', ')}; they are ${rows[0]?.id} to ${rows.at(-1)?.id}`);
  const chosen = rows.filter(({ id }) => command.hazards.length === 0 || command.hazards.includes(id));
  const jobs = command.jobs ?? availableParallelism();
  const queue = [...chosen];
  const outcomes = new Map<string, Outcome>();
  const lane = async (processor: number): Promise<void> => {
    for (let row = queue.shift(); row !== undefined && !signal.aborted; row = queue.shift()) {
      if (process.stderr.isTTY) process.stderr.write(`\r${row.id} ...\u001b[K`);
      try {
        outcomes.set(row.id, await runRow(row, command, processor, signal));
      } catch (error) {
        if (!(error instanceof CheckerError)) throw error;
        outcomes.set(row.id, { row, found: null, exhausted: null, wrong: [error.message], text: '' });
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(jobs, queue.length) }, (_, i) => lane(i)));
  if (process.stderr.isTTY) process.stderr.write('\r\u001b[K');
  const done = chosen.flatMap(({ id }) => outcomes.get(id) ?? []);
  if (command.json) {
    const document = done.map(({ row, found, exhausted }) => ({ id: row.id, title: row.title, found, exhausted }));
    process.stdout.write(`${JSON.stringify(document, null, 2)}\n`);
  } else {
    process.stdout.write(`${renderTable(done)}\n`);
    for (const { row, found, text } of done) {
      if (found === null || row.found === undefined) continue;
      if (command.schedule) process.stdout.write(`\n${row.id}: ${text}\n`);
      else
        process.stdout.write(
          `${row.id}: ${replayCommand({ module: undefined, transform: false }, row.found.model, found.schedule)}\n`,
        );
    }
  }
  const wrong = done.flatMap((outcome) => outcome.wrong.map((why) => `${outcome.row.id}: ${why}`));
  for (const line of wrong) process.stderr.write(`vmspace: ${line}\n`);
  return wrong.length > 0 ? EXIT_FAILED : 0;
}

async function runRow(
  row: HazardRow,
  command: HazardsCommand,
  processor: number,
  signal: AbortSignal,
): Promise<Outcome> {
  const options = { jobs: 1, processor, seconds: command.seconds, signal };
  const wrong: string[] = [];
  let found: Outcome['found'] = null;
  let exhausted: Outcome['exhausted'] = null;
  let text = '';
  if (row.found !== undefined) {
    const { design, model } = row.found;
    const source = await sourceOf(model);
    const result = await check(source, options);
    if (result.failure === undefined)
      wrong.push(`nothing was found under ${design} (${result.verdict} after ${result.executions} executions)`);
    else {
      const schedule = formatSchedule(result.failure.script);
      if (await replaysElsewhere(model, schedule, result))
        found = { design, executions: result.foundAfter ?? 0, schedule };
      else wrong.push(`the schedule ${schedule} under ${design} does not replay in a fresh process`);
      if (command.schedule) {
        const command = replayCommand({ module: undefined, transform: false }, model, schedule);
        text = renderFailure(result, await replay(source, result.failure.script), { command });
      }
    }
  }
  if (row.holds !== undefined) {
    const { design, model } = row.holds;
    const result = await check(await sourceOf(model), options);
    if (result.verdict === 'exhausted') exhausted = { design, executions: result.executions, bound: result.bound };
    else
      wrong.push(
        `${design}: ${result.failure === undefined ? 'the bound was not exhausted' : `failed, ${formatSchedule(result.failure.script)}: ${result.failure.text}`}`,
      );
  }
  return { row, found, exhausted, wrong, text };
}

/** Runs what the printed command runs, in a process of its own: the same kind of failure must come. */
async function replaysElsewhere(model: string, schedule: string, result: CheckResult): Promise<boolean> {
  const main = process.argv[1] as string;
  const child = spawn(process.execPath, [main, 'check', model, '--replay', schedule, '--json'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let out = '';
  child.stdout.on('data', (data) => {
    out += String(data);
  });
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  if (code !== EXIT_FAILED) return false;
  const replayed = JSON.parse(out) as { failure: { kind: string; text: string } | null };
  return replayed.failure !== null && firstLine(replayed.failure.text) === firstLine(result.failure?.text ?? '');
}

const firstLine = (text: string): string => text.split('\n')[0] as string;

function renderTable(outcomes: readonly Outcome[]): string {
  const table = new Table({
    head: ['', 'feared or asked for', 'found under', 'after', 'exhausted under', 'executions'],
    colAligns: ['left', 'left', 'left', 'right', 'left', 'right'],
    colWidths: [5, 62, 22, 8, 26, 12],
    wordWrap: true,
    style: { head: [], border: [], compact: true },
  });
  for (const { row, found, exhausted } of outcomes) {
    if (row.open !== undefined) {
      table.push([row.id, row.title, { content: `open: ${row.open}`, colSpan: 4 }]);
      continue;
    }
    table.push([
      row.id,
      row.title,
      found === null ? 'no' : found.design,
      found === null ? '' : found.executions,
      exhausted === null ? 'no' : `${exhausted.design}, <= ${exhausted.bound} preemptions`,
      exhausted === null ? '' : exhausted.executions.toLocaleString('en-US'),
    ]);
  }
  return table.toString();
}
