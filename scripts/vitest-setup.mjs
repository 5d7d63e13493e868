// Vitest global setup: bundles the test workers, so that `npx vitest run some/file` works on its own.
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const build = fileURLToPath(new URL('./build.mjs', import.meta.url));
const buildWorkers = () =>
  execFileSync(process.execPath, [build, '--lib', '--check', '--cli', '--test', '--if-stale', '--quiet'], {
    stdio: 'inherit',
  });

export default function setup(project) {
  buildWorkers();
  project.onTestsRerun(buildWorkers);
}
