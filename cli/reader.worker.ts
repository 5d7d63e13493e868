/** Reads the mapped file chunk by chunk, in order and at random, compares it with direct reads, and writes private copies. */
import { createHash } from 'node:crypto';
import { fstatSync, openSync, readSync } from 'node:fs';
import { workerData } from 'node:worker_threads';
import { attachSpace, BusError, KiB, machineOf, PAGE_SIZE } from '../src/node.ts';
import { PrivateCopy } from './private-copy.ts';
import { PRIVATE_WRITES, type ReaderSetup, VERIFIED } from './protocol.ts';
import { Random } from './random.ts';
import { watchSlowReads } from './watched-file.ts';
import { FileChanged, Mismatch, readAll, workUntilStopped } from './worker-loop.ts';

const CHUNK: number = 256 * KiB;
/** Read-ahead gets little out of these: they make most of the reads. */
const RANDOM_CHUNK: number = 64 * KiB;
/** The end of each chunk is read word by word in one `run`, the rest by one `read`. */
const BY_WORDS: number = 16 * KiB;

const setup = workerData as ReaderSetup;
const { base, size, path } = setup;
watchSlowReads(new Int32Array(setup.control), setup.phase);
const space = attachSpace(setup.space);
const file = machineOf(space).attachFile(setup.file);
const fd = openSync(path, 'r');
const opened = fstatSync(fd).mtimeMs;
const figures = new Float64Array(setup.figures);
const random = new Random(setup.seed);
const chunks: number = Math.ceil(size / CHUNK);
const mapped = Buffer.alloc(CHUNK);
const direct = Buffer.alloc(CHUNK);
const copy = new PrivateCopy(space, file, setup.copyPages, random);
let next: number = random.below(chunks);
let turn = 0;

workUntilStopped(space, setup.control, () => {
  try {
    step();
  } catch (error) {
    // A page that lacks bytes now is an I/O error; why is the file's business.
    if (error instanceof BusError && changed() !== '') throw new FileChanged(`${sizes()}: ${error.message}`);
    throw error;
  }
});

function step(): void {
  turn++;
  if (turn % 4 !== 1) {
    // At random: from any page on, so that chunks overlap in all ways.
    verifyChunk(random.below(Math.ceil(size / PAGE_SIZE)) * PAGE_SIZE, RANDOM_CHUNK);
    return;
  }
  verifyChunk(next * CHUNK, CHUNK);
  next = (next + 1) % chunks;
  writeCopy();
}

function verifyChunk(offset: number, most: number): void {
  const length = Math.min(most, size - offset);
  readMapped(offset, length);
  readDirect(offset, length);
  if (hash(mapped, length) !== hash(direct, length)) throw difference(offset, length, 'the mapping');
  figures[VERIFIED] = (figures[VERIFIED] as number) + length;
}

function readMapped(offset: number, length: number): void {
  const words = Math.min(BY_WORDS, length) >> 2;
  const bulk = length - words * 4;
  readAll(space, base + offset, mapped.subarray(0, bulk));
  space.run((memory) => {
    for (let at = bulk; at < length; at += 4) mapped.writeInt32LE(memory.load32(base + offset + at), at);
  });
}

function readDirect(offset: number, length: number): void {
  for (let done = 0; done < length; ) {
    const got = readSync(fd, direct, done, length - done, offset + done);
    if (got === 0) throw new FileChanged(sizes());
    done += got;
  }
}

/** Writes some pages of a private copy; neither the mapping nor the file may show it. */
function writeCopy(): void {
  const written = copy.write();
  figures[PRIVATE_WRITES] = (figures[PRIVATE_WRITES] as number) + written.writes;
  const offset = written.offset;
  const length = Math.min(CHUNK, written.length);
  readDirect(offset, length);
  const problem = copy.compare(direct.subarray(0, length));
  if (problem !== undefined) throw new Mismatch(`${problem} of '${path}'${changed()}`);
  readMapped(offset, length);
  if (!mapped.subarray(0, length).equals(direct.subarray(0, length))) {
    throw difference(offset, length, 'the mapping beside a private copy');
  }
}

function hash(bytes: Buffer, length: number): string {
  return createHash('sha256').update(bytes.subarray(0, length)).digest('hex');
}

function difference(offset: number, length: number, what: string): Mismatch {
  let at = 0;
  while (at < length - 1 && mapped[at] === direct[at]) at++;
  const place = `byte ${offset + at} (page ${Math.floor((offset + at) / PAGE_SIZE)}) of '${path}'`;
  return new Mismatch(`${what} has ${mapped[at]} where the file has ${direct[at]}, at ${place}${changed()}`);
}

function changed(): string {
  const { mtimeMs, size: now } = fstatSync(fd);
  return mtimeMs === opened && now === size ? '' : '; the file was changed while it was mapped';
}

function sizes(): string {
  return `'${path}' was changed while it was mapped: it had ${size} bytes and has ${fstatSync(fd).size}`;
}
