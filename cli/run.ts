/** `vmspace run`: every design in turn on one file, then what they did. */
import { availableParallelism } from 'node:os';
import { EXIT_FAILED } from './errors.ts';
import { defaultFile, type InputFile, nodeFiles, userFile } from './file.ts';
import { checkMemory, freeUnused, memoryFor } from './memory.ts';
import { DELAY_EVERY, type RunOptions } from './options.ts';
import { makeProgress, type Progress } from './progress.ts';
import { conclusion, renderTable } from './report.ts';
import type { TrialResult } from './result.ts';
import { formatSize } from './sizes.ts';
import { runTrial } from './trial.ts';

interface Plan {
  readonly options: RunOptions;
  readonly file: InputFile;
  readonly memory: number;
}

/** Prints what came out; the exit code. Throws UsageError, RunError. */
export async function run(options: RunOptions, signal: AbortSignal): Promise<number> {
  checkMemory(options, 0);
  const file = options.file === undefined ? await defaultFile(nodeFiles(), signal) : userFile(options.file);
  try {
    checkMemory(options, file.size);
    const memory = options.memory ?? memoryFor(file.size);
    const plan = { options, file, memory };
    if (!options.json) print(headline(plan));
    const results = await runDesigns(plan, signal);
    print(
      options.json ? JSON.stringify(document(plan, results, signal), undefined, 2) : summary(plan, results, signal),
    );
    return results.some((result) => result.failures.length > 0) ? EXIT_FAILED : 0;
  } finally {
    file.remove();
  }
}

async function runDesigns({ options, file, memory }: Plan, signal: AbortSignal): Promise<TrialResult[]> {
  const { threads, ioDelay, designs, seconds } = options;
  const progress: Progress = makeProgress(seconds);
  const results: TrialResult[] = [];
  const began = performance.now();
  try {
    for (const [index, design] of designs.entries()) {
      if (signal.aborted) break;
      if (index > 0) freeUnused();
      progress.begin(design);
      const left = seconds * 1000 - (performance.now() - began);
      const milliseconds = left / (designs.length - index);
      const result = await runTrial({ design, file, memory, threads, ioDelay, milliseconds }, signal, (verified) => {
        progress.update((performance.now() - began) / 1000, verified);
      });
      results.push(result);
      if (result.failures.length > 0) break;
    }
  } finally {
    progress.stop();
  }
  return results;
}

function headline({ options, file, memory }: Plan): string {
  const { threads, ioDelay } = options;
  const slow = ioDelay === 0 ? 'no slow reads' : `one read in ${DELAY_EVERY} sleeps ${ioDelay} ms`;
  const readers = `${threads} reading ${threads === 1 ? 'thread' : 'threads'} and a mapping one`;
  const first = `${file.path} (${formatSize(file.size)}) in ${formatSize(memory)} of memory; ${readers}; ${slow}`;
  const lines = [first];
  if (memory >= file.size) lines.push('The whole file fits into memory: each page is read once.');
  const cpus = availableParallelism();
  if (threads >= cpus)
    lines.push(`${threads + 1} busy threads on ${cpus} CPUs: the longest waits include waiting for a CPU.`);
  return lines.join('\n');
}

function summary({ options }: Plan, results: readonly TrialResult[], signal: AbortSignal): string {
  const lines: string[] = [];
  if (results.length > 0) lines.push(renderTable(results, options.ioDelay));
  if (signal.aborted) lines.push('Interrupted: these are the figures until then.');
  for (const { design, failures } of results) {
    for (const { worker, what, detail } of failures)
      lines.push(`${what.toUpperCase()}: ${worker} under ${design}: ${detail}`);
  }
  lines.push(conclusion(results, options.ioDelay));
  return lines.join('\n');
}

function document({ options, file, memory }: Plan, designs: readonly TrialResult[], signal: AbortSignal): object {
  const { threads, ioDelay, seconds } = options;
  return {
    host: { node: process.version, platform: process.platform, arch: process.arch, cpus: availableParallelism() },
    file: { path: file.path, size: file.size, generated: file.generated },
    memory,
    threads,
    ioDelay: { milliseconds: ioDelay, every: DELAY_EVERY },
    seconds,
    interrupted: signal.aborted,
    designs,
    conclusion: conclusion(designs, ioDelay),
  };
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
