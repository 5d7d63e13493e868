import type { BuildOptions } from 'esbuild';

export function modelOptions(
  entries: readonly { readonly in: string; readonly out: string }[],
  outdir: string,
  edits?: readonly { readonly file: string; readonly find: string; readonly replace: string }[],
): BuildOptions;
