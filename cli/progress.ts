/** How far the run is: a bar on a terminal, one line per design elsewhere; always on standard error. */

import { SingleBar } from 'cli-progress';
import type { DesignName } from '../src/index.ts';
import { formatSize } from './sizes.ts';

export interface Progress {
  begin(design: DesignName): void;
  /** `seconds` since the run began. */
  update(seconds: number, verified: number): void;
  stop(): void;
}

export function makeProgress(totalSeconds: number): Progress {
  return process.stderr.isTTY ? new Bar(totalSeconds) : new Lines();
}

class Bar implements Progress {
  readonly #bar = new SingleBar({
    format: '{design} [{bar}] {seconds} of {total} s, {verified} verified',
    stream: process.stderr,
    hideCursor: true,
    clearOnComplete: true,
    barsize: 24,
    gracefulExit: false, // Ctrl-C is main's
  });
  readonly #total: number;
  #design = '';
  #verified = '0 MiB';

  constructor(totalSeconds: number) {
    this.#total = totalSeconds;
  }

  begin(design: DesignName): void {
    const first = this.#design === '';
    this.#design = design;
    this.#verified = '0 MiB';
    if (first) this.#bar.start(this.#total, 0, this.#payload(0));
  }

  update(seconds: number, verified: number): void {
    this.#verified = formatSize(verified);
    this.#bar.update(Math.min(seconds, this.#total), this.#payload(seconds));
  }

  stop(): void {
    this.#bar.stop();
  }

  #payload(seconds: number): object {
    return {
      design: this.#design.padEnd(8),
      seconds: seconds.toFixed(1),
      total: Number(this.#total.toFixed(1)),
      verified: this.#verified,
    };
  }
}

class Lines implements Progress {
  begin(design: DesignName): void {
    process.stderr.write(`${design} ...\n`);
  }
  update(): void {}
  stop(): void {}
}
