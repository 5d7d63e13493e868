/** Conservation (I26): what must hold of a machine when every space and file is closed and nobody works on it. */

import type { PageRef, Pfn } from '../../src/base/brands.ts';
import type { Census, Machine } from '../../src/index.ts';
import { CACHED, FREE, R_LINK, R_STATE, stateKind, stateTag } from '../../src/memory/ownership.ts';
import { P_LINK, P_LOCK, P_MAPPING, P_RMAP_LOCK, P_STATE } from '../../src/memory/page.layout.ts';
import type { Slab } from '../../src/memory/slab.ts';
import {
  C_STATE,
  CPU_ATTACHED,
  CPU_FREE,
  CPU_LEFT,
  CPUS_USED,
  cpuSlot,
  FRAME_BUMP,
  FRAME_FREE,
  FRAME_HEAD,
  LINE,
  SLAB_LINES,
} from '../../src/sync/control.layout.ts';

/** What is wrong, in words; empty if nothing is. Requires: spaces and files closed, nobody else at work. */
export function conservation(machine: Machine): string[] {
  machine.drain();
  const census = machine.census();
  return [
    ...leaks(census),
    ...auditCounters(machine),
    ...auditSlabs(machine),
    ...auditFrames(machine),
    ...auditLocks(machine),
  ];
}

function leaks(census: Census): string[] {
  const problems: string[] = [];
  if (census.spaces !== 0) problems.push(`${census.spaces} spaces are left`);
  if (census.mappings !== 0) problems.push(`${census.mappings} mappings are left`);
  for (const pool of ['frames', 'vma', 'node', 'table', 'file', 'rmap', 'text'] as const) {
    const { live, owned, retired } = census[pool];
    if (live + owned + retired > 0) problems.push(`${pool}: ${live} live, ${owned} owned, ${retired} retired are left`);
  }
  return problems;
}

/** Frames allocated and not freed are those in use, whoever died in between. */
function auditCounters(machine: Machine): string[] {
  const { live, owned, retired } = machine.census().frames;
  const { 'frames.allocated': allocated, 'frames.freed': freed } = machine.counters();
  const used = live + owned + retired;
  return allocated - freed === used ? [] : [`${allocated} frames allocated, ${freed} freed, but ${used} are in use`];
}

/** The states say which records are free; the list must hold just those. */
function auditSlabs({ kernel: { words, slabs } }: Machine): string[] {
  const problems: string[] = [];
  for (const slab of Object.values(slabs) as Slab[]) {
    const free = new Set<number>();
    slab.forEach((record) => {
      const state = words[record + R_STATE] as number;
      if (stateKind(state) === FREE) free.add(record);
      else problems.push(...strayRecord(words, slab.name, record, state));
    });
    let listed = 0;
    for (let at = words[SLAB_LINES + slab.kind * LINE + 1] as number; at !== 0; at = words[at + R_LINK] as number) {
      if (!free.delete(at)) {
        problems.push(`${slab.name} ${at} is in the free list, but not free or twice`);
        break;
      }
      listed++;
    }
    if (free.size > 0) problems.push(`${slab.name}: ${free.size} free records are not in the list of ${listed}`);
  }
  return problems;
}

/** A record in a magazine belongs to a cpu that is there. */
function strayRecord(words: Int32Array, name: string, record: number, state: number): string[] {
  if (stateKind(state) !== CACHED || isAttached(words, stateTag(state) - 1)) return [];
  return [`${name} ${record} is in the magazine of cpu ${stateTag(state) - 1}, which is gone`];
}

function isAttached(words: Int32Array, id: number): boolean {
  return words[cpuSlot(id) + C_STATE] === CPU_ATTACHED;
}

function auditFrames({ kernel: { words, frames } }: Machine): string[] {
  const problems: string[] = [];
  const free = new Set<number>();
  const bump = words[FRAME_BUMP] as number;
  for (let pfn = 1; pfn < bump; pfn++) {
    const page = frames.pageOf(pfn as Pfn);
    const state = words[page + P_STATE] as number;
    if (stateKind(state) === FREE) free.add(pfn);
    else problems.push(...strayRecord(words, 'frame', pfn, state));
    if (words[page + P_MAPPING] !== 0) problems.push(`frame ${pfn} is still in file ${words[page + P_MAPPING]}`);
  }
  const count = free.size;
  for (let pfn = words[FRAME_HEAD] as number; pfn !== 0; pfn = words[frames.pageOf(pfn as Pfn) + P_LINK] as number) {
    if (!free.delete(pfn)) {
      problems.push(`frame ${pfn} is in the pool, but not free or twice`);
      break;
    }
  }
  if (free.size > 0) problems.push(`${free.size} free frames are not in the pool`);
  if (words[FRAME_FREE] !== count) problems.push(`the pool counts ${words[FRAME_FREE]} frames and has ${count}`);
  return problems;
}

/** Locks that nobody can hold any more. */
function auditLocks({ kernel: { words, frames } }: Machine): string[] {
  const problems: string[] = [];
  const bump = words[FRAME_BUMP] as number;
  for (let pfn = 1; pfn < bump; pfn++) {
    const page: PageRef = frames.pageOf(pfn as Pfn);
    if (words[page + P_LOCK] !== 0) problems.push(`the page lock of frame ${pfn} is held: ${words[page + P_LOCK]}`);
    if (words[page + P_RMAP_LOCK] !== 0) problems.push(`the reverse-map lock of frame ${pfn} is held`);
  }
  const used = words[CPUS_USED] as number;
  for (let id = 0; id < used; id++) {
    const state = words[cpuSlot(id) + C_STATE] as number;
    // One that left with something retired is free once that is freed, which it is by now.
    if (state !== CPU_FREE && state !== CPU_ATTACHED && state !== CPU_LEFT)
      problems.push(`cpu ${id} is left in state ${state}`);
  }
  return problems;
}
