/**
 * A thread that stays in one section and polls there, after it has done what used to make the section forget its space. It says that it
 * is there in word READY and leaves when word STOP is raised.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, PROT_READ, PROT_WRITE } from '../../src/base/constants.ts';
import { type Accessor, attachMachine, type MachineHandle, type Space, type SpaceHandle } from '../../src/node.ts';

export interface SectionsData {
  readonly kind: 'mprotect' | 'reclaim' | 'nested' | 'random';
  readonly machine: MachineHandle;
  readonly spaces: readonly SpaceHandle[];
  readonly shared: SharedArrayBuffer;
  /** A page of each space that all threads read. */
  readonly at: number;
  /** `own` pages that only this thread changes, or a mapped file to read through. */
  readonly own: number;
  readonly pages: number;
  readonly seed: number;
}

const STOP = 0;
const READY = 1;
/** Counts the calls that have taken a right away. */
const ROUND = 2;
const PAGE = 4096;
const RW = PROT_READ | PROT_WRITE;
const ANONYMOUS = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;

const { kind, at, own, pages, ...data } = workerData as SectionsData;
const words = new Int32Array(data.shared);
const machine = attachMachine(data.machine);
const spaces = data.spaces.map((handle) => machine.attachSpace(handle));
const first = spaces[0] as Space;
let state = data.seed | 0;

function random(below: number): number {
  state = (Math.imul(state, 1664525) + 1013904223) | 0;
  return Math.floor(((state >>> 8) / 2 ** 24) * below);
}

function stopped(): boolean {
  return Atomics.load(words, STOP) !== 0;
}

function announce(): void {
  Atomics.add(words, READY, 1);
  Atomics.notify(words, READY);
}

/** Never leaves the section by itself. */
function pollUntilStopped(m: Accessor): void {
  announce();
  while (!stopped()) m.load32(at);
}

/** Leaves the section only when somebody's mprotect has returned, which has waited for this section. */
function pollUntilTightened(m: Accessor): void {
  const round = Atomics.load(words, ROUND);
  while (Atomics.load(words, ROUND) === round && !stopped()) m.load32(at);
}

function changeLayout(space: Space): void {
  const page = own + random(pages) * PAGE;
  const which = random(3);
  if (which === 0) space.mprotect(page, PAGE, random(2) === 0 ? PROT_READ : RW);
  else if (which === 1) space.mmap({ addr: page, length: PAGE, prot: RW, flags: ANONYMOUS });
  else for (let i = 0; i < pages; i++) space.load32(own + i * PAGE);
}

/** A section in a section in a section, in any of the spaces, with calls and polling loops at every level. */
function nest(depth: number): void {
  const space = spaces[random(spaces.length)] as Space;
  space.run((m) => {
    for (let step = random(4); step >= 0 && !stopped(); step--) {
      const what = random(4);
      if (what === 0) changeLayout(spaces[random(spaces.length)] as Space);
      else if (what === 1 && depth < 3) nest(depth + 1);
      else pollUntilTightened(m);
    }
  });
}

let problem = '';
try {
  if (kind === 'mprotect') {
    first.run((m) => {
      first.mprotect(own, PAGE, PROT_READ);
      pollUntilStopped(m);
    });
  } else if (kind === 'reclaim') {
    first.run((m) => {
      for (let i = 0; i < pages; i++) m.load32(own + i * PAGE);
      pollUntilStopped(m);
    });
  } else if (kind === 'nested') {
    first.run((m) => {
      (spaces[1] as Space).run((inner) => inner.load32(at));
      pollUntilStopped(m);
    });
  } else {
    announce();
    while (!stopped()) nest(0);
  }
} catch (error) {
  problem = String((error as Error).stack);
}
machine.close();
parentPort?.postMessage(problem);
