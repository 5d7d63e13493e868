// `npm run test:node24 -- [vitest arguments]`: runs the vitest suite with Node 24, whatever Node is installed here.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const check =
  'if (!process.version.startsWith("v24.")) throw new Error(process.version); console.log("Node", process.version);';
const npx = (...args) => spawnSync('npx', ['--yes', '-p', 'node@24', 'node', ...args], { cwd: root, stdio: 'inherit' });

const version = npx('-e', check);
if (version.status !== 0) process.exit(version.status ?? 1);
process.exit(npx('node_modules/vitest/vitest.mjs', 'run', ...process.argv.slice(2)).status ?? 1);
