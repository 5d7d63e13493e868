/** Processes that run the threads of a model, seen from the checker. */
import { type ChildProcess, fork, spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Ended, RunOptions, Totals } from './engine/leader.ts';
import type { Facts, ModelSource, Order, Report } from './engine/protocol.ts';

/** The checker itself could not go on: a model that does not load, an access that is not reported, a thread that died. */
export class CheckerError extends Error {
  override readonly name = 'CheckerError';
}

/** Beside this module, or, seen from the command line, in the checker's folder. */
function crewScript(): string {
  const candidates = ['./crew.js', '../check/crew.js'].map((path) => fileURLToPath(new URL(path, import.meta.url)));
  const found = candidates.find((path) => existsSync(path));
  if (found === undefined) throw new CheckerError(`the checker's threads are not there: ${candidates.join(', ')}`);
  return found;
}

/** Processors this process may use, as far as the host says so. */
function processors(): number[] {
  try {
    const list = /^Cpus_allowed_list:\s*(\S+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '';
    return list.split(',').flatMap((part) => {
      const [from, to] = part.split('-').map(Number) as [number, number?];
      return Array.from({ length: (to ?? from) - from + 1 }, (_, i) => from + i);
    });
  } catch {
    return [];
  }
}

let pinning: readonly number[] | undefined;

/** Threads of a crew run one at a time, so one processor is enough for them, and hand-overs on it are four times as fast. */
function pinnable(): readonly number[] {
  if (pinning === undefined) {
    const able = process.platform === 'linux' && spawnSync('taskset', ['--version'], { stdio: 'ignore' }).status === 0;
    pinning = able ? processors() : [];
  }
  return pinning;
}

/** Seconds after which a crew that is silent will not speak any more: an execution takes milliseconds. */
const PATIENCE = 60;

/** Models that import `vmspace` get its checked build: see `exports` of package.json. */
const CONDITION = '--conditions=vmspace-checked';

/** A process of Workers that runs the threads of one model. */
export class Crew {
  facts: Facts | undefined;
  readonly totals: Totals = { executions: 0, redundant: 0, steps: 0 };
  pending = 0;
  busy = false;
  onReport: (report: Report) => void = () => undefined;
  private readonly _source: ModelSource;
  private readonly _child: ChildProcess;
  private readonly _watchdog: NodeJS.Timeout;
  /** Seconds without a report, as far as this process was awake. */
  private _silent = 0;
  private readonly _waiting: ((report: Report) => void)[] = [];
  private _broken: Error | undefined;
  private _ended = false;

  private constructor(source: ModelSource, processor: number, patience: number) {
    this._source = source;
    const cpus = pinnable();
    const script = crewScript();
    // What a model prints is not the checker's result.
    const stdio = ['ignore', 2, 'inherit', 'ipc'] as const;
    const cpu = cpus[processor % Math.max(1, cpus.length)];
    this._child =
      cpu === undefined
        ? fork(script, { execArgv: [...process.execArgv, CONDITION], serialization: 'advanced', stdio: [...stdio] })
        : spawn('taskset', ['-c', String(cpu), process.execPath, CONDITION, script], {
            serialization: 'advanced',
            stdio: [...stdio],
          });
    this._child.on('message', (report: Report) => this._receive(report));
    this._child.on('error', (error) => this._break(error.message));
    this._child.on('exit', (code, signal) => {
      if (!this._ended) this._break(`a crew ended with ${signal ?? `code ${code}`}`);
    });
    this._child.send({ type: 'start', source });
    this._watchdog = setInterval(() => {
      this._silent = this.busy || this._waiting.length > 0 ? this._silent + 1 : 0;
      if (this._silent <= patience) return;
      this._break(
        `no word for ${patience} seconds: a thread loops without touching shared memory, waits for something outside the model, ` +
          'or catches what the checker ends it with',
      );
    }, 1000);
  }

  static async start(source: ModelSource, processor = 0, patience = PATIENCE): Promise<Crew> {
    const crew = new Crew(source, processor, patience);
    crew.facts = (await crew.next('ready')).facts;
    return crew;
  }

  send(order: Order): void {
    if (this._broken !== undefined) throw this._broken;
    this._child.send(order);
  }

  /** The next report of a type. Rejects when the crew breaks. */
  next<T extends Report['type']>(type: T): Promise<Extract<Report, { type: T }>> {
    return new Promise((resolve, reject) => {
      const look = (report: Report): void => {
        if (report.type === 'broken') reject(new CheckerError(report.text));
        else if (report.type === type) resolve(report as Extract<Report, { type: T }>);
        else this._waiting.push(look);
      };
      if (this._broken !== undefined) reject(this._broken);
      else this._waiting.push(look);
    });
  }

  async run(script: readonly number[], options: RunOptions = {}): Promise<Ended> {
    const ran = this.next('ran');
    this.send({ type: 'run', script, options });
    return (await ran).ended;
  }

  close(): void {
    this._ended = true;
    clearInterval(this._watchdog);
    this._child.kill('SIGKILL');
  }

  private _receive(report: Report): void {
    this._silent = 0;
    if (report.type === 'broken') {
      this._break(report.text);
      return;
    }
    if (report.type === 'progress') {
      Object.assign(this.totals, report.totals);
      this.pending = report.pending;
    }
    for (const look of this._waiting.splice(0)) look(report);
    this.onReport(report);
  }

  private _break(reason: string): void {
    if (this._broken !== undefined || this._ended) return;
    const { name } = this._source;
    const text = reason.includes(`'${name}'`) ? reason : `${name}: ${reason}`;
    this._broken = new CheckerError(text);
    const report: Report = { type: 'broken', text };
    for (const look of this._waiting.splice(0)) look(report);
    this.onReport(report);
    this.close();
  }
}
