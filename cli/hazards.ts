/** `vmspace hazards`: what was feared of each design, found under the one that has it and exhausted under the default. */
import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import Table from 'cli-table3';
import { CheckerError, type CheckResult, check, formatSchedule, renderFailure, replay } from '../check/index.ts';
import { replayCommand, sourceOf } from './check.ts';
import type { HazardsCommand } from './check-options.ts';
import { EXIT_FAILED, UsageError } from './errors.ts';

/** A row as the bundle of hazards describes it; `model` is the name of one of its models. */
interface Part {
  readonly design: string;
  readonly model: string;
}
interface Scenario {
  readonly what: string;
  readonly found: Part;
  readonly holds: Part;
}
interface HazardRow {
  readonly id: string;
  readonly title: string;
  readonly answer: string;
  readonly scenarios: readonly Scenario[];
  readonly open?: string;
}

/** What one scenario showed. */
interface Shown {
  readonly scenario: Scenario;
  readonly found: { readonly design: string; readonly executions: number; readonly schedule: string } | null;
  readonly exhausted: { readonly design: string; readonly executions: number; readonly bound: number } | null;
  /** Why a part that is there did not show what it should. */
  readonly wrong: readonly string[];
  /** What was stopped before it could show anything. */
  readonly stopped: readonly string[];
  readonly text: string;
}

interface Outcome {
  readonly row: HazardRow;
  readonly shown: Shown[];
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
  const outcomes: Outcome[] = chosen.map((row) => ({ row, shown: [] }));
  const queue = outcomes.flatMap(({ row, shown }) => row.scenarios.map((scenario) => ({ row, shown, scenario })));
  const lane = async (processor: number): Promise<void> => {
    for (let next = queue.shift(); next !== undefined && !signal.aborted; next = queue.shift()) {
      const { row, shown, scenario } = next;
      if (process.stderr.isTTY) process.stderr.write(`\r${row.id}: ${scenario.what}\u001b[K`);
      try {
        shown.push(await show(scenario, command, processor, signal));
      } catch (error) {
        if (!(error instanceof CheckerError)) throw error;
        shown.push({ scenario, found: null, exhausted: null, wrong: [error.message], stopped: [], text: '' });
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(jobs, queue.length) }, (_, i) => lane(i)));
  if (process.stderr.isTTY) process.stderr.write('\r\u001b[K');
  for (const { row, shown } of outcomes)
    shown.sort((a, b) => row.scenarios.indexOf(a.scenario) - row.scenarios.indexOf(b.scenario));
  if (command.json) process.stdout.write(`${JSON.stringify(outcomes.map(toJson), null, 2)}\n`);
  else {
    process.stdout.write(`${renderTable(outcomes)}\n`);
    for (const { row, shown } of outcomes) for (const one of shown) writeFound(row, one, command);
  }
  const lines = (of: 'wrong' | 'stopped'): string[] =>
    outcomes.flatMap(({ row, shown }) => shown.flatMap((one) => one[of].map((why) => `${row.id}: ${why}`)));
  const wrong = lines('wrong');
  for (const line of [...lines('stopped'), ...wrong]) process.stderr.write(`vmspace: ${line}\n`);
  return wrong.length > 0 ? EXIT_FAILED : 0;
}

/** What the first scenario showed; nothing unless all of the row's show it. */
function toJson({ row, shown }: Outcome): object {
  const all = shown.length === row.scenarios.length;
  const found = all && shown.every((one) => one.found !== null);
  const exhausted = all && shown.every((one) => one.exhausted !== null);
  return {
    id: row.id,
    title: row.title,
    found: (found ? shown[0]?.found : null) ?? null,
    exhausted: (exhausted ? shown[0]?.exhausted : null) ?? null,
  };
}

function writeFound(row: HazardRow, { scenario, found, text }: Shown, command: HazardsCommand): void {
  if (found === null) return;
  const { model } = scenario.found;
  if (command.schedule) process.stdout.write(`\n${row.id}: ${text}\n`);
  else
    process.stdout.write(
      `${row.id}: ${replayCommand({ module: undefined, transform: false }, model, found.schedule)}\n`,
    );
}

async function show(
  scenario: Scenario,
  command: HazardsCommand,
  processor: number,
  signal: AbortSignal,
): Promise<Shown> {
  const options = { jobs: 1, processor, seconds: command.seconds, signal };
  const wrong: string[] = [];
  const stopped: string[] = [];
  let found: Shown['found'] = null;
  let exhausted: Shown['exhausted'] = null;
  let text = '';
  {
    const { design, model } = scenario.found;
    const source = await sourceOf(model);
    const result = await check(source, options);
    if (result.failure === undefined && result.verdict === 'stopped')
      stopped.push(`${model}: stopped after ${result.executions} executions under ${design}, with nothing found yet`);
    else if (result.failure === undefined)
      wrong.push(
        `${model}: nothing was found under ${design} (${result.verdict} after ${result.executions} executions)`,
      );
    else {
      const schedule = formatSchedule(result.failure.script);
      if (await replaysElsewhere(model, schedule, result))
        found = { design, executions: result.foundAfter ?? 0, schedule };
      else wrong.push(`${model}: the schedule ${schedule} under ${design} does not replay in a fresh process`);
      if (command.schedule) {
        const again = replayCommand({ module: undefined, transform: false }, model, schedule);
        text = renderFailure(result, await replay(source, result.failure.script), { command: again });
      }
    }
  }
  const { design, model } = scenario.holds;
  const result = await check(await sourceOf(model), options);
  if (result.verdict === 'exhausted') exhausted = { design, executions: result.executions, bound: result.bound };
  else if (result.failure === undefined)
    stopped.push(
      `${model}: stopped after ${result.executions} executions under ${design}, before the bound was exhausted`,
    );
  else wrong.push(`${model}: ${design}: failed, ${formatSchedule(result.failure.script)}: ${result.failure.text}`);
  return { scenario, found, exhausted, wrong, stopped, text };
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
  for (const { row, shown } of outcomes) {
    if (row.scenarios.length === 0) {
      table.push([row.id, row.title, { content: `open: ${row.open}`, colSpan: 4 }]);
      continue;
    }
    table.push([row.id, row.title, { content: row.open === undefined ? '' : `open: ${row.open}`, colSpan: 4 }]);
    for (const { scenario, found, exhausted, stopped } of shown) {
      const none = stopped.length > 0 ? 'stopped' : 'no';
      table.push([
        '',
        `- ${scenario.what}`,
        found === null ? none : found.design,
        found === null ? '' : found.executions,
        exhausted === null ? none : `${exhausted.design}, <= ${exhausted.bound} preemptions`,
        exhausted === null ? '' : exhausted.executions.toLocaleString('en-US'),
      ]);
    }
  }
  return table.toString();
}
