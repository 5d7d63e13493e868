// `npm run check -- [MODEL...] [options]`: builds what is stale, then runs `vmspace check`; `npm run check -- hazards` runs `vmspace hazards`.
import { pathToFileURL } from 'node:url';
import { buildOrExit, root } from './build.mjs';

await buildOrExit(['lib', 'check', 'cli'], { ifStale: true, quiet: true });
const main = `${root}/dist/cli/main.js`;
process.chdir(process.env.INIT_CWD ?? process.cwd());
const [first, ...rest] = process.argv.slice(2);
process.argv = [
  process.execPath,
  main,
  ...(first === 'hazards' ? ['hazards', ...rest] : ['check', ...process.argv.slice(2)]),
];
await import(pathToFileURL(main).href);
