/**
 * The `#atomics` port: every access to shared words, plain ones too, goes through it. `peek`/`poke` are plain; the others are
 * sequentially consistent. This is the native module; the checked bundle has the checker's in its place.
 *
 * One function per element type: a shared `peek` would see four array types and stop being monomorphic.
 */
export const PORT: 'native' | 'checked' = 'native';

export function peek(words: Int32Array, index: number): number {
  return words[index] as number;
}
export function poke(words: Int32Array, index: number, value: number): void {
  words[index] = value;
}
/**
 * A plain access that is meant to race with others, and why that is right: what it reads is a hint that is looked at again, or a
 * statistic. The checker lets only these pass. The reason is not evaluated in the shipped bundles.
 */
export function peekRacy(words: Int32Array, index: number, _why: string): number {
  return words[index] as number;
}
export function pokeRacy(words: Int32Array, index: number, value: number, _why: string): void {
  words[index] = value;
}
export function peekRacyF64(floats: Float64Array, index: number, _why: string): number {
  return floats[index] as number;
}
export function pokeRacyF64(floats: Float64Array, index: number, value: number, _why: string): void {
  floats[index] = value;
}
export function peekF64(floats: Float64Array, index: number): number {
  return floats[index] as number;
}
export function pokeF64(floats: Float64Array, index: number, value: number): void {
  floats[index] = value;
}
/** Plain copy of `count` words inside one array; the destination must not be reachable by others yet. */
export function copyWords(words: Int32Array, target: number, source: number, count: number): void {
  words.copyWithin(target, source, source + count);
}
export function fillWords(words: Int32Array, start: number, count: number, value: number): void {
  words.fill(value, start, start + count);
}

export function load(words: Int32Array, index: number): number {
  return Atomics.load(words, index);
}
export function store(words: Int32Array, index: number, value: number): void {
  Atomics.store(words, index, value);
}
/** Compare and swap. Returns the value found; it was stored if that equals `expected`. */
export function cas(words: Int32Array, index: number, expected: number, value: number): number {
  return Atomics.compareExchange(words, index, expected, value);
}
/** Returns the value before the addition. */
export function add(words: Int32Array, index: number, delta: number): number {
  return Atomics.add(words, index, delta);
}
export function exchange(words: Int32Array, index: number, value: number): number {
  return Atomics.exchange(words, index, value);
}
/** These three return the value before. */
export function and(words: Int32Array, index: number, bits: number): number {
  return Atomics.and(words, index, bits);
}
export function or(words: Int32Array, index: number, bits: number): number {
  return Atomics.or(words, index, bits);
}
export function xor(words: Int32Array, index: number, bits: number): number {
  return Atomics.xor(words, index, bits);
}

/* The same on 64-bit words of frame data. */
export function load64(words: BigInt64Array, index: number): bigint {
  return Atomics.load(words, index);
}
export function store64(words: BigInt64Array, index: number, value: bigint): void {
  Atomics.store(words, index, value);
}
export function cas64(words: BigInt64Array, index: number, expected: bigint, value: bigint): bigint {
  return Atomics.compareExchange(words, index, expected, value);
}
export function add64(words: BigInt64Array, index: number, delta: bigint): bigint {
  return Atomics.add(words, index, delta);
}
export function exchange64(words: BigInt64Array, index: number, value: bigint): bigint {
  return Atomics.exchange(words, index, value);
}

/** Sleeps while the word holds `expected`. `timeout` in milliseconds. The caller has made sure that the thread may block. */
export function wait(
  words: Int32Array,
  index: number,
  expected: number,
  timeout: number,
): 'ok' | 'not-equal' | 'timed-out' {
  return Atomics.wait(words, index, expected, timeout);
}
export function notify(words: Int32Array, index: number, count: number): number {
  return Atomics.notify(words, index, count);
}

type WaitAsync = (words: Int32Array, index: number, expected: number) => { readonly value: unknown };
const hostWaitAsync = (Atomics as unknown as { waitAsync?: WaitAsync }).waitAsync;
/**
 * Resolves when the word is notified, or is not `expected` already. Undefined where the host cannot say so: it has no
 * Atomics.waitAsync, or the memory is not shared.
 */
export function waitAsync(words: Int32Array, index: number, expected: number): Promise<unknown> | undefined {
  if (hostWaitAsync === undefined || words.buffer instanceof ArrayBuffer) return undefined;
  return Promise.resolve(hostWaitAsync(words, index, expected).value);
}

const hostPause: (() => void) | undefined = (Atomics as unknown as { pause?: () => void }).pause;
/** A hint to the processor that this is a spin loop, where the host has `Atomics.pause`. */
export const pause: () => void = hostPause === undefined ? (): void => undefined : (): void => hostPause();

/** Milliseconds on a monotonic clock, for timeouts and figures, never for logic that a replay must repeat. */
export function now(): number {
  return performance.now();
}

/* Frame data. The bytes belong to the user; races on them are the user's. */
export function data8(bytes: Uint8Array, index: number): number {
  return bytes[index] as number;
}
export function setData8(bytes: Uint8Array, index: number, value: number): void {
  bytes[index] = value;
}
export function data32(words: Int32Array, index: number): number {
  return words[index] as number;
}
export function setData32(words: Int32Array, index: number, value: number): void {
  words[index] = value;
}
export function data16(halves: Uint16Array, index: number): number {
  return halves[index] as number;
}
export function setData16(halves: Uint16Array, index: number, value: number): void {
  halves[index] = value;
}
export function dataF32(floats: Float32Array, index: number): number {
  return floats[index] as number;
}
export function setDataF32(floats: Float32Array, index: number, value: number): void {
  floats[index] = value;
}
export function dataF64(doubles: Float64Array, index: number): number {
  return doubles[index] as number;
}
export function setDataF64(doubles: Float64Array, index: number, value: number): void {
  doubles[index] = value;
}
/** Copies bytes between two arrays, at least one of them frame data. */
export function copyData(
  target: Uint8Array,
  targetStart: number,
  source: Uint8Array,
  start: number,
  end: number,
): void {
  target.set(source.subarray(start, end), targetStart);
}
/** Copies the whole of `source` into frame data: no view is made. */
export function setBytes(bytes: Uint8Array, start: number, source: Uint8Array): void {
  bytes.set(source, start);
}
/** Copies bytes within frame data; the ranges may overlap. */
export function moveData(bytes: Uint8Array, target: number, start: number, end: number): void {
  bytes.copyWithin(target, start, end);
}
export function fillData(bytes: Uint8Array, start: number, end: number, value: number): void {
  bytes.fill(value, start, end);
}
