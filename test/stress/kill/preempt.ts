/**
 * Two threads, one preemption: one stops before access M of its call, the other makes a whole call, the first goes on. Both run on
 * one thread, the second inside the first's access, so every M is tried exactly. A second call that would have to wait for
 * the first is given up: that schedule does not exist.
 */
import type { Pfn } from '../../../src/base/brands.ts';
import { MAP_FIXED, PROT_READ, SegmentationFault, VmError } from '../../../src/index.ts';
import type { Frames } from '../../../src/memory/frames.ts';
import { collectGarbage } from './garbage.ts';
import { finish, type Report, scenarioNamed, spread, useAgain } from './kill.ts';
import type { Scenario } from './scenarios.ts';
import { ANON, anotherCpu, BASE, layoutOf, makeWorld, P, Port, peekAt, RW, type World } from './world.ts';

export interface PreemptRequest {
  readonly scenario: string;
  readonly intruder: string;
  /** Schedules, spread evenly over the call's accesses from a seeded one on; all of them if there are no more. */
  readonly schedules: number;
  readonly seed: number;
  /** Only this access: a replay. */
  readonly only?: number | undefined;
}

export interface PreemptReport extends Report {
  /** Given up because the second call would have waited for the first. */
  readonly impossible: number;
}

interface Intruder {
  readonly name: string;
  act(world: World, scenario: Scenario, port: Port, at: number): void;
  /** What must hold right after. */
  check?(world: World, scenario: Scenario): string[];
}

const bytes = ({ pages }: Scenario): number => Math.max(1, pages) * P;

export const INTRUDERS: readonly Intruder[] = [
  {
    name: 'munmap of the range',
    act: ({ space }, scenario) => space.munmap(BASE, bytes(scenario)),
  },
  {
    name: 'munmap of the first page',
    act: ({ space }) => space.munmap(BASE, P),
  },
  {
    name: 'MAP_FIXED over the range',
    act: ({ space }, scenario) => {
      space.mmap({ addr: BASE, length: bytes(scenario), prot: PROT_READ, flags: ANON | MAP_FIXED });
    },
    check: ({ space }, scenario) => {
      if (scenario.changesLayout) return [];
      const pages = [0, 1, scenario.pages - 1].filter((page) => page >= 0 && page < scenario.pages);
      const found = pages.map((page) => peekAt(space, BASE + page * P));
      return found.every((value) => value === 0) ? [] : [`the new mapping reads ${found.join(', ')}`];
    },
  },
  {
    name: 'a mapping beside it, which joins it',
    act: ({ space }, scenario) => {
      space.mmap({ addr: BASE + bytes(scenario), length: P, prot: RW, flags: ANON | MAP_FIXED });
    },
  },
  {
    name: 'faults on the same pages',
    act: ({ space }, { pages }) => {
      for (const page of [0, 1, pages - 1]) {
        if (page < 0 || page >= pages) continue;
        tolerant(() => space.load32(BASE + page * P));
        tolerant(() => space.store32(BASE + page * P, space.load32(BASE + page * P)));
      }
    },
  },
  {
    name: 'reclaim of everything',
    act: ({ survivor }) => {
      survivor.kernel.reclaim.run(1000);
      survivor.kernel.rcu.freeAllRetired();
    },
  },
  {
    name: 'theft of all free frames, which are then given back',
    act: ({ survivor }) => {
      const { frames } = survivor.kernel;
      const got: Pfn[] = [];
      for (let pfn = takeAny(frames); pfn !== 0; pfn = takeAny(frames)) got.push(pfn);
      for (const pfn of got) frames.free(pfn);
    },
  },
  {
    name: 'closing and opening of files',
    act: ({ survivor }) => {
      const file = survivor.createFile('pattern', {}, 2 * P);
      survivor.attachFile(file.handle).close();
      file.close();
    },
  },
  {
    name: 'the death of a third thread in the same call',
    act: ({ survivor, space, file }, scenario, port, at) => {
      const third = anotherCpu(survivor);
      const own: World = {
        survivor,
        space,
        file,
        victim: third,
        theirs: third.attachSpace(space.handle),
        theirFile: third.attachFile(file.handle),
      };
      port.dieInside(at, () => tolerant(() => scenario.act(own)));
      survivor.reapNow(third.cpu);
    },
  },
];

function takeAny(frames: Frames): Pfn {
  return frames.alloc() || frames.steal();
}

export function preemptEverywhere({ scenario: name, intruder, schedules, seed, only }: PreemptRequest): PreemptReport {
  const scenario = scenarioNamed(name);
  const second = INTRUDERS.find((each) => each.name === intruder) as Intruder;
  const port = new Port();
  port.install();
  preemptOnce(port, scenario, second, Number.POSITIVE_INFINITY);
  const accesses = port.count;
  const failures: string[] = [];
  let worlds = 0;
  let impossible = 0;
  for (const at of only === undefined ? spread(accesses, schedules, seed) : [only]) {
    if (failures.length >= 5) break;
    if (worlds++ % 16 === 0) collectGarbage();
    const problem = preemptOnce(port, scenario, second, at);
    if (port.impossible) impossible++;
    else if (problem !== '') failures.push(`preempted before access ${at} of ${accesses} (${port.place}): ${problem}`);
  }
  return { accesses, worlds, impossible, failures };
}

/** What went wrong, or ''. */
function preemptOnce(port: Port, scenario: Scenario, intruder: Intruder, at: number): string {
  const world = makeWorld(scenario.frames ?? 256);
  scenario.setup(world);
  scenario.warm?.(world);
  const problems: string[] = [];
  let intruded = false;
  try {
    port.preempt(
      at,
      () => tolerant(() => scenario.act(world)),
      () => {
        intruded = true;
        tolerant(() => intruder.act(world, scenario, port, Math.imul(at, 7) % 997));
      },
    );
    if (!intruded) return '';
    port.survive(() => {
      world.space.validate();
      const { mappings } = world.space.counters();
      const found = world.space.maps().length;
      if (mappings !== found) problems.push(`${found} mappings, but ${mappings} are counted`);
      problems.push(...(intruder.check?.(world, scenario) ?? []), ...readAll(world));
      useAgain(scenario, world);
      problems.push(...finish(world));
    });
  } catch (error) {
    problems.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
  return problems.join('; ');
}

/** Every mapped page is there; what it reads may be the one or the other. */
function readAll({ space }: World): string[] {
  const problems: string[] = [];
  for (const { start, end, prot } of space.maps()) {
    for (let at = start; (prot & PROT_READ) !== 0 && at < Math.min(end, start + 32 * P); at += P) {
      if (typeof peekAt(space, at) === 'string') problems.push(`page ${(at - BASE) / P} of\n${layoutOf(space)} faults`);
    }
  }
  return problems;
}

/** Runs what may find the layout changed under it. */
function tolerant(call: () => unknown): void {
  try {
    call();
  } catch (error) {
    if (!(error instanceof SegmentationFault) && !(error instanceof VmError)) throw error;
  }
}
