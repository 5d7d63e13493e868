// Bundles of models for the checker: the library as it is, or with the exact edits of a mutant. Mutants are never built into dist.
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** The checked bundles have the checker's small fan-outs and batches. */
export const smallTunables = {
  name: 'small-tunables',
  setup({ onResolve }) {
    onResolve({ filter: /\/tunables\.ts$/ }, () => ({ path: resolve(root, 'src/base/tunables.checked.ts') }));
  },
};

/** Throws when an edit's text is not in its file exactly once: a mutant that no longer is one must not pass for caught. */
export function mutate(edits) {
  return {
    name: 'mutate',
    setup({ onLoad, onEnd }) {
      const left = new Set(edits);
      onLoad({ filter: /\.ts$/ }, ({ path }) => {
        const mine = edits.filter(({ file }) => resolve(root, file) === path);
        if (mine.length === 0) return undefined;
        let contents = readFileSync(path, 'utf8');
        for (const edit of mine) {
          const parts = contents.split(edit.find);
          if (parts.length !== 2) {
            return {
              errors: [{ text: `${edit.file}: the text to replace occurs ${parts.length - 1} times:\n${edit.find}` }],
            };
          }
          contents = parts.join(edit.replace);
          left.delete(edit);
        }
        return { contents, loader: 'ts' };
      });
      onEnd(() => {
        if (left.size === 0) return undefined;
        return { errors: [...left].map(({ file }) => ({ text: `${file} is not part of the bundle` })) };
      });
    },
  };
}

/** esbuild's options for a bundle of models. `entries` is an array of { in, out }. */
export function modelOptions(entries, outdir, edits = []) {
  return {
    absWorkingDir: root,
    entryPoints: entries,
    outdir,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: ['es2022', 'node20.19'],
    conditions: ['checked'],
    sourcemap: true,
    charset: 'utf8',
    legalComments: 'none',
    logLevel: 'silent',
    external: ['node:*'],
    plugins: edits.length === 0 ? [smallTunables] : [mutate(edits), smallTunables],
  };
}
