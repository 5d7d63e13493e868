/** A worker of a crew: sleeps until a round starts, runs its task until the round is stopped, says what it did. */
import { writeSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { attachSpace, type SpaceHandle } from '../src/node.ts';
import { DONE, FAILED, MAX_SAMPLES, openGate, PHASE, resultAt, STOP, samplesOf, taskWord } from './gate.ts';
import { makeTask, type TaskName, type TaskOptions } from './tasks.ts';

export interface CrewData {
  readonly gate: SharedArrayBuffer;
  readonly worker: number;
  readonly space: SpaceHandle;
  readonly tasks: readonly TaskName[];
  readonly options: TaskOptions;
}

const STDERR = 2;
const data = workerData as CrewData;
const gate = openGate(data.gate);
const { words, floats } = gate;
const space = attachSpace(data.space);
const tasks = data.tasks.map((name) => makeTask(name, space, data.options));
const samples = samplesOf(gate, data.worker);
let sampled = 0;
const sample = (milliseconds: number): void => {
  if (sampled < MAX_SAMPLES) samples[sampled++] = milliseconds;
};

parentPort?.postMessage('ready');
for (let phase = 0; ; ) {
  Atomics.wait(words, PHASE, phase);
  phase = Atomics.load(words, PHASE);
  const chosen = Atomics.load(words, taskWord(data.worker));
  if (chosen === -1) break;
  if (chosen > 0) runRound(chosen - 1);
}
space.close();

function runRound(index: number): void {
  const task = tasks[index];
  if (task === undefined) throw new Error(`worker ${data.worker} has no task ${index}`);
  sampled = 0;
  try {
    let done = 0;
    const start = performance.now();
    do done += task(sample);
    while (Atomics.load(words, STOP) === 0);
    floats.set([done, performance.now() - start, sampled], resultAt(data.worker));
  } catch (error) {
    // The main thread blocks: it would never see an 'error' event, nor print what we log.
    writeSync(STDERR, `worker ${data.worker}, ${data.tasks[index]}: ${(error as Error).stack}\n`);
    Atomics.store(words, FAILED, 1);
  }
  Atomics.add(words, DONE, 1);
  Atomics.notify(words, DONE);
}
