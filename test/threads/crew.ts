/** Starting roles on real Workers, ending them when all have done enough, and what they report. */
import { resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import { expect } from 'vitest';
import { createMachine, type DesignName, type Machine, type Space } from '../../src/node.ts';
import { HANG_MS, inTime, until } from '../hang.ts';
import { BOARD_WORDS, PROGRESS, STOP } from './board.ts';

/** How much more to do than by default. */
export const EFFORT: number = Math.max(1, Number(process.env.VMSPACE_STRESS_SECONDS ?? 0) / 4);
export const SEED: number = Number(process.env.VMSPACE_SEED ?? 20261121);
export const REPLAY = `replay with VMSPACE_SEED=${SEED}`;
/** So much of the work, and not so many seconds, is what a test takes. */
export const work = (amount: number): number => Math.ceil(amount * EFFORT);
const DIST = resolve(import.meta.dirname, '../../dist-test/test/threads');

export interface Report {
  readonly role: string;
  readonly checks: number;
  readonly failures: readonly string[];
}

export interface Part {
  readonly role: string;
  readonly at: number;
  readonly pages: number;
  readonly other?: number;
  /** Index of the part whose checks this one waits for. */
  readonly peer?: number;
  /** So many checks, and this part has done its work; it goes on until all have. */
  readonly enough: number;
  readonly file?: string;
}

/** A machine whose live threads may be kept from running for minutes before others take them for dead. */
export function makeMachine(memory: number, design?: DesignName): Machine {
  return createMachine({
    memory,
    stallTimeout: HANG_MS,
    ioTimeout: HANG_MS,
    ...(design === undefined ? {} : { design }),
  });
}

export function startWorker(file: string, workerData: object, machine: Machine): Worker {
  const worker = new Worker(resolve(DIST, file), { workerData });
  machine.watch(worker);
  return worker;
}

/** The threads of one play, and what they share. */
export class Stage {
  readonly machine: Machine;
  readonly space: Space;
  readonly words: Int32Array = new Int32Array(new SharedArrayBuffer(BOARD_WORDS * 4));
  readonly #parts: Part[] = [];
  readonly #reports: Promise<Report>[] = [];

  constructor(machine: Machine, space: Space) {
    this.machine = machine;
    this.space = space;
  }

  /** Starts threads that wait for each other before they begin. */
  start(parts: readonly Part[]): void {
    for (const part of parts) {
      const index = this.#parts.push(part) - 1;
      const worker = this.worker(part, index, SEED + index, parts.length);
      this.#reports.push(ended<Report>(worker));
    }
  }

  worker({ file = 'roles.worker.js', ...part }: Part, index: number, seed: number, together: number): Worker {
    const shared = this.words.buffer;
    const workerData = { other: 0, peer: -1, ...part, space: this.space.handle, shared, seed, index, together };
    return startWorker(file, workerData, this.machine);
  }

  progress(index: number): number {
    return Atomics.load(this.words, PROGRESS + index);
  }

  get stopped(): boolean {
    return Atomics.load(this.words, STOP) !== 0;
  }

  stop(): void {
    Atomics.store(this.words, STOP, 1);
    for (let word = 0; word < BOARD_WORDS; word++) Atomics.notify(this.words, word);
  }

  /**
   * Until every part has done enough and `beside` is over, or something has failed; then all are stopped, and none may have seen
   * anything illegal.
   */
  async end(beside: Promise<void> = Promise.resolve()): Promise<Report[]> {
    let over = false;
    const settled = beside.then(() => {
      over = true;
    });
    const all = Promise.all(this.#reports);
    for (const each of [settled, all]) each.catch(() => this.stop());
    const short = (): string[] => this.#parts.flatMap((part, i) => this.#shortOf(part, i));
    try {
      await until(`all have done enough (${REPLAY})`, () => this.stopped || (over && short().length === 0));
    } catch (error) {
      throw new Error(`${(error as Error).message}: ${short().join(', ')}`);
    } finally {
      this.stop();
    }
    const reports = await inTime(`the end of all parts (${REPLAY})`, all);
    const failures = reports.flatMap((report) => report.failures.map((text) => `${report.role}: ${text}`));
    expect(failures, REPLAY).toEqual([]);
    await settled;
    return reports;
  }

  #shortOf({ role, enough }: Part, index: number): string[] {
    const did = this.progress(index);
    return did < enough ? [`${role} did ${did} of ${enough}`] : [];
  }
}

/** The worker's one message, once it has exited too: its cpu is given back then. */
export function ended<T>(worker: Worker): Promise<T> {
  return new Promise((done, failed) => {
    let message: T | undefined;
    worker.once('message', (value: T) => {
      message = value;
    });
    worker.once('error', failed);
    worker.once('exit', (code) => (message === undefined ? failed(new Error(`exit ${code}`)) : done(message)));
  });
}
