/** One design at work: a machine of its own, readers on the file, and the mapper. */
import {
  createMachine,
  type DesignName,
  MAP_SHARED,
  type Machine,
  type MappedFile,
  openFileSync,
  PAGE_SIZE,
  PROT_READ,
  type Space,
} from '../src/node.ts';
import { Crew } from './crew.ts';
import type { InputFile } from './file.ts';
import { DELAY_EVERY } from './options.ts';
import { FIGURE_CELLS, type ReaderSetup, VERIFIED, type WorkerSetup } from './protocol.ts';
import { summarize, type TrialResult } from './result.ts';

export interface TrialSettings {
  readonly design: DesignName;
  readonly file: InputFile;
  readonly memory: number;
  readonly threads: number;
  readonly ioDelay: number;
  /** For the whole trial, starting and ending included. */
  readonly milliseconds: number;
}

const TICK_MS = 100;
/** What is measured at least, however long the workers took to start. */
const LEAST_MEASURED_MS = 100;
/** What stopping takes, as a rule. */
const STOPPING_MS = 30;
/** A thread that does not stop within this, on top of its I/O delay, hangs. */
const PATIENCE_MS = 5000;
/** With a longer I/O delay a thread is ended in its sleep: nobody waits for that. */
const LONGEST_SLEEP_MS = 1000;
const MOST_COPY_PAGES = 64;

/** Runs until the time is up, something fails or `signal` says stop; the figures are of whatever was measured. */
export async function runTrial(
  settings: TrialSettings,
  signal: AbortSignal,
  onTick: (verified: number) => void,
): Promise<TrialResult> {
  const stallTimeout = 10_000 + 4 * Math.ceil(settings.ioDelay);
  const machine = createMachine({ memory: settings.memory, design: settings.design, stallTimeout });
  let failed = true;
  try {
    const result = await new Trial(settings, machine, signal).run(onTick);
    failed = result.failures.length > 0;
    return result;
  } finally {
    closeAfter(machine, failed);
  }
}

/** What failed first is what is reported: after it the machine may not even close. */
function closeAfter(machine: Machine, failed: boolean): void {
  try {
    machine.close();
  } catch (error) {
    if (!failed) throw error;
  }
}

class Trial {
  readonly #settings: TrialSettings;
  readonly #machine: Machine;
  readonly #signal: AbortSignal;
  readonly #crew: Crew;
  readonly #readers: Float64Array[] = [];
  readonly #mapper: Float64Array = new Float64Array(new SharedArrayBuffer(FIGURE_CELLS * 8));
  readonly #began: number = performance.now();
  #wake: () => void = () => undefined;

  constructor(settings: TrialSettings, machine: Machine, signal: AbortSignal) {
    this.#settings = settings;
    this.#machine = machine;
    this.#signal = signal;
    this.#crew = new Crew(machine, () => this.#wake());
  }

  async run(onTick: (verified: number) => void): Promise<TrialResult> {
    const wake = (): void => this.#wake();
    this.#signal.addEventListener('abort', wake);
    try {
      this.#startAll();
      while (!this.#over && !this.#crew.allReady) await this.#pause(TICK_MS);
      return await this.#measure(onTick);
    } finally {
      this.#signal.removeEventListener('abort', wake);
      await this.#crew.stop(0, this.#signal);
    }
  }

  async #measure(onTick: (verified: number) => void): Promise<TrialResult> {
    const { design, ioDelay, milliseconds } = this.#settings;
    const before = this.#machine.counters();
    const started = performance.now();
    this.#crew.go();
    const end = Math.max(this.#began + milliseconds - STOPPING_MS, started + LEAST_MEASURED_MS);
    for (let left = end - started; !this.#over && left > 0; left = end - performance.now()) {
      await this.#pause(Math.min(TICK_MS, left));
      onTick(this.#verified());
    }
    const after = this.#machine.counters();
    const slept = this.#crew.sleeps;
    const measured = performance.now() - started;
    const stuck = await this.#crew.stop(ioDelay > LONGEST_SLEEP_MS ? 0 : PATIENCE_MS + 2 * ioDelay, this.#signal);
    const failures = [...this.#crew.failures];
    if (!this.#over && ioDelay <= LONGEST_SLEEP_MS) {
      failures.push(...stuck.map((worker) => ({ worker, what: 'error' as const, detail: 'it did not stop in time' })));
    }
    const took = performance.now() - this.#began;
    const figures = { readers: this.#readers, mapper: this.#mapper };
    return summarize({ design, measured, took, slept, before, after, figures, failures });
  }

  #startAll(): void {
    const { file, threads, memory } = this.#settings;
    const space = this.#machine.createSpace();
    const mapped = this.#openFile();
    const base = space.mmap({ length: file.size, prot: PROT_READ, flags: MAP_SHARED, file: mapped });
    const copyPages = Math.max(1, Math.min(MOST_COPY_PAGES, Math.floor(memory / PAGE_SIZE / 8 / threads)));
    for (let seed = 1; seed <= threads; seed++) {
      const common = this.#setupFor(space);
      this.#readers.push(new Float64Array(common.figures));
      const place = { file: mapped.handle, path: file.path, size: file.size, base };
      const setup = { ...common, ...place, copyPages, seed, phase: seed / (threads + 1) };
      this.#crew.start(`reader ${seed}`, 'reader.worker.js', setup satisfies ReaderSetup);
    }
    const figures = this.#mapper.buffer as SharedArrayBuffer;
    this.#crew.start('mapper', 'mapper.worker.js', { ...this.#setupFor(space), figures } satisfies WorkerSetup);
  }

  #setupFor(space: Space): WorkerSetup {
    return { space: space.handle, control: this.#crew.control, figures: new SharedArrayBuffer(FIGURE_CELLS * 8) };
  }

  #openFile(): MappedFile {
    const { file, ioDelay } = this.#settings;
    const delay = ioDelay === 0 ? undefined : { milliseconds: ioDelay, every: DELAY_EVERY };
    return openFileSync(this.#machine, file.path, { delay });
  }

  get #over(): boolean {
    return this.#signal.aborted || this.#crew.failures.length > 0;
  }

  /** Until something happens, `milliseconds` at most. */
  async #pause(milliseconds: number): Promise<void> {
    if (this.#over) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = (): void => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = (): void => undefined;
  }

  #verified(): number {
    return this.#readers.reduce((sum, figures) => sum + (figures[VERIFIED] as number), 0);
  }
}
