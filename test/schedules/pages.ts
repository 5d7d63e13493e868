/** Faults on pages of files, whose locks they hold while the layout changes. Each must come to an end. */
import { MAP_FIXED, MAP_PRIVATE, type Machine, PROT_READ, registerBacking, type Space } from '../../src/index.ts';
import { ANON, anotherCpu, Killed, P, RW } from '../stress/kill/world.ts';
import { killOnce, makeCast, outcome } from './cast.ts';

/** Registers the files of zeros; `during` is called in the first read of it, the page that is read being locked. */
function zeros(during: () => void): void {
  let reads = 0;
  registerBacking('zeros', () => ({
    read(_position, targets) {
      if (reads++ === 0) during();
      return targets.length * P;
    },
    close() {},
  }));
}

/** A file that only the mapping at the address returned keeps alive, mapped by a cpu which is its only opener until then. */
function mapOnly(toucher: Machine, space: Space, prot: number): number {
  const file = toucher.createFile('zeros', {}, P);
  const address = space.mmap({ length: P, prot, flags: MAP_PRIVATE, file });
  file.close();
  return address;
}

/**
 * toucher   fault: reads the page of the file, which is locked
 * mapper    munmap of the page, the file's last mapping; drops what is free to go
 * toucher   wakes up with the file's only page locked; whoever drops the file needs that lock
 */
export function lastMappingGoesDuringRead(): string {
  const { machine, spaces } = makeCast(1);
  const [mapper] = spaces as [Space];
  const other = anotherCpu(machine);
  const toucher = other.attachSpace(mapper.handle);
  let address = 0;
  zeros(() => {
    mapper.munmap(address, P);
    machine.drain();
  });
  address = mapOnly(other, toucher, PROT_READ);
  return outcome(() => toucher.load32(address));
}

/**
 * toucher   first write to a private page of a file: reads the page, which is locked
 * mapper    puts anonymous memory in its place, the file's last mapping; uses up all frames
 * toucher   wakes up: needs no file any more but a frame; while it looks for one, the file is dropped, page and all
 */
export function mappingChangesDuringRead(): { filled: string; stored: string; value: number } {
  const { machine, spaces } = makeCast(1, 64);
  const [mapper] = spaces as [Space];
  const other = anotherCpu(machine);
  const toucher = other.attachSpace(mapper.handle);
  let address = 0;
  let filled = '';
  zeros(() => {
    mapper.mmap({ addr: address, length: P, prot: RW, flags: ANON | MAP_FIXED });
    const rest = mapper.mmap({ length: 64 * P, prot: RW, flags: ANON });
    filled = outcome(() => {
      for (let at = rest; at < rest + 64 * P; at += P) mapper.store32(at, 1);
    });
  });
  address = mapOnly(other, toucher, RW);
  const stored = outcome(() => toucher.store32(address, 5));
  return { filled, stored, value: toucher.load32(address) };
}

/**
 * reader    fault: reads a page of a file, which is locked, and dies
 * waiter    fault on the same page: waits for the lock, which nobody will let go of
 * waiter    reaps the reader, and tries again: the page is unlocked, but was never read
 */
export function readerDies(): { before: string; reaped: boolean; after: number } {
  const { machine, spaces } = makeCast(1);
  const [waiter] = spaces as [Space];
  const victim = anotherCpu(machine);
  const reader = victim.attachSpace(waiter.handle);
  let reading = false;
  zeros(() => {
    reading = true;
    throw new Killed();
  });
  const file = machine.createFile('zeros', {}, P);
  const address = waiter.mmap({ length: P, prot: PROT_READ, flags: MAP_PRIVATE, file });
  killOnce(
    () => reading,
    () => reader.load32(address),
  );
  const before = outcome(() => waiter.load32(address));
  return { before, reaped: machine.reapNow(victim.cpu), after: waiter.load32(address) };
}
