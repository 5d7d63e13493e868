/** Threads that come and go beside a play: visitors, and threads that are terminated wherever they just are. */
import { once } from 'node:events';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { MAP_FIXED } from '../../src/base/constants.ts';
import type { Machine, Space } from '../../src/node.ts';
import { until } from '../hang.ts';
import { PAGE, PRIVATE, RW, seeded } from '../support.ts';
import { BOARD_WORDS, PROGRESS } from './board.ts';
import { type Part, REPLAY, type Report, SEED, Stage, work } from './crew.ts';

const FILE = 'comers.worker.js';
const STAMP = 4711;
/** Of the numbered file: each of its words names its page. */
export const FILE_PAGES = 4096;
const WINDOW = 32;
/** The word of whoever is about to die. */
const MORTAL = BOARD_WORDS - 1 - PROGRESS;
/** A life lasts at most so many steps, a passer-by's so many visits. */
const LONGEST_LIFE = { mischief: 400, passerBy: 12 };

/** Makes the numbered file in a folder of its own. */
export function numberedFile(): { folder: string; path: string } {
  const folder = mkdtempSync(join(tmpdir(), 'vmspace-threads-'));
  const path = join(folder, 'numbered');
  const words = new Int32Array(FILE_PAGES * 1024).map((_, i) => i >> 10);
  writeFileSync(path, new Uint8Array(words.buffer));
  return { folder, path };
}

export interface Comings {
  /** A mapping of the numbered file, 0 for none. */
  readonly file?: number;
  readonly visits?: number;
  readonly deaths?: number;
}

/**
 * Plays the parts, and beside them a visitor, and threads that are terminated after a random number of steps and reaped. Ends when
 * every part has done enough and all deaths are died.
 */
export async function playBesideComers(
  machine: Machine,
  space: Space,
  parts: readonly Part[],
  { file = 0, visits = 40, deaths = 3 }: Comings = {},
): Promise<Report[]> {
  const stage = new Stage(machine, space);
  const stamped = placeToVisit(space);
  const window = space.mmap({ length: WINDOW * PAGE, prot: RW, flags: PRIVATE });
  stage.start(parts);
  stage.start([visitor(stamped, work(visits), file)]);
  const reports = await stage.end(die(stage, work(deaths), { stamped, window, file }));
  space.validate();
  space.munmap(stamped, 2 * PAGE);
  space.munmap(window, WINDOW * PAGE);
  return reports;
}

/** A page with the stamp, and one for the visitor's own count. */
export function placeToVisit(space: Space): number {
  const at = space.mmap({ length: 2 * PAGE, prot: RW, flags: PRIVATE });
  space.store32(at, STAMP);
  return at;
}

/** Attaches, makes one access and closes, over and over; of a mapping of the numbered file too, unless `file` is 0. */
export function visitor(place: number, visits: number, file = 0): Part {
  return { role: 'visitor', at: place, pages: 2, other: file, enough: visits, file: FILE };
}

/** Plays the parts with nobody beside them. */
export function playAlone(machine: Machine, space: Space, parts: readonly Part[]): Promise<Report[]> {
  const stage = new Stage(machine, space);
  stage.start(parts);
  return stage.end();
}

/** One thread after the other comes, works, and is terminated. After each the space is whole and its window can be used. */
async function die(
  stage: Stage,
  deaths: number,
  { stamped, window, file }: { stamped: number; window: number; file: number },
): Promise<void> {
  const random = seeded(SEED);
  for (let death = 0; death < deaths && !stage.stopped; death++) {
    const role = death % 2 === 0 ? 'mischief' : 'passerBy';
    const life = Math.floor(random() * LONGEST_LIFE[role]);
    const at = role === 'mischief' ? window : stamped;
    await dieOnce(stage, { role, at, pages: WINDOW, other: file, enough: 0, file: FILE }, life, death);
    stage.space.validate();
    stage.space.mmap({ addr: window, length: WINDOW * PAGE, prot: RW, flags: PRIVATE | MAP_FIXED });
    expect(stage.space.fill(window, WINDOW * PAGE, 1)).toBe(WINDOW * PAGE);
  }
}

async function dieOnce(stage: Stage, part: Part, life: number, death: number): Promise<void> {
  const { words, machine } = stage;
  const name = `${part.role} ${death}, to die after ${life} steps (${REPLAY})`;
  Atomics.store(words, PROGRESS + MORTAL, 0);
  const worker = stage.worker(part, MORTAL, SEED + death, 0);
  const thread = worker.threadId;
  const gone = once(worker, 'exit'); // rejects if the thread ends with an error of its own
  let report: Report | undefined;
  worker.once('message', (message: Report) => {
    report = message;
  });
  gone.catch(() => stage.stop());
  await until(`the steps of ${name}`, () => stage.stopped || stage.progress(MORTAL) > life);
  await worker.terminate();
  await gone;
  if (report !== undefined) expect(report.failures, name).toEqual([]);
  await until(`the reaping of ${name}`, () => machine.cpus().every((cpu) => cpu.thread !== thread));
}
