/**
 * The `#atomics` port of the checked bundle: the native accesses, each announced to an observer first. Without one they are just
 * the native ones. The checker installs its scheduler here; the contention benchmark counts with it.
 */
import * as native from './atomics.native.ts';

export const PORT: 'native' | 'checked' = 'checked';

/** Kinds of access, as announced. */
export type AccessKind =
  | 'peek'
  | 'poke'
  | 'load'
  | 'store'
  | 'cas'
  | 'add'
  | 'sub'
  | 'and'
  | 'or'
  | 'xor'
  | 'exchange'
  | 'wait'
  | 'notify'
  | 'pause'
  | 'data'
  | 'setData'
  | 'bulk'
  | 'setBulk'
  | 'racyPeek'
  | 'racyPoke';

export interface PortObserver {
  /**
   * Called before the access, in the accessing thread. `index` counts elements of `array`. `value` is what will be stored (for
   * `cas`, `expected` must be found; for `add`, the sum is stored; for `wait`, it is the time limit). `bulk` and `setBulk` touch
   * `value` bytes of frame data from `index` on.
   */
  access(kind: AccessKind, array: ArrayBufferView | undefined, index: number, value: number, expected: number): void;
  /** Whether accesses to this buffer matter. Without it, all do. */
  watches?(buffer: SharedArrayBuffer): boolean;
  /** What the marked read announced last returns, if it returns a number: a plain read that races may find an old value. */
  racyValue?(): number | undefined;
  /** Stands in for the host's wait, if it returns an outcome. */
  wait?(
    words: Int32Array,
    index: number,
    expected: number,
    timeout: number,
  ): 'ok' | 'not-equal' | 'timed-out' | undefined;
  /** Stands in for the host's notify, if it returns a number. */
  notify?(words: Int32Array, index: number, count: number): number | undefined;
  /** Stands in for the clock, if it returns a number. */
  now?(): number | undefined;
}

let observer: PortObserver | undefined;

/** Installs the observer of this thread's accesses; undefined takes it away. */
export function observePort(next: PortObserver | undefined): void {
  observer = next;
}

// The checker finds the ports that a thread has loaded here, whatever bundles they came with.
const registry = globalThis as { [ports: symbol]: ((next: PortObserver | undefined) => void)[] | undefined };
const PORTS = Symbol.for('vmspace.checked-ports');
registry[PORTS] = [...(registry[PORTS] ?? []), observePort];

/**
 * Where the checker also rewrites code while it is loaded (check/transform), Atomics and the methods of typed arrays announce as well.
 * What is announced here goes to the host's own.
 */
interface Rewriting {
  readonly atomics: typeof Atomics;
  silently(act: () => void): void;
}
const rewriting = (globalThis as { [host: symbol]: Rewriting | undefined })[Symbol.for('vmspace.host')];
const host = rewriting?.atomics ?? Atomics;
const hostPause = (host as unknown as { pause?: () => void }).pause;
const silently = rewriting?.silently ?? ((act: () => void): void => act());

export function peek(words: Int32Array, index: number): number {
  observer?.access('peek', words, index, 0, 0);
  return native.peek(words, index);
}
export function poke(words: Int32Array, index: number, value: number): void {
  observer?.access('poke', words, index, value, 0);
  native.poke(words, index, value);
}
/** A plain read that is meant to race, and why that is right. The native port's comment says the same at more length. */
export function peekRacy(words: Int32Array, index: number, _why: string): number {
  observer?.access('racyPeek', words, index, 0, 0);
  return observer?.racyValue?.() ?? native.peek(words, index);
}
export function pokeRacy(words: Int32Array, index: number, value: number, _why: string): void {
  observer?.access('racyPoke', words, index, value, 0);
  native.poke(words, index, value);
}
export function peekRacyF64(floats: Float64Array, index: number, _why: string): number {
  observer?.access('racyPeek', floats, index, 0, 0);
  return observer?.racyValue?.() ?? native.peekF64(floats, index);
}
export function pokeRacyF64(floats: Float64Array, index: number, value: number, _why: string): void {
  observer?.access('racyPoke', floats, index, value, 0);
  native.pokeF64(floats, index, value);
}
export function peekF64(floats: Float64Array, index: number): number {
  observer?.access('peek', floats, index, 0, 0);
  return native.peekF64(floats, index);
}
export function pokeF64(floats: Float64Array, index: number, value: number): void {
  observer?.access('poke', floats, index, value, 0);
  native.pokeF64(floats, index, value);
}
export function copyWords(words: Int32Array, target: number, source: number, count: number): void {
  for (let i = 0; i < count; i++) {
    observer?.access('peek', words, source + i, 0, 0);
    observer?.access('poke', words, target + i, words[source + i] as number, 0);
  }
  silently(() => native.copyWords(words, target, source, count));
}
export function fillWords(words: Int32Array, start: number, count: number, value: number): void {
  for (let i = 0; i < count; i++) observer?.access('poke', words, start + i, value, 0);
  silently(() => native.fillWords(words, start, count, value));
}
export function load(words: Int32Array, index: number): number {
  observer?.access('load', words, index, 0, 0);
  return host.load(words, index);
}
export function store(words: Int32Array, index: number, value: number): void {
  observer?.access('store', words, index, value, 0);
  host.store(words, index, value);
}
export function cas(words: Int32Array, index: number, expected: number, value: number): number {
  observer?.access('cas', words, index, value, expected);
  return host.compareExchange(words, index, expected, value);
}
export function add(words: Int32Array, index: number, delta: number): number {
  observer?.access('add', words, index, delta, 0);
  return host.add(words, index, delta);
}
export function exchange(words: Int32Array, index: number, value: number): number {
  observer?.access('exchange', words, index, value, 0);
  return host.exchange(words, index, value);
}
export function and(words: Int32Array, index: number, bits: number): number {
  observer?.access('and', words, index, bits, 0);
  return host.and(words, index, bits);
}
export function or(words: Int32Array, index: number, bits: number): number {
  observer?.access('or', words, index, bits, 0);
  return host.or(words, index, bits);
}
export function xor(words: Int32Array, index: number, bits: number): number {
  observer?.access('xor', words, index, bits, 0);
  return host.xor(words, index, bits);
}

/** An expected 64-bit value as the observer is told of it: it compares with the element, which is a signed bigint. */
function element64(value: bigint): number {
  return BigInt.asIntN(64, value) as unknown as number;
}
export function load64(words: BigInt64Array, index: number): bigint {
  observer?.access('load', words, index, 0, 0);
  return host.load(words, index);
}
export function store64(words: BigInt64Array, index: number, value: bigint): void {
  observer?.access('store', words, index, Number(value), 0);
  host.store(words, index, value);
}
export function cas64(words: BigInt64Array, index: number, expected: bigint, value: bigint): bigint {
  observer?.access('cas', words, index, Number(value), element64(expected));
  return host.compareExchange(words, index, expected, value);
}
export function add64(words: BigInt64Array, index: number, delta: bigint): bigint {
  observer?.access('add', words, index, Number(delta), 0);
  return host.add(words, index, delta);
}
export function exchange64(words: BigInt64Array, index: number, value: bigint): bigint {
  observer?.access('exchange', words, index, Number(value), 0);
  return host.exchange(words, index, value);
}
export function wait(
  words: Int32Array,
  index: number,
  expected: number,
  timeout: number,
): 'ok' | 'not-equal' | 'timed-out' {
  observer?.access('wait', words, index, timeout, expected);
  return observer?.wait?.(words, index, expected, timeout) ?? host.wait(words, index, expected, timeout);
}
export function notify(words: Int32Array, index: number, count: number): number {
  observer?.access('notify', words, index, count, 0);
  return observer?.notify?.(words, index, count) ?? host.notify(words, index, count);
}
/** In a checked thread undefined: it is one synchronous call. */
export function waitAsync(words: Int32Array, index: number, expected: number): Promise<unknown> | undefined {
  return observer === undefined ? native.waitAsync(words, index, expected) : undefined;
}
export function pause(): void {
  observer?.access('pause', undefined, 0, 0, 0);
  hostPause?.();
}
export function now(): number {
  return observer?.now?.() ?? native.now();
}

export function data8(bytes: Uint8Array, index: number): number {
  observer?.access('data', bytes, index, 0, 0);
  return native.data8(bytes, index);
}
export function setData8(bytes: Uint8Array, index: number, value: number): void {
  observer?.access('setData', bytes, index, value, 0);
  native.setData8(bytes, index, value);
}
export function data16(halves: Uint16Array, index: number): number {
  observer?.access('data', halves, index, 0, 0);
  return native.data16(halves, index);
}
export function setData16(halves: Uint16Array, index: number, value: number): void {
  observer?.access('setData', halves, index, value, 0);
  native.setData16(halves, index, value);
}
export function data32(words: Int32Array, index: number): number {
  observer?.access('data', words, index, 0, 0);
  return native.data32(words, index);
}
export function setData32(words: Int32Array, index: number, value: number): void {
  observer?.access('setData', words, index, value, 0);
  native.setData32(words, index, value);
}
export function dataF32(floats: Float32Array, index: number): number {
  observer?.access('data', floats, index, 0, 0);
  return native.dataF32(floats, index);
}
export function setDataF32(floats: Float32Array, index: number, value: number): void {
  observer?.access('setData', floats, index, value, 0);
  native.setDataF32(floats, index, value);
}
export function dataF64(doubles: Float64Array, index: number): number {
  observer?.access('data', doubles, index, 0, 0);
  return native.dataF64(doubles, index);
}
export function setDataF64(doubles: Float64Array, index: number, value: number): void {
  observer?.access('setData', doubles, index, value, 0);
  native.setDataF64(doubles, index, value);
}
export function copyData(
  target: Uint8Array,
  targetStart: number,
  source: Uint8Array,
  start: number,
  end: number,
): void {
  observer?.access('bulk', source, start, end - start, 0);
  observer?.access('setBulk', target, targetStart, end - start, 0);
  silently(() => native.copyData(target, targetStart, source, start, end));
}
export function setBytes(bytes: Uint8Array, start: number, source: Uint8Array): void {
  observer?.access('setBulk', bytes, start, source.length, 0);
  silently(() => native.setBytes(bytes, start, source));
}
export function moveData(bytes: Uint8Array, target: number, start: number, end: number): void {
  observer?.access('bulk', bytes, start, end - start, 0);
  observer?.access('setBulk', bytes, target, end - start, 0);
  silently(() => native.moveData(bytes, target, start, end));
}
export function fillData(bytes: Uint8Array, start: number, end: number, value: number): void {
  observer?.access('setBulk', bytes, start, end - start, 0);
  silently(() => native.fillData(bytes, start, end, value));
}
