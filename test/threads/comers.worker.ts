/**
 * Threads that come and go beside the other roles. A visitor attaches, makes one access and closes, over and over, until the play
 * ends. The others live until somebody terminates them: a passer-by is a visitor, mischief does whatever a thread may do.
 */
import { MAP_FIXED, PROT_READ } from '../../src/base/constants.ts';
import { attachSpace, machineOf, type Space } from '../../src/node.ts';
import { ANONYMOUS, data, done, fail, PAGE, play, RW, random, stopped } from './role-kit.ts';

/** Pages of the file at `other`: word 0 of each names the page. */
const FILE_PAGES = 4096;
const STAMP = 4711;

/** The page at `at` holds a stamp that nobody writes. The next one is the visitor's own: it counts visits. */
function visitor(): void {
  let count = 0;
  comeAndGo((guest) => {
    if (random(2) === 0) return lookAround(guest);
    const found = guest.load32(data.at + PAGE);
    if (found !== count) fail(`visit ${count}: the page of the last one says ${found}`);
    guest.store32(data.at + PAGE, ++count);
  });
}

function passerBy(): void {
  comeAndGo(lookAround);
}

function comeAndGo(access: (guest: Space) => void): void {
  while (!stopped()) {
    const guest = attachSpace(data.space);
    const machine = machineOf(guest);
    try {
      access(guest);
    } finally {
      machine.close();
    }
    done();
  }
}

/** One read: of the stamp, or of any page of the file. */
function lookAround(guest: Space): void {
  const page = random(FILE_PAGES);
  const [address, wanted] = data.other === 0 || random(4) === 0 ? [data.at, STAMP] : [data.other + page * PAGE, page];
  const found = guest.load32(address);
  if (found !== wanted) fail(`a visitor read ${found}, not ${wanted}`);
}

/** Anything, anywhere in the window. Errors of the kind that it may get are its business. */
function mischief(): void {
  const space = attachSpace(data.space);
  const bytes = new Uint8Array(3 * PAGE);
  while (!stopped()) {
    const first = random(data.pages);
    const at = data.at + first * PAGE;
    const length = (1 + random(Math.min(8, data.pages - first))) * PAGE;
    try {
      step(space, random(9), at, length, bytes);
    } catch (error) {
      const code = (error as { code?: string }).code;
      if (code !== 'EFAULT' && code !== 'ENOMEM' && code !== 'EEXIST') throw error;
    }
    done();
  }
  machineOf(space).close();
}

function step(space: Space, what: number, at: number, length: number, bytes: Uint8Array): void {
  if (what === 0) space.mmap({ addr: at, length, prot: RW, flags: ANONYMOUS | MAP_FIXED });
  else if (what === 1) space.munmap(at, length);
  else if (what === 2) space.mprotect(at, length, random(2) === 0 ? PROT_READ : RW);
  else if (what === 3) space.fill(at, length, 7);
  else if (what === 4 && data.other !== 0) space.read(data.other + random(FILE_PAGES - 4) * PAGE, bytes);
  else if (what === 5) space.wait(at, 0, 1);
  else if (what === 6) space.read(at, bytes.subarray(0, Math.min(length, bytes.length)));
  else if (what === 7) space.run((m) => m.store32(at, m.load32(at + 4) + 1));
  else space.load8(at);
}

play({ visitor, passerBy, mischief }, () => undefined);
