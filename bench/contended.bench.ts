/**
 * Contended read-modify-writes per anonymous fault: two threads fault on disjoint ranges, and a read-modify-write counts if
 * its 64-byte line saw one from both of them.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { createMachine, MiB } from '../src/node.ts';
import type { CountedData, CountedResult } from './counted.worker.ts';
import { type Entry, format, type Plan } from './entry.ts';
import { nameOfWord } from './words.ts';

const THREADS = 2;
const RANGE = 32 * MiB;
const MEMORY = 128 * MiB;
const LINE_WORDS = 16;

type Counts = ReadonlyMap<number, number>;

interface Contention {
  readonly total: number;
  /** What the contended words are, and how often they were hit. */
  readonly byName: ReadonlyMap<string, number>;
}

export async function contendedRmw(_plan: Plan, note: (line: string) => void): Promise<Entry[]> {
  const results = await countOnTwoThreads();
  const faults = results.reduce((sum, result) => sum + result.faults, 0);
  const touching = contention(results.map((result) => result.touching));
  const unmapping = contention(results.map((result) => result.unmapping));
  const all = results.reduce((sum, { touching: counts }) => sum + total(counts), 0);
  note(
    `fault.contended.rmw: ${explain(touching, faults)}; ${format(all / faults)} read-modify-writes per fault in all`,
  );
  note(`fault.contended.rmw.unmap: ${explain(unmapping, faults)}`);
  const entry = (name: string, { total: hits }: Contention): Entry => {
    return { name, value: hits / faults, unit: 'rmw/fault', against: 'lines both threads hit', ratio: null };
  };
  return [entry('fault.contended.rmw', touching), entry('fault.contended.rmw.unmap', unmapping)];
}

async function countOnTwoThreads(): Promise<CountedResult[]> {
  const machine = createMachine({ memory: MEMORY });
  const space = machine.createSpace();
  const barrier = new SharedArrayBuffer(4);
  const workerData: CountedData = { space: space.handle, range: RANGE, barrier, threads: THREADS };
  const url = new URL('./counted.worker.js', import.meta.url);
  const workers = Array.from({ length: THREADS }, () => new Worker(url, { workerData }));
  const exits = workers.map((worker) => once(worker, 'exit'));
  const messages = await Promise.all(workers.map((worker) => once(worker, 'message')));
  await Promise.all(exits);
  machine.close();
  return messages.map(([message]) => message as CountedResult);
}

function contention(threads: readonly Counts[]): Contention {
  const users = new Map<number, number>();
  for (const counts of threads) {
    for (const line of new Set([...counts.keys()].map(lineOf))) users.set(line, (users.get(line) ?? 0) + 1);
  }
  const byName = new Map<string, number>();
  let hits = 0;
  for (const counts of threads) {
    for (const [word, count] of counts) {
      if ((users.get(lineOf(word)) ?? 0) < 2) continue;
      hits += count;
      const name = nameOfWord(word, MEMORY);
      byName.set(name, (byName.get(name) ?? 0) + count);
    }
  }
  return { total: hits, byName };
}

function explain({ byName }: Contention, faults: number): string {
  if (byName.size === 0) return 'none';
  const parts = [...byName].sort((a, b) => b[1] - a[1]);
  return parts.map(([name, count]) => `${name} ${format(count / faults)}/fault (${count})`).join(', ');
}

function lineOf(word: number): number {
  return Math.floor(word / LINE_WORDS);
}

function total(counts: Counts): number {
  return [...counts.values()].reduce((sum, count) => sum + count, 0);
}
