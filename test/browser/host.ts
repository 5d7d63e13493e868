/** A headless Chromium, and a server with the isolation headers that serves pages with `vmspace/browser` resolved to dist. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, resolve } from 'node:path';
import { type Browser, chromium } from 'playwright-core';

const ROOT = resolve(import.meta.dirname, '../..');
const CANDIDATES = [
  process.env.VMSPACE_CHROMIUM,
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
];
export const BROWSER: string | undefined = CANDIDATES.find((path) => path !== undefined && existsSync(path));
export const HANG_LIMIT_MS = 300_000;
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

export async function launch(): Promise<Browser> {
  execFileSync(process.execPath, ['scripts/build.mjs', '--lib', '--if-stale', '--quiet'], { cwd: ROOT });
  return chromium.launch({ executablePath: BROWSER as string, headless: true, args: ARGUMENTS });
}

/** Serves `folder` of the repository, and dist. */
export function serve(folder: string, isolated: boolean): Promise<{ server: Server; url: string }> {
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? '/', 'http://localhost').pathname;
    const file = path.startsWith('/dist/') ? join(ROOT, path) : join(ROOT, folder, path === '/' ? 'index.html' : path);
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
