/** What each page of a space may be after calls of which nobody knows how far they came. */
import { MAP_FIXED_NOREPLACE, MAP_PRIVATE, type Space } from '../../../src/index.ts';
import type { Call, Hands } from './calls.ts';
import { ELSEWHERE } from './calls.ts';
import type { Scenario } from './scenarios.ts';
import { BASE, FILE_PAGES, P, patternOf, peekAt, RW, stamped, stampOf, type World } from './world.ts';

/** Pages that no call is about: page numbers from BASE on, stamped, or of the file. */
const STAMPED: readonly number[] = [-40, -39, -38, 3000, 3001];
const OF_FILE: readonly number[] = [-60, -59, -58, -57];

export function setBystanders({ space, file }: World): void {
  stamped(space, BASE - 40 * P, 3);
  stamped(space, BASE + 3000 * P, 2);
  space.mmap({ addr: BASE - 60 * P, length: 4 * P, prot: RW, flags: MAP_PRIVATE | MAP_FIXED_NOREPLACE, file });
  space.load32(BASE - 59 * P);
}

/** By page from BASE on: what it may be mapped as; undefined stands for a hole. */
export class PageSets {
  readonly #sets: ReadonlyMap<number, ReadonlySet<string | undefined>>;

  constructor(sets: ReadonlyMap<number, ReadonlySet<string | undefined>>) {
    this.#sets = sets;
  }

  has(page: number): boolean {
    return this.#sets.has(page);
  }

  pages(): Iterable<number> {
    return this.#sets.keys();
  }

  may(page: number, key: string | undefined): boolean {
    return this.#sets.get(page)?.has(key) ?? key === undefined;
  }

  /** Whether the page is what it was: no call was about it. */
  allowed(page: number): readonly (string | undefined)[] {
    return [...(this.#sets.get(page) ?? [undefined])];
  }

  union(other: PageSets): PageSets {
    const out = new Map<number, Set<string | undefined>>();
    for (const page of new Set([...this.pages(), ...other.pages()])) {
      out.set(page, new Set([...this.allowed(page), ...other.allowed(page)]));
    }
    return new PageSets(out);
  }

  /** After a call that was done, or of which nobody knows. */
  map(call: Call, scenario: Scenario, how: 'done' | 'perhaps'): PageSets {
    if (call.becomes === undefined) return this;
    const out = new Map<number, Set<string | undefined>>();
    const last = Math.max(1, scenario.pages);
    for (const page of new Set([...this.pages(), ...Array.from({ length: last + 1 }, (_, i) => i)])) {
      const was = this.allowed(page);
      const now = was.map((key) => call.becomes?.(page, key, scenario));
      const replaces = call.becomes(page, undefined, scenario) !== undefined; // MAP_FIXED may leave a hole
      if (how === 'done') out.set(page, new Set(now));
      else out.set(page, new Set(replaces ? [...was, ...now, undefined] : [...was, ...now]));
    }
    return new PageSets(out);
  }
}

/** A space's layout, page by page. */
export function pagesOf(space: Space): PageSets {
  const out = new Map<number, Set<string | undefined>>();
  for (const { start, end, prot, shared, file, offset } of space.maps()) {
    for (let at = start; at < end; at += P) {
      const origin = file === undefined ? '' : ` file ${(offset + at - start) / P}`;
      out.set((at - BASE) / P, new Set([`prot ${prot}${shared ? ' shared' : ''}${origin}`]));
    }
  }
  return new PageSets(out);
}

/** What may be after the scenario's call alone. */
export function legalPages(scenario: Scenario, before: PageSets, after: PageSets): PageSets {
  const both = before.union(after);
  if (scenario.mayLeaveHole !== true && scenario.manyLayouts !== true) return both;
  const out = new Map<number, Set<string | undefined>>();
  for (const page of both.pages()) out.set(page, new Set([...both.allowed(page), undefined]));
  for (let page = 0; scenario.manyLayouts === true && page < scenario.pages; page++) {
    out.set(page, new Set([undefined, `prot 3 file ${page}`]));
  }
  return new PageSets(out);
}

/** Every page is what it may be, and no other page has changed its bytes. */
export function checkPages(scenario: Scenario, { space }: Hands, legal: PageSets): string[] {
  space.validate();
  const problems: string[] = [];
  const { mappings } = space.counters();
  if (mappings !== space.maps().length) problems.push(`${space.maps().length} mappings, but ${mappings} are counted`);
  const found = pagesOf(space);
  const last = (ELSEWHERE - BASE) / P;
  for (const page of new Set([...legal.pages(), ...found.pages()])) {
    if (page >= last || page < -100) continue;
    const [key] = found.allowed(page);
    if (!legal.may(page, key))
      problems.push(`page ${page} is ${key ?? 'a hole'}, not ${legal.allowed(page).join(' or ')}`);
    if (problems.length > 8) return problems;
  }
  return [...problems, ...checkBytes(scenario, space, found)];
}

function checkBytes(scenario: Scenario, space: Space, found: PageSets): string[] {
  const problems: string[] = [];
  for (const page of STAMPED) expectWord(page, stampOf(BASE + page * P));
  for (const page of OF_FILE) expectWord(page, patternOf(page + 60));
  for (const page of found.pages()) {
    if (page < -2 || page > scenario.pages + 1) continue;
    if (scenario.touched !== undefined && !scenario.touched.includes(page)) continue;
    if (found.allowed(page)[0]?.startsWith('prot 0')) continue;
    const value = peekAt(space, BASE + page * P);
    if (!isPlausible(page, value)) problems.push(`page ${page} reads ${String(value)}`);
  }
  return problems;

  function expectWord(page: number, value: number): void {
    const word = peekAt(space, BASE + page * P);
    if (word !== value) problems.push(`page ${page}, which no call was about, reads ${String(word)}, not ${value}`);
  }
}

/** New, stamped, of the file, or what the calls store. */
function isPlausible(page: number, value: number | string): boolean {
  if (value === 0 || value === 1 || value === 7 || value === stampOf(BASE + page * P)) return true;
  if (value === 77 || value === 2 * 77) return true; // stored, or added by two
  if (value === 'BUS_ADRERR') return page >= FILE_PAGES;
  return typeof value === 'number' && value >= patternOf(0) && value < patternOf(FILE_PAGES);
}

/** Layout and first words, as text. */
export function snapshot(scenario: Scenario, space: Space): string {
  const found = pagesOf(space);
  const lines: string[] = [];
  for (const page of [...found.pages()].sort((a, b) => a - b)) {
    if (scenario.touched !== undefined && page > 0 && page < scenario.pages && !scenario.touched.includes(page))
      continue;
    const key = found.allowed(page)[0] as string;
    lines.push(`${page}: ${key} ${key.startsWith('prot 0') ? '' : String(peekAt(space, BASE + page * P))}`);
  }
  return lines.join('\n');
}
