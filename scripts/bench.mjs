// `npm run bench -- [options]`: builds the benchmarks and runs them.
import { spawn } from 'node:child_process';
import { buildOrExit, root } from './build.mjs';

await buildOrExit(['bench'], { ifStale: true, quiet: true });
const child = spawn(process.execPath, [`${root}/dist-bench/main.js`, ...process.argv.slice(2)], { stdio: 'inherit' });
child.on('exit', (code, signal) => (signal ? process.kill(process.pid, signal) : process.exit(code ?? 1)));
