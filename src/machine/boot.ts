/** Making a machine's memory, and one thread's kernel over it. */
import { load, poke, store } from '#atomics';
import { CHECKED } from '#dev';
import { Files } from '../backing/files.ts';
import { MAPPING_WORDS } from '../backing/mapping.layout.ts';
import { PageCache } from '../backing/page-cache.ts';
import { Reclaim } from '../backing/reclaim.ts';
import { TEXT_WORDS, TextStore } from '../backing/text.ts';
import type { MappingRef, VmaRef } from '../base/brands.ts';
import { VmError } from '../base/errors.ts';
import type { MemoryBuffer } from '../base/foreign.ts';
import { MAX_FRAMES, MIN_FRAMES, PAGE_SIZE } from '../base/limits.ts';
import type { FaultProtocol } from '../fault/protocol.ts';
import { Frames } from '../memory/frames.ts';
import { LIVE } from '../memory/ownership.ts';
import { P_STATE } from '../memory/page.layout.ts';
import { TABLE_HEADER_WORDS } from '../memory/regions.layout.ts';
import { computeRegions, type Regions } from '../memory/regions.ts';
import { arenaSource, regionSource, Slab } from '../memory/slab.ts';
import { nudgeSpacesOf } from '../paging/generation.ts';
import { RMAP_NODE_WORDS, Rmap } from '../paging/rmap.ts';
import { Tables } from '../paging/tables.ts';
import {
  type Kernel,
  RETIRE_FRAME,
  RETIRE_NODE,
  RETIRE_RMAP,
  RETIRE_TABLE,
  RETIRE_VMA,
  SLAB_MAPPING,
  SLAB_NODE,
  SLAB_RMAP,
  SLAB_TABLE,
  SLAB_TEXT,
  SLAB_VMA,
  type Slabs,
} from '../space/kernel.ts';
import {
  EPOCH,
  FRAME_BUMP,
  H_DESIGN,
  H_FRAMES,
  H_HASH_SEED,
  H_ID_HIGH,
  H_ID_LOW,
  H_IO_MS,
  H_MAGIC,
  H_SHARED,
  H_STALL_MS,
  H_VERSION,
  H_WORDS,
  LAYOUT_VERSION,
  MAGIC,
  TABLE_BUMP,
} from '../sync/control.layout.ts';
import type { Cpu } from '../sync/cpu.ts';
import { Rcu } from '../sync/rcu.ts';
import { Planner } from '../vma/plan.ts';
import { NODE_WORDS } from '../vma/tree.layout.ts';
import { VmaTree } from '../vma/tree.ts';
import { VMA_WORDS } from '../vma/vma.layout.ts';
import { VmaTable } from '../vma/vma-table.ts';

/** Runs of the checker are repeated: there chains are the same in each. */
const CHECKED_SEED = 0x2545f491;

/** In the version of the machines of the checked build, whose nodes and rings are smaller: no other build may touch them. */
const CHECKED_BUILD = 0x10000;
const BUILD_VERSION = CHECKED ? LAYOUT_VERSION | CHECKED_BUILD : LAYOUT_VERSION;

/** Throws EINVAL unless a machine can have `bytes` of frames, with what the caller has given in the message. */
export function checkMemory(bytes: number): void {
  const frames = Math.floor(bytes / PAGE_SIZE);
  if (frames >= MIN_FRAMES && frames <= MAX_FRAMES) return;
  const limits = `${MIN_FRAMES * PAGE_SIZE} and ${MAX_FRAMES * PAGE_SIZE}`;
  throw new VmError('EINVAL', 'createMachine', `memory must be between ${limits} bytes, got ${bytes}`);
}

/** Lays out the control memory of a new machine. Throws ENOMEM when the host gives no memory. */
export function makeControl(
  frames: number,
  shared: boolean,
  design: FaultProtocol,
  limits: { readonly stallTimeout: number; readonly ioTimeout: number },
): MemoryBuffer {
  checkMemory(frames * PAGE_SIZE);
  const regions = computeRegions(frames);
  const buffer = allocate(regions.words * 4, shared);
  const words = new Int32Array(buffer);
  const [low, high, seed] = crypto.getRandomValues(new Int32Array(3)) as unknown as readonly [number, number, number];
  poke(words, H_VERSION, BUILD_VERSION);
  poke(words, H_WORDS, regions.words);
  poke(words, H_FRAMES, frames);
  poke(words, H_ID_LOW, low);
  poke(words, H_ID_HIGH, high);
  poke(words, H_DESIGN, design.id);
  poke(words, H_SHARED, shared ? 1 : 0);
  poke(words, H_STALL_MS, limits.stallTimeout);
  poke(words, H_IO_MS, limits.ioTimeout);
  poke(words, H_HASH_SEED, CHECKED ? CHECKED_SEED : seed);
  poke(words, EPOCH, 2);
  poke(words, FRAME_BUMP, 1); // frame 0 is the zero page
  poke(words, TABLE_BUMP, 0);
  poke(words, regions.pages + P_STATE, LIVE);
  store(words, H_MAGIC, MAGIC);
  return buffer;
}

export function allocate(bytes: number, shared: boolean): MemoryBuffer {
  if (shared && typeof SharedArrayBuffer === 'undefined') {
    throw new VmError(
      'ENOTSUP',
      'createMachine',
      'SharedArrayBuffer is not available: the page needs cross-origin isolation (Cross-Origin-Opener-Policy: same-origin ' +
        'and Cross-Origin-Embedder-Policy: require-corp or credentialless), or use { shared: false } for a single thread',
    );
  }
  try {
    return shared ? new SharedArrayBuffer(bytes) : new ArrayBuffer(bytes);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new VmError('ENOMEM', 'createMachine', `the host gave no ${bytes} bytes`);
  }
}

/** Throws EPROTO for memory that is not a machine's, or that of another version of this library. */
export function checkControl(words: Int32Array): void {
  if (words.length < H_VERSION + 1 || load(words, H_MAGIC) !== MAGIC) {
    throw new VmError('EPROTO', 'attach', 'the handle does not hold a machine');
  }
  const version = load(words, H_VERSION);
  if ((version ^ BUILD_VERSION) === CHECKED_BUILD) {
    throw new VmError(
      'EPROTO',
      'attach',
      'the machine was made by the checked build of vmspace, or this is that build',
    );
  }
  if (version !== BUILD_VERSION) {
    const both = `layout version ${version}, this build has ${LAYOUT_VERSION}`;
    throw new VmError('EPROTO', 'attach', `the machine was made by another version of vmspace: ${both}`);
  }
}

/** The rooms, bottom up. */
export function makeKernel(cpu: Cpu, frameBytes: Uint8Array): Kernel {
  const { words, floats } = cpu;
  const regions = computeRegions(words[H_FRAMES] as number);
  const rcu = new Rcu(cpu);
  const slabs = makeSlabs(cpu, regions);
  const frames = new Frames(cpu, regions, frameBytes);
  const tables = new Tables(cpu, regions, slabs.table, rcu, RETIRE_TABLE);
  const rmap = new Rmap(cpu, slabs.rmap, rcu, RETIRE_RMAP);
  const texts = new TextStore(cpu, slabs.text);
  const cache = new PageCache(cpu, regions, frames);
  const reclaim = new Reclaim(cpu, rcu, frames, tables, rmap, cache, RETIRE_FRAME);
  const files = new Files(cpu, frames, slabs.mapping, texts, cache, reclaim);
  const vmas: VmaTable = new VmaTable(cpu, slabs.vma, (v: VmaRef, mapping: MappingRef) => {
    if (mapping !== 0) files.put(mapping, vmas.holdsFile(v));
  });
  const tree = new VmaTree(cpu, vmas, slabs.node, rcu, { node: RETIRE_NODE, vma: RETIRE_VMA });
  const planner = new Planner(tree);
  rcu.registerReclaimer(RETIRE_FRAME, reclaim.reclaimer);
  rcu.registerReclaimer(RETIRE_TABLE, tables.reclaimer);
  rcu.registerReclaimer(RETIRE_RMAP, rmap.reclaimer);
  rcu.nudge = (id) => nudgeSpacesOf(cpu, regions, id);
  return {
    cpu,
    words,
    floats,
    regions,
    rcu,
    slabs,
    frames,
    tables,
    rmap,
    vmas,
    tree,
    planner,
    texts,
    cache,
    reclaim,
    files,
  };
}

function makeSlabs(cpu: Cpu, regions: Regions): Slabs {
  const { tableHeaders, tableCount } = regions;
  const arena = (kind: number, name: string, recordWords: number): Slab =>
    new Slab(cpu, kind, name, recordWords, arenaSource(cpu, regions, kind, recordWords));
  const headers = regionSource(cpu, TABLE_BUMP, tableHeaders, tableCount, TABLE_HEADER_WORDS);
  return {
    vma: arena(SLAB_VMA, 'VMA', VMA_WORDS),
    node: arena(SLAB_NODE, 'tree node', NODE_WORDS),
    table: new Slab(cpu, SLAB_TABLE, 'page table', TABLE_HEADER_WORDS, headers),
    mapping: arena(SLAB_MAPPING, 'file', MAPPING_WORDS),
    rmap: arena(SLAB_RMAP, 'reverse-map', RMAP_NODE_WORDS),
    text: arena(SLAB_TEXT, 'text', TEXT_WORDS),
  };
}
