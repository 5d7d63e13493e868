// Unit and stress tests. Sources are imported as TypeScript with the 'dev' condition, so the runtime checks are on.
import { defineConfig } from 'vitest/config';

// 'dev' selects #lockdep and #dev; the others are vite's defaults, which a list given here replaces.
const conditions = ['dev', 'module', 'node', 'development|production'];

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: ['src/**/*.test.ts', 'check/**/*.test.ts', 'test/**/*.test.ts'],
    globalSetup: ['scripts/vitest-setup.mjs'],
    // Tests start real worker_threads and block in Atomics.wait: each file gets a process of its own.
    pool: 'forks',
    maxWorkers: 2,
    // For what hangs, not for what is slow: waits within a test give up before, and say what they waited for.
    testTimeout: 1_200_000,
    hookTimeout: 1_200_000,
  },
});
