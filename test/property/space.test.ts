/**
 * Random sequences of calls against the plain model, under every design: the layout after each step, every fault exactly, every
 * byte at the end, and conservation.
 *
 * A failure prints its seed, its path and the calls; `VMSPACE_SEED=<seed> VMSPACE_PATH=<path> npx vitest run test/property`
 * replays it. `VMSPACE_RUNS` is the number of sequences.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  createMachine,
  type DesignName,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_FIXED_NOREPLACE,
  MAP_NORESERVE,
  MAP_PRIVATE,
  MAP_SHARED,
  type Machine,
  type MappedFile,
  MiB,
  PROT_EXEC,
  PROT_NONE,
  PROT_READ,
  PROT_WRITE,
  registerBacking,
  type Space,
  VmError,
} from '../../src/index.ts';
import { collectMachines, DESIGNS, expectNothingLeft, pattern } from '../support.ts';
import { Model, type ModelFile, type Reason } from './model.ts';

const PAGE = 4096;
const BASE = 2 ** 32 / PAGE - 20; // page numbers on both sides of 2^32 bytes
const SEED = Number(process.env.VMSPACE_SEED ?? 20090810);
const RUNS = Number(process.env.VMSPACE_RUNS ?? 400);
const PATH = process.env.VMSPACE_PATH;

registerBacking('property-file', (options, size) => {
  const bytes = pattern(size, (options as { seed: number }).seed);
  return {
    read(position, targets) {
      let at = position;
      for (const target of targets) {
        const part = bytes.subarray(at, at + target.length);
        target.set(part);
        at += part.length;
      }
      return at - position;
    },
    close: () => undefined,
  };
});

type Kind = 'private' | 'shared' | 'noreserve' | 'file' | 'file-shared';
interface MmapOp {
  readonly call: 'mmap';
  readonly how: 'hint' | 'fixed' | 'noreplace' | 'anywhere';
  readonly page: number;
  readonly pages: number;
  readonly prot: number;
  readonly kind: Kind;
  readonly file: number;
  readonly index: number;
}
interface MunmapOp {
  readonly call: 'munmap';
  readonly page: number;
  readonly pages: number;
}
interface ProtectOp {
  readonly call: 'mprotect';
  readonly page: number;
  readonly pages: number;
  readonly prot: number;
}
interface AccessOp {
  readonly call: 'load' | 'store';
  readonly at: number;
  readonly size: 1 | 2 | 4 | 8;
  readonly value: number;
  readonly inside: boolean;
}
interface BulkOp {
  readonly call: 'fill' | 'write' | 'read';
  readonly at: number;
  readonly length: number;
  readonly value: number;
}
interface CopyOp {
  readonly call: 'copy';
  readonly at: number;
  readonly from: number;
  readonly length: number;
}
type Op = MmapOp | MunmapOp | ProtectOp | AccessOp | BulkOp | CopyOp;

interface World {
  readonly space: Space;
  readonly model: Model;
  readonly files: readonly { readonly real: MappedFile; readonly model: ModelFile }[];
}

interface Setting {
  readonly window: number;
  readonly filePages: readonly number[];
  readonly hows: readonly ('hint' | 'fixed' | 'noreplace' | 'anywhere')[];
}

function ops({ window, filePages, hows }: Setting): fc.Arbitrary<Op[]> {
  const page = fc.nat(window - 1);
  const pages = fc.integer({ min: 1, max: 10 });
  const prot = fc.constantFrom(
    PROT_READ | PROT_WRITE,
    PROT_READ | PROT_WRITE,
    PROT_READ,
    PROT_NONE,
    PROT_WRITE,
    PROT_EXEC,
    PROT_READ | PROT_EXEC,
  );
  const at = fc.oneof(
    fc.nat(window * PAGE - 1),
    fc.tuple(page, fc.integer({ min: -9, max: 9 })).map(([p, delta]) => Math.max(0, p * PAGE + delta)),
  );
  const value = fc.nat(255);
  const length = fc.oneof(
    fc.nat(3 * PAGE),
    fc.integer({ min: 0, max: 5 }).map((n) => n * PAGE),
  );
  const mmap = fc.record({
    call: fc.constant('mmap' as const),
    how: fc.constantFrom(...hows),
    page,
    pages,
    prot,
    kind: fc.constantFrom<Kind>('private', 'private', 'shared', 'noreserve', 'file', 'file', 'file-shared'),
    file: fc.nat(filePages.length - 1),
    index: fc.nat(Math.max(...filePages) + 2),
  });
  const access = fc.record({
    call: fc.constantFrom('load' as const, 'store' as const),
    at,
    size: fc.constantFrom(1 as const, 2 as const, 4 as const, 8 as const),
    value,
    inside: fc.boolean(),
  });
  const op: fc.Arbitrary<Op> = fc.oneof(
    { weight: 4, arbitrary: mmap },
    { weight: 2, arbitrary: fc.record({ call: fc.constant('munmap' as const), page, pages }) },
    { weight: 3, arbitrary: fc.record({ call: fc.constant('mprotect' as const), page, pages, prot }) },
    { weight: 6, arbitrary: access },
    {
      weight: 3,
      arbitrary: fc.record({
        call: fc.constantFrom('fill' as const, 'write' as const, 'read' as const),
        at,
        length,
        value,
      }),
    },
    { weight: 2, arbitrary: fc.record({ call: fc.constant('copy' as const), at, from: at, length }) },
  );
  return fc.array(op, { minLength: 5, maxLength: 60, size: 'max' });
}

function step(world: World, op: Op): void {
  if (op.call === 'mmap') mmap(world, op);
  else if (op.call === 'munmap') munmap(world, op);
  else if (op.call === 'mprotect') mprotect(world, op);
  else if (op.call === 'copy') copy(world, op);
  else if ('length' in op) bulk(world, op);
  else access(world, op);
}

const address = (page: number): number => (BASE + page) * PAGE;

function mmap({ space, model, files }: World, op: MmapOp): void {
  const shared = op.kind === 'shared' || op.kind === 'file-shared';
  const file = op.kind === 'file' || op.kind === 'file-shared' ? files[op.file] : undefined;
  const how = { hint: 0, anywhere: 0, fixed: MAP_FIXED, noreplace: MAP_FIXED_NOREPLACE }[op.how];
  const noreserve = op.kind === 'noreserve';
  const flags =
    how |
    (shared ? MAP_SHARED : MAP_PRIVATE) |
    (file === undefined ? MAP_ANONYMOUS : 0) |
    (noreserve ? MAP_NORESERVE : 0);
  const call = (): number =>
    space.mmap({
      addr: op.how === 'anywhere' ? 0 : address(op.page),
      length: op.pages * PAGE,
      prot: op.prot,
      flags,
      file: file?.real,
      offset: file === undefined ? 0 : op.index * PAGE,
    });
  const free = model.isFree(BASE + op.page, op.pages);
  if (shared && file !== undefined && (op.prot & PROT_WRITE) !== 0) {
    expectCode('EACCES', call);
    return;
  }
  if (op.how === 'noreplace' && !free) {
    expectCode('EEXIST', call);
    return;
  }
  const got = call();
  const binding = op.how === 'fixed' || op.how === 'noreplace' || (op.how === 'hint' && free);
  if (binding) expect(got).toBe(address(op.page));
  const page = got / PAGE;
  if (op.how !== 'fixed') expect(model.isFree(page, op.pages)).toBe(true);
  const { prot, pages, index } = op;
  model.map({ page, pages, prot, shared, noreserve, file: file?.model, index });
}

function munmap({ space, model }: World, { page, pages }: MunmapOp): void {
  space.munmap(address(page), pages * PAGE);
  model.unmap(BASE + page, pages);
}

function mprotect({ space, model }: World, { page, pages, prot }: ProtectOp): void {
  const call = (): void => space.mprotect(address(page), pages * PAGE, prot);
  const expected = model.protect(BASE + page, pages, prot);
  if (expected === 'done') call();
  else expectCode(expected, call);
}

function access({ space, model }: World, { call, at: offset, size, value, inside }: AccessOp): void {
  const at = address(0) + offset;
  const refused = model.firstRefusal(at, size, call === 'store');
  const word = Math.imul(value + 1, 0x01030507);
  const scratch = new DataView(new ArrayBuffer(8));
  const run = (
    m: Pick<Space, 'load8' | 'load16' | 'load32' | 'loadI64' | 'store8' | 'store16' | 'store32' | 'storeI64'>,
  ): void => {
    if (call === 'store') {
      if (size === 1) m.store8(at, word);
      else if (size === 2) m.store16(at, word);
      else if (size === 4) m.store32(at, word);
      else m.storeI64(at, BigInt(word));
    } else if (size === 1) scratch.setUint8(0, m.load8(at));
    else if (size === 2) scratch.setUint16(0, m.load16(at), true);
    else if (size === 4) scratch.setInt32(0, m.load32(at), true);
    else scratch.setBigInt64(0, m.loadI64(at), true);
  };
  const go = (): void => (inside ? space.run(run) : run(space));
  if (refused !== undefined) {
    expectReason(refused.reason, go);
    return;
  }
  go();
  if (call === 'store') {
    scratch.setBigInt64(0, BigInt(word), true);
    model.write(at, new Uint8Array(scratch.buffer, 0, size));
  } else {
    expect([...new Uint8Array(scratch.buffer, 0, size)]).toEqual([...model.read(at, size)]);
  }
}

function bulk({ space, model }: World, { call, at: offset, length, value }: BulkOp): void {
  const at = address(0) + offset;
  const refused = model.firstRefusal(at, length, call !== 'read');
  const buffer = call === 'write' ? pattern(length, value) : new Uint8Array(length);
  const go = (): number => {
    if (call === 'read') return space.read(at, buffer);
    return call === 'fill' ? space.fill(at, length, value) : space.write(at, buffer);
  };
  if (refused !== undefined && refused.address === at) {
    expectReason(refused.reason, go);
    return;
  }
  const done = refused === undefined ? length : refused.address - at;
  expect(go()).toBe(done);
  if (call === 'read') {
    expectSame(buffer.subarray(0, done), model.read(at, done));
    return;
  }
  model.write(at, call === 'fill' ? new Uint8Array(done).fill(value) : buffer.subarray(0, done));
}

function copy({ space, model }: World, { at: target, from, length }: CopyOp): void {
  const to = address(0) + target;
  const source = address(0) + from;
  const go = (): number => space.copy(to, source, length);
  const writes = model.firstRefusal(to, length, true);
  const reads = model.firstRefusal(source, length, false);
  if (to > source && to < source + length) {
    const refused = writes ?? reads;
    if (refused !== undefined) {
      expectReason(refused.reason, go);
      return;
    }
    expect(go()).toBe(length);
    model.write(to, model.read(source, length));
    return;
  }
  const writable = writes === undefined ? length : writes.address - to;
  const readable = reads === undefined ? length : reads.address - source;
  const done = Math.min(writable, readable);
  if (done === 0 && length > 0) {
    expectReason((writable === 0 ? writes : reads)?.reason as Reason, go);
    return;
  }
  expect(go()).toBe(done);
  model.write(to, model.read(source, done));
}

function expectCode(code: string, call: () => unknown): void {
  try {
    call();
  } catch (error) {
    if (!(error instanceof VmError)) throw error;
    expect(error.code).toBe(code);
    return;
  }
  expect.fail(`expected ${code}`);
}

function expectReason(reason: Reason, call: () => unknown): void {
  try {
    call();
  } catch (error) {
    if (!(error instanceof VmError) || error.code !== 'EFAULT') throw error;
    expect((error as VmError & { reason: string }).reason).toBe(reason);
    return;
  }
  expect.fail(`expected ${reason}`);
}

function expectSame(got: Uint8Array, expected: Uint8Array): void {
  if (Buffer.compare(got, expected) === 0) return;
  const first = got.findIndex((byte, i) => byte !== expected[i]);
  expect.fail(`byte ${first} of ${got.length} is ${got[first]}, not ${expected[first]}`);
}

function expectSameLayout({ space, model, files }: World): void {
  space.validate();
  const modelOf = new Map(files.map(({ real, model: file }) => [real.id, file]));
  const got = space
    .maps()
    .map((line) => ({ ...line, file: line.file === undefined ? undefined : modelOf.get(line.file) }));
  const expected = model.layout();
  const same =
    got.length === expected.length &&
    got.every((line, i) => {
      const other = expected[i];
      return (
        line.start === other?.start &&
        line.end === other.end &&
        line.prot === other.prot &&
        line.shared === other.shared &&
        line.file === other.file &&
        line.offset === other.offset
      );
    });
  if (!same) expect(got.map(draw)).toEqual(expected.map(draw));
  expect(space.counters().mappings).toBe(expected.length);
}

function draw({ start, end, prot, shared, file, offset }: ReturnType<Model['layout']>[number]): string {
  const backing = file === undefined ? '' : ` file of ${file.bytes.length} at ${offset / PAGE}`;
  return `${start / PAGE - BASE}-${end / PAGE - BASE} prot ${prot}${shared ? ' shared' : ''}${backing}`;
}

/** Every byte that may be read, and every page that may not: under a right to read given for the purpose too. */
function expectSameBytes({ space, model }: World): void {
  const got = new Uint8Array(PAGE);
  for (const page of model.pages.keys()) {
    const refused = model.refuses(page, false);
    if (refused === 'SEGV_ACCERR') {
      space.mprotect(page * PAGE, PAGE, PROT_READ);
      model.protect(page, 1, PROT_READ);
    }
    const reason = model.refuses(page, false);
    if (reason !== undefined) expectReason(reason, () => space.load8(page * PAGE));
    else {
      expect(space.read(page * PAGE, got)).toBe(PAGE);
      expectSame(got, model.pageBytes(page));
    }
  }
}

function play(machine: Machine, setting: Setting, list: readonly Op[]): void {
  const space = machine.createSpace();
  const files = setting.filePages.map((pages, i) => {
    const bytes = pattern(pages * PAGE - i * 1000, i + 1);
    return { real: machine.createFile('property-file', { seed: i + 1 }, bytes.length), model: { bytes } };
  });
  const world: World = { space, model: new Model(), files };
  for (const op of list) {
    step(world, op);
    expectSameLayout(world);
  }
  expectSameBytes(world);
  expectSameLayout(world);
  for (const { real } of files) real.close();
  space.close();
}

const PARAMETERS = { seed: SEED, numRuns: RUNS, ...(PATH === undefined ? {} : { path: PATH, endOnFailure: true }) };

/** One machine for all sequences, as long as they go well: whatever one leaves behind is the next one's to start with. */
function checkAll(options: { design: DesignName; memory: number }, setting: Setting): void {
  let machine: Machine | undefined;
  fc.assert(
    fc.property(ops(setting), (list) => {
      if (machine === undefined) {
        collectMachines();
        machine = createMachine({ stallTimeout: 2000, ...options });
      }
      try {
        play(machine, setting, list);
        expectNothingLeft(machine);
      } catch (error) {
        machine.close();
        machine = undefined;
        throw error;
      }
    }),
    PARAMETERS,
  );
  machine?.close();
}

describe.each(DESIGNS)('random calls under %s', (design) => {
  test('do what the model says', () => {
    const hows = ['hint', 'fixed', 'fixed', 'noreplace', 'anywhere'] as const;
    checkAll({ design, memory: 4 * MiB }, { window: 64, filePages: [12, 5], hows });
  });

  test('do what the model says while memory is short and file pages come and go', () => {
    const hows = ['fixed', 'fixed', 'noreplace'] as const;
    checkAll({ design, memory: 64 * PAGE }, { window: 30, filePages: [40, 25], hows });
  });
});
