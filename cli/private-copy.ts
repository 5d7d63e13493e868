/**
 * A part of the file mapped private and writable. Pages that were written cannot be reclaimed, so the copy is unmapped
 * after some rounds and another part is mapped.
 */
import { MAP_PRIVATE, type MappedFile, PAGE_SIZE, PROT_READ, PROT_WRITE, type Space } from '../src/node.ts';
import type { Random } from './random.ts';
import { readAll } from './worker-loop.ts';

const ROUNDS = 8;

export class PrivateCopy {
  readonly #space: Space;
  readonly #file: MappedFile;
  readonly #random: Random;
  /** What the copy should hold where it was written: offset in the copy -> word. */
  readonly #words = new Map<number, number>();
  readonly #pages: number;
  #address = 0;
  #offset = 0;
  #length = 0;
  #rounds = 0;

  constructor(space: Space, file: MappedFile, pages: number, random: Random) {
    this.#space = space;
    this.#file = file;
    this.#random = random;
    this.#pages = Math.min(pages, Math.ceil(file.size / PAGE_SIZE));
  }

  /** Writes words at random places. `offset` and `length`: the part of the file of which it is a copy now. */
  write(): { readonly writes: number; readonly offset: number; readonly length: number } {
    if (this.#rounds++ % ROUNDS === 0) this.#remap();
    let writes = 0;
    this.#space.run((memory) => {
      for (let i = 0; i < this.#pages; i += ROUNDS) {
        const word = this.#random.below(this.#length >> 2) * 4;
        if (word + 4 > this.#length) continue;
        const value = this.#random.below(2 ** 31);
        memory.store32(this.#address + word, value);
        this.#words.set(word, value);
        writes++;
      }
    });
    return { writes, offset: this.#offset, length: this.#length };
  }

  /** What is wrong with the copy of `original`, if anything. */
  compare(original: Uint8Array): string | undefined {
    const expected = Buffer.from(original);
    for (const [word, value] of this.#words) if (word + 4 <= expected.length) expected.writeInt32LE(value, word);
    const found = Buffer.alloc(expected.length);
    readAll(this.#space, this.#address, found);
    if (found.equals(expected)) return undefined;
    const at = found.findIndex((byte, index) => byte !== expected[index]);
    const place = `byte ${this.#offset + at}`;
    return `the private copy has ${found[at]} where it should have ${expected[at]}, at ${place}`;
  }

  #remap(): void {
    if (this.#address !== 0) this.#space.munmap(this.#address, this.#length);
    this.#words.clear();
    const filePages = Math.ceil(this.#file.size / PAGE_SIZE);
    this.#offset = this.#random.below(filePages - this.#pages + 1) * PAGE_SIZE;
    this.#length = Math.min(this.#pages * PAGE_SIZE, this.#file.size - this.#offset);
    this.#address = this.#space.mmap({
      length: this.#length,
      prot: PROT_READ | PROT_WRITE,
      flags: MAP_PRIVATE,
      file: this.#file,
      offset: this.#offset,
    });
  }
}
