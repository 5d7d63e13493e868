/** Layout calls beside faults and reclaim: no translation may outlive its page. */

import type { MmRef, TableRef, Vpn } from '../../src/base/brands.ts';
import { FLUSH_RING } from '../../src/base/tunables.ts';
import {
  MAP_FIXED_NOREPLACE,
  MAP_PRIVATE,
  type Machine,
  PROT_READ,
  registerBacking,
  type Space,
} from '../../src/index.ts';
import { nudgeGeneration, ringEntry } from '../../src/paging/generation.ts';
import { MM_GENERATION, RING_FIRST, RING_STAMP } from '../../src/paging/mm.layout.ts';
import { ptePfn } from '../../src/paging/pte.ts';
import { LEAF_PAGES, T_LOCK, T_USED } from '../../src/paging/table.layout.ts';
import { ANON, anotherCpu, BASE, P, peekAt, RW } from '../stress/kill/world.ts';
import { interleave, killOnce, makeCast, outcome, waitedFor } from './cast.ts';

const AT = ANON | MAP_FIXED_NOREPLACE;
const FRAMES = 256;
/** Until a page that was used counts as unused. */
const ROUNDS_OF_THE_CLOCK = 4;
const page = (index: number): number => BASE + index * P;
const vpnOf = (address: number): Vpn => (address / P) as Vpn;
const mmOf = (space: Space): MmRef => space.handle.space as MmRef;

/** Page 0 is mapped, untouched; its leaf is there, empty, and stays without it: another mapping needs it too. */
function untouchedPage(): { mapper: Space; toucher: Space; leaf: TableRef } {
  const { machine, spaces } = makeCast(2);
  const [mapper, toucher] = spaces as [Space, Space];
  mapper.mmap({ addr: page(0), length: P, prot: RW, flags: AT });
  mapper.mmap({ addr: page(8), length: P, prot: PROT_READ, flags: AT });
  const { rcu, tables } = machine.kernel;
  const leaf = rcu.walking(() => tables.ensureLeaf(mmOf(mapper), vpnOf(page(0))));
  return { mapper, toucher, leaf };
}

/**
 * toucher   first write to page 0: finds the VMA attached, locks the leaf
 * mapper    munmap of page 0: the leaf counts no page, so there seems to be nothing to take out
 * toucher   installs its page in what is a hole
 */
export function unmapBesideFirstFault(): string {
  const { mapper, toucher, leaf } = untouchedPage();
  let waited = '';
  interleave(() => toucher.store32(page(0), 1), {
    before: (_kind, _array, index) => index === leaf + T_USED,
    meanwhile: () => {
      waited = waitedFor(() => mapper.munmap(page(0), P));
    },
  });
  return waited;
}

/**
 * toucher   first write to page 0: finds the VMA attached, locks the leaf
 * mapper    mprotect(PROT_READ) of page 0: the leaf counts no page, so there seems to be none to protect
 * toucher   installs its page, writable
 */
export function protectBesideFirstFault(): string {
  const { mapper, toucher, leaf } = untouchedPage();
  let waited = '';
  interleave(() => toucher.store32(page(0), 1), {
    before: (_kind, _array, index) => index === leaf + T_USED,
    meanwhile: () => {
      waited = waitedFor(() => mapper.mprotect(page(0), P, PROT_READ));
    },
  });
  return waited;
}

/**
 * mapper    munmap of a page of a file: has found the leaf, is about to lock it
 * reclaimer takes the page: the leaf is empty, and goes too
 * reclaimer writes to a page of another space, whose new leaf is the record that came free
 * mapper    takes out what is in that record
 */
export function unmapOvertakenByReclaim(): { unmapped: number | string; untouched: number | string } {
  const { machine, spaces } = makeCast(2);
  const [space, mapper] = spaces as [Space, Space];
  const { kernel } = machine;
  const another = machine.createSpace();
  another.mmap({ addr: page(0), length: 2 * LEAF_PAGES * P, prot: RW, flags: AT });
  another.store32(page(0), 1); // so that a leaf is the next table that it needs
  registerBacking('zeros', () => ({ read: (_position, targets) => targets.length * P, close() {} }));
  const file = machine.createFile('zeros', {}, P);
  space.mmap({ addr: page(0), length: P, prot: PROT_READ, flags: MAP_PRIVATE | MAP_FIXED_NOREPLACE, file });
  space.load32(page(0));
  const leaf = kernel.rcu.walking(() => kernel.tables.leafFor(mmOf(space), vpnOf(page(0))));
  interleave(() => mapper.munmap(page(0), P), {
    before: (kind, _array, index) => kind === 'cas' && index === leaf + T_LOCK,
    meanwhile: () => {
      for (let i = 0; i < ROUNDS_OF_THE_CLOCK; i++) kernel.reclaim.run(FRAMES);
      outcome(() => machine.drain()); // in vain, while a section of the mapper's keeps the leaf
      another.store32(page(LEAF_PAGES), 0x77);
    },
  });
  const elsewhere = anotherCpu(machine).attachSpace(another.handle); // with nothing in its TLB
  return { unmapped: peekAt(mapper, page(0)), untouched: peekAt(elsewhere, page(LEAF_PAGES)) };
}

/**
 * slow      write to a page that was read before: bumps to generation g, is about to write the range into g's entry of the ring
 * mapper    bumps on until the ring is round; its munmap bumps to the generation that has the same entry
 * slow      writes its range into the entry, is about to stamp it
 * reader    has the unmapped page in its TLB, looks into the ring for what the last generation made stale
 */
export function bumpOvertakenByRound(): { rounds: number; during: number | string; after: number | string } {
  const { machine, spaces } = makeCast(3);
  const [mapper, slow, reader] = spaces as [Space, Space, Space];
  const { words } = machine.kernel;
  const generation = (): number => words[mmOf(mapper) + MM_GENERATION] as number;
  const [gone, written, kept] = [page(0), page(LEAF_PAGES), page(2 * LEAF_PAGES)]; // in leaves of their own: one is locked
  for (const addr of [gone, written, kept]) mapper.mmap({ addr, length: P, prot: RW, flags: AT });
  mapper.store32(gone, 0x11);
  slow.load32(written); // the zero page: a write makes it stale
  const its = generation() + 1;
  const entry = ringEntry(mmOf(mapper), its);
  let rounds = 0;
  let during: number | string = '';
  interleave(
    () => slow.store32(written, 1),
    {
      before: (kind, array, index) => kind === 'store' && array instanceof Int32Array && index === entry + RING_FIRST,
      meanwhile: () => {
        for (let i = 1; i < FLUSH_RING; i++) mapper.mprotect(kept, P, RW);
        reader.load32(gone);
        mapper.munmap(gone, P);
        rounds = (generation() - its) / FLUSH_RING;
      },
    },
    {
      before: (kind, _array, index) => kind === 'store' && index === entry + RING_STAMP,
      meanwhile: () => {
        during = peekAt(reader, gone);
      },
    },
  );
  return { rounds, during, after: peekAt(reader, gone) };
}

/** The word of the entry of a page that is mapped. */
function entryOf({ kernel }: Machine, space: Space, address: number): number {
  const { rcu, tables } = kernel;
  const leaf = rcu.walking(() => tables.leafFor(mmOf(space), vpnOf(address)));
  return tables.entries(leaf) + (vpnOf(address) & (LEAF_PAGES - 1));
}

/**
 * reader    in `run`, has read page 0: the zero page is in its TLB
 * victim    write to page 0: empties the entry, and dies before it bumps
 * survivor  reaps the victim; writes to page 0, where it finds nothing that it would make stale
 * reader    reads page 0 again
 */
export function upgradeDiesBeforeBump(): { before: number; reaped: boolean; after: number } {
  const { machine, spaces } = makeCast(2);
  const [space, reader] = spaces as [Space, Space];
  const victim = anotherCpu(machine);
  const theirs = victim.attachSpace(space.handle);
  space.mmap({ addr: page(0), length: P, prot: RW, flags: AT });
  return reader.run((memory) => {
    const before = memory.load32(page(0));
    const entry = entryOf(machine, space, page(0));
    killOnce(
      () => machine.kernel.words[entry] === 0,
      () => theirs.store32(page(0), 1),
    );
    const reaped = machine.reapNow(victim.cpu);
    space.store32(page(0), 5);
    return { before, reaped, after: memory.load32(page(0)) };
  });
}

/**
 * reader    in `run`, has read page 0 of a file, which is in its TLB
 * victim    reclaims that page: empties the entry, and dies before it bumps
 * survivor  reaps the victim; reclaims the page, which nobody maps any more
 * reader    passes a quiescent point
 * survivor  puts other memory into the frame
 * reader    reads page 0 of the file again
 */
export function reclaimDiesBeforeBump(): { reaped: boolean; reused: boolean; after: number } {
  const { machine, spaces } = makeCast(2);
  const [space, reader] = spaces as [Space, Space];
  const { kernel } = machine;
  const victim = anotherCpu(machine);
  registerBacking('zeros', () => ({ read: (_position, targets) => targets.length * P, close() {} }));
  const file = machine.createFile('zeros', {}, P);
  space.mmap({ addr: page(0), length: P, prot: PROT_READ, flags: MAP_PRIVATE | MAP_FIXED_NOREPLACE, file });
  space.mmap({ addr: page(1), length: 3 * P, prot: RW, flags: AT });
  return reader.run((memory) => {
    memory.load32(page(0));
    memory.load32(page(1));
    const entry = entryOf(machine, space, page(0));
    const frame = ptePfn(kernel.words[entry] as number);
    const reclaim = ({ kernel: { reclaim: theirs } }: Machine): void => {
      for (let i = 0; i < ROUNDS_OF_THE_CLOCK; i++) theirs.run(FRAMES);
    };
    killOnce(
      () => kernel.words[entry] === 0,
      () => reclaim(victim),
    );
    const reaped = machine.reapNow(victim.cpu);
    reclaim(machine);
    kernel.rcu.freeAllRetired();
    nudgeGeneration(kernel.cpu, mmOf(space));
    memory.load32(page(1));
    kernel.rcu.freeAllRetired();
    for (const other of [page(2), page(3)]) space.store32(other, 0x77);
    const reused = kernel.frames.bytes[frame * P] === 0x77;
    return { reaped, reused, after: memory.load32(page(0)) };
  });
}
