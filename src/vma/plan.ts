/**
 * Which VMAs a change of the layout replaces by which: the decisions about splitting and merging, without the change. A plan
 * reads one root, makes new records that nobody else knows, and is then handed to `VmaTree.replace`, or discarded.
 *
 * Two neighbours become one where one record can stand for both (`joins`): adjacent, same flags, same space, same file at
 * contiguous offsets. Pieces that stay what they are keep their record.
 */
import type { NodeRef, VmaRef, Vpn } from '../base/brands.ts';
import type { VmaTree } from './tree.ts';
import { VM_PROT } from './vma.layout.ts';
import { joins, slice, type VmaProps, type VmaTable } from './vma-table.ts';

/** In [start, end) of the tree, the VMAs `replaced` become `insert`. Nothing to do if both are empty: `isNoop`. */
export interface LayoutPlan {
  readonly start: Vpn;
  readonly end: Vpn;
  /** Everything in [start, end) afterwards: new records and such that stay. */
  readonly insert: readonly VmaRef[];
  /** Those of `insert` that are new: to be published, or discarded with the plan. */
  readonly created: readonly VmaRef[];
  /** To be detached and retired. */
  readonly replaced: readonly VmaRef[];
  /** Neighbours that lost their boundary. */
  readonly merged: number;
  /** Boundaries that were cut into a VMA. */
  readonly split: number;
}

export interface IsolatePlan extends LayoutPlan {
  /** The VMAs, old or new, that lie in the range once the plan is carried out. */
  readonly inside: readonly VmaRef[];
}

/** A part of the layout to be: `from` is the VMA it is cut from. */
interface Piece {
  readonly props: VmaProps;
  readonly from: VmaRef;
}

/** Pieces that one record will stand for. */
interface Run {
  props: VmaProps;
  readonly pieces: Piece[];
}

const NONE: readonly VmaRef[] = [];

export class Planner {
  readonly #tree: VmaTree;
  readonly #vmas: VmaTable;

  constructor(tree: VmaTree) {
    this.#tree = tree;
    this.#vmas = tree.vmas;
  }

  /**
   * A new mapping. `replacing` are the VMAs in its range, each of which lies inside and disappears (MAP_FIXED); without them
   * the range is a hole. Throws ENOMEM.
   */
  planMap(root: NodeRef, props: VmaProps, replacing: readonly VmaRef[] = NONE): LayoutPlan {
    const before = this.#joinedBefore(root, props);
    const after = this.#joinedAfter(root, props);
    if (before === 0 && after === 0) {
      const created = [this.#vmas.create(props)];
      return { start: props.start, end: props.end, insert: created, created, replaced: replacing, merged: 0, split: 0 };
    }
    const first = before === 0 ? props : this.#vmas.props(before);
    const end = after === 0 ? props.end : this.#vmas.end(after);
    const created = [this.#vmas.create({ ...first, end })];
    const replaced = [...one(before), ...replacing, ...one(after)];
    const merged = (before === 0 ? 0 : 1) + (after === 0 ? 0 : 1);
    return { start: first.start, end, insert: created, created, replaced, merged, split: 0 };
  }

  #joinedBefore(root: NodeRef, props: VmaProps): VmaRef {
    const v = this.#tree.previous(root, props.start);
    return v !== 0 && this.#vmas.end(v) === props.start && joins(this.#vmas.props(v), props) ? v : (0 as VmaRef);
  }

  #joinedAfter(root: NodeRef, props: VmaProps): VmaRef {
    const v = this.#tree.next(root, props.end);
    return v !== 0 && this.#vmas.start(v) === props.end && joins(props, this.#vmas.props(v)) ? v : (0 as VmaRef);
  }

  /** Puts boundaries at `start` and `end`. Throws ENOMEM. */
  planIsolate(root: NodeRef, start: Vpn, end: Vpn): IsolatePlan {
    const met = this.#tree.toArray(root, start, end);
    if (!this.#isCut(root, start, end)) return emptyIsolate(start, end, met);
    const plan = this.#settle(this.#cut(root, start, end).map(runOf));
    // A VMA that lies inside keeps its record, so those and the new ones in the range are all there will be.
    const inside = [...met, ...plan.created].filter((v) => this.#isInside(v, start, end));
    return { ...plan, inside: this.#sorted(inside) };
  }

  #isInside(v: VmaRef, start: Vpn, end: Vpn): boolean {
    return this.#vmas.start(v) >= start && this.#vmas.end(v) <= end;
  }

  /** Leaves nothing in [start, end), which `whole` fill exactly: no boundary is cut, nothing is made. */
  planDrop(start: Vpn, end: Vpn, whole: readonly VmaRef[]): LayoutPlan {
    return { start, end, insert: NONE, created: NONE, replaced: whole, merged: 0, split: 0 };
  }

  /** Leaves nothing in [start, end). Throws ENOMEM. */
  planRemove(root: NodeRef, start: Vpn, end: Vpn): LayoutPlan {
    if (!this.#isCut(root, start, end)) {
      const replaced = this.#tree.toArray(root, start, end);
      if (replaced.length === 0) return EMPTY_PLAN;
      return { start, end, insert: NONE, created: NONE, replaced, merged: 0, split: 0 };
    }
    const pieces = this.#cut(root, start, end);
    const stays = pieces.filter(({ props }) => props.end <= start || props.start >= end);
    const gone = pieces.filter(({ props }) => props.end > start && props.start < end);
    return this.#settle(stays.map(runOf), gone);
  }

  /** Gives every VMA in [start, end) the rights `prot`, `VM_READ | VM_WRITE | VM_EXEC`. Requires: no hole. Throws ENOMEM. */
  planProtect(root: NodeRef, start: Vpn, end: Vpn, prot: number): LayoutPlan {
    return this.planFlags(root, start, end, VM_PROT, prot);
  }

  /** The same for any flags: the bits of `mask` become those of `flags`. Holes stay holes. */
  planFlags(root: NodeRef, start: Vpn, end: Vpn, mask: number, flags: number): LayoutPlan {
    let changes = false;
    const cut = this.#cut(root, start, end).map((piece) => {
      const { props, from } = piece;
      const wanted = (props.flags & ~mask) | (flags & mask);
      if (props.end <= start || props.start >= end || props.flags === wanted) return piece;
      changes = true;
      return { props: { ...props, flags: wanted }, from };
    });
    if (!changes) return EMPTY_PLAN;
    const pieces = uncut(cut);
    return this.#settle(
      coalesce([...this.#neighbour('before', root, pieces), ...pieces, ...this.#neighbour('after', root, pieces)]),
    );
  }

  /** Takes away the boundaries in and around [start, end) that mean nothing. Throws ENOMEM. */
  planMerge(root: NodeRef, start: Vpn, end: Vpn): LayoutPlan {
    const pieces = this.#tree.toArray(root, start, end).map((from) => ({ props: this.#vmas.props(from), from }));
    return this.#settle(
      coalesce([...this.#neighbour('before', root, pieces), ...pieces, ...this.#neighbour('after', root, pieces)]),
    );
  }

  /** Gives up a plan that was not carried out. */
  discardPlan(plan: LayoutPlan): void {
    for (const v of plan.created) this.#vmas.discard(v);
  }

  /** Whether `start` or `end` lies in the middle of a VMA. Mostly neither does. */
  #isCut(root: NodeRef, start: Vpn, end: Vpn): boolean {
    const first = this.#tree.find(root, start);
    if (first !== 0 && this.#vmas.start(first) < start) return true;
    const last = this.#tree.find(root, end - 1);
    return last !== 0 && this.#vmas.end(last) > end;
  }

  /** The VMAs that meet [start, end), in pieces that do not cross its ends. */
  #cut(root: NodeRef, start: Vpn, end: Vpn): Piece[] {
    const pieces: Piece[] = [];
    for (const from of this.#tree.toArray(root, start, end)) {
      const props = this.#vmas.props(from);
      const first = props.start > start ? props.start : start;
      const last = props.end < end ? props.end : end;
      if (props.start < first) pieces.push({ props: slice(props, props.start, first), from });
      pieces.push({ props: slice(props, first, last), from });
      if (last < props.end) pieces.push({ props: slice(props, last, props.end), from });
    }
    return pieces;
  }

  /** The VMA that touches the pieces from outside: it may merge with a piece that changes. */
  #neighbour(side: 'before' | 'after', root: NodeRef, pieces: readonly Piece[]): Piece[] {
    const edge = pieces.at(side === 'before' ? 0 : -1);
    if (edge === undefined) return [];
    const { start, end } = edge.props;
    const v = side === 'before' ? this.#tree.previous(root, start) : this.#tree.next(root, end);
    if (v === 0) return [];
    const props = this.#vmas.props(v);
    const touches = side === 'before' ? props.end === start : props.start === end;
    return touches ? [{ props, from: v }] : [];
  }

  /**
   * Turns runs, in order, into a plan: a run that is exactly its VMA keeps the record, the others get new ones. Runs that
   * stay at either end are none of the plan's business. `gone` are pieces to which no run succeeds.
   */
  #settle(runs: readonly Run[], gone: readonly Piece[] = []): LayoutPlan {
    const changed = runs.filter((run) => !this.#stays(run));
    const replaced = this.#origins([...changed.flatMap((run) => run.pieces), ...gone]);
    if (replaced.length === 0) return EMPTY_PLAN;
    const start = this.#vmas.start(replaced[0] as VmaRef);
    const end = this.#vmas.end(replaced.at(-1) as VmaRef);
    const created: VmaRef[] = [];
    const insert: VmaRef[] = [];
    try {
      for (const run of runs) {
        if (run.props.end <= start || run.props.start >= end) continue;
        if (this.#stays(run)) {
          insert.push((run.pieces[0] as Piece).from);
          continue;
        }
        const v = this.#vmas.create(run.props);
        created.push(v);
        insert.push(v);
      }
    } catch (error) {
      for (const v of created) this.#vmas.discard(v);
      throw error;
    }
    return { start, end, insert, created, replaced, ...boundaries(runs, gone) };
  }

  #stays({ props, pieces }: Run): boolean {
    const [piece] = pieces;
    if (piece === undefined || pieces.length > 1) return false;
    const { from } = piece;
    return (
      this.#vmas.start(from) === props.start &&
      this.#vmas.end(from) === props.end &&
      this.#vmas.flags(from) === props.flags
    );
  }

  /** The VMAs that pieces were cut from, in order, each once. */
  #origins(pieces: readonly Piece[]): VmaRef[] {
    return this.#sorted([...new Set(pieces.map(({ from }) => from))]);
  }

  #sorted(vmas: VmaRef[]): VmaRef[] {
    return vmas.sort((a, b) => this.#vmas.start(a) - this.#vmas.start(b));
  }
}

const EMPTY_PLAN: LayoutPlan = {
  start: 0 as Vpn,
  end: 0 as Vpn,
  insert: NONE,
  created: NONE,
  replaced: NONE,
  merged: 0,
  split: 0,
};

/** Spelt out: spreading an object costs more than the look-ups of a plan. */
function emptyIsolate(start: Vpn, end: Vpn, inside: readonly VmaRef[]): IsolatePlan {
  return { start, end, insert: NONE, created: NONE, replaced: NONE, merged: 0, split: 0, inside };
}

/** Whether the plan leaves the layout as it is. */
export function isNoop(plan: LayoutPlan): boolean {
  return plan.insert.length === 0 && plan.replaced.length === 0;
}

function one(v: VmaRef): readonly VmaRef[] {
  return v === 0 ? NONE : [v];
}

function runOf(piece: Piece): Run {
  return { props: piece.props, pieces: [piece] };
}

/** Pieces of one VMA that say the same are one piece again: a VMA that only lies across the end of a range stays whole. */
function uncut(pieces: readonly Piece[]): Piece[] {
  const out: Piece[] = [];
  for (const piece of pieces) {
    const last = out.at(-1);
    if (last === undefined || last.from !== piece.from || last.props.flags !== piece.props.flags) out.push(piece);
    else out[out.length - 1] = { props: { ...last.props, end: piece.props.end }, from: piece.from };
  }
  return out;
}

/** Runs as long as can be. */
function coalesce(pieces: readonly Piece[]): Run[] {
  const runs: Run[] = [];
  for (const piece of pieces) {
    const last = runs.at(-1);
    if (last !== undefined && joins(last.props, piece.props)) {
      last.props = { ...last.props, end: piece.props.end };
      last.pieces.push(piece);
    } else runs.push(runOf(piece));
  }
  return runs;
}

/** Boundaries between VMAs that are gone, and boundaries that are new. */
function boundaries(runs: readonly Run[], gone: readonly Piece[]): { merged: number; split: number } {
  let merged = 0;
  let split = 0;
  const ends = new Map<number, VmaRef>(); // where a run or a removed piece ends, and what it was cut from
  for (const { pieces } of runs) {
    for (let i = 1; i < pieces.length; i++) if (pieces[i]?.from !== pieces[i - 1]?.from) merged++;
    const last = pieces.at(-1) as Piece;
    ends.set(last.props.end, last.from);
  }
  for (const { props, from } of gone) ends.set(props.end, from);
  for (const { pieces } of runs) if (ends.get((pieces[0] as Piece).props.start) === pieces[0]?.from) split++;
  for (const { props, from } of gone) if (ends.get(props.start) === from) split++;
  return { merged, split };
}
