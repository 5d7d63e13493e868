/** Sizes in bytes: reading and showing them. All units are powers of 1024. */
import { GiB, KiB, MiB } from '../src/index.ts';

const UNITS: Readonly<Record<string, number>> = { '': 1, B: 1, K: KiB, M: MiB, G: GiB };
const SIZE = /^(\d+(?:\.\d+)?)\s*([KMG]?)(?:iB|B)?$/i;

/** `64M`, `64MiB`, `1.5G`, `67108864`; undefined for what is no size. */
export function parseSize(text: string): number | undefined {
  const match = SIZE.exec(text.trim());
  if (match === null) return undefined;
  const bytes = Number(match[1]) * (UNITS[(match[2] ?? '').toUpperCase()] ?? Number.NaN);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** `23.6 MiB`. */
export function formatSize(bytes: number): string {
  if (bytes >= GiB) return `${trimmed(bytes / GiB)} GiB`;
  if (bytes >= MiB) return `${trimmed(bytes / MiB)} MiB`;
  if (bytes >= KiB) return `${trimmed(bytes / KiB)} KiB`;
  return `${bytes} bytes`;
}

function trimmed(value: number): string {
  return value.toFixed(1).replace(/\.0$/, '');
}
