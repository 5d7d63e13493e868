/** What a replay notes of each access, for reports. */

/** One access, or a `pause`, `woken`, `timed-out` or `chosen:N`: thread N goes on, where another one would have. */
export interface Recorded {
  /** Place in the execution. */
  readonly order: number;
  /** The decision before it, as schedules count. */
  readonly position: number;
  readonly thread: number;
  readonly kind: string;
  /** Byte address, or 0 for what touches none. */
  readonly address: number;
  readonly bytes: number;
  readonly before: number;
  readonly value: number;
  readonly expected: number;
  readonly stack: string;
  /** What the values mean, where the model says so. */
  readonly texts?: {
    readonly before?: string | undefined;
    readonly value?: string | undefined;
    readonly expected?: string | undefined;
  };
}

export class Recorder {
  readonly thread: number;
  recorded: Recorded[] = [];

  constructor(thread: number) {
    this.thread = thread;
  }

  access(
    order: number,
    position: number,
    kind: string,
    address: number,
    bytes: number,
    before: number,
    value: number,
    expected: number,
  ): void {
    const stack = new Error('at').stack ?? '';
    this.recorded.push({ order, position, thread: this.thread, kind, address, bytes, before, value, expected, stack });
  }

  note(order: number, position: number, kind: string, address: number): void {
    this.access(order, position, kind, address, 0, 0, 0, 0);
  }
}
