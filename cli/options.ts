/** The options of `run`: their description for citty, and the checks that turn what was typed into numbers. */
import type { ArgsDef } from 'citty';
import { DESIGN_NAMES, type DesignName, GiB } from '../src/index.ts';
import { UsageError } from './errors.ts';
import { formatSize, parseSize } from './sizes.ts';

export const MAX_MEMORY: number = 4 * GiB;
export const MAX_THREADS = 32;
/** One read in so many of a thread is slow. */
export const DELAY_EVERY = 200;
const MAX_DELAY_MS = 60_000;
const MAX_SECONDS = 86_400;

export const RUN_ARGUMENTS = {
  file: {
    type: 'positional',
    required: false,
    description: "The file to map. Default: Node's own executable, or a generated file where that is small",
  },
  threads: { type: 'string', default: '2', valueHint: 'N', description: `Reading threads, 1 to ${MAX_THREADS}` },
  memory: {
    type: 'string',
    valueHint: 'SIZE',
    description: "The machine's memory: bytes, 64M, 64MiB, 1G. Default: a quarter of the file, 16 MiB to 4 GiB",
  },
  'io-delay': {
    type: 'string',
    default: '20',
    valueHint: 'MS',
    description: `Milliseconds that one read in ${DELAY_EVERY} sleeps; 0 for none`,
  },
  design: {
    type: 'string',
    default: 'all',
    valueHint: 'NAME',
    description: `The design of the page fault: ${DESIGN_NAMES.join(', ')}, or all in turn`,
  },
  seconds: { type: 'string', default: '15', valueHint: 'S', description: 'Seconds for all designs together' },
  json: { type: 'boolean', default: false, description: 'Print one JSON document on standard output, nothing else' },
} as const satisfies ArgsDef;

export interface RunOptions {
  /** Undefined: the default file. */
  readonly file: string | undefined;
  readonly threads: number;
  /** Bytes; undefined: by the size of the file. */
  readonly memory: number | undefined;
  readonly ioDelay: number;
  readonly designs: readonly DesignName[];
  readonly seconds: number;
  readonly json: boolean;
}

/** Checks what citty has parsed. Throws UsageError. */
export function checkOptions(args: Readonly<Record<string, unknown>>): RunOptions {
  refuseUnknown(args);
  const [file, ...more] = args._ as string[];
  if (more.length > 0) throw new UsageError(`one file at most, got ${more.length + 1}: ${[file, ...more].join(' ')}`);
  if (file === '') throw new UsageError('the name of the file is empty');
  return {
    file,
    threads: threadCount(textOf(args, 'threads')),
    memory: args.memory === undefined ? undefined : memorySize(textOf(args, 'memory')),
    ioDelay: milliseconds(textOf(args, 'io-delay')),
    designs: designNames(textOf(args, 'design')),
    seconds: duration(textOf(args, 'seconds')),
    json: args.json === true,
  };
}

/** citty takes every option; these are the ones that there are. (`ioDelay` is its other spelling of `io-delay`.) */
function refuseUnknown(args: Readonly<Record<string, unknown>>): void {
  const known = new Set(['_', 'ioDelay', ...Object.keys(RUN_ARGUMENTS)]);
  const unknown = Object.keys(args).filter((name) => !known.has(name));
  if (unknown.length === 0) return;
  const shown = unknown.map((name) => (name.length === 1 ? `-${name}` : `--${name}`));
  throw new UsageError(`unknown option ${shown.join(' ')}`);
}

/** The value as typed; '' where the option stands without one. */
function textOf(args: Readonly<Record<string, unknown>>, name: string): string {
  const value = args[name];
  if (typeof value !== 'string') throw new UsageError(`--${name} cannot be negated`);
  if (value.trim() === '') throw new UsageError(`--${name} needs a value`);
  return value.trim();
}

function threadCount(text: string): number {
  const count = wholeNumber(text);
  if (count !== undefined && count >= 1 && count <= MAX_THREADS) return count;
  throw new UsageError(`--threads must be a whole number from 1 to ${MAX_THREADS}, got '${text}'`);
}

function memorySize(text: string): number {
  const bytes = parseSize(text);
  if (bytes === undefined) {
    throw new UsageError(`--memory must be a size like 67108864, 64M, 64MiB or 1G, got '${text}'`);
  }
  if (bytes > MAX_MEMORY) {
    throw new UsageError(`--memory is ${formatSize(bytes)}; a machine has ${formatSize(MAX_MEMORY)} at most`);
  }
  return bytes;
}

function milliseconds(text: string): number {
  const value = decimal(text);
  if (value !== undefined && value <= MAX_DELAY_MS) return value;
  throw new UsageError(`--io-delay must be a number of milliseconds from 0 to ${MAX_DELAY_MS}, got '${text}'`);
}

function duration(text: string): number {
  const value = decimal(text);
  if (value !== undefined && value > 0 && value <= MAX_SECONDS) return value;
  throw new UsageError(`--seconds must be a number above 0, ${MAX_SECONDS} at most, got '${text}'`);
}

function designNames(text: string): readonly DesignName[] {
  if (text === 'all') return DESIGN_NAMES;
  const name = DESIGN_NAMES.find((known) => known === text);
  if (name !== undefined) return [name];
  throw new UsageError(`--design must be ${DESIGN_NAMES.join(', ')} or all, got '${text}'`);
}

function wholeNumber(text: string): number | undefined {
  return /^\d+$/.test(text) ? Number(text) : undefined;
}

function decimal(text: string): number | undefined {
  return /^(\d+\.?\d*|\.\d+)$/.test(text) ? Number(text) : undefined;
}
