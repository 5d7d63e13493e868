/** The calls in which every allocation and every sleep fails once: what threads die in, and the public calls beside those. */
import { MAP_FIXED, MAP_SHARED, PROT_READ } from '../../../src/index.ts';
import { SCENARIOS, type Scenario } from './scenarios.ts';
import type { Stage } from './stage.ts';
import { ANON, anotherCpu, BASE, P, patternOf, RW, stamped, stampOf, type World } from './world.ts';

export interface Subject extends Scenario {
  /** One public call: if it fails, nothing has changed. */
  readonly single?: boolean;
  /** The call done again, where `act` cannot be: it had closed its own space, or unmapped what it reads. */
  again?(world: World): void;
  /** What must be done with the stage's help, after all else. */
  stage?(world: World, stage: Stage): void;
}

const SEVERAL = /then a write|read-ahead|reverse map|reclaim|what was retired|making|opening|wait and notify|leaving/;

const at = (page: number): number => BASE + page * P;
const mapFiles = ({ space, file }: World): void => {
  space.mmap({ addr: at(0), length: 4 * P, prot: PROT_READ, flags: MAP_SHARED | MAP_FIXED, file });
  space.mmap({ addr: at(4), length: 4 * P, prot: RW, flags: ANON | MAP_FIXED });
};
const legal = (address: number, value: number): boolean => {
  const page = (address - BASE) / P;
  return page < 4
    ? value === patternOf(page)
    : value === 0 || value === 5 || value === 0x05050505 || value === patternOf(page - 4);
};
/** The number of the third cpu that a world gets. */
const THIRD = 2;
const bytes = new Uint8Array(2 * P);

const MORE: readonly Subject[] = [
  { name: 'read', pages: 8, setup: mapFiles, act: ({ theirs }) => void theirs.read(at(1) + 8, bytes), legal },
  {
    name: 'write',
    pages: 8,
    setup: mapFiles,
    act: ({ theirs }) => void theirs.write(at(5), new Uint8Array(2 * P).fill(5)),
    legal,
  },
  { name: 'fill', pages: 8, setup: mapFiles, act: ({ theirs }) => void theirs.fill(at(5), 2 * P, 5), legal },
  { name: 'copy', pages: 8, setup: mapFiles, act: ({ theirs }) => void theirs.copy(at(4), at(0), 2 * P), legal },
  {
    name: 'populate',
    pages: 8,
    setup: mapFiles,
    act: ({ theirs }) => void theirs.populate(at(0), 8 * P).catch(() => undefined),
    legal,
  },
  {
    name: 'atomic accesses',
    pages: 8,
    setup: mapFiles,
    act: ({ theirs }) => {
      theirs.atomicStore32(at(4), 5);
      theirs.cas32(at(5), 0, 5);
      theirs.exchange32(at(5), 5);
      theirs.add64(at(6), 5n);
    },
    legal,
  },
  {
    name: 'run',
    pages: 8,
    setup: mapFiles,
    act: ({ theirs }) => {
      theirs.run((memory) => {
        for (let page = 0; page < 4; page++) memory.load32(at(page));
        for (let page = 4; page < 8; page++) memory.store32(at(page), 5);
      });
    },
    legal,
  },
  {
    name: 'looking at the layout',
    pages: 8,
    setup: mapFiles,
    act: ({ theirs, victim }) => {
      theirs.maps();
      theirs.counters();
      theirs.sequence();
      theirs.validate();
      theirs.dump();
      victim.census();
      victim.counters();
      victim.cpus();
    },
    legal,
  },
  {
    name: 'coming and going',
    pages: 2,
    setup: ({ space }) => stamped(space, at(0), 2),
    act: ({ victim, theirs }) => {
      const visitor = anotherCpu(victim);
      try {
        visitor.attachSpace(theirs.handle).load32(at(0));
      } finally {
        visitor.close();
      }
    },
    legal: (address, value) => value === stampOf(address),
  },
  {
    name: 'createSpace',
    pages: 2,
    single: true,
    setup: ({ space }) => stamped(space, at(0), 2),
    act: ({ victim }) => victim.createSpace().close(),
    legal: (address, value) => value === stampOf(address),
  },
  {
    name: 'createFile with a long text',
    pages: 2,
    single: true,
    setup: ({ space }) => stamped(space, at(0), 2),
    act: ({ victim }) => victim.createFile('pattern', { text: 'x'.repeat(300) }, P).close(),
    legal: (address, value) => value === stampOf(address),
  },
  {
    name: 'reaping a thread that died in munmap',
    pages: 4,
    setup: ({ space }) => stamped(space, at(-2), 8),
    stage: ({ survivor, space }, stage) => {
      const third = anotherCpu(survivor);
      const theirs = third.attachSpace(space.handle);
      stage.act(() => theirs.munmap(at(0), 4 * P), 500);
    },
    act: ({ victim }) => void victim.reapNow(THIRD),
    legal: (address, value) => value === stampOf(address),
    changesLayout: true,
  },
];

const AGAIN: Readonly<Record<string, (world: World) => void>> = {
  'leaving the machine': ({ victim, theirs }) => {
    if (!theirs.closed) theirs.munmap(at(0), 4 * P);
    victim.close();
  },
  'a file page mapped so often that the reverse map needs nodes': ({ theirs }) => theirs.munmap(at(0), 15 * P),
};

export const SUBJECTS: readonly Subject[] = [
  ...SCENARIOS.map((scenario) => ({
    ...scenario,
    single: !SEVERAL.test(scenario.name),
    again: AGAIN[scenario.name] ?? scenario.act,
  })),
  ...MORE,
];
