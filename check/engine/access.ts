/**
 * One access of this thread, from its announcement to its effect. There is one object for all of them: only one is
 * under way.
 */
import { ATOMIC, PAGE, WRITE } from './kinds.ts';
import type { Region } from './regions.ts';

export class Access {
  /** As the port announces it; `racyPeek` and `racyPoke` also for plain ones that the model says may race. */
  kind = '';
  /** Classes of kinds.ts. */
  classes = 0;
  region: Region | undefined;
  /** Where it begins in the region, and how many bytes it covers: an element, or a page of frame data. */
  byte = 0;
  bytes = 0;
  /** Its decision, and whether the schedule may change there. */
  position = 0;
  point = false;
  /** What the element holds, once nobody else can come before. */
  found: number | bigint = 0;
  /** The old value that a marked read returns instead. */
  old: number | undefined;

  get address(): number {
    return (this.region as Region).base + this.byte;
  }

  get writes(): boolean {
    return (this.classes & WRITE) !== 0;
  }

  /** For others a wait is like a write: who comes first is woken first. */
  get conflicts(): boolean {
    return this.writes || this.kind === 'wait';
  }

  get atomic(): boolean {
    return (this.classes & ATOMIC) !== 0;
  }

  get wide(): boolean {
    return (this.classes & PAGE) !== 0;
  }
}
