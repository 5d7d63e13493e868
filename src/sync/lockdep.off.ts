/** Production: nothing is checked, and the bundler removes the calls. */
import type { Cpu } from './cpu.ts';

export interface LockdepReport {
  readonly rule: string;
  readonly detail: string;
}

export function lockAcquired(_cpu: Cpu, _lock: number, _class: number): void {}
export function lockReleased(_cpu: Cpu, _lock: number): void {}
export function locksForgotten(_cpu: Cpu): void {}
export function sectionEntered(_cpu: Cpu): void {}
export function sectionLeft(_cpu: Cpu): void {}
export function mightSleep(_cpu: Cpu, _what: string): void {}
export function doingIo(_cpu: Cpu, _what: string): void {}
export function lockdepReports(_cpu: Cpu): readonly LockdepReport[] {
  return [];
}
export function lockdepHeld(_cpu: Cpu): readonly string[] {
  return [];
}
