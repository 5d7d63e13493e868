/**
 * Machines of vmspace in what a model shares: a user's model need not say what their words mean, nor that lockdep's notes are not part
 * of the program.
 */
import { CONTROL_END, H_MAGIC, H_VERSION, LAYOUT_VERSION, LOCKDEP, MAGIC } from '../../src/sync/control.layout.ts';
import type { Model } from '../model.ts';
import { describeFrames, describeMachine, describeValues } from './machine.ts';
import { describeWait } from './waits.ts';

interface Known {
  readonly control: SharedArrayBuffer;
  readonly frames: SharedArrayBuffer | undefined;
}
/** What was found in the value looked at last. */
interface Seen {
  readonly shared: unknown;
  readonly buffers: readonly SharedArrayBuffer[];
  readonly known: readonly Known[];
}
type Fallbacks = Required<Pick<Model<unknown>, 'describe' | 'value' | 'waits' | 'ignore'>>;

/** The model, with the names of a machine's words where it has none of its own. `buffersOf` gives its buffers in their order. */
export function knowingMachines(
  model: Model<unknown>,
  buffersOf: (shared: unknown) => readonly SharedArrayBuffer[],
): Model<unknown> {
  const fallback = fallbacks(buffersOf);
  const own: Fallbacks = {
    describe: (shared, buffer, byte) =>
      model.describe?.(shared, buffer, byte) ?? fallback.describe(shared, buffer, byte),
    value: (shared, buffer, byte, value) =>
      model.value?.(shared, buffer, byte, value) ?? fallback.value(shared, buffer, byte, value),
    waits: (shared, buffer, byte, threadOf) =>
      model.waits?.(shared, buffer, byte, threadOf) ?? fallback.waits(shared, buffer, byte, threadOf),
    ignore: (shared) => {
      const ranges = model.ignore?.(shared) ?? [];
      // What is no array is the model's mistake, and told as such.
      return Array.isArray(ranges) ? [...ranges, ...fallback.ignore(shared)] : ranges;
    },
  };
  return Object.assign(Object.create(model) as Model<unknown>, own);
}

function fallbacks(buffersOf: (shared: unknown) => readonly SharedArrayBuffer[]): Fallbacks {
  let last: Seen | undefined;
  const look = (shared: unknown): Seen => {
    if (last === undefined || last.shared !== shared)
      last = { shared, buffers: buffersOf(shared), known: findMachines(shared) };
    return last;
  };
  const controlOf = (shared: unknown, buffer: number): SharedArrayBuffer | undefined => {
    const { buffers, known } = look(shared);
    return known.find(({ control }) => control === buffers[buffer])?.control;
  };
  return {
    describe(shared, buffer, byte) {
      const { buffers, known } = look(shared);
      const control = controlOf(shared, buffer);
      if (control !== undefined) return describeMachine(control)(byte);
      return known.some(({ frames }) => frames === buffers[buffer]) ? describeFrames(byte) : undefined;
    },
    value(shared, buffer, byte, value) {
      const control = controlOf(shared, buffer);
      return control === undefined ? undefined : describeValues(control)(byte, value);
    },
    waits(shared, buffer, byte, threadOf) {
      const control = controlOf(shared, buffer);
      return control === undefined ? undefined : describeWait(control, byte, threadOf);
    },
    ignore: (shared) =>
      look(shared).buffers.flatMap((_, buffer) =>
        controlOf(shared, buffer) === undefined ? [] : [[buffer, LOCKDEP * 4, CONTROL_END * 4] as const],
      ),
  };
}

/** The handles of machines and spaces in a value. */
function findMachines(value: unknown): Known[] {
  const found: Known[] = [];
  const seen = new Set<unknown>();
  const visit = (item: unknown): void => {
    if (typeof item !== 'object' || item === null || seen.has(item) || ArrayBuffer.isView(item)) return;
    seen.add(item);
    const { kind, control, frames } = item as { kind?: unknown; control?: unknown; frames?: unknown };
    if (typeof kind === 'string' && kind.startsWith('vmspace.') && isControl(control))
      found.push({ control, frames: frames instanceof SharedArrayBuffer ? frames : undefined });
    else for (const part of item instanceof Map || item instanceof Set ? item : Object.values(item)) visit(part);
  };
  visit(value);
  return found;
}

function isControl(memory: unknown): memory is SharedArrayBuffer {
  if (!(memory instanceof SharedArrayBuffer) || memory.byteLength < CONTROL_END * 4) return false;
  const words = new Int32Array(memory);
  return words[H_MAGIC] === MAGIC && ((words[H_VERSION] as number) & 0xffff) === LAYOUT_VERSION;
}
