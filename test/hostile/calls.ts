/** The public surface: every call, with good arguments. `surface.test.ts` sees that none is missing. */

import { attachBlob, openBlob } from '../../src/browser.ts';
import {
  attachMachine,
  attachSpace,
  createMachine,
  MAP_PRIVATE,
  machineOf,
  openFile,
  openFileSync,
  registerBacking,
} from '../../src/node.ts';
import { PAGE, PRIVATE, RW } from '../support.ts';
import { type Hostile, variantsOf } from './values.ts';
import { goodBacking, KIND, type World } from './world.ts';

export type On = 'space' | 'machine' | 'file' | 'accessor' | 'free';
type Kind = 'number' | 'bigint' | 'string' | 'function' | 'object' | 'any';

export interface Param {
  readonly name: string;
  readonly kind: Kind;
  readonly optional?: boolean;
  /** For objects: the names of what is read of them. */
  readonly fields?: readonly string[];
  good(world: World): unknown;
}

export interface Call {
  readonly on: On;
  readonly method: string;
  readonly params: readonly Param[];
  readonly async?: boolean;
  /** Ends something: what follows must make it anew. */
  readonly ends?: boolean;
  /** A property, not a method. */
  readonly getter?: boolean;
}

const address: Param = { name: 'address', kind: 'number', good: (w) => w.at + 8 };
const page: Param = { name: 'address', kind: 'number', good: (w) => w.at };
const length: Param = { name: 'length', kind: 'number', good: () => PAGE };
const bytes: Param = { name: 'bytes', kind: 'object', good: () => new Uint8Array(300) };
const value: Param = { name: 'value', kind: 'number', good: () => 7 };
const big: Param = { name: 'value', kind: 'bigint', good: () => -7n };
const machine: Param = { name: 'machine', kind: 'object', good: (w) => w.machine };

const number = (name: string, good: number, optional = false): Param => ({
  name,
  kind: 'number',
  optional,
  good: () => good,
});
const object = (name: string, fields: readonly string[], good: (w: World) => unknown, optional = false): Param => ({
  name,
  kind: 'object',
  fields,
  optional,
  good,
});

function on(where: On, calls: Record<string, readonly Param[]>, more: Partial<Call> = {}): Call[] {
  return Object.entries(calls).map(([method, params]) => ({ on: where, method, params, ...more }));
}

const LOADS: Record<string, readonly Param[]> = {
  load8: [address],
  load16: [address],
  load32: [address],
  loadU32: [address],
  loadI64: [address],
  loadF32: [address],
  loadF64: [address],
  atomicLoad32: [address],
  store8: [address, value],
  store16: [address, value],
  store32: [address, value],
  storeI64: [address, big],
  storeF32: [address, value],
  storeF64: [address, value],
  atomicStore32: [address, value],
  cas32: [address, number('expected', 1), value],
  add32: [address, value],
  exchange32: [address, value],
  and32: [address, value],
  or32: [address, value],
  xor32: [address, value],
  atomicLoad64: [address],
  atomicStore64: [address, big],
  cas64: [address, { ...big, name: 'expected' }, big],
  add64: [address, big],
  exchange64: [address, big],
};

const mmap = (w: World): object => ({ length: PAGE, prot: RW, flags: PRIVATE, addr: 0, offset: 0, file: undefined, w });
const mmapFile = (w: World): object => ({ length: PAGE, prot: 1, flags: MAP_PRIVATE, offset: 0, file: w.file });
const MMAP_FIELDS = ['length', 'prot', 'flags', 'addr', 'file', 'offset'];
const worker = (): object => ({ threadId: 4242, once: () => undefined });
const own = object('own', ['read', 'close'], (w) => ({ ...goodBacking(w.file.size) }), true);
const fileHandle = object('handle', ['kind', 'version', 'machine', 'file', 'serial', 'size'], (w) => ({
  ...w.file.handle,
}));
const SPACE_FIELDS = ['kind', 'version', 'control', 'frames', 'frameBytes', 'space', 'serial'];
const spaceHandle = object('handle', SPACE_FIELDS, (w) => ({ ...w.space.handle }));
const openOptions = object('options', ['mode', 'delay'], () => ({ mode: 'r', delay: { milliseconds: 0 } }), true);
const path: Param = { name: 'path', kind: 'any', good: (w) => w.path };
const blob = object('blob', [], () => new Blob(['some bytes']));

export const CALLS: readonly Call[] = [
  ...on('space', {
    ...LOADS,
    mmap: [object('options', MMAP_FIELDS, mmap)],
    munmap: [page, length],
    mprotect: [page, length, number('prot', 1)],
    maps: [],
    sequence: [],
    counters: [],
    run: [{ name: 'function', kind: 'function', good: () => () => 1 }],
    read: [address, bytes],
    write: [address, bytes],
    copy: [address, { ...address, name: 'source', good: (w) => w.at + 3 * PAGE }, length],
    fill: [address, length, value],
    wait: [address, number('expected', 1), number('timeout', 1, true)],
    notify: [address, number('count', 1, true)],
    dump: [],
    validate: [],
  }),
  ...on(
    'space',
    {
      populate: [address, length],
      waitAsync: [address, number('expected', 1), number('timeout', 1, true)],
    },
    { async: true },
  ),
  ...on('space', { close: [] }, { ends: true }),
  ...on('space', { closed: [] }, { getter: true }),
  ...on('accessor', LOADS),
  ...on('machine', {
    createSpace: [object('options', ['limit'], () => ({ limit: PAGE }), true)],
    attachSpace: [spaceHandle],
    createFile: [
      { name: 'kind', kind: 'string', good: () => KIND },
      { name: 'options', kind: 'any', good: () => ({ some: 'thing' }) },
      number('size', 3 * PAGE),
      own,
    ],
    attachFile: [fileHandle, own],
    // What `confirmed` says is believed: no hostile values for it.
    reap: [
      { ...object('who', ['cpu', 'serial'], () => ({ cpu: 63, serial: 1 })), kind: 'any' },
      object('options', [], () => ({}), true),
    ],
    watch: [object('worker', ['threadId', 'once', 'terminate'], worker)],
    counters: [],
    cpuCounters: [number('cpu', 0)],
    census: [],
    lockdep: [],
    cpus: [],
    drain: [],
  }),
  ...on('machine', { close: [] }, { ends: true }),
  ...on('machine', { watchable: [] }, { async: true }),
  ...on('machine', { cpu: [], closed: [], identity: [] }, { getter: true }),
  ...on('file', { close: [] }, { ends: true }),
  ...on('file', { id: [], closed: [] }, { getter: true }),
  ...on('free', {
    createMachine: [
      object('options', ['memory', 'shared', 'design', 'stallTimeout', 'ioTimeout'], () => ({ memory: 64 * PAGE })),
    ],
    attachMachine: [
      object('handle', ['kind', 'version', 'control', 'frames', 'frameBytes'], (w) => ({ ...w.machine.handle })),
    ],
    attachSpace: [spaceHandle],
    machineOf: [object('space', ['handle'], (w) => w.space)],
    registerBacking: [
      { name: 'kind', kind: 'string', good: () => 'hostile-registered' },
      { name: 'factory', kind: 'function', good: () => (_options: unknown, size: number) => goodBacking(size) },
    ],
    openFileSync: [machine, path, openOptions],
  }),
  ...on('free', { openFile: [machine, path, openOptions], openBlob: [machine, blob] }, { async: true }),
  ...on('free', {
    attachBlob: [machine, { ...fileHandle, good: (w) => ({ ...w.file.handle, size: 10 }) }, blob],
  }),
];

/** The same call with other good arguments, from which other variants are made. */
export const MORE_CALLS: readonly Call[] = [
  { on: 'space', method: 'mmap', params: [object('options of a file', MMAP_FIELDS, mmapFile)] },
];

const FREE: Record<string, unknown> = {
  attachBlob,
  attachMachine,
  attachSpace,
  createMachine,
  machineOf,
  openBlob,
  openFile,
  openFileSync,
  registerBacking,
};

type Methods = Record<string, (...rest: unknown[]) => unknown>;

export function nameOfCall({ on: where, method }: Call): string {
  return where === 'free' ? method : `${where}.${method}`;
}

export function invoke(world: World, call: Call, args: readonly unknown[]): unknown {
  const { on: where, method } = call;
  if (where === 'free') return (FREE as Methods)[method]?.(...args);
  if (where === 'accessor') {
    return world.space.run((memory) => (memory as unknown as Methods)[method]?.(...args));
  }
  const target = world[where] as unknown as Methods;
  return call.getter ? target[method] : target[method]?.(...args);
}

export function goodArgs(world: World, call: Call): unknown[] {
  return call.params.map((param) => param.good(world));
}

/** What to try in place of one argument. */
export function hostilesFor(param: Param, values: readonly Hostile[]): readonly Hostile[] {
  if (param.fields === undefined) return values;
  return [...values, ...variantsOf(param.fields, (w) => param.good(w) as Record<string, unknown>)];
}

/** Whether a value of another type was let through. */
export function isWrongType({ kind, optional }: Param, given: unknown): boolean {
  if (kind === 'any' || (optional && given === undefined)) return false;
  if (kind === 'object') return (typeof given !== 'object' && typeof given !== 'function') || given === null;
  return typeof given !== kind;
}
