/**
 * Two of three threads die in one run, and the third has made a call, which may have failed, before anybody is reaped. The first dies
 * before access a of a scenario's call; the second, before access b of a call of its own, while the first one's locks are
 * still held: so it may be waiting for them, or unwinding because it has waited long enough. Then both are reaped, in either
 * order; the survivor goes on; in the end it dies too, in peace, and what it had written must stay (an intent that a failed
 * call has left behind would be done again then). A fourth thread looks at what is left.
 */
import { type DesignName, type Machine, VmError } from '../../../src/index.ts';
import { C_STATE, CPU_ATTACHING, CPUS_USED, cpuSlot } from '../../../src/sync/control.layout.ts';
import { attachingBy } from '../../../src/sync/cpu.ts';
import { conservation } from '../audit.ts';
import { aftermath, isTaken } from './aftermath.ts';
import { CALLS, type Call, ELSEWHERE, type Hands, Thrown } from './calls.ts';
import { collectGarbage } from './garbage.ts';
import { chance, type Report, scenarioNamed, useAgain } from './kill.ts';
import { checkPages, legalPages, type PageSets, pagesOf, setBystanders, snapshot } from './pages.ts';
import type { Scenario } from './scenarios.ts';
import { type Outcome, Stage } from './stage.ts';
import { anotherCpu, BASE, Hang, makeWorld, P, stamped, type World } from './world.ts';

export interface TwiceRequest {
  readonly scenario: string;
  readonly worlds: number;
  readonly seed: number;
  /** Only this world: a replay. */
  readonly only?: number | undefined;
  readonly maxFailures?: number | undefined;
}

interface Cast {
  readonly first: Hands;
  readonly second: Hands;
  readonly survivor: Hands;
  /** Does nothing until all others are gone. */
  readonly heir: Hands;
}

/** What happens in one world; all of it follows from seed and number. */
interface Plan {
  readonly design: DesignName;
  /** Access before which the first thread dies. */
  readonly a: number;
  readonly second: Call;
  readonly b: number;
  readonly survivors: Call;
  readonly reaper: 'survivor' | 'heir';
  readonly secondFirst: boolean;
  /** The survivor dies, doing nothing, before anybody is reaped. */
  readonly peaceFirst: boolean;
  /** A reaper that failed leaves the machine, and another one tries. */
  readonly reaperLeaves: boolean;
  readonly goesOn: 'not at all' | 'in what is there' | 'in what is free' | 'everywhere';
}

const MAX_FAILURES = 6;
/** In turn: most worlds are under the default. */
const DESIGNS: readonly DesignName[] = ['rcu', 'mmap-sem', 'rcu', 'retry'];
/** The frames that the other threads and the bystanders take. */
const MORE_FRAMES = 24;
/** Virtual milliseconds that a call may take: every wait has its limit, and a call that gave up does not wait again. */
const PATIENCE_MS = 4000;

export function dieTwice({ scenario: name, worlds, seed, only, maxFailures = MAX_FAILURES }: TwiceRequest): Report {
  const scenario = scenarioNamed(name);
  const stage = new Stage();
  stage.install();
  const rehearsals = new Map(DESIGNS.map((design) => [design, new Rehearsal(stage, scenario, design)]));
  const failures: string[] = [];
  let made = 0;
  for (const i of only === undefined ? Array.from({ length: worlds }, (_, n) => n) : [only]) {
    if (failures.length >= maxFailures) break;
    if (made++ % 16 === 0) collectGarbage();
    const rehearsal = rehearsals.get(DESIGNS[i % DESIGNS.length] as DesignName) as Rehearsal;
    const plan = planOf(seed, i, rehearsal);
    const { story, problems } = new Run(stage, scenario, plan, rehearsal.legal).play();
    const what = `world ${i}: under ${plan.design}, ${story.join('; ')}`;
    if (problems.length > 0) failures.push(`${what}:\n    ${problems.join('\n    ')}`);
  }
  return { accesses: rehearsals.get('rcu')?.accesses ?? 0, worlds: made, failures };
}

function planOf(seed: number, i: number, rehearsal: Rehearsal): Plan {
  const draw = (which: number): number => chance(seed + 7919 * which, i);
  const spread = (which: number, step: number): number => (chance(seed, which) + i * step) % 1; // evenly, for any number of worlds
  const survivors = CALLS.filter(({ last }) => last !== true);
  const second = CALLS[draw(1) < 0.25 ? 0 : Math.floor(draw(2) * CALLS.length)] as Call;
  return {
    design: rehearsal.design,
    a: Math.floor(spread(1, 0.6180339887498949) * rehearsal.accesses),
    second,
    // Beyond its usual end too: it may have to wait.
    b: Math.floor(spread(2, 0.7548776662466927) * 1.3 * rehearsal.countOf(second)),
    survivors: survivors[Math.floor(draw(3) * survivors.length)] as Call,
    reaper: draw(4) < 0.5 ? 'survivor' : 'heir',
    secondFirst: draw(5) < 0.5,
    peaceFirst: draw(6) < 0.2,
    reaperLeaves: draw(7) < 0.3,
    goesOn: (['not at all', 'in what is there', 'in what is free', 'everywhere'] as const)[
      Math.floor(draw(8) * 4)
    ] as Plan['goesOn'],
  };
}

/** How calls go when nobody dies. */
class Rehearsal {
  readonly design: DesignName;
  /** Of the scenario's call. */
  readonly accesses: number;
  readonly #before: PageSets;
  readonly #after: PageSets;
  readonly #counts = new Map<Call, number>();
  readonly #stage: Stage;
  readonly #scenario: Scenario;

  constructor(stage: Stage, scenario: Scenario, design: DesignName) {
    this.design = design;
    this.#stage = stage;
    this.#scenario = scenario;
    const cast = castOf(scenario, design);
    this.#before = pagesOf(cast.heir.space);
    const outcome = stage.act(() => scenario.act(worldOf(cast.first, cast)));
    if (outcome.kind !== 'done') throw new Error(`nobody dies, and yet: ${say(outcome)}`);
    this.accesses = stage.count;
    this.#after = pagesOf(cast.heir.space);
  }

  get legal(): PageSets {
    return legalPages(this.#scenario, this.#before, this.#after);
  }

  /** Accesses of another call. */
  countOf(call: Call): number {
    let count = this.#counts.get(call);
    if (count === undefined) {
      const cast = castOf(this.#scenario, this.design);
      this.#stage.act(() => call.act(cast.second, this.#scenario, worldOf(cast.second, cast)));
      count = this.#stage.count;
      this.#counts.set(call, count);
    }
    return count;
  }
}

function castOf(scenario: Scenario, design: DesignName): Cast {
  const world = makeWorld((scenario.frames ?? 256) + MORE_FRAMES, design);
  const { survivor, space, file } = world;
  const bad = survivor.createFile('bad', {}, P);
  scenario.setup(world);
  scenario.warm?.(world);
  setBystanders(world);
  const join = (machine = anotherCpu(survivor)): Hands => ({
    machine,
    space: machine.attachSpace(space.handle),
    file: machine.attachFile(file.handle),
    bad: machine.attachFile(bad.handle),
  });
  const { victim, theirs, theirFile } = world;
  const first: Hands = { machine: victim, space: theirs, file: theirFile, bad: victim.attachFile(bad.handle) };
  return { first, second: join(), survivor: { machine: survivor, space, file, bad }, heir: join() };
}

/** The world as the scenario sees it, with `hands` as the victim. */
function worldOf(hands: Hands, { survivor }: Cast): World {
  return {
    survivor: survivor.machine,
    space: survivor.space,
    file: survivor.file,
    victim: hands.machine,
    theirs: hands.space,
    theirFile: hands.file,
  };
}

/** One world, from the first death to the last. */
class Run {
  readonly #stage: Stage;
  readonly #scenario: Scenario;
  readonly #plan: Plan;
  readonly #cast: Cast;
  readonly #story: string[] = [];
  readonly #problems: string[] = [];
  #legal: PageSets;
  #survivorLives = true;

  constructor(stage: Stage, scenario: Scenario, plan: Plan, legal: PageSets) {
    this.#stage = stage;
    this.#scenario = scenario;
    this.#plan = plan;
    this.#legal = legal;
    this.#cast = castOf(scenario, plan.design);
  }

  play(): { story: readonly string[]; problems: readonly string[] } {
    try {
      this.#die();
      this.#reap();
      this.#look('after the reaping');
      if (this.#problems.length === 0) this.#goOn();
      if (this.#problems.length === 0) this.#dieInPeace();
      if (this.#problems.length === 0) this.#close();
    } catch (error) {
      this.#problems.push(error instanceof Hang ? String(error.stack) : sayError(error));
    }
    return { story: this.#story, problems: this.#problems };
  }

  /** Two die, the third makes a call. */
  #die(): void {
    const { a, second, b, survivors } = this.#plan;
    const { first, second: hands, survivor } = this.#cast;
    this.#call(`A at ${a}`, () => this.#scenario.act(worldOf(first, this.#cast)), a);
    this.#expectTyped(this.#makeCall('B', second, hands, b));
    this.#expectTyped(this.#makeCall('S', survivors, survivor));
  }

  #makeCall(who: string, call: Call, hands: Hands, fatal = Number.POSITIVE_INFINITY): Outcome {
    const act = (): void => call.act(hands, this.#scenario, worldOf(hands, this.#cast));
    const outcome = this.#call(`${who} in '${call.name}'${who === 'B' ? ` at ${fatal}` : ''}`, act, fatal);
    // A layout call that succeeds decides: whoever holds the mmap_lock and is dead would have been in its way.
    if (outcome.kind === 'done') this.#legal = this.#legal.map(call, this.#scenario, 'done');
    else this.#legal = this.#legal.map(call, this.#scenario, 'perhaps');
    return outcome;
  }

  #call(title: string, call: () => unknown, fatal?: number): Outcome {
    const since = this.#stage.clock;
    this.#story.push(title);
    const outcome = this.#stage.act(call, fatal);
    this.#story[this.#story.length - 1] = `${title} ${say(outcome)}`;
    const took = this.#stage.clock - since;
    if (took > PATIENCE_MS) this.#problems.push(`${title} took ${Math.round(took)} ms of virtual time`);
    return outcome;
  }

  #expectTyped(outcome: Outcome): void {
    if (outcome.kind !== 'failed') return;
    const { error } = outcome;
    if (!(error instanceof VmError) && !(error instanceof Thrown)) this.#problems.push(sayError(error));
  }

  #expectDone(outcome: Outcome): void {
    if (outcome.kind === 'failed') this.#problems.push(sayError(outcome.error));
  }

  #reap(): void {
    const { reaper, secondFirst, peaceFirst, reaperLeaves } = this.#plan;
    const { first, second, survivor, heir } = this.#cast;
    const order = secondFirst ? [second, first] : [first, second];
    if (peaceFirst) {
      this.#survivorLives = false;
      order.splice(this.#plan.a % 3, 0, survivor);
    }
    const left = order.map(({ machine }) => machine.cpu).filter((cpu) => this.#isTaken(cpu));
    left.push(...this.#strangers(left));
    let by = reaper === 'survivor' && this.#survivorLives ? survivor : heir;
    for (let round = 0; left.length > 0; round++) {
      const cpu = left.shift() as number;
      const outcome = this.#call(`${by === heir ? 'D' : 'S'} reaps cpu ${cpu}`, () => reap(by.machine, cpu));
      if (outcome.kind === 'done' && !this.#isTaken(cpu)) continue;
      const tooSoon = (isTimeout(outcome) || outcome.kind === 'done') && round < 12;
      if (!tooSoon) {
        this.#problems.push(`cpu ${cpu} cannot be reaped: ${say(outcome)}`);
        return;
      }
      left.push(cpu);
      if (reaperLeaves && by === survivor) {
        by = heir;
        this.#expectTyped(this.#call('S leaves', () => survivor.machine.close()));
        this.#survivorLives = false;
        if (this.#isTaken(survivor.machine.cpu)) left.push(survivor.machine.cpu); // it could not even leave: its thread ends
      }
    }
  }

  #isTaken(cpu: number): boolean {
    return isTaken(this.#cast.heir.machine, cpu);
  }

  /** Cpus that a victim had attached when it died. */
  #strangers(known: readonly number[]): number[] {
    const { survivor, heir } = this.#cast;
    const used = heir.machine.kernel.words[CPUS_USED] as number;
    const all = Array.from({ length: used }, (_, id) => id);
    return all.filter(
      (id) =>
        id !== survivor.machine.cpu && id !== heir.machine.cpu && !known.includes(id) && isTaken(heir.machine, id),
    );
  }

  /** Layout and data are what they may be, and nothing is held. */
  #look(when: string): void {
    const { heir } = this.#cast;
    const problems = aftermath(heir.machine);
    this.#stage.act(() => heir.space.munmap(ELSEWHERE, 1000 * P)); // what a thread had filled memory with when it died
    const outcome = this.#stage.act(() => problems.push(...checkPages(this.#scenario, heir, this.#legal)));
    this.#expectDone(outcome);
    for (const problem of problems) this.#problems.push(`${when}: ${problem}`);
  }

  #goOn(): void {
    const { goesOn } = this.#plan;
    if (!this.#survivorLives || goesOn === 'not at all') return;
    const { space, file } = this.#cast.survivor;
    const scenario = this.#scenario;
    this.#expectDone(
      this.#call(`S goes on ${goesOn}`, () => {
        if (goesOn === 'in what is there') {
          for (const { start, end, prot } of space.maps()) if (prot === 3 && end > start) space.store32(start, 4711);
        } else if (goesOn === 'in what is free') {
          const taken = pagesOf(this.#cast.heir.space);
          for (let page = 0; page < scenario.pages && page < 32; page++) {
            if (!taken.has(page)) stamped(space, BASE + page * P, 1);
          }
        } else {
          space.munmap(ELSEWHERE, 1000 * P);
          useAgain(scenario, { ...worldOf(this.#cast.survivor, this.#cast), space, file });
          stamped(space, BASE + 4400 * P, 2);
        }
      }),
    );
    this.#problems.push(...aftermath(this.#cast.heir.machine).map((problem) => `after going on: ${problem}`));
  }

  /** Its reaping must change nothing. */
  #dieInPeace(): void {
    if (!this.#survivorLives) return;
    const { survivor, heir } = this.#cast;
    const before = snapshot(this.#scenario, heir.space);
    this.#expectDone(this.#call('S dies in peace', () => heir.machine.reapNow(survivor.machine.cpu)));
    const after = snapshot(this.#scenario, heir.space);
    if (before !== after) this.#problems.push(`the reaping of an idle thread changed\n${before}\nto\n${after}`);
    this.#survivorLives = false;
  }

  #close(): void {
    const { heir } = this.#cast;
    this.#expectDone(
      this.#call('D closes', () => {
        heir.space.close();
        heir.file.close();
        heir.bad.close();
        this.#problems.push(...conservation(heir.machine), ...aftermath(heir.machine));
        heir.machine.close();
      }),
    );
  }
}

/** A thread that died while it attached is known by its number only, which is that of all threads here. */
function reap(machine: Machine, cpu: number): void {
  const { words } = machine.kernel;
  const at = cpuSlot(cpu) + C_STATE;
  if (((words[at] as number) & 0xff) !== CPU_ATTACHING) {
    machine.reapNow(cpu);
    return;
  }
  words[at] = attachingBy(OTHER_THREAD);
  machine.reapThread(OTHER_THREAD);
}

const OTHER_THREAD = 12_345;

function isTimeout(outcome: Outcome): boolean {
  return outcome.kind === 'failed' && outcome.error instanceof VmError && outcome.error.code === 'ETIMEDOUT';
}

function say(outcome: Outcome): string {
  if (outcome.kind === 'done') return 'succeeds';
  if (outcome.kind === 'died') return `dies in ${outcome.place}`;
  const { error } = outcome;
  return `fails with ${error instanceof VmError ? error.code : String(error)}`;
}

function sayError(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
