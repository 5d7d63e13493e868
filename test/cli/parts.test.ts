/** The parts of the command line that need no process: sizes, latencies, the default file. */
import { existsSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { defaultFile, generateFile, nodeFiles } from '../../cli/file.ts';
import { LATENCY_CELLS, Latencies } from '../../cli/latency.ts';
import { memoryFor } from '../../cli/memory.ts';
import { formatSize, parseSize } from '../../cli/sizes.ts';
import { scratch } from './support.ts';

const MiB = 2 ** 20;
const GiB = 2 ** 30;
const never: AbortSignal = new AbortController().signal;
const { folder, remove } = scratch();
afterAll(remove);

describe('sizes', () => {
  it.each([
    ['1', 1],
    ['4096', 4096],
    ['4096B', 4096],
    ['64K', 64 * 1024],
    ['64M', 64 * MiB],
    ['64MiB', 64 * MiB],
    ['64 mib', 64 * MiB],
    ['1.5G', 1.5 * GiB],
  ])('%s is a size', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  it.each(['', 'M', '1T', '1,5M', '0x10', '1e6', '1.3', '-1', '99999999999G'])("'%s' is none", (text) => {
    expect(parseSize(text)).toBeUndefined();
  });

  it('are shown with one digit at most', () => {
    expect([1, 4096, 94.3 * MiB, 4 * GiB].map(formatSize)).toEqual(['1 bytes', '4 KiB', '94.3 MiB', '4 GiB']);
  });

  it('give the machine a quarter of the file, 16 MiB to 4 GiB', () => {
    expect([1, 100 * MiB, 100 * GiB].map(memoryFor)).toEqual([16 * MiB, 25 * MiB, 4 * GiB]);
  });
});

describe('latencies', () => {
  it('give quantiles within a twentieth, and the exact longest', () => {
    const times = new Latencies(new Float64Array(LATENCY_CELLS));
    for (let i = 1; i <= 1000; i++) times.record(i / 100);
    const { count, p50, p99, max } = times.summary();
    expect(count).toBe(1000);
    expect(max).toBe(10);
    expect(p50 / 5).toBeGreaterThanOrEqual(1);
    expect(p50 / 5).toBeLessThan(1.05);
    expect(p99 / 9.9).toBeGreaterThanOrEqual(1);
    expect(p99 / 9.9).toBeLessThan(1.05);
  });

  it('are 0 before anything was recorded', () => {
    const times = new Latencies(new Float64Array(LATENCY_CELLS));
    expect(times.summary()).toEqual({ count: 0, total: 0, p50: 0, p99: 0, max: 0 });
  });

  it('keep what is beyond the last bucket', () => {
    const times = new Latencies(new Float64Array(LATENCY_CELLS));
    times.record(1e12);
    times.record(0);
    expect(times.summary()).toMatchObject({ count: 2, max: 1e12, p99: 1e12 });
  });
});

describe('the default file', () => {
  const candidate = (name: string, size: number): string => {
    const path = join(folder, name);
    writeFileSync(path, '');
    truncateSync(path, size);
    return path;
  };

  it('is an existing one where it is large enough', async () => {
    expect(nodeFiles()[0]).toBe(process.execPath);
    const chosen = await defaultFile([candidate('node', MiB), candidate('libnode.so', 40 * MiB)], never);
    expect(chosen).toMatchObject({ path: join(folder, 'libnode.so'), size: 40 * MiB, generated: false });
    chosen.remove();
    expect(existsSync(chosen.path)).toBe(true);
  });

  it('is generated where there is none', async () => {
    const stopped = AbortSignal.abort(); // so that it is not really written
    const chosen = await defaultFile([candidate('small', 32 * MiB - 1), join(folder, 'none')], stopped);
    expect(chosen).toMatchObject({ size: 256 * MiB, generated: true });
    chosen.remove();
    expect(existsSync(dirname(chosen.path))).toBe(false);
  });

  it('has no two pages alike, and goes', async () => {
    const file = await generateFile(5 * MiB, never);
    expect(statSync(file.path).size).toBe(5 * MiB);
    const bytes = readFileSync(file.path);
    const pages = new Set<string>();
    for (let at = 0; at < bytes.length; at += 4096) pages.add(bytes.toString('latin1', at, at + 4096));
    expect(pages.size).toBe(1280);
    file.remove();
    file.remove();
    expect(existsSync(dirname(file.path))).toBe(false);
  });
});
