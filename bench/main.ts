/** `npm run bench -- [--json FILE] [--only NAME...] [--quick]`: all benchmarks, or those whose names begin with NAME. */
import { writeFileSync } from 'node:fs';
import { defineCommand, renderUsage, runCommand } from 'citty';
import { besideIo, besideMapper } from './beside.bench.ts';
import { contendedRmw } from './contended.bench.ts';
import type { Benchmark, Entry, Plan } from './entry.ts';
import { fileReads } from './file.bench.ts';
import { anonymousFaults, mapPairs } from './host.bench.ts';
import { mapLatency } from './latency.bench.ts';
import { machineLine, renderTable } from './table.ts';
import { tlbHits } from './tlb.bench.ts';

/** The names that each benchmark reports begin with one of these. */
const BENCHMARKS: readonly (readonly [prefixes: readonly string[], run: Benchmark])[] = [
  [['fault.anon'], anonymousFaults],
  [['map.pair'], mapPairs],
  [['tlb'], tlbHits],
  [['fault.beside.mapper'], besideMapper],
  [['fault.beside.io'], besideIo],
  [['map.p99'], mapLatency],
  [['scan', 'file'], fileReads],
  [['fault.contended'], contendedRmw],
];
const FULL: Plan = { rounds: 7, slice: 600, quick: false };
const QUICK: Plan = { rounds: 2, slice: 200, quick: true };
const USAGE_ERROR = 2;

class UsageError extends Error {}

interface Options {
  readonly json: string | undefined;
  readonly only: readonly string[];
  readonly quick: boolean;
}

const command = defineCommand({
  meta: {
    name: 'npm run bench --',
    description: 'Measures vmspace beside the host kernel, typed arrays and fs.readSync.',
  },
  args: {
    json: { type: 'string', description: 'Write the entries to this file', valueHint: 'FILE' },
    only: { type: 'string', description: 'Only entries whose names begin with one of these', valueHint: 'NAME...' },
    quick: { type: 'boolean', description: 'Fewer and shorter rounds: to see that it works, not to quote' },
    help: { type: 'boolean', alias: 'h', description: 'Show this text' },
  },
  run: ({ args, rawArgs }) => runAll(optionsOf(args, rawArgs)),
});

function optionsOf(args: Record<string, unknown> & { _: string[] }, rawArgs: readonly string[]): Options {
  const unknown = Object.keys(args).filter((name) => !['_', 'json', 'only', 'quick', 'help', 'h'].includes(name));
  if (unknown.length > 0) throw new UsageError(`unknown option --${unknown.join(' --')}`);
  const { json, only, quick, _: more } = args;
  if (more.length > 0 && only === undefined) throw new UsageError(`unexpected argument '${more.join(' ')}'`);
  if (json === '' || only === '') throw new UsageError(`${json === '' ? '--json' : '--only'} needs a value`);
  for (const flag of ['--json', '--quick']) {
    if (rawArgs.filter((arg) => arg === flag).length > 1) throw new UsageError(`${flag} is given twice`);
  }
  const names = [...String(only ?? '').split(','), ...more].filter((name) => name !== '');
  for (const name of names) {
    if (!BENCHMARKS.some((benchmark) => matches(benchmark[0], [name]))) throw new UsageError(`no benchmark '${name}'`);
  }
  return { json: json as string | undefined, only: names, quick: quick === true };
}

function matches(prefixes: readonly string[], only: readonly string[]): boolean {
  const related = (name: string): boolean =>
    prefixes.some((prefix) => name.startsWith(prefix) || prefix.startsWith(name));
  return only.length === 0 || only.some(related);
}

async function runAll({ json, only, quick }: Options): Promise<void> {
  const plan = quick ? QUICK : FULL;
  const entries: Entry[] = [];
  const notes: string[] = [];
  console.log(machineLine());
  for (const [prefixes, run] of BENCHMARKS) {
    if (!matches(prefixes, only)) continue;
    process.stderr.write(`${prefixes.join(', ')} ...\n`);
    try {
      entries.push(...(await run(plan, (line) => notes.push(line))));
    } catch (error) {
      console.error(error);
      notes.push(`${prefixes.join(', ')}: failed: ${(error as Error).message}`);
      process.exitCode = 1;
    }
  }
  const wanted = entries.filter(({ name }) => only.length === 0 || only.some((prefix) => name.startsWith(prefix)));
  console.log(renderTable(wanted));
  for (const note of new Set(notes)) console.log(note);
  if (json !== undefined) writeFileSync(json, `${JSON.stringify(wanted, undefined, 2)}\n`);
}

async function main(rawArgs: readonly string[]): Promise<number> {
  if (rawArgs.includes('--help') || rawArgs.includes('-h')) {
    console.log(await renderUsage(command));
    return 0;
  }
  try {
    await runCommand(command, { rawArgs: [...rawArgs] });
    return 0;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`${error.message}\n\n${await renderUsage(command)}`);
    return USAGE_ERROR;
  }
}

process.exitCode = (await main(process.argv.slice(2))) || process.exitCode;
