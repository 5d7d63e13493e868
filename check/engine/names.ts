/**
 * What the model calls its words, and what their values mean: for reports. Only a thread that has the model can tell.
 */
import { threadId } from 'node:worker_threads';
import type { Model } from '../model.ts';
import { textOf } from './actor.ts';
import type { Failure } from './leader.ts';
import type { Report } from './protocol.ts';
import type { Recorded } from './recorder.ts';
import type { RegionMemory } from './regions.ts';

/** A word of the model's memory: the number of the buffer, and the byte in it. */
interface Word {
  readonly which: number;
  readonly byte: number;
}

export class Names {
  private readonly _model: Model<unknown>;
  private readonly _shared: unknown;
  private readonly _regions: readonly RegionMemory[];

  constructor(model: Model<unknown>, shared: unknown, regions: readonly RegionMemory[]) {
    this._model = model;
    this._shared = shared;
    this._regions = regions;
  }

  /** A recording, with the names of its addresses and the meanings of its values. */
  recorded(accesses: readonly Recorded[]): Report {
    const names = new Map<number, string>();
    for (const { address } of accesses)
      if (address !== 0 && !names.has(address)) names.set(address, this._nameOf(address));
    return { type: 'recorded', recorded: accesses.map((access) => this._explained(access)), names: [...names] };
  }

  /** With the names of the words instead of their addresses, and with what their sleepers wait for. */
  legible(failure: Failure): Failure {
    const text = failure.text.replace(/@(\d+)/g, (_, at) => this._nameAndReason(Number(at)));
    return { ...failure, text };
  }

  private _explained(access: Recorded): Recorded {
    const word = this._wordAt(access.address);
    if (this._model.value === undefined || word === undefined) return access;
    const text = (value: number): string | undefined => this._model.value?.(this._shared, word.which, word.byte, value);
    const { before, value, expected } = access;
    return { ...access, texts: { before: text(before), value: text(value), expected: text(expected) } };
  }

  private _nameOf(address: number): string {
    const word = this._wordAt(address);
    if (word === undefined) return 'anything';
    return this._described(word) ?? `buffer ${word.which} +${word.byte}`;
  }

  private _nameAndReason(address: number): string {
    const name = this._nameOf(address);
    const word = this._wordAt(address);
    if (word === undefined) return name;
    // The leader is the first thread that the crew starts; the others follow in their order.
    const threadOf = (host: number): string | undefined => this._model.threads[host - threadId]?.name;
    const why = this._model.waits?.(this._shared, word.which, word.byte, threadOf);
    return why === undefined ? name : `${name}, ${why}`;
  }

  /** What the model calls a word. Its own mistakes must not hide what is told. */
  private _described({ which, byte }: Word): string | undefined {
    try {
      return this._model.describe?.(this._shared, which, byte);
    } catch (error) {
      return `buffer ${which} +${byte} (describe threw ${textOf(error).split('\n')[0]})`;
    }
  }

  private _wordAt(address: number): Word | undefined {
    const which = this._regions.findIndex(({ base, buffer }) => address >= base && address < base + buffer.byteLength);
    const region = this._regions[which];
    return region === undefined ? undefined : { which, byte: address - region.base };
  }
}
