/** Steps of hostile programs, and what is seen after each. */
import { expect } from 'vitest';
import { seeded } from '../support.ts';
import { CALLS, type Call, goodArgs, invoke, isWrongType, nameOfCall } from './calls.ts';
import { judge, type Outcome, outcomeOf, settled } from './outcome.ts';
import { type Hostile, READ_NAMES } from './values.ts';
import type { Reentry, World } from './world.ts';

export const REENTRIES: Record<string, Reentry> = {
  nothing: () => undefined,
  'changes the layout': (w) => {
    tried(w, 'space.munmap', () => w.space.munmap(w.at, 2 * 4096));
    tried(w, 'space.mmap', () => w.guest.mmap({ length: 4 * 4096, prot: 3, flags: 0x22 }));
    tried(w, 'space.fill', () => w.guest.fill(w.guestAt, 8192, 3));
  },
  'closes the space': (w) => tried(w, 'space.close', () => w.space.close()),
  'closes the file': (w) => tried(w, 'file.close', () => w.file.close()),
  'closes the machine': (w) => tried(w, 'machine.close', () => w.machine.close()),
  'calls everything': (w) => {
    for (const call of CALLS) if (call.ends !== true) reenter(w, call);
  },
};

/** A call from within: it may fail, but as a call does. */
function reenter(w: World, call: Call): void {
  tried(w, nameOfCall(call), () => {
    const result = invoke(w, call, goodArgs(w, call));
    if (call.async === true) w.pending.push(kept(w, result as Promise<unknown>));
    else w.keep(result);
  });
}

async function kept(w: World, promise: Promise<unknown>): Promise<void> {
  const outcome = await settled(promise);
  if (outcome.how === 'returned') w.keep(outcome.value);
}

function tried(w: World, name: string, call: () => unknown): void {
  try {
    call();
  } catch (error) {
    const wrong = judge({ how: 'threw', value: error }, syscallsOf(name), w.tossed, w.inBacking);
    if (wrong !== undefined) w.complaints.push(`${name} from within ${wrong}`);
  }
}

/** What an error may call itself that comes out of this call. The accessor is reached through `run`. */
function syscallsOf(name: string): string[] {
  const method = name.slice(name.lastIndexOf('.') + 1);
  if (name === 'openFileSync') return ['openFile'];
  return name.startsWith('accessor.') ? [method, 'run'] : [method];
}

/** One call with hostile arguments; `hostile` has one or none for each. */
export interface Step {
  readonly call: Call;
  readonly hostile: readonly (Hostile | undefined)[];
  readonly reentry: string;
}

export function textOf({ call, hostile, reentry }: Step): string {
  const args = call.params.map(({ name }, i) => `${name} = ${hostile[i]?.name ?? 'good'}`);
  const what = reentry === 'nothing' ? '' : `, whose code ${reentry}`;
  return `${nameOfCall(call)}(${args.join(', ')})${what}`;
}

export interface Taken {
  readonly complaints: readonly string[];
  /** Whether the caller's code got to run. */
  readonly ran: boolean;
  /** Whether the world is as new again. */
  readonly sound: boolean;
}

/** Does the step, and looks. */
export async function take(w: World, step: Step): Promise<Taken> {
  const { call, hostile } = step;
  const before = w.snapshot();
  w.reentry = REENTRIES.nothing as Reentry; // making the values may run their code
  const args = call.params.map((param, i) => (hostile[i] === undefined ? param.good(w) : hostile[i]?.make(w)));
  if (call.method === 'wait') args[2] = shortWait(args[2]);
  w.reentered = 0;
  w.reentry = REENTRIES[step.reentry] as Reentry;
  const outcome = await outcomeIn(w, call, args);
  await Promise.all(w.pending.splice(0));
  w.reentry = REENTRIES.nothing as Reentry; // looking at what came of it may run code too
  const ran = w.reentered > 0;
  if (outcome.how === 'hung') return { complaints: ['did not end'], ran, sound: false };
  const complaints = [...complaintsOf(w, step, args, outcome), ...w.inspect()];
  if (outcome.how === 'threw' && !ran && !w.machine.closed) {
    if (w.snapshot() === before) return { complaints, ran, sound: true };
    complaints.push('failed, and changed something');
  }
  const after = w.reset();
  return { complaints: [...complaints, ...after], ran, sound: after.length === 0 };
}

async function outcomeIn(w: World, call: Call, args: readonly unknown[]): Promise<Outcome> {
  const outcome = outcomeOf(() => invoke(w, call, args));
  if (call.async !== true || outcome.how !== 'returned') return outcome;
  return await settled(outcome.value as Promise<unknown>);
}

function complaintsOf(w: World, { call, hostile }: Step, args: readonly unknown[], outcome: Outcome): string[] {
  const wrong = judge(outcome, syscallsOf(nameOfCall(call)), w.tossed);
  if (wrong !== undefined && !isTheirs(outcome, call, args)) return [wrong];
  if (outcome.how !== 'returned') return [];
  w.keep(outcome.value);
  const let_through = call.params.filter((param, i) => hostile[i] !== undefined && isWrongType(param, args[i]));
  return let_through.map(({ name }) => `took a wrong type for ${name}`);
}

/** What the engine throws when an argument is looked at: as much the caller's own as what a getter throws. */
function isTheirs(outcome: Outcome, { method }: Call, args: readonly unknown[]): boolean {
  if (outcome.how !== 'threw' || !(outcome.value instanceof TypeError)) return false;
  const { message } = outcome.value;
  const calls = method === 'run' || method === 'watch'; // what it is given
  if (calls && message.startsWith('Class constructors cannot be invoked')) return true;
  if (message.includes('on a proxy that has been revoked')) return true;
  return [...args, ...args.flatMap(partsOf)].some((arg) =>
    READ_NAMES.some((name) => thrownBy(() => (arg as Record<string, unknown>)[name]) === message),
  );
}

function partsOf(value: unknown): unknown[] {
  try {
    return Object.values(value as object);
  } catch {
    return [];
  }
}

function thrownBy(read: () => unknown): string | undefined {
  try {
    read();
    return undefined;
  } catch (error) {
    return error instanceof TypeError ? error.message : undefined;
  }
}

/** Nobody notifies: a wait that is let through must end by itself. */
function shortWait(timeout: unknown): unknown {
  return timeout === undefined || (typeof timeout === 'number' && timeout > 5) ? 5 : timeout;
}

const SEED = Number(process.env.VMSPACE_SEED ?? 20180711);
/** Steps of each test; all there are if it is more. */
const STEPS = Number(process.env.VMSPACE_HOSTILE_STEPS ?? 15);
const SHOWN = 4;
/** A world that was damaged cannot be closed, and costs memory. */
const MAX_DAMAGED = 10;

/** So many of the steps that a test could do, by the seed, and the first. */
export function chosen<T>(all: Iterable<T>): T[] {
  const [first, ...rest] = all;
  if (first === undefined) return [];
  const random = seeded(SEED);
  for (let i = 0; i < Math.min(STEPS, rest.length); i++) {
    const other = i + Math.floor(random() * (rest.length - i));
    [rest[i], rest[other]] = [rest[other] as T, rest[i] as T];
  }
  return [first, ...rest.slice(0, STEPS)];
}

/** Takes each step, with each re-entry if its code runs; asserts that nobody complains. */
export async function takeAll<T>(
  makeWorld: () => World,
  steps: Iterable<T>,
  taking: { take(world: World, step: T, reentry: string): Promise<Taken>; textOf(step: T, reentry: string): string },
): Promise<void> {
  const complaints = new Complaints();
  let damaged = 0;
  let world = makeWorld();
  for (const step of chosen(steps)) {
    for (const reentry of Object.keys(REENTRIES)) {
      const taken = await taking.take(world, step, reentry);
      for (const complaint of taken.complaints) complaints.add(complaint, taking.textOf(step, reentry));
      if (!taken.sound) world = makeWorld();
      if (!taken.sound && ++damaged === MAX_DAMAGED) break;
      if (!taken.ran) break;
    }
    if (damaged === MAX_DAMAGED) break;
  }
  if (damaged < MAX_DAMAGED) for (const complaint of world.finish()) complaints.add(complaint, 'the end');
  expect(complaints.list(), `seed ${SEED}`).toEqual([]);
}

/** What went wrong, by what it was: many values fail in the same way. */
class Complaints {
  readonly #steps = new Map<string, string[]>();

  add(complaint: string, step: string): void {
    this.#steps.set(complaint, [...(this.#steps.get(complaint) ?? []), step]);
  }

  list(): string[] {
    return [...this.#steps].map(([complaint, steps]) => {
      const more = steps.length > SHOWN ? [`and ${steps.length - SHOWN} more`] : [];
      return [`${complaint}:`, ...steps.slice(0, SHOWN), ...more].join('\n    ');
    });
  }
}
