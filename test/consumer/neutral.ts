// What a user without Node types and without DOM types writes: only 'vmspace' itself.
import {
  type Accessor,
  attachSpace,
  createMachine,
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  PROT_READ,
  PROT_WRITE,
  type Space,
  type Synchronous,
  VmError,
} from 'vmspace';

const machine = createMachine({ memory: 16 * 1024 * 1024 });
const space = machine.createSpace();
const at: number = space.mmap({ length: 4096, prot: PROT_READ | PROT_WRITE, flags: MAP_PRIVATE | MAP_ANONYMOUS });
space.run((m) => m.store32(at, 7));
const seen: number = space.load32(at);
if (seen !== 7) throw new Error(`stored 7, loaded ${seen}`);
space.munmap(at, 4096);

let caught: unknown;
try {
  space.load32(at);
} catch (error) {
  caught = error;
}
if (!(caught instanceof VmError)) throw new Error(`a load of unmapped memory gave ${String(caught)}, not a VmError`);
const message: string = caught.message;
if (message === '') throw new Error('the VmError has no message');

space.close();
machine.close();
if (typeof attachSpace !== 'function') throw new Error('attachSpace is missing');

/** Type-checked, not run: what `run` takes and what it refuses. */
export const runs = (s: Space, either: () => number | Promise<number>): void => {
  const wrapper = <T>(fn: (memory: Accessor) => Synchronous<T>): T => s.run(fn);
  const numbers: readonly number[] = [s.run((m) => m.load32(at)), wrapper((m) => m.load8(at)), s.run<number>(() => 1)];
  const object: { readonly a: number } = s.run((m) => ({ a: m.load32(at) }));
  const nothing: undefined = s.run(() => undefined);
  s.run((m) => m.store32(at, numbers[object.a] ?? nothing ?? 0));
  s.run((): never => {
    throw new Error('thrown');
  });
  s.run(() => JSON.parse('1'));
  // @ts-expect-error -- an async function: a section cannot outlast the call
  s.run(async (m) => m.load32(at));
  // @ts-expect-error -- an async function without a result
  s.run(async () => undefined);
  // @ts-expect-error -- a promise
  s.run(() => Promise.resolve(1));
  // @ts-expect-error -- a promise perhaps
  s.run(() => either());
  // @ts-expect-error -- an async function through a wrapper
  wrapper(async () => 1);
};

/** Type-checked, not run: hosts without Symbol.dispose have no such method. */
export const disposes = (s: Space): void => s[Symbol.dispose]();
