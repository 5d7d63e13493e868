/** Who may be reaped: nobody that lives, everybody whose end the host has told or the caller has confirmed. */
import { resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import { type CpuIdentity, createMachine, type Machine, MiB, type Space } from '../../src/node.ts';
import { until } from '../hang.ts';
import { expectError, expectNothingLeft, PAGE } from '../support.ts';

const WORKER = resolve(import.meta.dirname, '../../dist-test/test/threads/reaped.worker.js');

interface Attached {
  readonly worker: Worker;
  readonly at: number;
  readonly cpu: number;
  readonly identity: CpuIdentity;
  /** How far it has come. */
  steps(): number;
}

async function start(space: Space, life: string, machine?: Machine): Promise<Attached> {
  const shared = new SharedArrayBuffer(8);
  const worker = new Worker(WORKER, { workerData: { space: space.handle, life, shared } });
  machine?.watch(worker);
  const said = await new Promise<Attached>((done, failed) => {
    worker.once('message', done);
    worker.once('error', failed);
  });
  const words = new Int32Array(shared);
  return { ...said, worker, steps: () => Atomics.load(words, 0) };
}

async function withSpace(run: (machine: Machine, space: Space) => Promise<void>): Promise<void> {
  const machine = createMachine({ memory: MiB, stallTimeout: 60_000 });
  const space = machine.createSpace();
  try {
    await run(machine, space);
    expect(machine.cpus()).toHaveLength(1);
    space.close();
    expectNothingLeft(machine);
  } finally {
    machine.close();
  }
}

describe('a thread that lives', () => {
  test.each(['accesses', 'run'])('is not reaped in the midst of %s, whatever the caller says', async (life) => {
    await withSpace(async (machine, space) => {
      const { worker, cpu, identity, at, steps } = await start(space, life);
      for (const who of [cpu, identity]) {
        const error = expectError('EPERM', () => machine.reap(who));
        expect(error.message).toContain('machine.watch(worker)');
        expect(error.message).toContain('confirmed: true');
        expectError('EPERM', () => machine.reap(who, { confirmed: false }));
        expectError('EBUSY', () => machine.reap(who, { confirmed: true }));
      }
      const seen = steps();
      await until('another step', () => steps() > seen);
      expect(space.load32(at)).toBe(77);
      await worker.terminate();
      expect(machine.reap(identity, { confirmed: true })).toBe(true);
      expect(space.load32(at)).toBe(77);
    });
  });

  test.each(['asleep', 'idle', 'run'])('is not reaped while a watched one is %s', async (life) => {
    await withSpace(async (machine, space) => {
      const { worker, cpu, identity } = await start(space, life, machine);
      for (const options of [{}, { confirmed: true }]) {
        const error = expectError('EBUSY', () => machine.reap(identity, options));
        expect(error.message).toContain('has not exited');
        expectError('EBUSY', () => machine.reap(cpu, options));
      }
      expect(machine.cpus()).toHaveLength(2);
      await worker.terminate();
    });
  });

  test('is not reaped by another’s name', async () => {
    await withSpace(async (machine, space) => {
      const first = await start(space, 'close');
      await new Promise((done) => first.worker.once('exit', done));
      const second = await start(space, 'idle');
      expect(second.cpu).toBe(first.cpu);
      expect(second.identity.serial).not.toBe(first.identity.serial);
      expect(machine.reap(first.identity)).toBe(false);
      expect(machine.reap(first.identity, { confirmed: true })).toBe(false);
      expectError('EPERM', () => machine.reap(first.cpu));
      expect(machine.reap({ cpu: machine.cpu, serial: second.identity.serial }, { confirmed: true })).toBe(false);
      expectError('EINVAL', () => machine.reap(machine.identity, { confirmed: true }));
      expect(machine.cpus()).toHaveLength(2);
      await second.worker.terminate();
      expect(machine.reap(JSON.parse(JSON.stringify(second.identity)), { confirmed: true })).toBe(true);
      expect(machine.reap(second.identity, { confirmed: true })).toBe(false);
    });
  });
});

describe('a watched worker', () => {
  test.each(['asleep', 'idle', 'run', 'accesses'])('is reaped when await terminate() goes on: %s', async (life) => {
    await withSpace(async (machine, space) => {
      const { worker, identity, at } = await start(space, life, machine);
      await worker.terminate();
      expect(machine.cpus()).toHaveLength(1);
      expect(machine.reap(identity)).toBe(false);
      expect(space.load32(at)).toBe(77);
      space.munmap(at, PAGE);
    });
  });

  test('may be watched twice, after its end, by two machines, and after terminate() was called', async () => {
    await withSpace(async (machine, space) => {
      await withSpace(async (other) => {
        const watched = await start(space, 'idle', machine);
        machine.watch(watched.worker);
        other.watch(watched.worker);
        await watched.worker.terminate();
        machine.watch(watched.worker);
        expect(machine.cpus()).toHaveLength(1);
        const late = await start(space, 'run');
        const end = late.worker.terminate();
        machine.watch(late.worker);
        await end;
        expect(machine.counters()['reaped.cpus']).toBe(2);
        const never = await start(space, 'idle');
        await never.worker.terminate();
        const error = expectError('EINVAL', () => machine.watch(never.worker));
        expect(error.message).toContain('has ended');
        expectError('EPERM', () => machine.reap(never.identity));
        expect(machine.reap(never.identity, { confirmed: true })).toBe(true);
      });
    });
  });

  test('gives its place back, a hundred times', async () => {
    await withSpace(async (machine, space) => {
      for (let i = 0; i < 100; i++) {
        const { worker, at } = await start(space, i % 2 === 0 ? 'run' : 'asleep', machine);
        await worker.terminate();
        space.munmap(at, PAGE);
      }
      expect(machine.counters()['reaped.cpus']).toBe(100);
    });
  });
});

test('reap says what is no thread', () => {
  const machine = createMachine({ memory: MiB });
  const bad: unknown[] = [
    -1,
    64,
    1.5,
    NaN,
    '0',
    null,
    undefined,
    {},
    { cpu: 1 },
    { cpu: 64, serial: 1 },
    { cpu: 1, serial: '2' },
  ];
  for (const who of bad) expectError('EINVAL', () => machine.reap(who as number));
  for (const options of [null, 1, { confirmed: 1 }, { confirmed: 'yes' }]) {
    expectError('EINVAL', () => machine.reap(3, options as object));
  }
  expect(machine.reap(3)).toBe(false);
  expect(machine.reap({ cpu: 3, serial: 9 }, { confirmed: true })).toBe(false);
  machine.close();
  expectError('EBADF', () => machine.reap(3));
});
