/** Steps of hostile programs, and what is seen after each. */
import { CALLS, type Call, goodArgs, invoke, isWrongType, nameOfCall } from './calls.ts';
import { judge, type Outcome, outcomeOf, settled } from './outcome.ts';
import type { Hostile } from './values.ts';
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
    if (call.async === true) (result as Promise<unknown>).then((made) => w.keep(made)).catch(() => undefined);
    else w.keep(result);
  });
}

function tried(w: World, name: string, call: () => unknown): void {
  try {
    call();
  } catch (error) {
    const method = name.slice(name.lastIndexOf('.') + 1);
    const wrong = judge({ how: 'threw', value: error }, method, w.tossed, w.inBacking);
    if (wrong !== undefined) w.complaints.push(`${name} from within ${wrong}`);
  }
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
  const wrong = judge(outcome, call.method, w.tossed);
  if (wrong !== undefined) return [wrong];
  if (outcome.how !== 'returned') return [];
  w.keep(outcome.value);
  const let_through = call.params.filter((param, i) => hostile[i] !== undefined && isWrongType(param, args[i]));
  return let_through.map(({ name }) => `took a wrong type for ${name}`);
}

/** Nobody notifies: a wait that is let through must end by itself. */
function shortWait(timeout: unknown): unknown {
  return timeout === undefined || (typeof timeout === 'number' && timeout > 5) ? 5 : timeout;
}

const SHOWN = 4;

/** What went wrong, by what it was: many values fail in the same way. */
export class Complaints {
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
