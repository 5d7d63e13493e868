/**
 * lockdep for development and test builds. It learns in which order lock classes are taken (the order is shared by all cpus of a
 * machine: one bit and one stack text per pair, in the control memory) and reports the first inversion with both stacks. Its
 * sentinel reports I/O, waits and callbacks under a lock or in a section (I25). After Linux's
 * Documentation/locking/lockdep-design.rst.
 */
import { load, peek, poke, store } from '#atomics';
import { Oops } from '../base/errors.ts';
import { LOCKDEP, LOCKDEP_CLASSES, LOCKDEP_PAIR_WORDS } from './control.layout.ts';
import type { Cpu } from './cpu.ts';
import { CLASS_MMAP, CLASS_PAGE, LOCK_CLASSES } from './lock-classes.ts';

export interface LockdepReport {
  readonly rule: string;
  readonly detail: string;
}

interface Held {
  readonly lock: number;
  readonly cls: number;
}

interface ThreadState {
  readonly held: Held[];
  section: boolean;
  readonly reports: LockdepReport[];
}

const states = new WeakMap<Cpu, ThreadState>();

function stateOf(cpu: Cpu): ThreadState {
  let state = states.get(cpu);
  if (state === undefined) {
    state = { held: [], section: false, reports: [] };
    states.set(cpu, state);
  }
  return state;
}

/** Learns `cls` after every class held now. Throws an Oops on an order that was seen the other way round. */
export function lockAcquired(cpu: Cpu, lock: number, cls: number): void {
  const state = stateOf(cpu);
  for (const outer of state.held) learn(cpu, outer.cls, cls);
  state.held.push({ lock, cls });
}

export function lockReleased(cpu: Cpu, lock: number): void {
  const { held } = stateOf(cpu);
  for (let i = held.length - 1; i >= 0; i--) {
    if (held[i]?.lock === lock) {
      held.splice(i, 1);
      return;
    }
  }
  throw new Oops('lockdep', `cpu ${cpu.id} releases lock ${lock}, which it does not hold`);
}

/** The cpu's call has given up: its locks are released by others' hands. */
export function locksForgotten(cpu: Cpu): void {
  stateOf(cpu).held.length = 0;
}

export function sectionEntered(cpu: Cpu): void {
  stateOf(cpu).section = true;
}

export function sectionLeft(cpu: Cpu): void {
  stateOf(cpu).section = false;
}

/** The thread is about to wait for another one: no section, no lock but mmap_lock and page locks. */
export function mightSleep(cpu: Cpu, what: string): void {
  const state = stateOf(cpu);
  if (state.section) throw new Oops('I25', `cpu ${cpu.id} would wait for ${what} inside a section`);
  for (const { cls } of state.held) {
    if (cls !== CLASS_MMAP && cls !== CLASS_PAGE) {
      throw new Oops('I25', `cpu ${cpu.id} would wait for ${what} holding ${LOCK_CLASSES[cls]}`);
    }
  }
}

/** The thread is about to call a file system. Under mmap_lock that is reported, not fatal: it is what `mmap-sem` does. */
export function doingIo(cpu: Cpu, what: string): void {
  mightSleep(cpu, what);
  const state = stateOf(cpu);
  if (state.held.some(({ cls }) => cls === CLASS_MMAP)) {
    state.reports.push({ rule: 'I25', detail: `${what} under mmap_lock\n${stackText(3)}` });
  }
}

export function lockdepReports(cpu: Cpu): readonly LockdepReport[] {
  return stateOf(cpu).reports;
}

export function lockdepHeld(cpu: Cpu): readonly string[] {
  return stateOf(cpu).held.map(({ lock, cls }) => `${LOCK_CLASSES[cls]} ${lock}`);
}

function learn(cpu: Cpu, outer: number, inner: number): void {
  if (outer === inner) return;
  const forward = pairAt(outer, inner);
  if (load(cpu.words, forward) !== 0) return;
  const backward = pairAt(inner, outer);
  if (load(cpu.words, backward) !== 0) {
    const names = `${LOCK_CLASSES[outer]} > ${LOCK_CLASSES[inner]}`;
    const other = readText(cpu.words, backward + 1);
    throw new Oops('lock order', `${names} inverts an order seen before\nnow:\n${stackText(4)}\nbefore:\n${other}`);
  }
  writeText(cpu.words, forward + 1, stackText(4));
  store(cpu.words, forward, 1);
}

function pairAt(outer: number, inner: number): number {
  return LOCKDEP + (outer * LOCKDEP_CLASSES + inner) * LOCKDEP_PAIR_WORDS;
}

function stackText(skip: number): string {
  return (new Error().stack ?? '').split('\n').slice(skip).join('\n');
}

function writeText(words: Int32Array, at: number, text: string): void {
  const length = Math.min(text.length, (LOCKDEP_PAIR_WORDS - 2) * 4);
  poke(words, at, length);
  for (let i = 0; i < length; i += 4) {
    let word = 0;
    for (let k = 0; k < 4; k++) word |= (text.charCodeAt(i + k) & 127) << (8 * k);
    poke(words, at + 1 + (i >> 2), word);
  }
}

function readText(words: Int32Array, at: number): string {
  let text = '';
  const length = peek(words, at);
  for (let i = 0; i < length; i++) text += String.fromCharCode((peek(words, at + 1 + (i >> 2)) >> (8 * (i & 3))) & 127);
  return text;
}
