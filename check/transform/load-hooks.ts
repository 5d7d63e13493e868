/** Module hooks (node:module): rewrites ES modules while they are loaded. Runs in Node's own thread for hooks. */
import { fileURLToPath } from 'node:url';
import { rewrite } from './rewrite.ts';

interface Loaded {
  readonly format: string;
  readonly source?: string | ArrayBuffer | Uint8Array | null;
  readonly shortCircuit?: boolean;
}

/** The checker's own modules are not rewritten: they are beside this one. */
const own = new URL('.', import.meta.url).href;
/** Nor is what announces its accesses itself, which scripts/build.mjs marks: each would be seen twice. */
const ANNOUNCES = '// vmspace: announces its own accesses';

interface Resolving {
  readonly conditions: readonly string[];
}

/** The thread of the hooks does not have the process's --conditions (see crews.ts). */
export async function resolve(
  specifier: string,
  context: Resolving,
  next: (specifier: string, context: Resolving) => Promise<unknown>,
): Promise<unknown> {
  return next(specifier, { ...context, conditions: [...context.conditions, 'vmspace-checked'] });
}

export async function load(
  url: string,
  context: unknown,
  next: (url: string, context: unknown) => Promise<Loaded>,
): Promise<Loaded> {
  const loaded = await next(url, context);
  if (loaded.format !== 'module' || !url.startsWith('file:') || url.startsWith(own) || loaded.source == null)
    return loaded;
  const text = typeof loaded.source === 'string' ? loaded.source : new TextDecoder().decode(loaded.source);
  if (text.startsWith(ANNOUNCES)) return loaded;
  try {
    return { ...loaded, source: rewrite(text, { module: true }) };
  } catch (error) {
    if (error instanceof SyntaxError) error.message = `${fileURLToPath(url)}: ${error.message}`;
    throw error;
  }
}
