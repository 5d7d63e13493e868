/** A failing execution as text: one column for each thread, one line for each access. */
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Recorded } from './engine/recorder.ts';
import type { CheckResult, Replayed } from './explore.ts';
import { formatSchedule, letterOf } from './schedule.ts';

export const FAILURE_NAMES: readonly string[] = [
  'none',
  'a thread threw an error',
  'deadlock',
  'livelock',
  'data race',
  'lost wake-up',
  'the check at the end failed',
  'a result that may not come up, or one that never did',
  'the schedule does not fit the program',
  'the model cannot be checked as it is',
];

export interface RenderOptions {
  /** Accesses around the changes of thread that are shown; the others are counted. Default: 6. All: Infinity. */
  readonly context?: number;
  /** Characters of a column. Default 56. */
  readonly width?: number;
  /** What to type to see it again. */
  readonly command?: string;
}

/* Kinds of access, for races. */
const READS: ReadonlySet<string> = new Set(['peek', 'load', 'racyPeek', 'oldPeek', 'data', 'bulk', 'wait']);
const PLAIN: ReadonlySet<string> = new Set(['peek', 'poke', 'data', 'setData', 'bulk', 'setBulk']);

interface Frame {
  readonly name: string;
  readonly place: string;
}

const INTERNAL = /\/check\/engine\/|thread\.worker|\/sync\/atomics\.|node:|\/check\/transform\//;

/** The frames of the program in a stack, innermost first. */
export function framesOf(stack: string): Frame[] {
  const frames: Frame[] = [];
  for (const line of stack.split('\n').slice(1)) {
    const match = /^\s+at (?:(.*?) \()?(.*?:\d+)(?::\d+)?\)?$/.exec(line);
    if (match === null || INTERNAL.test(match[2] as string)) continue;
    frames.push({ name: (match[1] ?? '').replace(/^(Object|async)\.?\s*/, ''), place: shortPath(match[2] as string) });
  }
  return frames;
}

function shortPath(place: string): string {
  const plain = place.startsWith('file://')
    ? fileURLToPath(place.replace(/:\d+$/, '')) + (/:\d+$/.exec(place)?.[0] ?? '')
    : place;
  const foreign = /node_modules\/((?:@[^/]+\/)?[^/]+)\/(?:.*\/)?([^/]+)$/.exec(plain);
  if (foreign !== null) return `${foreign[1]}: ${foreign[2]}`;
  const near = relative(process.cwd(), plain);
  return near.startsWith('..') ? plain.replace(/^.*\/(?=[^/]+\/[^/]+$)/, '') : near;
}

const OPERATORS: Readonly<Record<string, string>> = { add: '+', sub: '-', and: '&', or: '|', xor: '^' };

function valueText(value: number): string {
  if (Number.isNaN(value)) return '?';
  if (Math.abs(value) <= 65535 || !Number.isInteger(value)) return String(value);
  const bits = value >= -(2 ** 31) && value < 2 ** 32 ? BigInt(value >>> 0) : BigInt.asUintN(64, BigInt(value));
  return `0x${bits.toString(16)}`;
}

function accessText(access: Recorded, name: string): string {
  const { kind, texts } = access;
  const before = texts?.before ?? valueText(access.before);
  const value = texts?.value ?? valueText(access.value);
  const expected = texts?.expected ?? valueText(access.expected);
  switch (kind) {
    case 'peek':
    case 'load':
    case 'racyPeek':
    case 'data':
      return `${kind} ${name} = ${before}`;
    case 'oldPeek':
      return `racyPeek ${name} = ${before}, an old value: it is ${expected}`;
    case 'cas':
      return access.before === access.expected
        ? `cas ${name}: ${expected} -> ${value}`
        : `cas ${name}: ${before}, not ${expected}`;
    case 'add':
    case 'sub':
    case 'and':
    case 'or':
    case 'xor':
      return `${kind} ${name}: ${valueText(access.before)} ${OPERATORS[kind]} ${valueText(access.value)}`;
    case 'wait':
      return access.before === access.expected ? `wait ${name} while ${expected}` : `wait ${name}: is ${before}`;
    case 'notify':
      return `notify ${name}`;
    case 'bulk':
      return `read bytes of ${name}`;
    case 'setBulk':
      return `write bytes of ${name}`;
    case 'woken':
      return `woken from ${name}`;
    case 'timed-out':
      return `timed out on ${name}`;
    case 'pause':
      return 'spins';
    default:
      return `${kind} ${name}: ${before} -> ${value}`;
  }
}

/** The interleaving as one column per thread, with the place in the source of each access. */
export function renderReplay(replayed: Replayed, options: RenderOptions = {}): string {
  const { facts, ended, recorded, names } = replayed;
  const context = options.context ?? 6;
  const width = options.width ?? 56;
  const shown = new Set<number>();
  recorded.forEach((access, i) => {
    const changes = i > 0 && recorded[i - 1]?.thread !== access.thread;
    if (!changes && i !== 0 && i !== recorded.length - 1) return;
    const end = Math.min(recorded.length, i + context);
    for (let near = Math.max(0, i - context); near < end; near++) shown.add(near);
  });
  const lines: string[] = [];
  const cell = (text: string): string => (text.length > width ? `${text.slice(0, width - 1)}…` : text.padEnd(width));
  const row = (thread: number, text: string): string =>
    facts.threads
      .map((_, t) => (t === thread ? cell(text) : ' '.repeat(width)))
      .join(' | ')
      .trimEnd();
  const titles = facts.threads.map((name, i) => `${letterOf(i)}: ${name}`);
  lines.push(`  step  ${titles.map(cell).join(' | ')}`.trimEnd());
  lines.push(`------  ${titles.map(() => '-'.repeat(width)).join('-+-')}`);
  /** The decision before an access; in parentheses if it was made earlier, and the access put off. */
  const step = ({ position }: Recorded): string => {
    const text = position < furthest ? `(${position})` : `${position} `;
    furthest = Math.max(furthest, position);
    return `${text.padStart(7)} `;
  };
  let skipped = 0;
  let last: Recorded | undefined;
  let lastPlace = '';
  let furthest = -1;
  recorded.forEach((access, i) => {
    if (!shown.has(i)) {
      skipped++;
      return;
    }
    if (skipped > 0) {
      lines.push(`        ${row(access.thread, `... ${skipped} more`)}`);
      skipped = 0;
    }
    const chosen = /^chosen:(\d+)$/.exec(access.kind)?.[1];
    if (chosen !== undefined) {
      lines.push(`${step(access)}${row(access.thread, `  -> ${titles[Number(chosen)]} goes on`)}`);
      return;
    }
    const frames = framesOf(access.stack);
    const place = frames[0] === undefined ? '' : `${frames[0].name} ${frames[0].place}`.trim();
    if (place !== lastPlace || last?.thread !== access.thread) {
      const caller = last?.thread !== access.thread && frames[1] !== undefined ? `  < ${frames[1].name}` : '';
      lines.push(`        ${row(access.thread, `${place}${caller}`)}`);
    }
    lastPlace = place;
    last = access;
    const name = names.get(access.address) ?? `@${access.address}`;
    lines.push(`${step(access)}${row(access.thread, `  ${accessText(access, name)}`)}`);
  });
  const { failure } = ended;
  if (failure !== undefined) {
    lines.push('');
    const name = FAILURE_NAMES[failure.kind] as string;
    lines.push(`${failure.text.startsWith(name) ? '' : `${name}: `}${withoutChecker(failure.text)}`);
    if (failure.kind === 4) lines.push(...raceStacks(replayed));
  } else lines.push('', `no failure; results ${ended.outcome}`);
  return lines.join('\n');
}

/** A failure's text without the checker's own frames. */
function withoutChecker(text: string): string {
  return text
    .split('\n')
    .filter((line) => !/^\s+at .*(thread\.worker|node:|\/check\/engine\/)/.test(line))
    .join('\n');
}

/** Both sides of a race: the last access of the thread that failed, and the last one of another thread to the same word. */
function raceStacks(replayed: Replayed): string[] {
  const { recorded, ended, facts, names } = replayed;
  const failure = ended.failure;
  if (failure === undefined) return [];
  const name = /^data race on (.*?): /.exec(failure.text)?.[1];
  const rival = /\) and (.*), not ordered/.exec(failure.text)?.[1];
  const second = recorded.filter(({ thread, stack }) => thread === failure.thread && stack !== '').at(-1);
  if (second === undefined) return [];
  const races = ({ kind }: Recorded): boolean =>
    (!READS.has(kind) || !READS.has(second.kind)) && (PLAIN.has(kind) || PLAIN.has(second.kind));
  const touches = recorded.filter((access) => names.get(access.address) === name && races(access));
  const first = touches.filter(({ thread }) => facts.threads[thread] === rival).at(-1);
  const lines: string[] = [];
  for (const [which, access] of [
    ['first', first],
    ['second', second],
  ] as const) {
    if (access === undefined) continue;
    lines.push(`  ${which}: ${facts.threads[access.thread]}, ${access.kind} at step ${access.position}`);
    for (const frame of framesOf(access.stack).slice(0, 12)) lines.push(`    at ${frame.name} ${frame.place}`);
  }
  return lines;
}

/** What is printed for a model that failed. */
export function renderFailure(result: CheckResult, replayed: Replayed, options: RenderOptions = {}): string {
  const { failure, facts } = result;
  if (failure === undefined) return '';
  const lines = [
    `${result.model}: ${FAILURE_NAMES[failure.kind]}, after ${result.foundAfter} execution${result.foundAfter === 1 ? '' : 's'}`,
    `must hold: ${facts.invariant}`,
    `schedule:  ${formatSchedule(failure.script)}`,
    '',
    renderReplay(replayed, options),
  ];
  if (options.command !== undefined) lines.push('', `replay: ${options.command}`);
  return lines.join('\n');
}
