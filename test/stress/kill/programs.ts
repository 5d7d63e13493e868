/**
 * Random programs for three threads over two spaces and two files. Up to two of the threads die in the middle of a call, calls
 * follow before anybody is reaped, then the dead are reaped in some order, the living go on, and die in peace in the end. After each
 * reaping every page must be one of the things that it may be (see beliefs.ts).
 */
import fc from 'fast-check';
import {
  type DesignName,
  MAP_FIXED,
  MAP_FIXED_NOREPLACE,
  MAP_PRIVATE,
  type Machine,
  type MappedFile,
  PROT_NONE,
  PROT_READ,
  registerBacking,
  SegmentationFault,
  type Space,
  VmError,
} from '../../../src/index.ts';
import { CPUS_USED } from '../../../src/sync/control.layout.ts';
import { conservation } from '../audit.ts';
import { aftermath, isTaken } from './aftermath.ts';
import { Beliefs, type Change, canRead, canWrite, describeState, type Mapped, type State } from './beliefs.ts';
import { collectGarbage } from './garbage.ts';
import { type Outcome, Stage } from './stage.ts';
import { ANON, anotherCpu, BASE, makeWorld, P, peekAt, RW } from './world.ts';

export interface ProgramRequest {
  readonly seed: number;
  readonly runs: number;
  readonly path?: string | undefined;
}

export interface ProgramReport {
  readonly runs: number;
  readonly deaths: number;
  /** '' or what failed, with seed and path. */
  readonly failure: string;
}

const THREADS = 3;
const WINDOW = 24;
/** The window, and what a call may reach beyond it. */
const FILE_PAGES = 34;
const PATIENCE_MS = 4000;

type What = 'anon' | 'file 0' | 'file 1';

interface Command {
  readonly thread: number;
  readonly space: number;
  readonly call:
    | 'map'
    | 'map fixed'
    | 'unmap'
    | 'protect'
    | 'load'
    | 'store'
    | 'write'
    | 'throw in run'
    | 'read file'
    | 'own space'
    | 'own file'
    | 'reopen file'
    | 'wait'
    | 'drain'
    | 'use memory up';
  readonly page: number;
  readonly pages: number;
  readonly prot: number;
  readonly what: What;
  /** Where the thread dies, in thousandths of the usual number of accesses; undefined: it does not. */
  readonly dies: number | undefined;
}

interface Program {
  readonly design: DesignName;
  readonly frames: number;
  readonly before: readonly Command[];
  readonly after: readonly Command[];
  readonly order: number;
  readonly heirReaps: boolean;
}

/** About as many accesses as a call makes, if nothing is in its way. */
const ACCESSES: Record<Command['call'], number> = {
  map: 300,
  'map fixed': 600,
  unmap: 700,
  protect: 500,
  load: 150,
  store: 150,
  write: 600,
  'throw in run': 150,
  'read file': 2500,
  'own space': 7500,
  'own file': 450,
  'reopen file': 20,
  wait: 150,
  drain: 200,
  'use memory up': 17_000,
};

registerBacking('other pattern', () => ({
  read(position, targets) {
    targets.forEach((target, i) => {
      const words = new Uint8Array(target.length);
      const view = new DataView(words.buffer);
      for (let at = 0; at < target.length; at += 4) view.setInt32(at, fileWord(1, position / P + i), true);
      target.set(words);
    });
    return targets.length * P;
  },
  close() {},
}));

function fileWord(file: number, index: number): number {
  return (0x5a000000 + file * 0x1000000) | index;
}

function commands(dying: boolean): fc.Arbitrary<Command> {
  const call = fc.constantFrom<Command['call']>(
    ...(['map', 'map', 'map fixed', 'map fixed', 'unmap', 'unmap', 'protect', 'protect', 'load', 'load'] as const),
    ...(['store', 'store', 'write', 'throw in run', 'read file', 'read file', 'own space', 'own file'] as const),
    ...(['reopen file', 'wait', 'drain', 'use memory up'] as const),
  );
  return fc.record({
    thread: fc.nat(THREADS - 1),
    space: fc.nat(1),
    call,
    page: fc.nat(WINDOW - 1),
    pages: fc.integer({ min: 1, max: 10 }),
    prot: fc.constantFrom(PROT_NONE, PROT_READ, RW, RW, RW),
    what: fc.constantFrom<What>('anon', 'anon', 'file 0', 'file 1'),
    dies: dying ? fc.option(fc.nat(999), { nil: undefined, freq: 2 }) : fc.constant(undefined),
  });
}

const PROGRAMS: fc.Arbitrary<Program> = fc.record({
  design: fc.constantFrom<DesignName>('rcu', 'rcu', 'mmap-sem', 'retry'),
  frames: fc.constantFrom(256, 256, 80),
  before: fc.array(commands(true), { minLength: 3, maxLength: 14, size: 'max' }),
  after: fc.array(commands(false), { minLength: 0, maxLength: 5, size: 'max' }),
  order: fc.nat(5),
  heirReaps: fc.boolean(),
});

export function runPrograms({ seed, runs, path }: ProgramRequest): ProgramReport {
  const stage = new Stage();
  stage.install();
  let made = 0;
  let deaths = 0;
  const property = fc.property(PROGRAMS, (program) => {
    if (made++ % 16 === 0) collectGarbage();
    const run = new ProgramRun(stage, program);
    const problems = run.play();
    deaths += run.deaths;
    if (problems.length > 0)
      throw new Error(
        `${program.design}, ${program.frames} frames\n  ${run.story.join('\n  ')}\n  ${problems.join('\n  ')}`,
      );
  });
  const details = fc.check(property, {
    seed,
    numRuns: runs,
    ...(path === undefined ? {} : { path, endOnFailure: true }),
  });
  const replay = `replay with VMSPACE_SEED=${seed} VMSPACE_PATH=${details.counterexamplePath}`;
  const failure = details.failed ? `${replay}\n${String(details.errorInstance)}` : '';
  return { runs: made, deaths, failure };
}

interface Thread {
  readonly machine: Machine;
  readonly spaces: readonly Space[];
  readonly files: readonly MappedFile[];
}

class ProgramRun {
  readonly story: string[] = [];
  deaths = 0;
  readonly #stage: Stage;
  readonly #program: Program;
  readonly #threads: Thread[] = [];
  readonly #heir: Thread;
  readonly #gone = new Set<number>();
  readonly #beliefs = [new Beliefs(), new Beliefs()];
  readonly #problems: string[] = [];
  #stores = 0;

  constructor(stage: Stage, program: Program) {
    this.#stage = stage;
    this.#program = program;
    const { survivor, space, file: small, victim } = makeWorld(program.frames, program.design);
    victim.close();
    small.close();
    const second = survivor.createSpace();
    const file = survivor.createFile('pattern', {}, FILE_PAGES * P);
    const other = survivor.createFile('other pattern', {}, FILE_PAGES * P);
    this.#threads.push({ machine: survivor, spaces: [space, second], files: [file, other] });
    for (let i = 0; i < THREADS; i++) {
      const machine = anotherCpu(survivor);
      const spaces = [space, second].map(({ handle }) => machine.attachSpace(handle));
      const files = [file, other].map(({ handle }) => machine.attachFile(handle));
      this.#threads.push({ machine, spaces, files });
    }
    this.#heir = this.#threads.pop() as Thread;
  }

  play(): readonly string[] {
    const steps = [
      () => this.#settleDown(),
      () => this.#do(this.#program.before),
      () => this.#reapDead(),
      () => this.#look('after the reaping'),
      () => this.#do(this.#program.after),
      () => this.#look('after going on'),
      () => this.#dieInPeace(),
      () => this.#close(),
    ];
    try {
      for (const step of steps) {
        step();
        if (this.#problems.length > 0) break;
      }
    } catch (error) {
      this.#problems.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
    }
    return this.#problems;
  }

  /** Something for the program to work on. */
  #settleDown(): void {
    const common = { thread: 0, pages: 8, prot: RW, call: 'map', dies: undefined } as const;
    for (const space of [0, 1]) {
      this.#step({ ...common, space, page: 0, what: 'anon' }, undefined);
      this.#step({ ...common, space, page: 0, call: 'write', what: 'anon' }, undefined);
      this.#step({ ...common, space, page: 8, what: 'file 0' }, undefined);
      this.#step({ ...common, space, page: 14 + 4 * space, pages: 6, what: 'file 1', call: 'map fixed' }, undefined);
    }
  }

  #do(list: readonly Command[]): void {
    for (const command of list) {
      if (this.#gone.has(command.thread) || this.#problems.length > 0) continue;
      const mayDie = this.#gone.size < THREADS - 1;
      this.#step(command, mayDie ? command.dies : undefined);
    }
  }

  #call(title: string, call: () => unknown, fatal?: number): Outcome {
    const since = this.#stage.clock;
    this.story.push(title);
    const outcome = this.#stage.act(call, fatal);
    this.story[this.story.length - 1] = `${title}: ${say(outcome)}`;
    const took = this.#stage.clock - since;
    if (took > PATIENCE_MS) this.#problems.push(`that took ${Math.round(took)} ms of virtual time`);
    return outcome;
  }

  #step(command: Command, fatal: number | undefined): void {
    const { thread, call } = command;
    const access = fatal === undefined ? undefined : Math.floor((fatal * ACCESSES[call]) / 1000);
    const value = ++this.#stores;
    const title = `thread ${thread}${access === undefined ? '' : ` (dies at ${access})`}: ${describe(command)}`;
    const outcome = this.#call(title, () => this.#act(command, value), access);
    if (outcome.kind === 'died') {
      this.#gone.add(thread);
      this.deaths++;
    }
    if (outcome.kind === 'failed' && !(outcome.error instanceof VmError || outcome.error instanceof Expected)) {
      this.#problems.push(outcome.error instanceof Error ? (outcome.error.stack ?? '') : String(outcome.error));
    }
    const effect = effectOf(command, value);
    if (effect === undefined) return;
    const beliefs = this.#beliefs[command.space] as Beliefs;
    const wrong = effect.layout ? learnLayout(beliefs, effect, outcome) : learnAccess(beliefs, effect, outcome, call);
    if (wrong !== undefined) this.#problems.push(`${title}: ${say(outcome)}, but ${wrong}`);
  }

  #act({ thread, space: which, call, page, pages, prot, what }: Command, value: number): void {
    const { machine, spaces, files } = this.#threads[thread] as Thread;
    const space = spaces[which] as Space;
    const at = BASE + page * P;
    const length = pages * P;
    const file = what === 'anon' ? undefined : files[Number(what.at(-1))];
    const kind = file === undefined ? { flags: ANON } : { flags: MAP_PRIVATE, file, offset: fileIndex(page) * P };
    if (call === 'map') space.mmap({ addr: at, length, prot, ...kind, flags: kind.flags | MAP_FIXED_NOREPLACE });
    else if (call === 'map fixed') space.mmap({ addr: at, length, prot, ...kind, flags: kind.flags | MAP_FIXED });
    else if (call === 'unmap') space.munmap(at, length);
    else if (call === 'protect') space.mprotect(at, length, prot);
    else if (call === 'load') this.#checkLoad(which, page, space.load32(at));
    else if (call === 'store') space.store32(at, value);
    else if (call === 'write')
      for (let i = 0; i < pages; i++) space.write(at + i * P, new Uint8Array([value, 0, 0, 0]));
    else if (call === 'throw in run') throwInRun(space, at, value);
    else if (call === 'read file') readFile(space, files[pages & 1] as MappedFile, pages & 1);
    else if (call === 'own space') useOwnSpace(machine, files[0] as MappedFile);
    else if (call === 'own file') machine.createFile('pattern', { text: 'z'.repeat(pages * 30) }, 3 * P).close();
    else if (call === 'reopen file') machine.attachFile((files[0] as MappedFile).handle).close();
    else if (call === 'wait') space.wait(at, space.load32(at), 30);
    else if (call === 'drain') machine.drain();
    else useMemoryUp(space);
  }

  #checkLoad(space: number, page: number, found: number): void {
    const states = (this.#beliefs[space] as Beliefs).of(page);
    if (states.some((state) => state !== undefined && state.value === found)) return;
    throw new Error(`page ${page} reads ${found}, not ${states.map(describeState).join(' or ')}`);
  }

  #reapDead(): void {
    const { heirReaps, order } = this.#program;
    const dead = [...this.#gone].map((thread) => (this.#threads[thread] as Thread).machine.cpu);
    if (order % 2 === 1) dead.reverse();
    const living = this.#threads.find((_, i) => !this.#gone.has(i)) as Thread;
    this.#reap(dead, heirReaps ? this.#heir : living);
    for (const beliefs of this.#beliefs) beliefs.settle();
  }

  #reap(cpus: readonly number[], { machine }: Thread): void {
    const left = [...cpus];
    for (let round = 0; left.length > 0; round++) {
      const cpu = left.shift() as number;
      const outcome = this.#call(`cpu ${machine.cpu} reaps cpu ${cpu}`, () => machine.reapNow(cpu));
      if (outcome.kind === 'done' && !this.#attached().includes(cpu)) continue;
      const tooSoon = (outcome.kind === 'done' || codeOf(outcome) === 'ETIMEDOUT') && round < 10;
      if (tooSoon) left.push(cpu);
      else this.#problems.push(`cpu ${cpu} cannot be reaped: ${say(outcome)}`);
    }
  }

  #attached(): number[] {
    const { words } = this.#heir.machine.kernel;
    const all = Array.from({ length: words[CPUS_USED] as number }, (_, id) => id);
    return all.filter((id) => isTaken(this.#heir.machine, id));
  }

  #look(when: string): void {
    const outcome = this.#stage.act(() => {
      for (const problem of aftermath(this.#heir.machine)) this.#problems.push(`${when}: ${problem}`);
      for (const space of this.#heir.spaces) space.munmap(GREEDY, GREEDY_PAGES * P); // so that there is memory to look at the rest
      this.#heir.spaces.forEach((space, i) => {
        space.validate();
        const found = statesOf(space);
        for (let page = 0; page < FILE_PAGES; page++) {
          const states = (this.#beliefs[i] as Beliefs).of(page);
          const state = found.get(page);
          if (states.some((each) => same(each, state))) continue;
          const expected = states.map(describeState).join(' or ');
          this.#problems.push(`${when}: page ${page} of space ${i} is ${describeState(state)}, not ${expected}`);
        }
      });
    });
    if (outcome.kind === 'failed') throw outcome.error;
  }

  /** Whoever lives is reaped while doing nothing: everything stays. */
  #dieInPeace(): void {
    const before = this.#heir.spaces.map((space) =>
      [...statesOf(space)].map(([p, s]) => `${p} ${describeState(s)}`).join(),
    );
    const idle = this.#attached().filter((cpu) => cpu !== this.#heir.machine.cpu);
    this.#reap(idle, this.#heir);
    const after = this.#heir.spaces.map((space) =>
      [...statesOf(space)].map(([p, s]) => `${p} ${describeState(s)}`).join(),
    );
    if (before.join() !== after.join())
      this.#problems.push(`idle deaths changed\n${before.join()}\nto\n${after.join()}`);
  }

  #close(): void {
    const { machine, spaces, files } = this.#heir;
    const outcome = this.#call('the heir closes', () => {
      for (const each of [...spaces, ...files]) each.close();
      this.#problems.push(...conservation(machine), ...aftermath(machine));
      machine.close();
    });
    if (outcome.kind === 'failed') throw outcome.error;
  }
}

/** A user's own error, or one that the program's step may throw for what it found. */
class Expected extends Error {}

interface Effect {
  readonly layout: boolean;
  readonly pages: readonly number[];
  /** What a page must be for the call to succeed. */
  readonly needs: (state: State) => boolean;
  readonly change: Change;
}

function effectOf({ call, page, pages, prot, what }: Command, value: number): Effect | undefined {
  const range = Array.from({ length: pages }, (_, i) => page + i);
  if (call === 'map' || call === 'map fixed') return mapEffect(call, range, prot, what);
  if (call === 'unmap') return { layout: true, pages: range, needs: () => true, change: () => [undefined] };
  if (call === 'protect') {
    const change: Change = (state) => [state === undefined ? undefined : { ...state, prot }];
    return { layout: true, pages: range, needs: (state) => state !== undefined, change };
  }
  const written: Change = (state) => (canWrite(state) ? [{ ...(state as Mapped), value }] : [state]);
  if (call === 'load' || call === 'wait') {
    return { layout: false, pages: [page], needs: canRead, change: (state) => [state] };
  }
  if (call === 'store' || call === 'throw in run')
    return { layout: false, pages: [page], needs: canWrite, change: written };
  if (call === 'write') return { layout: false, pages: range, needs: canWrite, change: written };
  return undefined;
}

/** The value is not a number until `place` knows the page. */
function mapEffect(call: string, range: readonly number[], prot: number, what: What): Effect {
  const needs = call === 'map' ? (state: State) => state === undefined : () => true;
  return { layout: true, pages: range, needs, change: () => [{ prot, origin: what, value: Number.NaN }] };
}

function learnLayout(beliefs: Beliefs, effect: Effect, outcome: Outcome): string | undefined {
  const { pages, needs } = effect;
  const change =
    (page: number): Change =>
    (state) =>
      effect.change(state).map((each) => place(each, page));
  if (outcome.kind === 'done') {
    const impossible = pages.find((page) => !beliefs.of(page).some(needs));
    for (const page of pages) beliefs.layoutDone([page], change(page));
    return impossible === undefined ? undefined : `page ${impossible} is ${beliefs.of(impossible).map(describeState)}`;
  }
  if (outcome.kind === 'failed' && codeOf(outcome) !== 'ETIMEDOUT') return undefined;
  for (const page of pages) beliefs.perhaps([page], (state) => [...change(page)(state), undefined]);
  return undefined;
}

/** A new page of a file reads what the file has there. */
function place(state: State, page: number): State {
  if (state === undefined || !Number.isNaN(state.value)) return state;
  if (state.origin === 'anon') return { ...state, value: 0 };
  const index = fileIndex(page);
  return { prot: state.prot, origin: `${state.origin} ${index}`, value: fileWord(Number(state.origin.at(-1)), index) };
}

/** Page of the window to page of the file: the same for all mappings, so that they may join. */
function fileIndex(page: number): number {
  return page;
}

function learnAccess(beliefs: Beliefs, effect: Effect, outcome: Outcome, call: string): string | undefined {
  const through = outcome.kind === 'done' || (outcome.kind === 'failed' && outcome.error instanceof Expected);
  const refused = outcome.kind === 'failed' && outcome.error instanceof SegmentationFault;
  for (const page of effect.pages) {
    const states = beliefs.of(page);
    if (through && !states.some(effect.needs)) return `page ${page} is ${states.map(describeState).join(' or ')}`;
    if (refused && effect.pages.length === 1 && states.every(effect.needs) && states.length > 0) {
      return `page ${page} is ${states.map(describeState).join(' or ')}`;
    }
    if (call === 'load' || call === 'wait') continue;
    if (through) beliefs.accessDone(page, effect.needs, effect.change);
    else if (!refused || effect.pages.length > 1) beliefs.perhaps([page], effect.change);
  }
  return undefined;
}

function throwInRun(space: Space, at: number, value: number): void {
  space.run((memory) => {
    memory.store32(at, value);
    throw new Expected('enough');
  });
}

const ELSEWHERE = BASE + 2000 * P;

function readFile(space: Space, file: MappedFile, number: number): void {
  const addr = ELSEWHERE + number * FILE_PAGES * P;
  const at = space.mmap({ addr, length: FILE_PAGES * P, prot: PROT_READ, flags: MAP_PRIVATE | MAP_FIXED, file });
  for (let page = 0; page < FILE_PAGES; page += 2) {
    const found = space.load32(at + page * P);
    if (found !== fileWord(number, page)) throw new Error(`page ${page} of file ${number} reads ${found}`);
  }
}

function useOwnSpace(machine: Machine, file: MappedFile): void {
  const own = machine.createSpace();
  try {
    own.store32(own.mmap({ length: 2 * P, prot: RW, flags: ANON }), 1);
    own.load32(own.mmap({ length: P, prot: RW, flags: MAP_PRIVATE, file }));
  } finally {
    own.close();
  }
}

const GREEDY = ELSEWHERE + 100 * P;
const GREEDY_PAGES = 200;

function useMemoryUp(space: Space): void {
  const at = space.mmap({ addr: GREEDY, length: GREEDY_PAGES * P, prot: RW, flags: ANON | MAP_FIXED });
  try {
    for (let page = 0; page < GREEDY_PAGES; page++) space.store32(at + page * P, 1);
  } finally {
    space.munmap(at, GREEDY_PAGES * P);
  }
}

function statesOf(space: Space): Map<number, State> {
  const out = new Map<number, State>();
  for (const { start, end, prot, file, offset } of space.maps()) {
    for (let at = start; at < end && at < ELSEWHERE; at += P) {
      const value = prot === PROT_NONE ? Number.NaN : (peekAt(space, at) as number);
      out.set((at - BASE) / P, {
        prot,
        origin: file === undefined ? 'anon' : `file ? ${(offset + at - start) / P}`,
        value,
      });
    }
  }
  return out;
}

/** Which file it is, its bytes tell; a page that may not be read says nothing. */
function same(believed: State, found: State): boolean {
  if (believed === undefined || found === undefined) return believed === found;
  const origin = believed.origin.replace(/^file \d/, 'file ?');
  return (
    believed.prot === found.prot &&
    origin === found.origin &&
    (believed.value === found.value || Number.isNaN(found.value))
  );
}

function codeOf(outcome: Outcome): string | undefined {
  return outcome.kind === 'failed' && outcome.error instanceof VmError ? outcome.error.code : undefined;
}

function say(outcome: Outcome): string {
  if (outcome.kind === 'done') return 'done';
  if (outcome.kind === 'died') return `dies in ${outcome.place}`;
  return `fails with ${codeOf(outcome) ?? String(outcome.error)}`;
}

function describe({ call, space, page, pages, prot, what }: Command): string {
  const range = `pages ${page}-${page + pages - 1} of space ${space}`;
  if (call === 'map' || call === 'map fixed') return `${call} ${what} prot ${prot} at ${range}`;
  if (call === 'protect') return `protect ${range} to ${prot}`;
  if (call === 'unmap' || call === 'write') return `${call} ${range}`;
  return `${call} (page ${page} of space ${space})`;
}
