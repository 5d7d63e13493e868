/** The quick start in headless Chromium: with isolation headers it works, without them the error says what is missing. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, resolve } from 'node:path';
import { type Browser, chromium } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { HANG_MS } from '../hang.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const CANDIDATES = [
  process.env.VMSPACE_CHROMIUM,
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
];
const BROWSER = CANDIDATES.find((path) => path !== undefined && existsSync(path));
const TYPES: Record<string, string> = { '.html': 'text/html', '.js': 'text/javascript' };
const ARGUMENTS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

if (BROWSER === undefined) process.stderr.write('skipped: no Chromium found (set VMSPACE_CHROMIUM to its path)\n');

/** Serves the example with `vmspace/browser` resolved to dist, as a bundler would. */
function serve(isolated: boolean): Promise<{ server: Server; url: string }> {
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? '/', 'http://localhost').pathname;
    const file = path.startsWith('/dist/')
      ? join(ROOT, path)
      : join(ROOT, 'examples/browser', path === '/' ? 'index.html' : path);
    if (!existsSync(file)) {
      response.writeHead(404).end();
      return;
    }
    if (isolated) {
      response.setHeader('Cross-Origin-Opener-Policy', 'same-origin');
      response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp');
    }
    response.setHeader('Content-Type', TYPES[extname(file)] ?? 'application/octet-stream');
    response.end(readFileSync(file, 'utf8').replaceAll("'vmspace/browser'", "'/dist/browser.js'"));
  });
  return new Promise((done) => {
    server.listen(0, '127.0.0.1', () => {
      done({ server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` });
    });
  });
}

describe.skipIf(BROWSER === undefined)('the quick start in headless Chromium', () => {
  let browser: Browser;

  beforeAll(async () => {
    execFileSync(process.execPath, ['scripts/build.mjs', '--lib', '--if-stale', '--quiet'], { cwd: ROOT });
    browser = await chromium.launch({
      executablePath: BROWSER as string,
      headless: true,
      args: ARGUMENTS,
      timeout: HANG_MS,
    });
  });
  afterAll(async () => {
    await browser?.close();
  });

  async function open(isolated: boolean): Promise<{ outcome: string | null; text: string | null }> {
    const { server, url } = await serve(isolated);
    const page = await browser.newPage();
    try {
      await page.goto(url, { timeout: HANG_MS });
      await page.waitForSelector('[data-done]', { timeout: HANG_MS });
      const out = page.locator('#out');
      return { outcome: await out.getAttribute('data-done'), text: await out.textContent() };
    } finally {
      await page.close();
      server.close();
    }
  }

  test('with isolation headers two workers read a Blob larger than memory, and the page itself never blocks', async () => {
    const { outcome, text } = await open(true);
    expect(text).toBe('65536 newlines in 4194304 bytes; on this thread: WouldBlock');
    expect(outcome).toBe('ok');
  });

  test('without them the error says which headers are missing', async () => {
    const { outcome, text } = await open(false);
    expect(outcome).toBe('error');
    expect(text).toContain('ENOTSUP');
    expect(text).toContain('Cross-Origin-Opener-Policy');
  });
});
