/** The main thread's side of rounds: workers that all have one space open, started before the clock. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { createMachine, type DesignName, type Machine } from '../src/node.ts';
import { DONE, FAILED, type Gate, makeGate, openGate, PHASE, resultAt, STOP, samplesOf, taskWord } from './gate.ts';
import type { CrewData } from './rounds.worker.ts';
import type { TaskName, TaskOptions } from './tasks.ts';

export interface CrewOptions extends TaskOptions {
  /** One worker each, with the tasks that it can do. */
  readonly workers: readonly (readonly TaskName[])[];
  readonly memory: number;
  readonly design?: DesignName | undefined;
}

/** One worker's part of a round. */
export interface Part {
  /** Operations per second. */
  readonly rate: number;
  /** Milliseconds, in no order; a copy. */
  readonly samples: Float64Array;
}

const LONGEST_STEP_MS = 20_000;
const LONGEST_EXIT_MS = 5_000;

export class Crew {
  readonly machine: Machine;
  readonly #gate: Gate;
  readonly #tasks: readonly (readonly TaskName[])[];
  readonly #workers: readonly Worker[];

  private constructor(machine: Machine, gate: Gate, tasks: CrewOptions['workers'], workers: readonly Worker[]) {
    this.machine = machine;
    this.#gate = gate;
    this.#tasks = tasks;
    this.#workers = workers;
  }

  static async start({ workers: tasks, memory, design, ...options }: CrewOptions): Promise<Crew> {
    const machine = createMachine({ memory, design });
    const space = machine.createSpace();
    const gate = makeGate();
    const workers: Worker[] = [];
    for (const [worker, names] of tasks.entries()) {
      const data: CrewData = { gate, worker, space: space.handle, tasks: names, options };
      const thread = new Worker(new URL('./rounds.worker.js', import.meta.url), { workerData: data });
      workers.push(thread);
      await once(thread, 'message');
    }
    return new Crew(machine, openGate(gate), tasks, workers);
  }

  /** Lets each worker do the task named at its place (undefined: none) for `milliseconds`. Blocks. */
  round(milliseconds: number, chosen: readonly (TaskName | undefined)[]): Part[] {
    const { words } = this.#gate;
    this.#tasks.forEach((names, worker) => {
      const name = chosen[worker];
      Atomics.store(words, taskWord(worker), name === undefined ? 0 : names.indexOf(name) + 1);
    });
    const active = chosen.filter((name) => name !== undefined).length;
    Atomics.store(words, STOP, 0);
    Atomics.store(words, DONE, 0);
    this.#startPhase();
    sleep(milliseconds);
    Atomics.store(words, STOP, 1);
    for (let done = Atomics.load(words, DONE); done < active; done = Atomics.load(words, DONE)) {
      if (Atomics.wait(words, DONE, done, LONGEST_STEP_MS) === 'timed-out') throw new Error('a worker does not finish');
    }
    if (Atomics.load(words, FAILED) !== 0) throw new Error(`a worker failed: ${chosen.join(', ')}`);
    return this.#tasks.map((_names, worker) => this.#part(worker));
  }

  /** Operations per second of all workers that took part. */
  rate(milliseconds: number, chosen: readonly (TaskName | undefined)[]): number {
    const parts = this.round(milliseconds, chosen);
    return parts.reduce((sum, part, worker) => (chosen[worker] === undefined ? sum : sum + part.rate), 0);
  }

  async close(): Promise<void> {
    const exits = this.#workers.map((worker) => once(worker, 'exit'));
    this.#workers.forEach((_worker, i) => {
      Atomics.store(this.#gate.words, taskWord(i), -1);
    });
    this.#startPhase();
    const late = setTimeout(() => this.#terminate(), LONGEST_EXIT_MS);
    try {
      await Promise.all(exits);
    } finally {
      clearTimeout(late);
    }
    this.machine.close();
  }

  /** A worker that hangs must not hang the run: what it holds is taken back. */
  #terminate(): void {
    for (const worker of this.#workers) {
      if (worker.threadId < 0) continue;
      this.machine.watch(worker);
      void worker.terminate();
    }
  }

  #startPhase(): void {
    Atomics.add(this.#gate.words, PHASE, 1);
    Atomics.notify(this.#gate.words, PHASE);
  }

  #part(worker: number): Part {
    const { floats } = this.#gate;
    const at = resultAt(worker);
    const [operations = 0, milliseconds = 1, samples = 0] = floats.subarray(at, at + 3);
    return { rate: (operations / milliseconds) * 1000, samples: samplesOf(this.#gate, worker).slice(0, samples) };
  }
}

const bed = new Int32Array(new SharedArrayBuffer(4));

function sleep(milliseconds: number): void {
  Atomics.wait(bed, 0, 0, milliseconds);
}
