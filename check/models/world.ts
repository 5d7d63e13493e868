/**
 * What the models of the memory manager share: a small machine, made once, and hands on it for each thread and execution. A
 * modelled thread is a cpu of its own, attached anew before each execution.
 */
import type { MmRef, Pfn, Vpn } from '../../src/base/brands.ts';
import { VPN_LIMIT } from '../../src/base/limits.ts';
import {
  createMachine,
  type DesignName,
  type FileHandle,
  MAP_ANONYMOUS,
  MAP_FIXED_NOREPLACE,
  MAP_PRIVATE,
  PAGE_SIZE,
  PROT_READ,
  PROT_WRITE,
  registerBacking,
  SegmentationFault,
  type Space,
  type SpaceHandle,
} from '../../src/index.ts';
import { Machine, type MachineHandle } from '../../src/machine/machine.ts';
import { LIVE, OWNED, RETIRED, stateKind, stateTag } from '../../src/memory/ownership.ts';
import { P_LOCK, P_MAPPING, P_STATE } from '../../src/memory/page.layout.ts';
import { PTE_WRITE, PTE_ZAPPED, ptePfn } from '../../src/paging/pte.ts';
import { LEAF_PAGES } from '../../src/paging/table.layout.ts';
import { fillData } from '../../src/sync/atomics.checked.ts';
import {
  C_STATE,
  CONTROL_END,
  CPU_FREE,
  cpuSlot,
  FRAME_BUMP,
  H_ID_HIGH,
  H_ID_LOW,
  LOCKDEP,
} from '../../src/sync/control.layout.ts';
import type { Model } from '../model.ts';
import { describeFrames, describeMachine, describeValues } from '../naming/machine.ts';
import { describeWait } from '../naming/waits.ts';

export const P: number = PAGE_SIZE;
export const RW: number = PROT_READ | PROT_WRITE;
export const ANON: number = MAP_PRIVATE | MAP_ANONYMOUS;
/** Where the models map what they need. Pages around it are free. */
export const BASE = 0x1000_0000;

/** What setup returns; add what the model needs. Survives structured cloning. */
export interface World {
  readonly machine: MachineHandle;
  readonly space: SpaceHandle;
}

/** One thread's hands on the world. */
export interface Hands {
  readonly machine: Machine;
  readonly space: Space;
}

export interface WorldOptions {
  readonly design?: DesignName;
  /** Default 64, the fewest. */
  readonly frames?: number;
  /** Milliseconds on the model's clock. Default 10,000. */
  readonly stallTimeout?: number;
}

/** Makes the machine and a space, lets `arrange` use them, and leaves its own cpu idle. */
export function makeWorld<T extends object>(options: WorldOptions, arrange: (hands: Hands) => T): World & T {
  const first = createMachine({
    memory: (options.frames ?? 64) * P,
    design: options.design ?? 'rcu',
    stallTimeout: options.stallTimeout,
  });
  const machine = anotherCpu(first.handle);
  first.close();
  const space = machine.createSpace();
  const more = arrange({ machine, space });
  return { machine: machine.handle, space: space.handle, ...more };
}

/** A cpu of its own on this thread. */
export function anotherCpu(handle: MachineHandle): Machine {
  const words = new Int32Array(handle.control);
  return new Machine(handle, `${words[H_ID_LOW]}:${words[H_ID_HIGH]}`);
}

/** Maps `pages` pages of private anonymous memory at `address`. */
export function mapAnon(space: Space, address: number, pages: number): void {
  space.mmap({ addr: address, length: pages * P, prot: RW, flags: ANON | MAP_FIXED_NOREPLACE });
}

/** For `prepare`. */
export function hands(world: World): Hands {
  const machine = anotherCpu(world.machine);
  return { machine, space: machine.attachSpace(world.space) };
}

/** Lockdep's own notes are not part of what is explored. */
export const ignoreLockdep = (): readonly (readonly [number, number, number])[] => [[0, LOCKDEP * 4, CONTROL_END * 4]];

/** The meaning of a word of a world: its machine's control memory is the first buffer, the frames are the second. */
export function describeWorld(world: World, buffer: number, byte: number): string | undefined {
  if (buffer === 1) return describeFrames(byte);
  return buffer === 0 ? describeMachine(world.machine.control as SharedArrayBuffer)(byte) : undefined;
}

/** The meaning of a value in it. */
export function valueInWorld(world: World, buffer: number, byte: number, value: number): string | undefined {
  return buffer === 0 ? describeValues(world.machine.control as SharedArrayBuffer)(byte, value) : undefined;
}

/** Whom somebody waits for that sleeps on a word of it. */
export function waitInWorld(
  world: World,
  buffer: number,
  byte: number,
  threadOf: (hostThread: number) => string | undefined,
  describe?: (byte: number) => string,
): string | undefined {
  return buffer === 0 ? describeWait(world.machine.control as SharedArrayBuffer, byte, threadOf, describe) : undefined;
}

/** What every model of a machine has. */
export function machineModel<Shared extends World>(
  model: Omit<Model<Shared>, 'describe' | 'ignore' | 'value' | 'waits'> &
    Partial<Pick<Model<Shared>, 'describe' | 'ignore' | 'value' | 'waits'>>,
): Model<Shared> {
  return { describe: describeWorld, value: valueInWorld, waits: waitInWorld, ignore: ignoreLockdep, ...model };
}

/**
 * What must hold of a world in which nobody is at work: every present PTE belongs to a VMA and its frame is live, each private page
 * has one PTE, no record is in anybody's hands, nothing live is out of reach (I5, I8, I26). Throws. Retired records may wait.
 */
export function audit(world: World, ...otherSpaces: SpaceHandle[]): void {
  const machine = anotherCpu(world.machine);
  const k = machine.kernel;
  const mapped = new Map<number, number>();
  const problems: string[] = [];
  for (const handle of [world.space, ...otherSpaces]) auditTables(machine, handle, mapped, problems);
  auditFrames(k, mapped, problems);
  const census = machine.census();
  for (const pool of ['vma', 'node', 'table', 'rmap'] as const) {
    if (census[pool].owned !== 0) problems.push(`${pool}: ${census[pool].owned} in somebody's hands`);
  }
  if (census.vma.live !== census.mappings) problems.push(`${census.vma.live} live VMAs, ${census.mappings} mappings`);
  if (problems.length > 0) throw new Error(problems.join('; '));
}

/** Counts in `mapped` how many PTEs name each frame. */
function auditTables(machine: Machine, handle: SpaceHandle, mapped: Map<number, number>, problems: string[]): void {
  const k = machine.kernel;
  const layout = machine.attachSpace(handle).maps();
  k.rcu.walking(() => {
    k.tables.forEachLeaf(handle.space as MmRef, 0 as Vpn, VPN_LIMIT as Vpn, (leaf) => {
      const first = k.tables.firstPage(leaf);
      let used = 0;
      for (let i = 0; i < LEAF_PAGES; i++) {
        const pte = k.words[k.tables.entries(leaf) + i] as number;
        if (pte === 0) continue;
        used++;
        const address = (first + i) * P;
        const at = address.toString(16);
        if ((pte & PTE_ZAPPED) !== 0) problems.push(`the PTE of ${at} is left zapped`);
        const vma = layout.find(({ start, end }) => address >= start && address < end);
        if (vma === undefined) problems.push(`a PTE in a hole, at ${at}`);
        else if ((pte & PTE_WRITE) !== 0 && (vma.prot & PROT_WRITE) === 0)
          problems.push(`a writable PTE in a read-only mapping, at ${at}`);
        const pfn = ptePfn(pte);
        if (pfn !== 0) mapped.set(pfn, (mapped.get(pfn) ?? 0) + 1);
      }
      if (used !== k.tables.used(leaf))
        problems.push(`leaf of ${(first * P).toString(16)}: ${k.tables.used(leaf)} entries counted, ${used} there`);
    });
  });
}

function auditFrames(k: Machine['kernel'], mapped: ReadonlyMap<number, number>, problems: string[]): void {
  const bump = k.words[FRAME_BUMP] as number;
  for (let pfn = 1; pfn < bump; pfn++) {
    const page = k.frames.pageOf(pfn as Pfn);
    const state = stateKind(k.words[page + P_STATE] as number);
    const uses = mapped.get(pfn) ?? 0;
    const cached = k.words[page + P_MAPPING] !== 0;
    if (state === OWNED) problems.push(`frame ${pfn} is in somebody's hands`);
    const tag = stateTag(k.words[page + P_STATE] as number);
    if (state === RETIRED && k.words[cpuSlot(tag - 1) + C_STATE] === CPU_FREE)
      problems.push(`frame ${pfn} is in the list of a cpu that is gone`);
    if (uses > 0 && state !== LIVE) problems.push(`frame ${pfn} is mapped but not live`);
    if (uses > 1 && !cached) problems.push(`frame ${pfn} is mapped ${uses} times`);
    if (state === LIVE && uses === 0 && !cached) problems.push(`frame ${pfn} is lost`);
    if (k.words[page + P_LOCK] !== 0) problems.push(`the page lock of frame ${pfn} is held`);
  }
}

/** The word at `address`, or the reason of the SEGV. */
export function look(space: Space, address: number): number | string {
  return orSegv(() => space.load32(address));
}

/** Stores `value` at `address`: 'ok', or the reason of the SEGV. */
export function put(space: Space, address: number, value: number): string {
  return String(
    orSegv(() => {
      space.store32(address, value);
      return 'ok';
    }),
  );
}

export function orSegv<T>(act: () => T): T | string {
  try {
    return act();
  } catch (error) {
    if (error instanceof SegmentationFault) return error.reason;
    throw error;
  }
}

/** Every byte of page `index` of file number `file` of the models (0 to 15). */
export function byteOf(file: number, index: number): number {
  return 0x80 | (file << 3) | (index & 7);
}

/** What a word of that page reads. */
export function wordOf(file: number, index: number): number {
  return (byteOf(file, index) * 0x01010101) | 0;
}

registerBacking('model', (options) => {
  const { file } = options as { readonly file: number };
  return {
    read(position, targets) {
      targets.forEach((target, i) => {
        fillData(target, 0, target.length, byteOf(file, position / P + i));
      });
      return targets.length * P;
    },
    close() {},
  };
});

/** A file of `pages` pages whose bytes are byteOf(number, index). */
export function makeFile(machine: Machine, number: number, pages: number): FileHandle {
  return machine.createFile('model', { file: number }, pages * P).handle;
}
