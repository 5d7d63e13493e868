/** The workers of one trial: started together, watched, stopped by the flag, ended if they do not stop. */
import { setTimeout } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { Machine } from '../src/node.ts';
import { CONTROL_BYTES, type FailureKind, GO, SLEEPS, STOP, type WorkerMessage } from './protocol.ts';

export interface Failure {
  /** `reader 2`, `mapper`. */
  readonly worker: string;
  readonly what: FailureKind;
  readonly detail: string;
}

/** Who is not asleep stops within this. */
const SHORT_MS = 500;

interface Member {
  readonly name: string;
  readonly worker: Worker;
  readonly gone: Promise<void>;
  exited: boolean;
}

export class Crew {
  readonly control: SharedArrayBuffer = new SharedArrayBuffer(CONTROL_BYTES);
  readonly failures: Failure[] = [];
  readonly #words = new Int32Array(this.control);
  readonly #machine: Machine;
  readonly #members: Member[] = [];
  readonly #wake: () => void;
  #ready = 0;

  /** `wake` is called whenever something has happened: a worker is ready, or has failed, or is gone. */
  constructor(machine: Machine, wake: () => void) {
    this.#machine = machine;
    this.#wake = wake;
  }

  start(name: string, script: 'reader.worker.js' | 'mapper.worker.js', workerData: object): void {
    const worker = new Worker(new URL(`./${script}`, import.meta.url), { workerData, name: `vmspace ${name}` });
    this.#machine.watch(worker);
    const gone = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
    const member: Member = { name, worker, gone, exited: false };
    this.#members.push(member);
    worker.on('message', (message: WorkerMessage) => {
      if (message.kind === 'ready') this.#ready++;
      else this.#fail(name, message.what, message.detail);
      this.#wake();
    });
    worker.on('error', (error) => this.#fail(name, 'error', String(error)));
    worker.once('exit', () => {
      member.exited = true;
      if (Atomics.load(this.#words, STOP) === 0) this.#fail(name, 'error', 'it ended before it was told to');
      this.#wake();
    });
  }

  get allReady(): boolean {
    return this.#ready === this.#members.length;
  }

  /** Reads that have slept for the I/O delay. */
  get sleeps(): number {
    return Atomics.load(this.#words, SLEEPS);
  }

  go(): void {
    this.#set(GO);
  }

  /**
   * Tells all to stop; the names of those that had to be ended. They are given `patience` milliseconds, half a second at least,
   * and no more once `signal` says that the user waits. May be called again.
   */
  async stop(patience: number, signal: AbortSignal): Promise<string[]> {
    this.#set(STOP);
    this.#set(GO); // who still waits for the start
    const all = Promise.all(this.#members.map((member) => member.gone));
    const gone = new AbortController();
    all.then(() => gone.abort());
    await sleep(SHORT_MS, gone.signal);
    await sleep(patience - SHORT_MS, AbortSignal.any([gone.signal, signal]));
    const stuck = this.#members.filter((member) => !member.exited);
    await Promise.all(stuck.map((member) => member.worker.terminate()));
    return stuck.map((member) => member.name);
  }

  #fail(worker: string, what: FailureKind, detail: string): void {
    // The first thing a worker has to say is what was wrong; that it is gone follows from it.
    if (!this.failures.some((failure) => failure.worker === worker)) this.failures.push({ worker, what, detail });
    this.#wake();
  }

  #set(word: number): void {
    Atomics.store(this.#words, word, 1);
    Atomics.notify(this.#words, word);
  }
}

/** `signal` ends it early. */
async function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  if (milliseconds <= 0 || signal.aborted) return;
  await setTimeout(milliseconds, undefined, { signal }).catch(() => undefined);
}
