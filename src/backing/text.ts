/** Strings in the control memory (file descriptors: kind and options as JSON), as chains of slab records. */
import { peek, poke } from '#atomics';
import type { Slab } from '../memory/slab.ts';
import type { Cpu } from '../sync/cpu.ts';

export const TEXT_WORDS = 64;
const X_NEXT = 2;
const X_LENGTH = 3;
const X_CHARS = 4;
const PER_RECORD: number = TEXT_WORDS - X_CHARS;

export class TextStore {
  readonly #cpu: Cpu;
  readonly #slab: Slab;

  constructor(cpu: Cpu, slab: Slab) {
    this.#cpu = cpu;
    this.#slab = slab;
  }

  /** Throws ENOMEM, with nothing allocated. */
  put(text: string): number {
    const { words } = this.#cpu;
    let next = 0;
    const last = Math.max(0, Math.ceil(text.length / PER_RECORD) - 1);
    for (let part = last; part >= 0; part--) {
      const chars = text.slice(part * PER_RECORD, (part + 1) * PER_RECORD);
      let record: number;
      try {
        record = this.#slab.alloc();
      } catch (error) {
        this.free(next);
        throw error;
      }
      poke(words, record + X_NEXT, next);
      poke(words, record + X_LENGTH, chars.length);
      for (let i = 0; i < chars.length; i++) poke(words, record + X_CHARS + i, chars.charCodeAt(i));
      next = record;
    }
    return next;
  }

  publish(text: number): void {
    for (let record = text; record !== 0; record = peek(this.#cpu.words, record + X_NEXT)) this.#slab.publish(record);
  }

  get(text: number): string {
    const { words } = this.#cpu;
    let out = '';
    for (let record = text; record !== 0; record = peek(words, record + X_NEXT)) {
      const length = peek(words, record + X_LENGTH);
      for (let i = 0; i < length; i++) out += String.fromCharCode(peek(words, record + X_CHARS + i));
    }
    return out;
  }

  /** Takes a published text back, to be freed: should this thread die, all of it is found in its hands. */
  own(text: number): void {
    for (let record = text; record !== 0; record = peek(this.#cpu.words, record + X_NEXT)) this.#slab.own(record);
  }

  free(text: number): void {
    let record = text;
    while (record !== 0) {
      const next = peek(this.#cpu.words, record + X_NEXT);
      this.#slab.free(record);
      record = next;
    }
  }
}
