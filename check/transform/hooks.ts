/** Turns the rewriting on for the modules that this thread loads from now on: ES modules and CommonJS. */
import Module, { register } from 'node:module';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rewrite } from './rewrite.ts';
import { installRuntime } from './runtime.ts';

interface Compiling {
  _compile(this: unknown, content: string, filename: string, ...more: unknown[]): unknown;
}

let installed = false;

export function installTransform(): void {
  if (installed) return;
  installed = true;
  installRuntime();
  register(new URL('./load-hooks.js', import.meta.url).href);
  const own = dirname(fileURLToPath(import.meta.url));
  const prototype = (Module as unknown as { prototype: Compiling }).prototype;
  const compile = prototype._compile;
  prototype._compile = function (this: unknown, content: string, filename: string, ...more: unknown[]): unknown {
    // A module which `require` may load though it is an ES module is not CommonJS, whatever calls this.
    const skip = filename.startsWith(own) || more[0] === 'module';
    return Reflect.apply(compile, this, [skip ? content : rewrite(content, { module: false }), filename, ...more]);
  };
}
