/** A modelled thread: one Worker of a crew, used for all executions. Number 0 sets the model up and leads. */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
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
import { Leader, NOT_DETERMINISTIC } from './leader.ts';
import { Names } from './names.ts';
import type { Report, ThreadData } from './protocol.ts';
import { findBuffers, makeRegions, type RegionMemory } from './regions.ts';
import { Scheduler } from './scheduler.ts';
import { reasonOf, Service } from './serve.ts';

const data = workerData as ThreadData;
const port = parentPort as MessagePort;
const say = (report: Report): void => port.postMessage(report);

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
  const names = new Names(model, shared, regions);
  const leader = new Leader(actor, memory, regions);
  const service = new Service(port, leader, scheduler.turn.board, names);
  actor.onRecorded = (accesses) => service.recorded.push(names.recorded(accesses));
  probe(leader, scheduler.turn.board, model);
  service.listen();
  const { title, invariant, preemptions, outcomes } = model;
  const longPreemptions = model.longPreemptions ?? preemptions + 1;
  say({
    type: 'ready',
    facts: { threads: scheduler.turn.names, title, invariant, preemptions, longPreemptions, outcomes },
  });
}

/** Refuses to start when a thread's accesses are not reported: a search that does not see them would exhaust anything. */
function probe(leader: Leader, board: Int32Array, model: Model<unknown>): void {
  const before = board[B.REPORTED];
  const { failure } = leader.execute([]);
  if (board[B.REPORTED] === before) throw new ModelError(`an execution reported no access. ${NO_PORT}`);
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
  const names = new Names(model, data.shared, data.regions as readonly RegionMemory[]);
  actor.onRecorded = (accesses) => say(names.recorded(accesses));
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

main().catch((error) => say({ type: 'broken', text: reasonOf(error) }));
