/** The table of VMA records (see vma.layout.ts for what each field means and what lets you read it). */
import { load, peek, peekF64, poke, pokeF64, store } from '#atomics';
import { assertRule, oops } from '../base/assert.ts';
import type { MappingRef, MmRef, VmaRef, Vpn } from '../base/brands.ts';
import type { Slab } from '../memory/slab.ts';
import { C_REF_VMA, CPUS_USED, cpuSlot } from '../sync/control.layout.ts';
import type { Cpu } from '../sync/cpu.ts';
import { refGet, refGetUnlessZero, refPut } from '../sync/refcount.ts';
import {
  V_DETACHED,
  V_END,
  V_FLAGS,
  V_HOLDS_FILE,
  V_MAPPING,
  V_MM,
  V_OFFSET,
  V_REFS,
  V_START,
  VM_EXEC,
  VM_READ,
  VM_SHARED,
  VM_WRITE,
} from './vma.layout.ts';

if ((V_START | V_END | V_OFFSET) & 1) oops('layout', 'a Float64 of the VMA record is not 8-byte aligned');

/** What a VMA is, apart from its identity. */
export interface VmaProps {
  /** First page. */
  readonly start: Vpn;
  /** The page behind the last one. */
  readonly end: Vpn;
  /** `VM_*` bits. */
  readonly flags: number;
  /** 0 for anonymous memory. */
  readonly mapping: MappingRef;
  /** Page index in the file that `start` maps. */
  readonly offset: number;
  readonly mm: MmRef;
}

export class VmaTable {
  private readonly _words: Int32Array;
  private readonly _floats: Float64Array;
  private readonly _slab: Slab;
  private readonly _onLastPut: (v: VmaRef, mapping: MappingRef) => void;

  /** `onLastPut` gives back what the record held: the reference on its mapping. */
  constructor(cpu: Cpu, slab: Slab, onLastPut: (v: VmaRef, mapping: MappingRef) => void) {
    this._words = cpu.words;
    this._floats = cpu.floats;
    this._slab = slab;
    this._onLastPut = onLastPut;
  }

  /* Life. */

  /** A record that only the caller knows, with one reference, the tree's. Throws ENOMEM. */
  create(props: VmaProps): VmaRef {
    assertRule(props.start < props.end, 'vma bounds', () => `empty range ${range(props.start, props.end)}`);
    const v = this._slab.alloc() as VmaRef;
    const words = this._words;
    const floats = this._floats;
    poke(words, v + V_REFS, 1);
    poke(words, v + V_DETACHED, 0);
    poke(words, v + V_FLAGS, props.flags);
    poke(words, v + V_MAPPING, props.mapping);
    poke(words, v + V_MM, props.mm);
    poke(words, v + V_HOLDS_FILE, 0);
    pokeF64(floats, (v + V_START) >> 1, props.start);
    pokeF64(floats, (v + V_END) >> 1, props.end);
    pokeF64(floats, (v + V_OFFSET) >> 1, props.offset);
    return v;
  }

  /** Where it is noted whether the record has its reference on the mapping (see Files). */
  holdsFile(v: VmaRef): number {
    return v + V_HOLDS_FILE;
  }

  /** To be called before the root that names the record is stored, with the reference on the mapping taken. */
  publish(v: VmaRef): void {
    this._slab.publish(v);
  }

  /** Takes back a record that was never published: the mapping's reference was not taken yet, so none is given back. */
  discard(v: VmaRef): void {
    poke(this._words, v + V_REFS, 0);
    this._slab.free(v);
  }

  /** The record has left the tree; the tree's reference falls after a grace period (see `VmaTree.retireVma`). */
  markRetired(v: VmaRef): void {
    this._slab.markRetired(v);
  }

  /** For a lockless reader. False: the record is dying, look again. True says nothing about being attached. */
  tryGet(v: VmaRef): boolean {
    return refGetUnlessZero(this._words, v + V_REFS);
  }

  get(v: VmaRef): void {
    refGet(this._words, v + V_REFS);
  }

  put(v: VmaRef): void {
    if (refPut(this._words, v + V_REFS)) this.release(v);
  }

  /** Frees the record, of which at most the tree's reference is left. Done again if its thread died in the middle. */
  release(v: VmaRef): void {
    store(this._words, v + V_REFS, 0);
    this._onLastPut(v, this.mapping(v));
    this._slab.free(v);
  }

  /**
   * Whether a fault sleeps that needs the record when it wakes up. Requires: a grace period since it left the tree, so nobody
   * starts to; a section's end is read before the words here.
   */
  isAwaited(v: VmaRef): boolean {
    const words = this._words;
    const used = load(words, CPUS_USED);
    for (let id = 0; id < used; id++) if (load(words, cpuSlot(id) + C_REF_VMA) === v) return true;
    return false;
  }

  refs(v: VmaRef): number {
    return load(this._words, v + V_REFS);
  }

  /* Detaching. */

  isDetached(v: VmaRef): boolean {
    return this.detachedReason(v) !== 0;
  }

  /** 0, or a DETACHED_* reason. */
  detachedReason(v: VmaRef): number {
    return load(this._words, v + V_DETACHED); // pairs with the store in markDetached
  }

  markDetached(v: VmaRef, reason: number): void {
    store(this._words, v + V_DETACHED, reason); // before any PTE of the range is touched; pairs with the load under the leaf lock
  }

  /* Fields that never change: plain. */

  start(v: VmaRef): Vpn {
    return peekF64(this._floats, (v + V_START) >> 1) as Vpn;
  }

  end(v: VmaRef): Vpn {
    return peekF64(this._floats, (v + V_END) >> 1) as Vpn;
  }

  flags(v: VmaRef): number {
    return peek(this._words, v + V_FLAGS);
  }

  mapping(v: VmaRef): MappingRef {
    return peek(this._words, v + V_MAPPING) as MappingRef;
  }

  offset(v: VmaRef): number {
    return peekF64(this._floats, (v + V_OFFSET) >> 1);
  }

  /** The page of the file that is mapped at `vpn`. Requires: the VMA maps a file and covers `vpn`. */
  pageIndex(v: VmaRef, vpn: Vpn): number {
    return this.offset(v) + (vpn - this.start(v));
  }

  mm(v: VmaRef): MmRef {
    return peek(this._words, v + V_MM) as MmRef;
  }

  pages(v: VmaRef): number {
    return this.end(v) - this.start(v);
  }

  props(v: VmaRef): VmaProps {
    return {
      start: this.start(v),
      end: this.end(v),
      flags: this.flags(v),
      mapping: this.mapping(v),
      offset: this.offset(v),
      mm: this.mm(v),
    };
  }

  /** Whether one record could stand for both. */
  mergeable(a: VmaRef, b: VmaRef): boolean {
    return this.end(a) === this.start(b) && joins(this.props(a), this.props(b));
  }

  /** As a line of /proc/PID/maps, with what that leaves out. */
  describe(v: VmaRef): string {
    const flags = this.flags(v);
    const rights = `${flags & VM_READ ? 'r' : '-'}${flags & VM_WRITE ? 'w' : '-'}${flags & VM_EXEC ? 'x' : '-'}`;
    const mapping = this.mapping(v);
    const backing = mapping === 0 ? 'anonymous' : `mapping ${mapping} page ${this.offset(v)}`;
    const state = `${this.refs(v)} refs${this.isDetached(v) ? ', detached' : ''}`;
    const where = range(this.start(v), this.end(v));
    return `vma ${v} ${where} ${rights}${flags & VM_SHARED ? 's' : 'p'} flags 0x${flags.toString(16)} ${backing}, ${state}`;
  }
}

/** Whether `b` carries on where `a` stops. Two shared anonymous mappings never do: each has memory of its own. */
export function joins(a: VmaProps, b: VmaProps): boolean {
  if (a.end !== b.start || a.flags !== b.flags || a.mapping !== b.mapping || a.mm !== b.mm) return false;
  if (a.mapping === 0) return (a.flags & VM_SHARED) === 0;
  return a.offset + (a.end - a.start) === b.offset;
}

/** `props` cut down to [start, end), which lies inside. */
export function slice(props: VmaProps, start: Vpn, end: Vpn): VmaProps {
  const offset = props.mapping === 0 ? props.offset : props.offset + (start - props.start);
  return { ...props, start, end, offset };
}

/** Pages `[start, end)` for messages. */
export function range(start: number, end: number): string {
  return `[0x${start.toString(16)}, 0x${end.toString(16)})`;
}
