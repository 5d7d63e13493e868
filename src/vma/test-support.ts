/**
 * What the tests of this room stand on: a machine of one cpu with an empty tree, a writer that carries plans out as the space
 * room does, and layouts drawn as strips.
 */
import { load, poke } from '#atomics';
import { oops } from '../base/assert.ts';
import type { MappingRef, MmRef, NodeRef, VmaRef, Vpn } from '../base/brands.ts';
import { computeRegions } from '../memory/regions.ts';
import { arenaSource, type ChunkSource, Slab } from '../memory/slab.ts';
import { EPOCH, FRAME_BUMP, H_SHARED, H_STALL_MS, TABLE_BUMP } from '../sync/control.layout.ts';
import { attachCpu, type Cpu } from '../sync/cpu.ts';
import { Rcu, type SectionClient } from '../sync/rcu.ts';
import { isNoop, type LayoutPlan, Planner } from './plan.ts';
import { NODE_WORDS } from './tree.layout.ts';
import { VmaTree } from './tree.ts';
import { VM_READ, VM_SHARED, VM_WRITE, VMA_WORDS } from './vma.layout.ts';
import { slice, type VmaProps, VmaTable } from './vma-table.ts';

const KIND_VMA = 0;
const KIND_NODE = 1;
const ROOM_FOR_LIMITED = 1 << 20;

/** A chunk source that gives `allowed` records and no more; tests raise it. */
export interface LimitedSource extends ChunkSource {
  allowed: number;
}

export interface TestOptions {
  /** Nodes the machine has, for out-of-memory tests. Without it as many as the arena holds. */
  readonly nodes?: number;
  readonly vmas?: number;
}

export class TestSpace {
  readonly cpu: Cpu;
  readonly rcu: Rcu;
  readonly vmaSlab: Slab;
  readonly nodeSlab: Slab;
  readonly vmas: VmaTable;
  readonly tree: VmaTree;
  readonly planner: Planner;
  readonly rootWord: number;
  readonly mm: MmRef = 7 as MmRef;
  /** Mappings given back by last puts, in order. */
  readonly released: MappingRef[] = [];
  /** Set in tests that must not fail at a certain place. */
  readonly nodeLimit: LimitedSource | undefined;
  readonly vmaLimit: LimitedSource | undefined;

  constructor(options: TestOptions = {}) {
    const regions = computeRegions(256);
    const total = regions.words + 2 * ROOM_FOR_LIMITED;
    const buffer = new SharedArrayBuffer(total * 4);
    const words = new Int32Array(buffer);
    poke(words, H_SHARED, 1);
    poke(words, H_STALL_MS, 1000);
    poke(words, EPOCH, 2);
    poke(words, TABLE_BUMP, 1);
    poke(words, FRAME_BUMP, 1);
    this.cpu = attachCpu(words, new Float64Array(buffer), 0);
    this.rcu = new Rcu(this.cpu);
    this.rootWord = regions.spaces;
    const source = (kind: number, size: number): ChunkSource => arenaSource(this.cpu, regions, kind, size);
    const limit = (at: number, size: number, allowed: number | undefined): LimitedSource | undefined =>
      allowed === undefined ? undefined : limitedSource(at, size, allowed);
    this.vmaLimit = limit(regions.words, VMA_WORDS, options.vmas);
    this.nodeLimit = limit(regions.words + ROOM_FOR_LIMITED, NODE_WORDS, options.nodes);
    this.vmaSlab = new Slab(this.cpu, KIND_VMA, 'vma', VMA_WORDS, this.vmaLimit ?? source(KIND_VMA, VMA_WORDS));
    this.nodeSlab = new Slab(this.cpu, KIND_NODE, 'node', NODE_WORDS, this.nodeLimit ?? source(KIND_NODE, NODE_WORDS));
    this.vmas = new VmaTable(this.cpu, this.vmaSlab, (_v, mapping) => {
      if (mapping !== 0) this.released.push(mapping);
    });
    this.tree = new VmaTree(this.cpu, this.vmas, this.nodeSlab, this.rcu, { node: KIND_NODE, vma: KIND_VMA });
    this.planner = new Planner(this.tree);
  }

  get root(): NodeRef {
    return load(this.cpu.words, this.rootWord) as NodeRef;
  }

  props(start: number, end: number, flags: number = VM_READ, mapping: number = 0, offset: number = 0): VmaProps {
    return { start: start as Vpn, end: end as Vpn, flags, mapping: mapping as MappingRef, offset, mm: this.mm };
  }

  /** Carries a plan out: publish the new VMAs, build, publish the tree, detach and retire the old VMAs, validate. */
  commit(plan: LayoutPlan): LayoutPlan {
    if (isNoop(plan)) return plan;
    const edit = this.#replaceOrDiscard(plan);
    for (const v of plan.created) this.vmas.publish(v);
    this.tree.publish(this.rootWord, edit, plan.replaced);
    this.tree.validate(this.root);
    this.rcu.pollRetired();
    return plan;
  }

  #replaceOrDiscard(plan: LayoutPlan): ReturnType<VmaTree['replace']> {
    try {
      return this.tree.replace(this.root, plan.start, plan.end, plan.insert);
    } catch (error) {
      this.planner.discardPlan(plan);
      throw error;
    }
  }

  map(props: VmaProps): LayoutPlan {
    return this.commit(this.planner.planMap(this.root, props));
  }

  /** MAP_FIXED: isolates the range, then replaces what is in it. */
  mapFixed(props: VmaProps): LayoutPlan {
    const isolated = this.planner.planIsolate(this.root, props.start, props.end);
    this.commit(isolated);
    return this.commit(this.planner.planMap(this.root, props, isolated.inside));
  }

  remove(start: number, end: number): LayoutPlan {
    return this.commit(this.planner.planRemove(this.root, start as Vpn, end as Vpn));
  }

  isolate(start: number, end: number): LayoutPlan {
    return this.commit(this.planner.planIsolate(this.root, start as Vpn, end as Vpn));
  }

  protect(start: number, end: number, prot: number): LayoutPlan {
    return this.commit(this.planner.planProtect(this.root, start as Vpn, end as Vpn, prot));
  }

  /** Takes the space down and checks that every record is free again. */
  close(): void {
    const old = this.root;
    if (old !== 0) {
      poke(this.cpu.words, this.rootWord, 0);
      this.tree.freeAll(old);
    }
    this.rcu.drain();
    this.expectNothingLeft(this.vmaSlab);
    this.expectNothingLeft(this.nodeSlab);
  }

  expectNothingLeft(slab: Slab): void {
    const { live, owned, retired } = slab.census();
    if (live + owned + retired > 0)
      oops('I26', `${slab.name}: ${live} live, ${owned} owned, ${retired} retired records left`);
  }
}

/** A reader that only wants to hold grace periods up. */
export function reader(): SectionClient {
  return { sectionDepth: 0, sectionMm: 0, revalidate: () => undefined, deactivate: () => undefined };
}

function limitedSource(first: number, recordWords: number, allowed: number): LimitedSource {
  let carved = 0;
  return {
    allowed,
    carve() {
      if (carved >= this.allowed) return undefined;
      const count = this.allowed - carved;
      const out = { first: first + carved * recordWords, count };
      carved = this.allowed;
      return out;
    },
    forEach(visit) {
      for (let i = 0; i < carved; i++) visit(first + i * recordWords);
    },
  };
}

/*
 * Strips. One character a page. A letter is a kind of mapping, `.` a hole; `|` takes no page and stands for the boundary between
 * two VMAs that look alike. Boundaries between unlike ones need no mark.
 */
const KINDS: Readonly<Record<string, { flags: number; mapping: number; shift: number }>> = {
  A: { flags: VM_READ, mapping: 0, shift: 0 },
  B: { flags: VM_READ | VM_WRITE, mapping: 0, shift: 0 },
  N: { flags: 0, mapping: 0, shift: 0 },
  S: { flags: VM_READ | VM_SHARED, mapping: 0, shift: 0 },
  /* Files are mapped at page = vpn + shift, so neighbours of a kind are contiguous. */
  F: { flags: VM_READ, mapping: 40, shift: 0 },
  f: { flags: VM_READ, mapping: 40, shift: 100 },
  W: { flags: VM_READ | VM_WRITE, mapping: 40, shift: 0 },
  G: { flags: VM_READ, mapping: 41, shift: 0 },
};

/** What one kind of letter means for pages [start, end). */
export function kindProps(space: TestSpace, kind: string, start: number, end: number): VmaProps {
  const { flags, mapping, shift } = KINDS[kind] ?? oops('strip', `no kind '${kind}'`);
  return space.props(start, end, flags, mapping, mapping === 0 ? 0 : start + shift);
}

/** Lays a strip out from page `base` on, VMA by VMA, with no regard to what could merge. */
export function layOut(space: TestSpace, strip: string, base: number = 16): void {
  for (const { start, end, kind } of piecesOf(strip, base)) {
    const v = space.vmas.create(kindProps(space, kind, start, end));
    space.commit({ start, end, insert: [v], created: [v], replaced: [], merged: 0, split: 0 });
  }
}

function piecesOf(strip: string, base: number): { start: Vpn; end: Vpn; kind: string }[] {
  const out: { start: Vpn; end: Vpn; kind: string }[] = [];
  let at = base;
  for (const [text, kind] of strip.matchAll(/([^|])\1*|\|/g)) {
    if (text === '|') continue;
    if (kind !== '.') out.push({ start: at as Vpn, end: (at + text.length) as Vpn, kind: kind as string });
    at += text.length;
  }
  return out;
}

/** The layout of `pages` pages from `base` on, as a strip. */
export function stripOf(space: TestSpace, pages: number, base: number = 16, root: NodeRef = space.root): string {
  let out = '';
  let at = base;
  for (const v of space.tree.toArray(root, base, base + pages)) {
    const start = Math.max(base, space.vmas.start(v));
    const end = Math.min(base + pages, space.vmas.end(v));
    out += '.'.repeat(start - at);
    const kind = kindOf(space, v);
    if (out.endsWith(kind)) out += '|';
    out += kind.repeat(end - start);
    at = end;
  }
  return out + '.'.repeat(base + pages - at);
}

function kindOf(space: TestSpace, v: VmaRef): string {
  const props = space.vmas.props(v);
  for (const kind of Object.keys(KINDS)) {
    const wanted = slice(kindProps(space, kind, props.start, props.end), props.start, props.end);
    if (wanted.flags === props.flags && wanted.mapping === props.mapping && wanted.offset === props.offset) return kind;
  }
  return '?';
}
