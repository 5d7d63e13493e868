/** Roles of threads that attach once: each is played until the main thread raises the stop word, and checks what it sees. */
import { MAP_FIXED, PROT_READ } from '../../src/base/constants.ts';
import { type Accessor, attachSpace, machineOf, SegmentationFault, type Space } from '../../src/node.ts';
import { LATCH, PAUSED, PERIOD, PROGRESS, STOP } from './board.ts';
import { ANONYMOUS, awaitWord, data, done, fail, PAGE, play, RW, random, shared, stopped } from './role-kit.ts';

/** A wake-up that has not come after so long is lost. */
const LOST_MS = 300_000;
const space: Space = attachSpace(data.space);

/** LTP mmap1: maps, writes the period into every page, opens the period until its peer has looked a few times, unmaps. */
function mapper(): void {
  for (let period = 1; !stopped(); period += 2) {
    space.mmap({ addr: data.at, length: data.pages * PAGE, prot: RW, flags: ANONYMOUS | MAP_FIXED });
    space.run((m) => {
      for (let i = 0; i < data.pages; i++) m.store32(data.at + i * PAGE, period);
    });
    Atomics.store(shared, PERIOD, period);
    if (data.peer >= 0) awaitWord(PROGRESS + data.peer, Atomics.load(shared, PROGRESS + data.peer) + random(3));
    Atomics.store(shared, PERIOD, period + 1);
    space.munmap(data.at, data.pages * PAGE);
    done();
  }
}

/** Within one period: that period's value and no fault. Across its ends: a fault, a fresh page, or a period's value. */
function reader(): void {
  while (!stopped()) {
    const before = Atomics.load(shared, PERIOD);
    const address = data.at + random(data.pages) * PAGE;
    let seen: number | string;
    try {
      seen = space.load32(address);
    } catch (error) {
      seen = error instanceof SegmentationFault ? error.reason : String(error);
    }
    const after = Atomics.load(shared, PERIOD);
    if (before === after && (before & 1) === 1) {
      if (seen !== before) fail(`period ${before}: saw ${seen}`);
      done();
    } else if (
      typeof seen === 'number' ? seen !== 0 && ((seen & 1) === 0 || seen > after + 1) : seen !== 'SEGV_MAPERR'
    ) {
      fail(`between ${before} and ${after}: saw ${seen}`);
    }
  }
}

/** Replaces a mapping in place, again and again (I3). */
function replacer(): void {
  for (let period = 1; !stopped(); period++) {
    space.mmap({ addr: data.at, length: data.pages * PAGE, prot: RW, flags: ANONYMOUS | MAP_FIXED });
    space.run((m) => {
      for (let i = 0; i < data.pages; i++) m.store32(data.at + i * PAGE, period);
    });
    Atomics.store(shared, PERIOD, period);
    done();
  }
}

/** What is always mapped never faults, and shows a fresh page or a value that was written. */
function watcher(): void {
  while (!stopped()) {
    const address = data.at + random(data.pages) * PAGE;
    try {
      const seen = space.load32(address);
      const now = Atomics.load(shared, PERIOD);
      if (seen < 0 || seen > now + 1) fail(`saw ${seen} in period ${now}`);
      done();
    } catch (error) {
      fail(String(error));
    }
  }
}

/** Splits and merges: flips the second half of the range between read-only and writable. */
function splitter(): void {
  const half = data.pages >> 1;
  while (!stopped()) {
    const first = half + random(half);
    space.mprotect(data.at + first * PAGE, (data.pages - first) * PAGE, PROT_READ);
    space.mprotect(data.at + first * PAGE, (data.pages - first) * PAGE, RW);
    done();
  }
}

/** The half that nobody protects must never fault; what it holds stays. */
function neighbour(): void {
  const half = data.pages >> 1;
  const counts = new Int32Array(half);
  while (!stopped()) {
    const i = random(half);
    try {
      space.run((m) => {
        const seen = m.load32(data.at + i * PAGE);
        if (seen !== counts[i]) fail(`page ${i}: ${seen}, not ${counts[i]}`);
        m.store32(data.at + i * PAGE, ++(counts as Int32Array)[i]!);
      });
      done();
    } catch (error) {
      fail(String(error));
    }
  }
}

/** Counts in a page until its right to write is taken away, then waits to be told to go on. */
function writer(): void {
  while (!stopped()) {
    try {
      space.run((m: Accessor) => {
        for (let i = 0; i < 5000 && !stopped(); i++) m.store32(data.at, (m.load32(data.at) + 1) | 0);
      });
      done();
    } catch (error) {
      if (!(error instanceof SegmentationFault) || error.reason !== 'SEGV_ACCERR') fail(String(error));
      Atomics.add(shared, PAUSED, 1);
      Atomics.notify(shared, PAUSED);
      awaitWord(LATCH, 1);
    }
  }
}

/**
 * Takes the right away from a writer that is writing, and gives it back: in between nothing may change any more (I14). Now and then
 * it waits until the writer has met its fault.
 */
function guard(): void {
  for (let last = space.load32(data.at); !stopped(); ) {
    while (space.load32(data.at) === last && !stopped()) Atomics.wait(shared, STOP, 0, 0.1);
    const pauses = Atomics.load(shared, PAUSED);
    Atomics.store(shared, LATCH, 0);
    space.mprotect(data.at, PAGE, PROT_READ);
    last = space.load32(data.at);
    if (random(4) === 0) awaitWord(PAUSED, pauses + 1);
    for (let i = 0; i < 50; i++) {
      if (space.load32(data.at) !== last) fail(`the page changed after mprotect(PROT_READ): ${last}`);
    }
    done();
    space.mprotect(data.at, PAGE, RW);
    Atomics.store(shared, LATCH, 1);
    Atomics.notify(shared, LATCH);
  }
}

/** Adds 1 to a word of every page of a fresh mapping, while others do the same (I9). */
function adder(): void {
  space.run((m) => {
    for (let i = 0; i < data.pages; i++) m.add32(data.at + i * PAGE, 1);
  });
  done(data.pages);
}

/** Reads pages of a file whose every word names its page; the file is several times the memory. */
function fileReader(): void {
  let sequential = random(data.pages);
  while (!stopped()) {
    sequential = random(16) === 0 ? random(data.pages) : (sequential + 1) % data.pages;
    const word = random(1024) * 4;
    try {
      const seen = space.load32(data.at + sequential * PAGE + word);
      done();
      if (seen !== sequential) fail(`page ${sequential}: its word ${word} says ${seen}`);
    } catch (error) {
      fail(String(error));
    }
  }
}

/** Reads the same file from its beginning to its end, over and over. */
function scanner(): void {
  const step = 16 * PAGE;
  const bytes = new Uint8Array(step);
  const words = new Int32Array(bytes.buffer);
  while (!stopped()) {
    for (let first = 0; first < data.pages && !stopped(); first += 16) {
      const read = space.read(data.at + first * PAGE, bytes);
      if (read !== step) fail(`only ${read} bytes of page ${first} and those behind it`);
      for (let i = 0; i < 16; i++)
        if (words[i * 1024 + 7] !== first + i) fail(`page ${first + i} says ${words[i * 1024 + 7]}`);
    }
    done();
  }
}

/** Ping-pong on two futex words. Every round must end: a lost wake-up shows as a time-out. */
function pinger(): void {
  const mine = data.at + data.other * PAGE;
  const theirs = data.at + (1 - data.other) * PAGE;
  if (data.other === 0) bump(theirs);
  for (let round = 1; round <= data.pages; round++) {
    for (let value = space.atomicLoad32(mine); value < round; value = space.atomicLoad32(mine)) {
      if (space.wait(mine, value, LOST_MS) === 'timed-out') {
        fail(`round ${round}: no wake-up in ${LOST_MS / 1000} s`);
        return;
      }
    }
    done();
    bump(theirs);
  }
}

function bump(word: number): void {
  space.add32(word, 1);
  space.notify(word);
}

const ROLES = {
  mapper,
  reader,
  replacer,
  watcher,
  splitter,
  neighbour,
  writer,
  guard,
  adder,
  fileReader,
  scanner,
  pinger,
};

play(ROLES, () => machineOf(space).close());
