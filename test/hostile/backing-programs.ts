/** Steps of programs with hostile backings, and what is seen after each. */
import { BusError, MAP_PRIVATE, type MappedFile } from '../../src/node.ts';
import { RW } from '../support.ts';
import { type Access, type Behaviour, enlist, HOSTILE_KIND, MARK, type Named } from './backings.ts';
import { judge, type Outcome, outcomeOf, settled } from './outcome.ts';
import { REENTRIES, type Taken } from './programs.ts';
import type { Reentry, World } from './world.ts';

/** A file whose backing is made of these, and what is done with it. */
export interface BackingStep {
  readonly factory: Named | undefined;
  readonly read: Named | undefined;
  readonly close: Named | undefined;
  readonly accesses: readonly Access[];
  readonly reentry: string;
}

export function textOfBacking({ factory, read, close, accesses, reentry }: BackingStep): string {
  const parts = [factory, read, close].filter((part) => part !== undefined).map(({ name }) => name);
  const what = reentry === 'nothing' ? '' : `, whose code ${reentry}`;
  return `${accesses.map(({ name }) => name).join(', ')} on ${parts.join(' and ')}${what}`;
}

/** Opens the file, does the accesses, and looks. */
export async function takeBacking(w: World, step: BackingStep): Promise<Taken> {
  const behaviour: Behaviour = { ...step.factory?.behaviour, ...step.read?.behaviour, ...step.close?.behaviour };
  w.reentry = REENTRIES.nothing as Reentry;
  w.hostileId = enlist(w, behaviour);
  w.hostileFile = w.attachedFile(HOSTILE_KIND, { id: w.hostileId }, w.hostileSize);
  w.hostileAt = w.space.mmap({ length: w.hostileSize, prot: RW, flags: MAP_PRIVATE, file: w.hostileFile });
  w.hostileMapped = true;
  w.reentered = 0;
  w.reentry = REENTRIES[step.reentry] as Reentry;
  const complaints: string[] = [];
  w.inBacking = true; // only a backing's code, or what it gave, can call from within
  for (const access of step.accesses) {
    const outcome = await outcomeIn(w, access);
    if (outcome.how === 'hung') return { complaints: [`${access.name} did not end`], ran: true, sound: false };
    complaints.push(...complaintsOf(w, step, access, outcome), ...w.inspect());
    if (access.name === 'munmap') w.hostileMapped = false;
    if (w.machine.closed || w.space.closed || complaints.length > 0) break;
  }
  const ran = w.reentered > 0;
  complaints.push(...leaks(w, w.hostileFile));
  await Promise.all(w.pending.splice(0));
  const after = w.reset();
  w.inBacking = false;
  complaints.push(...after, ...w.complaints.splice(0));
  return { complaints, ran: ran || w.reentered > 0, sound: after.length === 0 };
}

async function outcomeIn(w: World, access: Access): Promise<Outcome> {
  const outcome = outcomeOf(() => access.run(w));
  if (access.async !== true || outcome.how !== 'returned') return outcome;
  return await settled(outcome.value as Promise<unknown>);
}

function complaintsOf(w: World, { factory, read }: BackingStep, access: Access, outcome: Outcome): string[] {
  const wrong = judge(outcome, [access.method], []);
  if (wrong !== undefined) return [`${access.name} ${wrong}`];
  if (!access.reads)
    return outcome.how === 'threw' && access.mayFail !== true ? [`${access.name} failed for its backing's sake`] : [];
  if (w.space.closed || w.machine.closed || !w.hostileMapped) return [];
  const fails = factory?.fails === true || read?.fails === true;
  if (outcome.how === 'returned') return fails ? [`${access.name} succeeded`] : [];
  if (outcome.how === 'hung') return [];
  const { value } = outcome;
  if (fails && !(value instanceof BusError)) return [`${access.name} threw ${(value as Error).message}, no BusError`];
  return [];
}

/** Bytes of the file that the backing has not written, and that are not zero. */
function leaks(w: World, file: MappedFile): string[] {
  if (w.machine.closed || w.space.closed || file.closed || !w.hostileMapped) return [];
  w.reentry = REENTRIES.nothing as Reentry;
  const got = new Uint8Array(w.hostileSize);
  const outcome = outcomeOf(() => w.space.read(w.hostileAt, got));
  if (outcome.how === 'hung') return ['a last read did not end'];
  return got.some((byte) => byte !== 0 && byte !== MARK) ? ["somebody else's bytes are seen"] : [];
}
