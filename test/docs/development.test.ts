/** The development build, as `node --conditions=development` gets it from the installed package. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const ROOT = resolve(import.meta.dirname, '../..');
const HANG_LIMIT_MS = 900_000;
const DEVELOPMENT = '--conditions=development';
let project = '';

beforeAll(() => {
  project = mkdtempSync(join(tmpdir(), 'vmspace-development-'));
  mkdirSync(join(project, 'node_modules'));
  symlinkSync(ROOT, join(project, 'node_modules/vmspace'), 'dir');
  writeFileSync(join(project, 'stall.mjs'), STALL);
});
afterAll(() => rmSync(project, { recursive: true, force: true }));

/** One thread stays in `run` without an access; the other one takes a right away, which waits for it in vain. */
const STALL = `
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import * as vm from 'vmspace/node';

if (isMainThread) {
  const machine = vm.createMachine({ memory: 2 ** 20, stallTimeout: 1000 });
  const space = machine.createSpace();
  const at = space.mmap({ length: 4096, prot: vm.PROT_READ | vm.PROT_WRITE, flags: vm.MAP_PRIVATE | vm.MAP_ANONYMOUS });
  const flag = new Int32Array(new SharedArrayBuffer(8));
  const options = process.argv[2] === 'mixed' ? { execArgv: JSON.parse(process.argv[3]) } : {};
  const worker = new Worker(new URL(import.meta.url), { workerData: { handle: space.handle, at, flag }, ...options });
  machine.watch(worker);
  Atomics.wait(flag, 0, 0);
  let text = 'no error';
  try {
    space.mprotect(at, 4096, vm.PROT_READ);
  } catch (error) {
    text = error.message;
  }
  Atomics.store(flag, 1, 1);
  worker.once('exit', () => {
    console.log(text);
    console.log(JSON.stringify({ census: machine.census().frames, lockdep: machine.lockdep() }));
    space.close();
    machine.close();
  });
} else {
  const { handle, at, flag } = workerData;
  const space = vm.attachSpace(handle);
  space.run(function holdsUp(memory) {
    memory.store32(at, 1);
    Atomics.store(flag, 0, 1);
    Atomics.notify(flag, 0);
    while (Atomics.load(flag, 1) === 0);
  });
  for (let i = 0; i < 100; i++) space.munmap(space.mmap({ length: 4096, prot: vm.PROT_READ, flags: vm.MAP_PRIVATE | vm.MAP_ANONYMOUS }), 4096);
  space.close();
}
`;

function stall(...args: readonly string[]): string {
  const { stdout, stderr, status } = spawnSync(process.execPath, [...args], {
    cwd: project,
    encoding: 'utf8',
    timeout: HANG_LIMIT_MS,
  });
  expect(stderr).toBe('');
  expect(status).toBe(0);
  return stdout;
}

describe('a stall report', () => {
  test('has the stack of who holds the grace period up, in the development build', () => {
    const text = stall(DEVELOPMENT, 'stall.mjs');
    expect(text).toMatch(/ETIMEDOUT: .*has not left its section, entered at\n +at .*stall\.mjs:\d+:\d+/);
    expect(text).not.toMatch(/entered at\n.*Space\.run/);
  });

  test('has none in the default build', () => {
    const text = stall('stall.mjs');
    expect(text).toMatch(/ETIMEDOUT: .*has not left its section/);
    expect(text).not.toMatch(/entered at/);
  });

  test.each([
    ['the default build beside the development build', [DEVELOPMENT], [], false],
    ['the development build beside the default build', [], [DEVELOPMENT], true],
  ] as const)('threads of one machine may mix: %s', (_, main, worker, hasStack) => {
    const text = stall(...main, 'stall.mjs', 'mixed', JSON.stringify(worker));
    expect(text).toMatch(/ETIMEDOUT: .*has not left its section/);
    expect(/entered at/.test(text)).toBe(hasStack);
  });
});

test('the checked build and the others refuse each other’s machines', () => {
  writeFileSync(
    join(project, 'refused.mjs'),
    `import * as vm from 'vmspace';
    import * as checked from ${JSON.stringify(join(ROOT, 'dist/checked/index.js'))};
    for (const [maker, user] of [[vm, checked], [checked, vm], [vm, vm], [checked, checked]]) {
      const machine = maker.createMachine({ memory: 2 ** 20 });
      try {
        user.attachMachine(machine.handle);
        console.log('attached');
      } catch (error) {
        console.log(error.code);
      }
    }`,
  );
  expect(stall('refused.mjs').trim().split('\n')).toEqual(['EPROTO', 'EPROTO', 'attached', 'attached']);
  expect(stall(DEVELOPMENT, 'refused.mjs').trim().split('\n')).toEqual(['EPROTO', 'EPROTO', 'attached', 'attached']);
});
