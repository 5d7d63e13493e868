/** Files through mappings against `fs.readSync`. The loops are in file-loops.ts, which runs in a worker. */
import { type Entry, type Plan, paired } from './entry.ts';
import { runSolo } from './solo.ts';
import { inTempFolder } from './temp.ts';

const AGAINST: Record<string, readonly [unit: string, scale: number, who: string]> = {
  'scan.cached': ['MB/s', 1e6, 'fs.readSync of 64 KiB'],
  'scan.cached.load32': ['MB/s', 1e6, 'fs.readSync of 64 KiB + sum of the buffer'],
  'scan.cached.first': ['MB/s', 1e6, 'fs.readSync of 64 KiB'],
  'file.random8': ['reads/s', 1, 'fs.readSync of 8 bytes'],
  'file.random8.4MiB': ['reads/s', 1, 'fs.readSync of 8 bytes'],
  'scan.cold': ['MB/s', 1e6, 'fs.readSync of 1 MiB'],
  'scan.cold.used-frames': ['MB/s', 1e6, 'fs.readSync of 1 MiB'],
};

export function fileReads(plan: Plan): Promise<Entry[]> {
  return inTempFolder(async (folder) => {
    const result = await runSolo('files', plan.rounds, folder);
    return Object.entries(result).map(([name, { ours, theirs }]) => {
      const [unit, scale, who] = AGAINST[name] ?? ['', 1, ''];
      const scaled = (values: readonly number[]): number[] => values.map((value) => value / scale);
      return paired(name, unit, scaled(ours), scaled(theirs), who, 'more');
    });
  });
}
