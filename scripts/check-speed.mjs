// `npm run check:speed`: how fast the checker is. Executions per second with one crew and with one for each processor, and what the
// load-time transform costs a loop of accesses, side by side. Fifteen seconds each, so that compiling matters little; the best of three rounds.
import { availableParallelism } from 'node:os';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { buildOrExit, root } from './build.mjs';

await buildOrExit(['lib', 'check'], { ifStale: true, quiet: true });
const SECONDS = 15;
const ROUNDS = 3;
const { check } = await import(pathToFileURL(`${root}/dist/check/index.js`).href);
const format = (n) => Math.round(n).toLocaleString('en-US');

async function rate(url, name, options) {
  let best = 0;
  for (let i = 0; i < ROUNDS; i++) {
    const { executions, seconds, failure } = await check(
      { url, name, transform: options.transform === true },
      { strategy: 'random', seconds: SECONDS, jobs: options.jobs, seed: 1 + i * 1_000_000 },
    );
    if (failure !== undefined) throw new Error(`${name} failed: ${failure.text}`);
    best = Math.max(best, executions / seconds);
  }
  return best;
}

const models = pathToFileURL(`${root}/dist/check/models.js`).href;
const ring = pathToFileURL(`${root}/check/examples/ringbuf.mjs`).href;
const jobs = availableParallelism();
console.log('random schedules, executions per second (with the start of the crews):');
console.log(`  munmap-fault, 1 crew          ${format(await rate(models, 'munmap-fault', { jobs: 1 }))}`);
const all = await rate(models, 'munmap-fault', { jobs });
console.log(`  munmap-fault, ${jobs} crews         ${format(all)}, ${format(all / jobs)} per crew`);
console.log(`  ringbuf, transformed, 1 crew  ${format(await rate(ring, 'ringbuf', { jobs: 1, transform: true }))}`);

/* A loop of two element accesses and an Atomics.add. */
const ITERATIONS = 2_000_000;
const text = `(words, n) => {
  for (let i = 0; i < n; i++) {
    words[i & 255] = words[(i * 7) & 255] + 1;
    Atomics.add(words, 3, 1);
  }
}`;
const out = `${root}/dist-test/check-speed`;
await build({
  entryPoints: { rewrite: `${root}/check/transform/rewrite.ts`, runtime: `${root}/check/transform/runtime.ts` },
  outdir: out,
  bundle: true,
  format: 'esm',
  platform: 'node',
  splitting: true,
  outExtension: { '.js': '.mjs' },
  logLevel: 'warning',
});
const { rewrite } = await import(pathToFileURL(`${out}/rewrite.mjs`).href);
const { installRuntime } = await import(pathToFileURL(`${out}/runtime.mjs`).href);
const make = (source, atomics) => new Function('Atomics', `return ${source}`)(atomics);
const plain = make(text, Atomics);
installRuntime();
const source = rewrite(`globalThis.rewritten = ${text};`, { module: false });
new Function(source)();
const { rewritten } = globalThis;
const ports = globalThis[Symbol.for('vmspace.checked-ports')];
const observe = (observer) => {
  for (const install of ports) install(observer);
};
const words = new Int32Array(new SharedArrayBuffer(1024));
const time = (run) => {
  const since = performance.now();
  run(words, ITERATIONS);
  return (ITERATIONS * 3) / (performance.now() - since) / 1000;
};
const best = [0, 0, 0];
for (let i = 0; i < 5; i++) {
  best[0] = Math.max(best[0], time(plain));
  best[1] = Math.max(best[1], time(rewritten));
  observe({ access() {} });
  best[2] = Math.max(best[2], time(rewritten));
  observe(undefined);
}
console.log('a loop of element accesses and Atomics.add, million accesses per second:');
console.log(`  as it was                          ${format(best[0])}`);
console.log(`  rewritten, nobody watches          ${format(best[1])}`);
console.log(`  rewritten, to an empty observer    ${format(best[2])}`);
