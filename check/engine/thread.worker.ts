/** A modelled thread: one Worker of a crew, used for all executions. Number 0 sets the model up and leads. */
import { type MessagePort, parentPort, threadId, workerData } from 'node:worker_threads';
import type { PortObserver } from '../../src/sync/atomics.checked.ts';
import type { Model } from '../model.ts';
import { knowingMachines } from '../naming/handles.ts';
import { isPromise, ModelError, modelsOf, rangesOf } from '../validate.ts';
import { Actor, textOf } from './actor.ts';
import * as B from './board/header.ts';
import { type BoardMemory, makeBoard } from './board/memory.ts';
import {
  COMMAND_END,
  COMMAND_PREPARE,
  COMMAND_RUN,
  FAILURE_CHECK,
  FAILURE_OUTCOME,
  MODE_TRACK,
} from './board/values.ts';
import { type Failure, Leader, NOT_DETERMINISTIC } from './leader.ts';
import type { Order, Report, ThreadData } from './protocol.ts';
import type { Recorded } from './recorder.ts';
import { findBuffers, makeRegions, type RegionMemory } from './regions.ts';
import { Scheduler } from './scheduler.ts';

const data = workerData as ThreadData;
const port = parentPort as MessagePort;
const say = (report: Report): void => port.postMessage(report);
/** Milliseconds of search between two looks at the messages. */
const SLICE_MS = 40;

process.setSourceMapsEnabled(true);
Error.stackTraceLimit = 40;

async function main(): Promise<void> {
  const model = await loadModel();
  if (data.me === 0) lead(model);
  else follow(model);
}

async function loadModel(): Promise<Model<unknown>> {
  const { url, name, transform } = data.source;
  if (transform) {
    const { installTransform } = await import('../transform/hooks.ts');
    installTransform();
  }
  const models = modelsOf(await import(url), url);
  const model = models.find((candidate) => candidate.name === name);
  if (model === undefined)
    throw new ModelError(`${url} has no model '${name}'; it has ${models.map((m) => m.name).join(', ')}`);
  return knowingMachines(model, findBuffers);
}

function observe(scheduler: Scheduler): number {
  const ports =
    (globalThis as { [key: symbol]: ((observer: PortObserver) => void)[] | undefined })[
      Symbol.for('vmspace.checked-ports')
    ] ?? [];
  for (const install of ports) install(scheduler.observer as PortObserver);
  return ports.length;
}

function makeActor(model: Model<unknown>, memory: BoardMemory): Scheduler {
  return new Scheduler(memory, {
    me: data.me,
    granule: model.granule ?? 4,
    names: model.threads.map(({ name }) => name),
    mortal: model.threads[data.me]?.mortal === true,
  });
}

function lead(model: Model<unknown>): void {
  const memory = makeBoard(model.steps ?? 20_000);
  const scheduler = makeActor(model, memory);
  const ports = observe(scheduler);
  if (ports === 0) throw new ModelError(NO_PORT);
  scheduler.turn.setMode(MODE_TRACK);
  const shared = model.setup();
  if (isPromise(shared)) throw new ModelError('setup returned a promise: it is one synchronous call');
  const buffers = findBuffers(shared);
  if (buffers.length === 0) throw new ModelError('setup returned no SharedArrayBuffer: there is nothing to watch');
  const ignore = rangesOf('ignore', model.ignore?.(shared) ?? [], buffers, false);
  const racy = rangesOf('racy', model.racy?.(shared) ?? [], buffers, true);
  const regions = makeRegions(buffers, model.granule ?? 4, ignore, racy);
  scheduler.watch(regions);
  if (buffers.some((buffer) => (buffer as { growable?: boolean }).growable === true))
    throw new ModelError('a SharedArrayBuffer that can grow is not modelled');
  try {
    port.postMessage({ type: 'setup', memory, shared, regions, threads: model.threads.length });
  } catch (error) {
    throw new ModelError(`what setup returns cannot be cloned to the other threads: ${(error as Error).message}`);
  }
  port.once('message', () => {
    // All threads have loaded the model.
    try {
      serve(model, scheduler, memory, shared, regions);
    } catch (error) {
      say({ type: 'broken', text: reasonOf(error) });
    }
  });
}

/** Without a stack where the message says it all. */
const reasonOf = (error: unknown): string => (error instanceof ModelError ? error.message : textOf(error));

const NO_PORT =
  'no access to shared memory would be reported: the module is not rewritten, or was built with the native port. ' +
  "Have it rewritten while it is loaded (--transform, or `transform: true`), or bundle it with the condition 'checked'.";

function serve(
  model: Model<unknown>,
  scheduler: Scheduler,
  memory: BoardMemory,
  shared: unknown,
  regions: readonly RegionMemory[],
): void {
  const actor = new Actor(scheduler, memory, model, shared);
  const recorded: Report[] = [];
  actor.onRecorded = (accesses) =>
    recorded.push({
      type: 'recorded',
      recorded: explained(model, shared, regions, accesses),
      names: named(model, shared, regions, accesses),
    });
  const leader = new Leader(actor, memory, regions);
  probe(leader, scheduler, model);
  /** With the names of the words instead of their addresses. */
  const legible = (failure: Failure): Failure => ({
    ...failure,
    text: failure.text.replace(/@(\d+)/g, (_, at) => nameOf(model, shared, regions, Number(at), true)),
  });
  let searching = false;
  let most = Number.POSITIVE_INFINITY;
  let sample: { order: Extract<Order, { type: 'sample' }>; seed: number } | undefined;
  const finish = (stopped: boolean): void => {
    searching = false;
    sample = undefined;
    say({
      type: 'idle',
      totals: { ...leader.totals },
      grew: leader.grew,
      known: leader.locations(),
      outcomes: [...leader.outcomes],
      frontier: stopped ? leader.frontier() : [],
      stopped,
    });
  };
  const slice = (): void => {
    if (!searching) return;
    const until = performance.now() + SLICE_MS;
    try {
      while (performance.now() < until) {
        let failure: ReturnType<Leader['step']>;
        if (sample === undefined) {
          if (leader.pending === 0) {
            finish(false);
            return;
          }
          failure = leader.step();
        } else {
          const ended = leader.execute([], { ...sample.order.options, seed: sample.seed, length: leader.steps || 200 });
          sample.seed += sample.order.stride;
          if (ended.outcome !== undefined)
            leader.outcomes.set(ended.outcome, (leader.outcomes.get(ended.outcome) ?? 0) + 1);
          failure = ended.failure;
        }
        if (failure !== undefined) {
          searching = false;
          say({ type: 'failure', failure: legible(failure), totals: { ...leader.totals } });
          return;
        }
        if (--most <= 0) {
          finish(true);
          return;
        }
      }
    } catch (error) {
      say({ type: 'broken', text: reasonOf(error) });
      return;
    }
    say({ type: 'progress', totals: { ...leader.totals }, pending: leader.pending });
    setImmediate(slice);
  };
  port.on('message', (order: Order) => {
    try {
      switch (order.type) {
        case 'explore':
          leader.reduction = order.reduction;
          leader.learn(order.known);
          leader.outcomes.clear();
          leader.begin(order.prefixes, order.bound);
          most = order.most;
          searching = true;
          setImmediate(slice);
          break;
        case 'sample':
          sample = { order, seed: order.seed };
          most = order.most;
          leader.outcomes.clear();
          searching = true;
          setImmediate(slice);
          break;
        case 'more':
          leader.add(order.prefixes);
          if (!searching) {
            searching = true;
            setImmediate(slice);
          }
          break;
        case 'donate':
          say({ type: 'donated', prefixes: searching && sample === undefined ? leader.donate() : [] });
          break;
        case 'stop':
          if (searching) finish(true);
          break;
        case 'run': {
          recorded.length = 0;
          const ended = leader.execute(order.script, order.options);
          for (const report of recorded) say(report);
          say({
            type: 'ran',
            ended: ended.failure === undefined ? ended : { ...ended, failure: legible(ended.failure) },
            recordings: scheduler.turn.board[B.RECORDINGS] as number,
          });
          break;
        }
        case 'quit':
          process.exit(0);
      }
    } catch (error) {
      say({ type: 'broken', text: reasonOf(error) });
    }
  });
  const { title, invariant, preemptions, outcomes } = model;
  const facts = {
    threads: scheduler.turn.names,
    title,
    invariant,
    preemptions,
    longPreemptions: model.longPreemptions ?? preemptions + 1,
    outcomes,
  };
  say({ type: 'ready', facts });
}

/** Refuses to start when a thread's accesses are not reported: a search that does not see them would exhaust anything. */
function probe(leader: Leader, scheduler: Scheduler, model: Model<unknown>): void {
  const before = scheduler.turn.board[B.REPORTED];
  const { failure } = leader.execute([]);
  if (scheduler.turn.board[B.REPORTED] === before) throw new ModelError(`an execution reported no access. ${NO_PORT}`);
  const seen = leader.threadsSeen();
  const silent = model.threads.filter((_, thread) => (seen & (1 << thread)) === 0).map(({ name }) => name);
  const ran = failure === undefined || failure.kind === FAILURE_CHECK || failure.kind === FAILURE_OUTCOME;
  if (silent.length > 0 && ran) {
    throw new ModelError(
      `no access of ${silent.join(', ')} to the shared memory of \`setup\` was reported. ${NO_PORT}`,
    );
  }
  // The first execution may have filled caches; from now on the same schedule must run the same way.
  leader.execute([]);
  const once = leader.fingerprint();
  leader.execute([]);
  if (leader.fingerprint() !== once) throw new ModelError(NOT_DETERMINISTIC);
  leader.totals.executions = leader.totals.redundant = leader.totals.steps = 0;
}

function follow(model: Model<unknown>): void {
  const memory = data.memory as BoardMemory;
  const scheduler = makeActor(model, memory);
  observe(scheduler);
  scheduler.watch(data.regions as readonly RegionMemory[]);
  const actor = new Actor(scheduler, memory, model, data.shared);
  actor.onRecorded = (accesses) =>
    say({
      type: 'recorded',
      recorded: explained(model, data.shared, data.regions as readonly RegionMemory[], accesses),
      names: named(model, data.shared, data.regions as readonly RegionMemory[], accesses),
    });
  port.postMessage({ type: 'loaded' });
  const last = data.me === model.threads.length - 1;
  for (;;) {
    const command = scheduler.turn.park();
    let over = false;
    if (command === COMMAND_PREPARE) {
      try {
        actor.prepare();
      } catch (error) {
        say({ type: 'broken', text: `prepare of ${scheduler.turn.names[data.me]}: ${textOf(error)}` });
        return;
      }
      if (last) over = actor.start();
      else scheduler.turn.command(data.me + 1, COMMAND_PREPARE);
    } else if (command === COMMAND_RUN) over = actor.run();
    if (over) scheduler.turn.command(0, COMMAND_END);
  }
}

/** With what the values mean, as the model tells. */
function explained(
  model: Model<unknown>,
  shared: unknown,
  regions: readonly RegionMemory[],
  accesses: readonly Recorded[],
): Recorded[] {
  return accesses.map((access) => {
    const { address, before, value, expected } = access;
    const which = regions.findIndex(({ base, buffer }) => address >= base && address < base + buffer.byteLength);
    const region = regions[which];
    if (model.value === undefined || region === undefined) return access;
    const text = (number: number): string | undefined => model.value?.(shared, which, address - region.base, number);
    return { ...access, texts: { before: text(before), value: text(value), expected: text(expected) } };
  });
}

/** Names of the addresses in a recording: only a thread that has the model can tell. */
function named(
  model: Model<unknown>,
  shared: unknown,
  regions: readonly RegionMemory[],
  accesses: readonly { readonly address: number }[],
): [number, string][] {
  const names = new Map<number, string>();
  for (const { address } of accesses)
    if (address !== 0 && !names.has(address)) names.set(address, nameOf(model, shared, regions, address));
  return [...names];
}

/** What the model calls a word. Its own mistakes must not hide what is told. */
function described(model: Model<unknown>, shared: unknown, which: number, byte: number): string | undefined {
  try {
    return model.describe?.(shared, which, byte);
  } catch (error) {
    return `buffer ${which} +${byte} (describe threw ${textOf(error).split('\n')[0]})`;
  }
}

function nameOf(
  model: Model<unknown>,
  shared: unknown,
  regions: readonly RegionMemory[],
  address: number,
  waiting = false,
): string {
  const which = regions.findIndex(({ base, buffer }) => address >= base && address < base + buffer.byteLength);
  const region = regions[which];
  if (region === undefined) return 'anything';
  const byte = address - region.base;
  const name = described(model, shared, which, byte) ?? `buffer ${which} +${byte}`;
  if (!waiting) return name;
  // The leader is the first thread that the crew starts; the others follow in their order.
  const why = model.waits?.(shared, which, byte, (host) => model.threads[host - threadId]?.name);
  return why === undefined ? name : `${name}, ${why}`;
}

main().catch((error) => say({ type: 'broken', text: reasonOf(error) }));
