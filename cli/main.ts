/** The command line `vmspace`. */
import { readFileSync } from 'node:fs';
import { stripVTControlCharacters } from 'node:util';
import { defineCommand, parseArgs, renderUsage } from 'citty';
import { VmError } from '../src/index.ts';
import { runCheck } from './check.ts';
import { CHECK_ARGUMENTS, checkCommand, HAZARDS_ARGUMENTS, hazardsCommand } from './check-options.ts';
import { EXIT_FAILED, EXIT_SIGNALS, messageOf, RunError, UsageError } from './errors.ts';
import { runHazards } from './hazards.ts';
import { checkOptions, RUN_ARGUMENTS } from './options.ts';
import { run } from './run.ts';

const runCommand = defineCommand({
  meta: {
    name: 'vmspace run',
    description: 'Maps a real file larger than memory into worker threads and measures every design of the page fault',
  },
  args: RUN_ARGUMENTS,
});

const checkArguments = defineCommand({
  meta: {
    name: 'vmspace check',
    description:
      'Explores the interleavings of the models on the real code, and shows the shortest schedule that breaks one',
  },
  args: CHECK_ARGUMENTS,
});

const hazardsArguments = defineCommand({
  meta: {
    name: 'vmspace hazards',
    description: 'Shows each known hazard: found under the design that has it, exhausted under the default one',
  },
  args: HAZARDS_ARGUMENTS,
});

const mainCommand = defineCommand({
  meta: { name: 'vmspace', version: version(), description: 'Virtual memory for JavaScript threads' },
  subCommands: { run: runCommand, check: checkArguments, hazards: hazardsArguments },
});

process.exitCode = await main(process.argv.slice(2));
// Not at once: what was printed may still be on its way into a pipe.
process.stdout.write('', () => process.exit());

async function main(args: readonly string[]): Promise<number> {
  const interruption = new AbortController();
  let signalCode: number | undefined;
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    // On, not once: npm passes on the signal that the terminal has already sent to everybody.
    process.on(name, () => {
      signalCode ??= EXIT_SIGNALS[name];
      interruption.abort();
    });
  }
  process.stdout.on('error', () => process.exit(EXIT_FAILED)); // whoever read it has gone
  try {
    const code = await dispatch(args, interruption.signal);
    return signalCode ?? code;
  } catch (error) {
    return signalCode ?? report(error);
  }
}

async function dispatch([command, ...rest]: readonly string[], signal: AbortSignal): Promise<number> {
  const all = [command ?? '', ...rest];
  const options = all.slice(0, all.indexOf('--') === -1 ? all.length : all.indexOf('--'));
  if (options.some((option) => option === '--help' || option === '-h')) {
    showUsage(await usageOf(command));
    return 0;
  }
  if (options.includes('--version')) {
    process.stdout.write(`${version()}\n`);
    return 0;
  }
  if (command === 'run') return run(checkOptions(parseArgs([...rest], RUN_ARGUMENTS)), signal);
  if (command === 'check') return runCheck(checkCommand(parseArgs([...rest], CHECK_ARGUMENTS)), signal);
  if (command === 'hazards') return runHazards(hazardsCommand(parseArgs([...rest], HAZARDS_ARGUMENTS)), signal);
  if (command === undefined) throw new UsageError('no command given');
  throw new UsageError(`unknown ${command.startsWith('-') ? 'option' : 'command'} '${command}'`);
}

function usageOf(command: string | undefined): Promise<string> {
  if (command === 'run') return renderUsage(runCommand);
  if (command === 'check') return several(renderUsage(checkArguments));
  if (command === 'hazards') return several(renderUsage(hazardsArguments));
  return renderUsage(mainCommand);
}

/** citty knows of one positional argument only. */
async function several(usage: Promise<string>): Promise<string> {
  return (await usage).replace(/\[(MODEL|HAZARD)\]/, '[$1...]');
}

function showUsage(text: string): void {
  process.stdout.write(`${process.stdout.isTTY ? text : stripVTControlCharacters(text)}\n`);
}

function report(error: unknown): number {
  if (error instanceof UsageError || error instanceof RunError) {
    const hint = error instanceof UsageError ? "\nTry 'vmspace --help'." : '';
    process.stderr.write(`vmspace: ${error.message}${hint}\n`);
    return error.exitCode;
  }
  if (error instanceof VmError) {
    process.stderr.write(`vmspace: ${error.message}\n`);
    return EXIT_FAILED;
  }
  // Not foreseen: a bug, here or in the library.
  process.stderr.write(`vmspace: ${error instanceof Error ? error.stack : messageOf(error)}\n`);
  return EXIT_FAILED;
}

function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
