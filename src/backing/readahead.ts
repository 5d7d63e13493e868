/**
 * Read-ahead: how many pages to read from a miss on. Each thread keeps its own few streams, so sequential readers on different
 * threads do not confuse each other, and nothing is shared. A miss where a stream expected it doubles the window; any other
 * miss reads one page and starts a stream.
 */
import { READAHEAD_MAX } from '../base/tunables.ts';

const STREAMS = 8;
const FIRST_WINDOW = 4;

interface Stream {
  mapping: number;
  /** Index of the first page not yet read. */
  next: number;
  window: number;
}

export class Readahead {
  readonly #streams: Stream[] = Array.from({ length: STREAMS }, () => ({ mapping: 0, next: 0, window: 0 }));
  #oldest = 0;

  /** Pages to read for a miss at page `index`, at least 1. */
  windowFor(mapping: number, index: number): number {
    for (const stream of this.#streams) {
      if (stream.mapping !== mapping || stream.next !== index) continue;
      stream.window = Math.min(READAHEAD_MAX, Math.max(FIRST_WINDOW, stream.window * 2));
      return stream.window;
    }
    const stream = this.#streams[this.#oldest] as Stream;
    this.#oldest = (this.#oldest + 1) % STREAMS;
    stream.mapping = mapping;
    stream.next = index + 1;
    stream.window = 1;
    return 1;
  }

  /** `count` pages were read from `index` on. */
  advance(mapping: number, index: number, count: number): void {
    for (const stream of this.#streams) {
      if (stream.mapping === mapping && (stream.next === index || stream.next === index + 1))
        stream.next = index + count;
    }
  }
}
