/** The report for people. */
import { cpus, release as kernel } from 'node:os';
import { release, version } from 'node:process';
import Table from 'cli-table3';
import { type Entry, format } from './entry.ts';
import { TARGETS } from './targets.ts';

export function machineLine(): string {
  const [cpu] = cpus();
  return `${cpus().length} x ${cpu?.model ?? 'unknown cpu'}, kernel ${kernel()}, ${release.name} ${version}`;
}

export function renderTable(entries: readonly Entry[]): string {
  const table = new Table({
    head: ['benchmark', 'value', 'unit', 'against', 'ratio', 'target', ''],
    colAligns: ['left', 'right', 'left', 'left', 'right', 'left', 'left'],
    style: { head: [], border: [], compact: true },
  });
  for (const entry of entries) {
    const { name, value, unit, against, ratio } = entry;
    const target = TARGETS.get(name);
    const mark = target === undefined || ratioMissing(entry) ? '' : target.reached(entry) ? 'ok' : 'SHORT';
    table.push([name, format(value), unit, against, ratio === null ? '-' : format(ratio), target?.text ?? '', mark]);
  }
  return table.toString();
}

/** A comparison that was skipped is neither reached nor short. */
function ratioMissing({ ratio, against }: Entry): boolean {
  return ratio === null && against.startsWith('skipped');
}
