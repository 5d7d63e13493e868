/** Calls that a second thread makes beside a scenario, on the range that the scenario is about. */
import {
  MAP_FIXED,
  MAP_PRIVATE,
  type Machine,
  type MappedFile,
  PROT_READ,
  registerBacking,
  type Space,
} from '../../../src/index.ts';
import type { Scenario } from './scenarios.ts';
import { ANON, anotherCpu, BASE, P, patternOf, RW, type World } from './world.ts';

/** One thread's hands on the world. */
export interface Hands {
  readonly machine: Machine;
  readonly space: Space;
  readonly file: MappedFile;
  /** A file whose every read fails. */
  readonly bad: MappedFile;
}

/** What a page is mapped as; absent: nothing. */
export type Pages = ReadonlyMap<number, string>;

export interface Call {
  readonly name: string;
  act(hands: Hands, scenario: Scenario, world: World): void;
  /** What the call makes of a page of the layout, if it changes layouts: `was` is undefined for a hole. */
  becomes?(page: number, was: string | undefined, scenario: Scenario): string | undefined;
  /** Not for a thread that is to go on: it gives up its space or its machine. */
  readonly last?: boolean;
}

/** A user's own error: it must come out as it was thrown. */
export class Thrown extends Error {}

registerBacking('bad', () => ({
  read() {
    throw new Thrown('the disk is gone');
  },
  close() {},
}));

/** Where files are mapped that are read to their ends, out of every scenario's way. */
export const ELSEWHERE: number = BASE + 6000 * P;
export const FILE_READS = 16;

const lengthOf = ({ pages }: Scenario): number => Math.max(1, pages) * P;
const inside = (page: number, { pages }: Scenario): boolean => page >= 0 && page < Math.max(1, pages);
const pagesToTouch = ({ pages }: Scenario): number[] =>
  [...new Set([0, 1, 2, pages - 1])].filter((p) => p >= 0 && p < pages);

export const CALLS: readonly Call[] = [
  {
    name: 'the same call',
    act: (_hands, scenario, world) => scenario.act(world),
    last: true,
  },
  {
    name: 'munmap of the range',
    act: ({ space }, scenario) => space.munmap(BASE, lengthOf(scenario)),
    becomes: (page, was, scenario) => (inside(page, scenario) ? undefined : was),
  },
  {
    name: 'munmap of the first page',
    act: ({ space }) => space.munmap(BASE, P),
    becomes: (page, was) => (page === 0 ? undefined : was),
  },
  {
    name: 'MAP_FIXED over the range',
    act: ({ space }, scenario) => {
      space.mmap({ addr: BASE, length: lengthOf(scenario), prot: PROT_READ, flags: ANON | MAP_FIXED });
    },
    becomes: (page, was, scenario) => (inside(page, scenario) ? 'prot 1' : was),
  },
  {
    name: 'MAP_FIXED of a file over the range',
    act: ({ space, file }, scenario) => {
      space.mmap({ addr: BASE, length: lengthOf(scenario), prot: RW, flags: MAP_PRIVATE | MAP_FIXED, file });
    },
    becomes: (page, was, scenario) => (inside(page, scenario) ? `prot 3 file ${page}` : was),
  },
  {
    name: 'mprotect of the range',
    act: ({ space }, scenario) => space.mprotect(BASE, lengthOf(scenario), PROT_READ),
    becomes: (page, was, scenario) =>
      was !== undefined && inside(page, scenario) ? was.replace(/prot \d/, 'prot 1') : was,
  },
  {
    name: 'a mapping beside it',
    act: ({ space }, scenario) => {
      space.mmap({ addr: BASE + lengthOf(scenario), length: P, prot: RW, flags: ANON | MAP_FIXED });
    },
    becomes: (page, was, scenario) => (page === Math.max(1, scenario.pages) ? 'prot 3' : was),
  },
  {
    name: 'loads from its pages',
    act: ({ space }, scenario) => {
      for (const page of pagesToTouch(scenario)) space.load32(BASE + page * P);
    },
  },
  {
    name: 'stores to its pages',
    act: ({ space }, scenario) => {
      for (const page of pagesToTouch(scenario)) space.store32(BASE + page * P, 77);
    },
  },
  {
    name: 'a callback in run that stores and throws',
    act: ({ space }, scenario) => {
      space.run((memory) => {
        for (const page of pagesToTouch(scenario)) memory.store32(BASE + page * P, 77);
        throw new Thrown('enough');
      });
    },
  },
  {
    name: 'reading the file from its end',
    act: ({ space, file }) => readFile(space, file, (page) => FILE_READS - 1 - page),
  },
  {
    name: 'reading the file from its beginning',
    act: ({ space, file }) => readFile(space, file, (page) => page),
  },
  {
    name: 'a read that the file system refuses',
    act: ({ space, bad }) => {
      const at = space.mmap({
        addr: ELSEWHERE + 32 * P,
        length: P,
        prot: PROT_READ,
        flags: MAP_PRIVATE | MAP_FIXED,
        file: bad,
      });
      space.load32(at);
    },
  },
  {
    name: 'writing until memory is used up',
    act: ({ space }) => {
      const at = space.mmap({ addr: ELSEWHERE + 64 * P, length: 300 * P, prot: RW, flags: ANON | MAP_FIXED });
      try {
        for (let page = 0; page < 300; page++) space.store32(at + page * P, 1);
      } finally {
        space.munmap(at, 300 * P);
      }
    },
  },
  {
    name: 'as many spaces as there are',
    act: ({ machine }) => {
      const made: Space[] = [];
      try {
        for (let i = 0; i < 64; i++) made.push(machine.createSpace());
      } finally {
        for (const space of made) space.close();
      }
    },
  },
  {
    name: 'a space of its own',
    act: ({ machine, file }) => {
      const space = machine.createSpace();
      try {
        space.store32(space.mmap({ length: 2 * P, prot: RW, flags: ANON }), 1);
        space.load32(space.mmap({ length: P, prot: RW, flags: MAP_PRIVATE, file }));
      } finally {
        space.close();
      }
    },
  },
  {
    name: 'a file of its own',
    act: ({ machine, space }) => {
      const file = machine.createFile('pattern', { text: 'y'.repeat(100) }, 4 * P);
      try {
        const at = space.mmap({
          addr: ELSEWHERE + 48 * P,
          length: 4 * P,
          prot: PROT_READ,
          flags: MAP_PRIVATE | MAP_FIXED,
          file,
        });
        space.load32(at);
        space.munmap(at, 4 * P);
      } finally {
        file.close();
      }
    },
  },
  {
    name: 'opening and closing the file',
    act: ({ machine, file }) => machine.attachFile(file.handle).close(),
  },
  {
    name: 'draining',
    act: ({ machine }) => machine.drain(),
  },
  {
    name: 'wait and notify',
    act: ({ space }) => {
      space.wait(BASE, space.load32(BASE), 30);
      space.notify(BASE);
    },
  },
  {
    name: 'a thread that comes, looks and goes',
    act: ({ machine, space }) => {
      const visitor = anotherCpu(machine);
      try {
        visitor.attachSpace(space.handle).load32(BASE);
      } finally {
        visitor.close();
      }
    },
    last: true, // its cpu would be nobody's if it fails
  },
  {
    name: 'closing the space',
    act: ({ space }) => space.close(),
    last: true,
  },
  {
    name: 'leaving the machine',
    act: ({ machine }) => machine.close(),
    last: true,
  },
];

function readFile(space: Space, file: MappedFile, nth: (page: number) => number): void {
  const at = space.mmap({
    addr: ELSEWHERE,
    length: FILE_READS * P,
    prot: PROT_READ,
    flags: MAP_PRIVATE | MAP_FIXED,
    file,
  });
  for (let i = 0; i < FILE_READS; i++) {
    const found = space.load32(at + nth(i) * P);
    if (found !== patternOf(nth(i))) throw new WrongData(`page ${nth(i)} of the file reads ${found.toString(16)}`);
  }
}

/** Not an error of the library's: the test must see it. */
export class WrongData extends Error {}

export function callNamed(name: string): Call {
  const call = CALLS.find((each) => each.name === name);
  if (call === undefined) throw new Error(`no call '${name}'`);
  return call;
}
