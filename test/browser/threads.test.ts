/** On a page's main thread: files that are read asynchronously, and workers that are terminated while they are busy. */
import type { Server } from 'node:http';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type * as Library from '../../src/browser.ts';
import { BROWSER, launch, serve } from './host.ts';

interface Started {
  readonly worker: { terminate(): void; onmessage: ((event: { data: unknown }) => void) | null };
  readonly at: number;
  readonly identity: Library.CpuIdentity;
  /** What it says last, if it is told to scan: pages that were wrong, or an error. */
  readonly end: Promise<{ wrong: number | string }>;
  steps(): number;
}

/** What pages/lab.js gives. */
interface Lab {
  readonly vm: typeof Library;
  sleep(milliseconds: number): Promise<void>;
  until(reached: () => boolean): Promise<void>;
  start(space: Library.Space, life: string, more?: object): Promise<Started>;
  /** Each page of it begins with its number, from 1 on. */
  numbered(pages: number): Blob;
}
declare const lab: Lab;

describe.skipIf(BROWSER === undefined)('in headless Chromium', () => {
  let browser: Browser;
  let opened: { page: Page; server: Server } | undefined;

  beforeAll(async () => {
    browser = await launch();
  });
  afterAll(async () => {
    await browser?.close();
  });
  afterEach(async () => {
    await opened?.page.close();
    opened?.server.close();
  });

  async function open(isolated: boolean): Promise<Page> {
    const { server, url } = await serve('test/browser/pages', isolated);
    const page = await browser.newPage();
    opened = { page, server };
    await page.goto(url);
    await page.waitForFunction(() => 'lab' in globalThis);
    return page;
  }

  test.each([true, false])('populate reads a Blob many times larger than memory, shared: %s', async (shared) => {
    const page = await open(shared);
    const result = await page.evaluate(async (shared) => {
      const { vm, numbered } = lab;
      const pages = 1536; // 6 MiB
      const machine = vm.createMachine({ memory: vm.MiB, shared });
      const file = await vm.openBlob(machine, numbered(pages));
      const space = machine.createSpace();
      const at = space.mmap({ length: file.size, prot: vm.PROT_READ, flags: vm.MAP_PRIVATE, file });
      let wrong = 0;
      let blocked = '';
      try {
        space.load32(at);
      } catch (error) {
        blocked = (error as Error).name;
      }
      for (let first = 0; first < pages; first += 16) {
        if ((await space.populate(at + first * 4096, 16 * 4096)) !== 16 * 4096) wrong++;
        for (let i = first; i < first + 16; i++) if (space.load32(at + i * 4096) !== i + 1) wrong++;
      }
      const whole = await space.populate(at, file.size);
      const last = space.load32(at + (pages - 1) * 4096);
      const beyond = await space.populate(at + file.size, 1).catch((error) => error.code);
      machine.close();
      return { wrong, blocked, whole, last, beyond };
    }, shared);
    expect(result).toEqual({ wrong: 0, blocked: 'WouldBlock', whole: 1536 * 4096, last: 1536, beyond: 'EFAULT' });
  });

  test('populate works beside workers that read the same Blob in little memory', async () => {
    const page = await open(true);
    const result = await page.evaluate(async () => {
      const { vm, start, numbered } = lab;
      const pages = 1024;
      const machine = vm.createMachine({ memory: vm.MiB });
      const blob = numbered(pages);
      const file = await vm.openBlob(machine, blob);
      const space = machine.createSpace();
      const at = space.mmap({ length: file.size, prot: vm.PROT_READ, flags: vm.MAP_PRIVATE, file });
      const workers = [
        await start(space, 'scan', { file: file.handle, blob }),
        await start(space, 'scan', { file: file.handle, blob }),
      ];
      const ends = workers.map(({ end }) => end);
      let settled = 0;
      for (let first = 0; first < pages; first += 64) settled += await space.populate(at + first * 4096, 64 * 4096);
      const wrong = (await Promise.all(ends)).map((end) => end.wrong);
      await space.populate(at, 4096);
      const first = space.load32(at);
      machine.close();
      return { settled, wrong, first };
    });
    expect(result).toEqual({ settled: 1024 * 4096, wrong: [0, 0], first: 1 });
  });

  test('a Blob that cannot be read is a BusError with its cause; a machine that is closed meanwhile is EBADF', async () => {
    const page = await open(true);
    const result = await page.evaluate(async () => {
      const { vm, numbered } = lab;
      const machine = vm.createMachine({ memory: vm.MiB });
      const blob = numbered(8);
      const file = await vm.openBlob(machine, blob);
      const space = machine.createSpace();
      const at = space.mmap({ length: file.size, prot: vm.PROT_READ, flags: vm.MAP_PRIVATE, file });
      const slice = blob.slice.bind(blob);
      blob.slice = () => {
        throw new DOMException('the file has changed', 'NotReadableError');
      };
      const failed = await space.populate(at, 4096).catch((error) => [error.name, error.cause.name]);
      blob.slice = slice;
      const closed = space.populate(at, 4096).catch((error) => error.code);
      machine.close();
      return { failed, closed: await closed };
    });
    expect(result).toEqual({ failed: ['BusError', 'NotReadableError'], closed: 'EBADF' });
  });

  test.each(['run', 'accesses', 'section'])(
    'a worker busy in %s is not reaped while it lives, and is when it has been terminated and runs no more',
    async (life) => {
      const page = await open(true);
      const result = await page.evaluate(async (life) => {
        const { vm, start, until, sleep } = lab;
        const machine = vm.createMachine({ memory: vm.MiB });
        const space = machine.createSpace();
        space.store32(space.mmap({ length: 4096, prot: 3, flags: 0x22 }), 1);
        const { worker, at, identity, steps } = await start(space, life);
        await until(() => steps() > 0);
        await sleep(1000);
        const alive = machine.cpus().length;
        const code = (options: object) => {
          try {
            return machine.reap(identity, options);
          } catch (error) {
            return (error as { code: string }).code;
          }
        };
        const refused = [code({}), code({ confirmed: true })];
        const before = machine.census().frames.live;
        worker.terminate();
        let stepsWhenReaped = -1;
        await until(() => {
          if (machine.cpus().length > 1) return false;
          stepsWhenReaped = steps();
          return true;
        });
        await sleep(300);
        const moved = steps() - stepsWhenReaped;
        const kept = [space.load32(at), life === 'section' || space.load32(at + 4) > 0];
        const again = code({ confirmed: true });
        space.munmap(at, 4096);
        machine.drain();
        const given = before - machine.census().frames.live;
        const reaped = machine.counters()['reaped.cpus'];
        machine.close();
        return { alive, refused, moved, kept, again, given, reaped };
      }, life);
      expect(result).toEqual({
        alive: 2,
        refused: ['EBUSY', 'EBUSY'],
        moved: 0,
        kept: [77, true],
        again: false,
        given: 1,
        reaped: 1,
      });
    },
  );

  test('a worker that never let its event loop turn is left to the caller, who says when it runs no more', async () => {
    const page = await open(true);
    const result = await page.evaluate(async () => {
      const { vm, start, until, sleep } = lab;
      const machine = vm.createMachine({ memory: vm.MiB });
      const space = machine.createSpace();
      const { worker, identity, steps } = await start(space, 'at once');
      await until(() => steps() > 0);
      worker.terminate();
      let code = '';
      try {
        machine.reap(identity);
      } catch (error) {
        code = (error as { code: string }).code;
      }
      for (let last = -1; last !== steps(); await sleep(500)) last = steps();
      const there = machine.cpus().length; // 1 if the browser gave the lock all the same, and the list of locks said so
      const reaped = machine.reap(identity, { confirmed: true });
      const left = machine.cpus().length;
      machine.close();
      return { code, consistent: reaped === (there === 2), left };
    });
    expect(result).toEqual({ code: 'EPERM', consistent: true, left: 1 });
  });

  test('a hundred workers one after another, each terminated, find a place', async () => {
    const page = await open(true);
    const result = await page.evaluate(async () => {
      const { vm, start, until } = lab;
      const machine = vm.createMachine({ memory: vm.MiB });
      const space = machine.createSpace();
      let wrong = 0;
      for (let i = 0; i < 100; i++) {
        const { worker, at } = await start(space, i % 20 === 9 ? 'asleep' : 'idle');
        worker.terminate();
        await until(() => machine.cpus().length === 1);
        if (space.load32(at) !== 77) wrong++;
        space.munmap(at, 4096);
      }
      const reaped = machine.counters()['reaped.cpus'];
      space.close();
      machine.drain();
      const { live } = machine.census().frames;
      machine.close();
      return { wrong, reaped, live };
    });
    expect(result).toEqual({ wrong: 0, reaped: 100, live: 0 });
  }, 240_000);
});
