/** Life locks against a host of the test's own: a browser's are in test/browser. */
import { afterEach, describe, expect, test } from 'vitest';
import { bareMachine, leave } from '../../test/kernel.ts';
import { C_LIFE, LIFE_ASKED, LIFE_HELD, LIFE_NONE } from '../sync/control.layout.ts';
import { type CpuIdentity, type LifeLocks, LifeWatcher, lifeLockName, lifeLocks, takeLifeLock } from './life-lock.ts';

interface Request {
  readonly name: string;
  readonly given: () => unknown;
  readonly settle: (error?: unknown) => void;
}

/** Locks that are given when the test says so. */
class Host implements LifeLocks {
  readonly held = new Map<string, Request>();
  waiting: Request[] = [];
  fails = false;
  queries = 0;

  request(name: string, options: { signal?: unknown }, given: () => unknown): Promise<unknown> {
    if (this.fails) return Promise.reject(new Error('SecurityError'));
    return new Promise((done, failed) => {
      const settle = (error?: unknown): void => (error === undefined ? done(undefined) : failed(error));
      const request = { name, given, settle };
      (options.signal as AbortSignal | undefined)?.addEventListener('abort', () => {
        this.waiting = this.waiting.filter((other) => other !== request);
        settle(new Error('AbortError'));
      });
      this.waiting.push(request);
    });
  }

  async query(): Promise<{ held: { name: string }[] }> {
    this.queries++;
    if (this.fails) throw new Error('SecurityError');
    return { held: [...this.held.keys()].map((name) => ({ name })) };
  }

  /** Gives each free lock to who has waited longest. `deaf`: in the host's list alone, its thread does not hear of it. */
  async give(deaf = false): Promise<void> {
    for (const request of [...this.waiting]) {
      if (this.held.has(request.name)) continue;
      this.waiting = this.waiting.filter((other) => other !== request);
      this.held.set(request.name, request);
      if (deaf) continue;
      const release = request.given();
      void Promise.resolve(release).then(() => this.release(request.name, request));
    }
    await turn();
  }

  release(name: string, request = this.held.get(name)): void {
    if (request === undefined || this.held.get(name) !== request) return;
    this.held.delete(name);
    request.settle();
  }
}

async function turn(): Promise<void> {
  await new Promise((done) => setTimeout(done, 0));
}

/** Lets the watcher look at least once more. */
async function looks(): Promise<void> {
  await new Promise((done) => setTimeout(done, 250));
}

let watcher: LifeWatcher | undefined;
afterEach(() => watcher?.close());

function setUp() {
  const machine = bareMachine();
  const host = new Host();
  const dead: CpuIdentity[] = [];
  const other = machine.another();
  const life = () => machine.words[other.cpu.base + C_LIFE];
  const watch = () => (watcher = new LifeWatcher(machine.cpu, 'm', host, (who) => dead.push(who)));
  const { id: cpu, serial } = other.cpu;
  return { machine, host, dead, other, life, watch, who: { cpu, serial }, name: lifeLockName('m', serial) };
}

describe('a life lock', () => {
  test('is asked for, held, and given back; the slot says so while it is the thread’s', async () => {
    const { machine, host, other, life, name } = setUp();
    const lock = takeLifeLock(other.cpu, 'm', host);
    expect(life()).toBe(LIFE_ASKED);
    await host.give();
    expect([life(), host.held.has(name), await lock.held]).toEqual([LIFE_HELD, true, true]);
    leave(other);
    lock.giveBack();
    await turn();
    expect(host.held.size).toBe(0);
    const next = machine.another();
    expect(next.cpu.id).toBe(other.cpu.id);
    expect(life()).toBe(LIFE_NONE);
  });

  test('that comes when the thread has left is given back at once, and not noted in the next one’s slot', async () => {
    const { machine, host, other, life } = setUp();
    const lock = takeLifeLock(other.cpu, 'm', host);
    leave(other);
    lock.giveBack();
    machine.another();
    await host.give();
    expect([life(), host.held.size, await lock.held]).toEqual([LIFE_NONE, 0, false]);
  });

  test('that is refused leaves a thread without one', async () => {
    const { host, other, life } = setUp();
    host.fails = true;
    takeLifeLock(other.cpu, 'm', host).giveBack();
    expect(await takeLifeLock(other.cpu, 'm', host).held).toBe(false);
    expect(life()).toBe(LIFE_NONE);
    const broken = { request: () => fail(), query: () => fail() } as unknown as LifeLocks;
    takeLifeLock(other.cpu, 'm', broken);
    await turn();
    expect(life()).toBe(LIFE_NONE);
  });

  test('is not asked for in Node, which has a better way', () => {
    expect(lifeLocks()).toBeUndefined();
  });
});

function fail(): never {
  throw new Error('not here');
}

describe('a watcher', () => {
  test('tells of a thread whose lock was held and is released', async () => {
    const { host, dead, other, watch, who, name } = setUp();
    takeLifeLock(other.cpu, 'm', host);
    await host.give();
    const watching = watch();
    await looks();
    expect([watching.sees(who.serial), dead]).toEqual([true, []]);
    await host.give(); // still held by the thread
    expect(dead).toEqual([]);
    host.release(name);
    await host.give();
    expect([watching.sees(who.serial), dead]).toEqual([false, [who]]);
  });

  test('never calls a thread dead whose lock it has not seen held', async () => {
    const { host, dead, other, watch, who } = setUp();
    watch();
    await looks();
    expect(host.queries).toBe(0); // the thread takes no lock at all
    takeLifeLock(other.cpu, 'm', host);
    await looks();
    await host.give(true); // the host has given it; the thread does not let its event loop turn
    expect(host.queries).toBeGreaterThan(0);
    const seen = watcher as LifeWatcher;
    await looks();
    expect([seen.sees(who.serial), dead]).toEqual([true, []]);
    host.release(lifeLockName('m', who.serial));
    await host.give();
    expect(dead).toEqual([who]);
  });

  test('does not tell of a thread that has closed the machine, nor of who has its slot now', async () => {
    const { machine, host, dead, other, watch, who } = setUp();
    const lock = takeLifeLock(other.cpu, 'm', host);
    await host.give();
    watch();
    await looks();
    leave(other);
    lock.giveBack();
    const next = machine.another();
    expect(next.cpu.id).toBe(who.cpu);
    await host.give();
    await turn();
    await host.give();
    expect(dead).toEqual([]);
  });

  test('ends with close, and asks again when the host refuses', async () => {
    const { host, dead, other, watch, who, name } = setUp();
    takeLifeLock(other.cpu, 'm', host);
    await host.give();
    host.fails = true;
    const watching = watch();
    await looks();
    expect(watching.sees(who.serial)).toBe(false);
    host.fails = false;
    await looks();
    expect(watching.sees(who.serial)).toBe(true);
    watching.close();
    await turn();
    expect(host.waiting).toEqual([]);
    host.release(name);
    await looks();
    expect([host.waiting, dead]).toEqual([[], []]);
  });
});
