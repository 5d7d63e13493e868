/**
 * I27, taken by its word: a thread killed at any access to shared memory leaves a machine that, once told, works on. Each death is
 * one world: the victim's call stops before access N, the survivor reaps it, and then the layout is the old one or the
 * new one, nothing else has changed, everything works, and when all is closed every pool is whole again (I26).
 */
import { type DesignName, MAP_FIXED_NOREPLACE, type Machine, PROT_READ } from '../../../src/index.ts';
import { C_STATE, CPU_ATTACHED, cpuSlot } from '../../../src/sync/control.layout.ts';
import { conservation } from '../audit.ts';
import { collectGarbage } from './garbage.ts';
import { SCENARIOS, type Scenario } from './scenarios.ts';
import { ANON, anotherCpu, BASE, layoutOf, makeWorld, P, Port, peekAt, RW, stampOf, type World } from './world.ts';

export interface KillRequest {
  readonly scenario: string;
  /** Deaths, spread evenly over the call's accesses from a seeded one on; all of them if there are no more. */
  readonly deaths: number;
  readonly seed: number;
  readonly design?: DesignName | undefined;
  /** The reaper dies too, somewhere. */
  readonly reaperDies?: boolean | undefined;
  /** Only this access: a replay. */
  readonly only?: number | undefined;
}

export interface Report {
  /** Accesses of the call when nobody interferes. */
  readonly accesses: number;
  readonly worlds: number;
  readonly failures: readonly string[];
}

const MAX_FAILURES = 5;

export function killEverywhere({ scenario: name, deaths, seed, design, reaperDies, only }: KillRequest): Report {
  const scenario = scenarioNamed(name);
  const port = new Port();
  port.install();
  const { accesses, layouts } = rehearse(port, scenario, design);
  const failures: string[] = [];
  let worlds = 0;
  for (const fatal of only === undefined ? spread(accesses, deaths, seed) : [only]) {
    if (failures.length >= MAX_FAILURES) break;
    if (worlds++ % 16 === 0) collectGarbage();
    const reaper = reaperDies ? Math.floor(chance(seed, fatal) * REAP_ACCESSES) : undefined;
    const world = prepare(scenario, design);
    const { place, problem } = dieOnce(port, scenario, world, fatal, layouts, reaper);
    if (problem !== undefined) failures.push(`killed before access ${fatal} of ${accesses} (${place}): ${problem}`);
  }
  return { accesses, worlds, failures };
}

export function scenarioNamed(name: string): Scenario {
  const scenario = SCENARIOS.find((each) => each.name === name);
  if (scenario === undefined) throw new Error(`no scenario '${name}'`);
  return scenario;
}

/** `count` accesses of `total`, evenly spread. */
export function spread(total: number, count: number, seed: number): number[] {
  if (total <= count) return Array.from({ length: total }, (_, i) => i);
  const offset = chance(seed, total);
  return Array.from({ length: count }, (_, i) => Math.floor(((i + offset) * total) / count));
}

/** A number in [0, 1) for each pair. */
export function chance(seed: number, index: number): number {
  let hash = Math.imul(seed ^ Math.imul(index + 1, 0x9e3779b1), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}

export interface Layouts {
  readonly old: string;
  readonly new: string;
}

/** The call as it goes when nobody dies. */
function rehearse(
  port: Port,
  scenario: Scenario,
  design: DesignName | undefined,
): { accesses: number; layouts: Layouts } {
  const world = prepare(scenario, design);
  const old = layoutOf(world.space);
  port.kill(Number.POSITIVE_INFINITY, () => scenario.act(world));
  const layouts = { old, new: layoutOf(world.space) };
  const problems = finish(world);
  if (problems.length > 0) throw new Error(`nobody died, and yet: ${problems.join('; ')}`);
  return { accesses: port.count, layouts };
}

function prepare(scenario: Scenario, design: DesignName | undefined): World {
  const world = makeWorld(scenario.frames ?? 256, design);
  scenario.setup(world);
  scenario.warm?.(world);
  return world;
}

function dieOnce(
  port: Port,
  scenario: Scenario,
  world: World,
  fatal: number,
  layouts: Layouts,
  reaper: number | undefined,
): { place: string; problem: string | undefined } {
  const what: string[] = [];
  let place = '';
  try {
    port.kill(fatal, () => scenario.act(world));
    place = port.place;
    if (reaper === undefined) {
      if (!port.survive(() => world.survivor.reapNow(world.victim.cpu))) what.push('there was nobody to reap');
    } else {
      place += `, its reaper ${reapTwice(port, world, reaper)}`;
    }
    port.survive(() => {
      what.push(...checkLayout(scenario, world, layouts));
      useAgain(scenario, world);
      what.push(...finish(world));
    });
  } catch (error) {
    what.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
  return { place, problem: what.length === 0 ? undefined : what.join('; ') };
}

/** A third thread reaps, and dies of it; the survivor is told of that death only. */
function reapTwice(port: Port, { survivor, victim }: World, fatal: number): string {
  const reaper = anotherCpu(survivor);
  const lived = port.kill(fatal, () => void reaper.reapNow(victim.cpu));
  const where = lived ? 'lived' : `at ${fatal} (${port.place})`;
  port.survive(() => {
    // It died before it had begun: then the first death is nobody's yet, and is told first.
    if (isAttached(survivor, victim)) survivor.reapNow(victim.cpu);
    if (lived) reaper.close();
    else survivor.reapNow(reaper.cpu);
  });
  return where;
}

/** About as many as a reaper makes. */
const REAP_ACCESSES = 3000;

export function checkLayout(scenario: Scenario, { space }: World, layouts: Layouts): string[] {
  space.validate();
  const end = BASE + scenario.pages * P;
  const found = layoutOf(space);
  const isOld = found === layouts.old;
  const isHole = scenario.mayLeaveHole === true && found === withoutRange(layouts.old, BASE, end);
  const problems: string[] = [];
  const { mappings } = space.counters();
  if (mappings !== space.maps().length) problems.push(`${space.maps().length} mappings, but ${mappings} are counted`);
  if (!scenario.manyLayouts && !isOld && !isHole && found !== layouts.new)
    problems.push(`the layout is neither old nor new:\n${found}`);
  for (const { start, end: last, prot, file } of space.maps()) {
    if ((prot & PROT_READ) === 0) space.mprotect(start, last - start, PROT_READ);
    for (let at = start; at < last; at += P) {
      if (scenario.touched !== undefined && at >= BASE && at < end && !scenario.touched.includes((at - BASE) / P))
        continue;
      const value = peekAt(space, at);
      const inside = at >= BASE && at < end;
      const fine = inside ? scenario.legal?.(at, value as number, isOld ? 'old' : 'new') : isUntouched(file, at, value);
      if (fine === false)
        problems.push(`page ${(at - BASE) / P} reads ${String(value)}, layout ${isOld ? 'old' : 'new'}`);
    }
  }
  return problems;
}

function isUntouched(file: number | undefined, at: number, value: number | string): boolean {
  return file !== undefined || value === stampOf(at);
}

/** Lines of a layout with [start, end) cut out. */
function withoutRange(layout: string, start: number, end: number): string {
  const lines: string[] = [];
  for (const line of layout.split('\n').filter(Boolean)) {
    const [, low, high, key] = /^(\w+)-(\w+) (.*)$/.exec(line) as RegExpExecArray;
    const first = Number.parseInt(low as string, 16);
    const last = Number.parseInt(high as string, 16);
    if (first < start) lines.push(`${first.toString(16)}-${Math.min(last, start).toString(16)} ${key}`);
    if (last > end) lines.push(`${Math.max(first, end).toString(16)}-${last.toString(16)} ${key}`);
    if (last <= start || first >= end) continue;
  }
  return [...new Set(lines)].join('\n');
}

/** The survivor maps, writes, protects and unmaps where the victim died, and reads the file to its end. */
export function useAgain({ pages }: Scenario, { space, file }: World): void {
  if (pages > 0) space.munmap(BASE, pages * P);
  const length = Math.max(4, pages) * P;
  const at = space.mmap({
    addr: pages > 0 ? BASE : 0,
    length: pages > 0 ? pages * P : length,
    prot: RW,
    flags: pages > 0 ? ANON | MAP_FIXED_NOREPLACE : ANON,
  });
  for (const page of [0, 1, 2]) {
    if (page >= Math.max(1, pages)) break;
    if (space.load32(at + page * P) !== 0) throw new Error(`a new page ${page} is not zero`);
    space.store32(at + page * P, page + 1);
  }
  space.mprotect(at, P, PROT_READ);
  if (space.load32(at) !== 1) throw new Error('a write is lost');
  space.munmap(at, pages > 0 ? pages * P : length);
  space.notify(fileAt(space, file));
}

function fileAt(space: World['space'], file: World['file']): number {
  const at = space.mmap({ length: file.size, prot: PROT_READ, flags: 2, file });
  for (let page = file.size / P - 1; page >= 0; page--) {
    if ((space.load32(at + page * P) & 0xffff) !== page) throw new Error(`page ${page} of the file has other bytes`);
  }
  return at;
}

/** Closes everything and counts. */
export function finish({ survivor, space, file, victim, theirs, theirFile }: World): string[] {
  if (isAttached(survivor, victim)) {
    theirs.close();
    theirFile.close();
    victim.close();
  }
  space.close();
  file.close();
  const problems = conservation(survivor);
  survivor.close();
  return problems;
}

function isAttached(survivor: Machine, victim: Machine): boolean {
  return survivor.kernel.words[cpuSlot(victim.cpu) + C_STATE] === CPU_ATTACHED;
}
