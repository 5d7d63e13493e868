// `npm start -- FILE [options]`: builds the command line if it is missing or stale, then runs `vmspace run`.
// It runs in this same process, from the directory npm was called in; `npm start -s` also hides npm's own banner.
import { pathToFileURL } from 'node:url';
import { buildOrExit, root } from './build.mjs';

await buildOrExit(['lib', 'check', 'cli'], { ifStale: true, quiet: true });
const main = `${root}/dist/cli/main.js`;
process.chdir(process.env.INIT_CWD ?? process.cwd());
process.argv = [process.execPath, main, 'run', ...process.argv.slice(2)];
await import(pathToFileURL(main).href);
