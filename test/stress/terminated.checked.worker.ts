/**
 * The threads of terminated.test.ts, all of the checked build. The worker maps, faults and unmaps without pause; the visitor
 * attaches, makes one access and closes, over and over; the reaper is told of deaths; a victim stops for ever at a chosen place and
 * is terminated there.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { F_LOCK } from '../../src/backing/mapping.layout.ts';
import { pageTryLock } from '../../src/backing/page-lock.ts';
import type { PageRef, TableRef, Vpn } from '../../src/base/brands.ts';
import { MAX_CPUS } from '../../src/base/limits.ts';
import { P_RMAP_LOCK } from '../../src/memory/page.layout.ts';
import {
  attachMachine,
  createMachine,
  type FileHandle,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_PRIVATE,
  type Machine,
  PROT_READ,
  PROT_WRITE,
  registerBacking,
  type Space,
  type SpaceHandle,
} from '../../src/node.ts';
import { MM_MMAP_LOCK, MM_TREE_LOCK } from '../../src/paging/mm.layout.ts';
import { T_LOCK } from '../../src/paging/table.layout.ts';
import { observePort } from '../../src/sync/atomics.checked.ts';
import {
  ARENA_LOCK,
  C_RETIRE_LOCK,
  C_SLOT,
  C_STATE,
  C_THREAD,
  CPU_ATTACHED,
  cpuSlot,
  FRAME_LOCK,
  FUTEX_LINES,
  HASH_LOCK_LINES,
  SLAB_LINES,
  SPACE_LOCK,
} from '../../src/sync/control.layout.ts';
import {
  CLASS_ARENA,
  CLASS_CACHE,
  CLASS_FILES,
  CLASS_FRAMES,
  CLASS_FUTEX,
  CLASS_LEAF,
  CLASS_RETIRE,
  CLASS_RMAP,
  CLASS_RWSEM,
  CLASS_SLAB,
  CLASS_SPACES,
  CLASS_TREE,
} from '../../src/sync/lock-classes.ts';
import { writeLock } from '../../src/sync/rwsem.ts';
import { spinLock } from '../../src/sync/spinlock.ts';
import { HANG_MS } from '../hang.ts';
import { conservation } from './audit.ts';

/** Words that all threads share, as in terminated.test.ts. */
const STOP = 0;
/** The victim stands where it is to die. */
const STANDS = 1;
/** Rounds of work done by the worker. */
const ROUNDS = 2;
/** Never changes: victims sleep on it. */
const NEVER = 3;
/** Visits made. */
const VISITS = 4;

interface Common {
  readonly space: SpaceHandle;
  readonly file: FileHandle;
}

interface ThreadData {
  readonly role: 'host' | 'worker' | 'visitor' | 'victim';
  readonly shared: SharedArrayBuffer;
  readonly common?: Common;
  readonly seed?: number;
  /** The victim's place to die. */
  readonly place?: string;
  /** Accesses of the call that the victim still makes. */
  readonly accesses?: number;
}

const PAGE = 4096;
const RW = PROT_READ | PROT_WRITE;
const ANONYMOUS = MAP_PRIVATE | MAP_ANONYMOUS;
/** The worker's window, the victim's, and what nobody changes. */
const MINE = 0x2000_0000;
const THEIRS = 0x3000_0000;
const KEPT = 0x4000_0000;
/** The file, for visitors. */
const READ = 0x5000_0000;
const WINDOW = 24;
const FILE_PAGES = 64;

const data = workerData as ThreadData;
const shared = new Int32Array(data.shared);
let blockReads = false;

registerBacking('numbered', () => ({
  read(position, targets) {
    if (blockReads) stand();
    targets.forEach((target, i) => {
      new Int32Array(target.buffer, target.byteOffset, PAGE / 4).fill(position / PAGE + i);
    });
    return targets.length * PAGE;
  },
  close() {},
}));

/** Here the victim dies. */
function stand(): never {
  Atomics.store(shared, STANDS, 1);
  Atomics.notify(shared, STANDS);
  for (;;) Atomics.wait(shared, NEVER, 0);
}

/** Makes the machine, is told of deaths, and counts in the end. */
function host(): void {
  // Who waits for a dead thread waits until it is reaped, however long a busy machine takes for that.
  const machine = createMachine({ memory: 96 * PAGE, stallTimeout: HANG_MS, ioTimeout: HANG_MS });
  const space = machine.createSpace();
  const file = machine.createFile('numbered', {}, FILE_PAGES * PAGE);
  space.mmap({ addr: KEPT, length: 4 * PAGE, prot: RW, flags: ANONYMOUS | MAP_FIXED });
  for (let i = 0; i < 4; i++) space.store32(KEPT + i * PAGE, 1000 + i);
  space.mmap({ addr: READ, length: FILE_PAGES * PAGE, prot: PROT_READ, flags: MAP_PRIVATE | MAP_FIXED, file });
  parentPort?.on('message', (dead: number | 'end') => {
    if (dead !== 'end') {
      const reaped = machine.reapThread(dead);
      space.validate();
      const kept = [0, 1, 2, 3].map((i) => space.load32(KEPT + i * PAGE));
      parentPort?.postMessage({ reaped, kept });
      return;
    }
    space.close();
    file.close();
    const problems = conservation(machine);
    problems.push(...placesOfTheDead(machine));
    machine.close();
    parentPort?.postMessage({ problems });
    parentPort?.close();
  });
  parentPort?.postMessage({ space: space.handle, file: file.handle });
}

/** Places of threads that died: only the host's own may be taken. */
function placesOfTheDead({ cpu: own, kernel: { words } }: Machine): string[] {
  return Array.from({ length: MAX_CPUS }, (_, id) => id)
    .filter((id) => id !== own && words[cpuSlot(id) + C_STATE] === CPU_ATTACHED)
    .map(
      (id) =>
        `cpu ${id} is taken for ever: thread ${words[cpuSlot(id) + C_THREAD]}, C_SLOT ${words[cpuSlot(id) + C_SLOT]}`,
    );
}

/** Everything that takes locks, in a window of its own, and checks what it reads. */
function work(machine: Machine, space: Space): void {
  const file = machine.attachFile((data.common as Common).file);
  let round = 0;
  const failures: string[] = [];
  const expect = (what: string, seen: number, wanted: number): void => {
    if (seen !== wanted && failures.length < 5) failures.push(`round ${round}: ${what} is ${seen}, not ${wanted}`);
  };
  for (; Atomics.load(shared, STOP) === 0; round++) {
    space.mmap({ addr: MINE, length: WINDOW * PAGE, prot: RW, flags: ANONYMOUS | MAP_FIXED });
    for (let i = 0; i < WINDOW; i += 3) space.store32(MINE + i * PAGE, round + i);
    space.mprotect(MINE + 3 * PAGE, 6 * PAGE, PROT_READ);
    for (let i = 0; i < WINDOW; i += 3) expect(`page ${i}`, space.load32(MINE + i * PAGE), round + i);
    const at = space.mmap({ length: FILE_PAGES * PAGE, prot: RW, flags: MAP_PRIVATE, file });
    for (let i = round % 5; i < FILE_PAGES; i += 5) expect(`page ${i} of the file`, space.load32(at + i * PAGE), i);
    space.store32(at + PAGE, -1);
    expect('a private copy', space.load32(at + PAGE), -1);
    space.munmap(at, FILE_PAGES * PAGE);
    expect('what nobody changes', space.load32(KEPT), 1000);
    space.notify(MINE);
    space.munmap(MINE, WINDOW * PAGE);
    machine.createSpace().close();
    Atomics.add(shared, ROUNDS, 1);
  }
  parentPort?.postMessage({ failures });
  file.close();
  machine.close();
}

/** One access a visit: to what nobody changes, or to a page of the file. */
function visit(): void {
  const failures: string[] = [];
  for (let count = 0; Atomics.load(shared, STOP) === 0 && failures.length === 0; count++) {
    const { machine, space } = attach();
    const page = (count * 29) % FILE_PAGES;
    const [address, wanted] = count % 4 === 0 ? [KEPT, 1000] : [READ + page * PAGE, page];
    const seen = space.load32(address);
    if (seen !== wanted) failures.push(`visit ${count}: ${seen}, not ${wanted}`);
    machine.close();
    Atomics.add(shared, VISITS, 1);
  }
  parentPort?.postMessage({ failures });
}

function attach(): { machine: Machine; space: Space } {
  const { space: handle } = data.common as Common;
  const machine = attachMachine({
    kind: 'vmspace.machine',
    version: handle.version,
    control: handle.control,
    frames: handle.frames,
    frameBytes: handle.frameBytes,
  });
  return { machine, space: machine.attachSpace(handle) };
}

/** Where victims die. */
const PLACES: Record<string, (machine: Machine, space: Space) => void> = {
  'inside run()': (_machine, space) => {
    space.run((m) => {
      m.load32(KEPT);
      stand();
    });
  },
  'in wait()': (_machine, space) => {
    announce();
    space.wait(KEPT, 1000);
  },
  'in the read of a file': (machine, space) => {
    const file = machine.createFile('numbered', {}, FILE_PAGES * PAGE);
    const at = space.mmap({ length: file.size, prot: RW, flags: MAP_PRIVATE, file });
    blockReads = true;
    space.load32(at);
  },
  'holding mmap_lock': (machine, { handle }) => {
    writeLock(machine.kernel.cpu, handle.space + MM_MMAP_LOCK);
    stand();
  },
  'holding a page lock': (machine, space) => {
    const at = mapFile(machine, space);
    space.load32(at);
    const page = machine.kernel.cache.lookup((data.common as Common).file.file as never, 0);
    while (!pageTryLock(machine.kernel.cpu, page as PageRef));
    stand();
  },
  'holding a tree lock': ({ kernel }, { handle }) => lock(kernel, handle.space + MM_TREE_LOCK, CLASS_TREE),
  'holding a leaf lock': ({ kernel }, { handle }) => {
    const leaf = kernel.rcu.walking(() =>
      kernel.tables.leafFor(handle.space as never, (KEPT / PAGE) as Vpn),
    ) as TableRef;
    lock(kernel, leaf + T_LOCK, CLASS_LEAF);
  },
  'holding a reverse-map lock': (machine, space) => {
    const at = mapFile(machine, space);
    space.load32(at);
    const page = machine.kernel.cache.lookup((data.common as Common).file.file as never, 0);
    lock(machine.kernel, page + P_RMAP_LOCK, CLASS_RMAP);
  },
  'holding the lock of a slab': ({ kernel }) => lock(kernel, SLAB_LINES, CLASS_SLAB),
  'holding the lock of the arena': ({ kernel }) => lock(kernel, ARENA_LOCK, CLASS_ARENA),
  'holding the lock of the frame pool': ({ kernel }) => lock(kernel, FRAME_LOCK, CLASS_FRAMES),
  'holding its retire lock': ({ kernel }) => lock(kernel, kernel.cpu.base + C_RETIRE_LOCK, CLASS_RETIRE),
  'holding a lock of the page cache': ({ kernel }) => lock(kernel, HASH_LOCK_LINES, CLASS_CACHE),
  'holding a futex bucket': ({ kernel }) => lock(kernel, FUTEX_LINES, CLASS_FUTEX),
  'holding the queue of mmap_lock': ({ kernel }, { handle }) => {
    lock(kernel, handle.space + MM_MMAP_LOCK + 2, CLASS_RWSEM);
  },
  'holding the lock of a file': ({ kernel }) => lock(kernel, (data.common as Common).file.file + F_LOCK, CLASS_FILES),
  'holding the list of spaces': ({ kernel }) => lock(kernel, SPACE_LOCK, CLASS_SPACES),
  'in munmap': (_machine, space) => {
    space.mmap({ addr: THEIRS, length: 8 * PAGE, prot: RW, flags: ANONYMOUS | MAP_FIXED });
    for (let i = 0; i < 8; i++) space.store32(THEIRS + i * PAGE, i);
    countDown();
    space.munmap(THEIRS + PAGE, 6 * PAGE);
    stand();
  },
  'in MAP_FIXED': (_machine, space) => {
    space.mmap({ addr: THEIRS, length: 8 * PAGE, prot: RW, flags: ANONYMOUS | MAP_FIXED });
    for (let i = 0; i < 8; i++) space.store32(THEIRS + i * PAGE, i);
    countDown();
    space.mmap({ addr: THEIRS + PAGE, length: 6 * PAGE, prot: PROT_READ, flags: ANONYMOUS | MAP_FIXED });
    stand();
  },
  'in mprotect': (_machine, space) => {
    space.mmap({ addr: THEIRS, length: 8 * PAGE, prot: RW, flags: ANONYMOUS | MAP_FIXED });
    for (let i = 0; i < 8; i++) space.store32(THEIRS + i * PAGE, i);
    countDown();
    space.mprotect(THEIRS + PAGE, 6 * PAGE, PROT_READ);
    stand();
  },
  'in faults on a file': (machine, space) => {
    const at = mapFile(machine, space);
    countDown();
    for (let i = 0; i < 8; i++) space.store32(at + i * PAGE, space.load32(at + i * PAGE));
    stand();
  },
  'closing everything': (machine, space) => {
    space.mmap({ addr: THEIRS, length: 8 * PAGE, prot: RW, flags: ANONYMOUS | MAP_FIXED });
    space.munmap(THEIRS, 8 * PAGE);
    countDown();
    machine.close();
    stand();
  },
  attaching: (machine) => {
    machine.close();
    countDown();
    attach();
    stand();
  },
};

function lock(kernel: Machine['kernel'], at: number, cls: number): void {
  spinLock(kernel.cpu, at, cls);
  stand();
}

function mapFile(machine: Machine, space: Space): number {
  const file = machine.attachFile((data.common as Common).file);
  return space.mmap({
    addr: THEIRS,
    length: FILE_PAGES * PAGE,
    prot: RW,
    flags: MAP_PRIVATE | MAP_FIXED,
    file,
  });
}

/** The victim sleeps in the library itself: it says so a moment before. */
function announce(): void {
  Atomics.store(shared, STANDS, 1);
  Atomics.notify(shared, STANDS);
}

/** From here on the victim makes `accesses` accesses to shared memory, and not one more. */
function countDown(): void {
  let left = data.accesses ?? 0;
  observePort({
    access() {
      if (left-- <= 0) stand();
    },
  });
}

if (data.role === 'host') host();
else if (data.role === 'visitor') visit();
else {
  const { machine, space } = attach();
  if (data.role === 'worker') work(machine, space);
  else (PLACES[data.place as string] as (machine: Machine, space: Space) => void)(machine, space);
}
