/** The options of `check` and `hazards`: their description for citty, and the checks of what was typed. */
import type { ArgsDef } from 'citty';
import type { Strategy } from '../check/index.ts';
import { parseSchedule } from '../check/schedule.ts';
import { UsageError } from './errors.ts';

const STRATEGIES: readonly Strategy[] = ['exhaustive', 'random', 'pct'];
const MAX_PREEMPTIONS = 1000;
const MAX_SECONDS = 86_400;
const MAX_JOBS = 256;

/** Without these, the option says nothing. */
const ONLY_WITH: readonly (readonly [option: string, what: string, strategies: readonly Strategy[]])[] = [
  ['preemptions', '--preemptions is a bound of the exhaustive strategy', ['exhaustive']],
  ['long', '--long is about bounds of the exhaustive strategy', ['exhaustive']],
  ['seed', '--seed is for the strategies random and pct', ['random', 'pct']],
  ['depth', '--depth is for the strategy pct', ['pct']],
];
/** With one schedule or a list there is nothing to search. */
const OF_A_SEARCH = ['strategy', 'preemptions', 'executions', 'seconds', 'jobs', 'seed', 'depth', 'long', 'checkpoint'];

const LIMITS = {
  seconds: { type: 'string', valueHint: 'S', description: 'Stop each model after so many seconds' },
  jobs: {
    type: 'string',
    valueHint: 'N',
    description: 'Crews that run at the same time. Default: the number of cores',
  },
  json: { type: 'boolean', default: false, description: 'Print one JSON array on standard output, nothing else' },
} as const satisfies ArgsDef;

export const CHECK_ARGUMENTS = {
  model: {
    type: 'positional',
    required: false,
    description: 'Names of models; default: all of the set. --list shows them',
  },
  strategy: { type: 'string', valueHint: 'NAME', description: `${STRATEGIES.join(', ')} (Default: exhaustive)` },
  preemptions: {
    type: 'string',
    valueHint: 'N',
    description: 'Bound of the exhaustive search. Default: each model has its own',
  },
  executions: { type: 'string', valueHint: 'N', description: 'Stop each model after so many executions' },
  ...LIMITS,
  seed: { type: 'string', valueHint: 'N', description: 'Random and pct: first seed (Default: 1)' },
  depth: { type: 'string', valueHint: 'N', description: 'pct: ordered events that a bug may need (Default: 3)' },
  long: { type: 'boolean', default: false, description: 'The larger bounds' },
  replay: {
    type: 'string',
    valueHint: 'SCHEDULE',
    description: 'Run one schedule of one model and print its interleaving',
  },
  full: {
    type: 'boolean',
    default: false,
    description: 'Print every access of an interleaving, not only those around its changes of thread',
  },
  checkpoint: {
    type: 'string',
    valueHint: 'FILE',
    description: 'One model: go on from this file if it exists; written when a limit or Ctrl-C comes first',
  },
  module: { type: 'string', valueHint: 'FILE', description: 'Check the models that this module exports as `models`' },
  transform: {
    type: 'boolean',
    default: false,
    description: 'Rewrite that module and what it imports while loading, so that its shared accesses are seen',
  },
  list: { type: 'boolean', default: false, description: 'Print the models' },
} as const satisfies ArgsDef;

export const HAZARDS_ARGUMENTS = {
  hazard: { type: 'positional', required: false, description: 'H1 to H15; default: all' },
  ...LIMITS,
  schedule: { type: 'boolean', default: false, description: 'Print the interleavings that were found' },
} as const satisfies ArgsDef;

export interface CheckCommand {
  readonly models: readonly string[];
  readonly strategy: Strategy;
  readonly preemptions: number | undefined;
  readonly executions: number | undefined;
  readonly seconds: number | undefined;
  readonly jobs: number | undefined;
  readonly seed: number;
  readonly depth: number;
  readonly long: boolean;
  /** As typed, and parsed. */
  readonly replay: { readonly text: string; readonly script: readonly number[] } | undefined;
  readonly full: boolean;
  readonly checkpoint: string | undefined;
  readonly module: string | undefined;
  readonly transform: boolean;
  readonly json: boolean;
  readonly list: boolean;
}

export interface HazardsCommand {
  readonly hazards: readonly string[];
  readonly seconds: number | undefined;
  readonly jobs: number | undefined;
  readonly json: boolean;
  readonly schedule: boolean;
}

type Arguments = Readonly<Record<string, unknown>>;

/** Throws UsageError. */
export function checkCommand(args: Arguments): CheckCommand {
  refuseUnknown(args, CHECK_ARGUMENTS);
  const models = args._ as string[];
  const strategy = optional(args, 'strategy', strategyOf) ?? 'exhaustive';
  const replay = optional(args, 'replay', (text) => ({ text, script: schedule(text) }));
  const checkpoint = optional(args, 'checkpoint', (text) => text);
  const module = optional(args, 'module', (text) => text);
  if (replay !== undefined && models.length !== 1) throw new UsageError('--replay needs the name of one model');
  if (checkpoint !== undefined && (models.length !== 1 || strategy !== 'exhaustive')) {
    throw new UsageError('--checkpoint needs the name of one model and the exhaustive strategy');
  }
  if (args.transform === true && module === undefined) throw new UsageError('--transform is for a --module');
  const given = (option: string): boolean => args[option] !== undefined && args[option] !== false;
  const lone = replay !== undefined ? '--replay' : args.list === true ? '--list' : undefined;
  const idle = lone === undefined ? undefined : OF_A_SEARCH.find(given);
  if (idle !== undefined) throw new UsageError(`--${idle} means nothing beside ${lone}`);
  if (replay !== undefined && args.list === true) throw new UsageError('--list means nothing beside --replay');
  for (const [option, what, strategies] of ONLY_WITH)
    if (given(option) && !strategies.includes(strategy)) throw new UsageError(`${what}, and this is ${strategy}`);
  if (given('long') && given('preemptions')) throw new UsageError('--long and --preemptions are both bounds');
  if (args.list === true && models.length > 0) throw new UsageError('--list takes no names');
  return {
    models,
    strategy,
    replay,
    checkpoint,
    module,
    preemptions: optional(args, 'preemptions', (text) => whole('preemptions', text, 0, MAX_PREEMPTIONS)),
    executions: optional(args, 'executions', (text) => whole('executions', text, 1, Number.MAX_SAFE_INTEGER)),
    seconds: optional(args, 'seconds', seconds),
    jobs: optional(args, 'jobs', (text) => whole('jobs', text, 1, MAX_JOBS)),
    seed: optional(args, 'seed', (text) => whole('seed', text, 0, 0x7fffffff)) ?? 1,
    depth: optional(args, 'depth', (text) => whole('depth', text, 1, 9)) ?? 3,
    long: args.long === true,
    full: args.full === true,
    transform: args.transform === true,
    json: args.json === true,
    list: args.list === true,
  };
}

/** Throws UsageError. */
export function hazardsCommand(args: Arguments): HazardsCommand {
  refuseUnknown(args, HAZARDS_ARGUMENTS);
  return {
    hazards: (args._ as string[]).map((name) => name.toUpperCase()),
    seconds: optional(args, 'seconds', seconds),
    jobs: optional(args, 'jobs', (text) => whole('jobs', text, 1, MAX_JOBS)),
    json: args.json === true,
    schedule: args.schedule === true,
  };
}

function strategyOf(text: string): Strategy {
  const strategy = STRATEGIES.find((known) => known === text);
  if (strategy === undefined) throw new UsageError(`--strategy must be ${STRATEGIES.join(', ')}, got '${text}'`);
  return strategy;
}

function schedule(text: string): readonly number[] {
  try {
    return parseSchedule(text);
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(`--replay: ${error.message}`);
    throw error;
  }
}

function seconds(text: string): number {
  const value = /^(\d+\.?\d*|\.\d+)$/.test(text) ? Number(text) : Number.NaN;
  if (value > 0 && value <= MAX_SECONDS) return value;
  throw new UsageError(`--seconds must be a number above 0, ${MAX_SECONDS} at most, got '${text}'`);
}

function whole(name: string, text: string, least: number, most: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (value >= least && value <= most) return value;
  throw new UsageError(`--${name} must be a whole number from ${least} to ${most}, got '${text}'`);
}

function optional<T>(args: Arguments, name: string, parse: (text: string) => T): T | undefined {
  return args[name] === undefined ? undefined : parse(textOf(args, name));
}

function textOf(args: Arguments, name: string): string {
  const value = args[name];
  if (typeof value !== 'string') throw new UsageError(`--${name} cannot be negated`);
  if (value.trim() === '') throw new UsageError(`--${name} needs a value`);
  return value.trim();
}

/** citty takes every option; these are the ones that there are. */
function refuseUnknown(args: Arguments, known: ArgsDef): void {
  const names = new Set(['_', ...Object.keys(known)]);
  const unknown = Object.keys(args).filter((name) => !names.has(name));
  if (unknown.length === 0) return;
  throw new UsageError(
    `unknown option ${unknown.map((name) => (name.length === 1 ? `-${name}` : `--${name}`)).join(' ')}`,
  );
}
