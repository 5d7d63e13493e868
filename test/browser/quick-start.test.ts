/** The examples in headless Chromium: with isolation headers they work, without them the error says what is missing. */
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BROWSER, HANG_LIMIT_MS, launch, serve } from './host.ts';

describe.skipIf(BROWSER === undefined)('the examples in headless Chromium', () => {
  let browser: Browser;

  beforeAll(async () => {
    browser = await launch();
  });
  afterAll(async () => {
    await browser?.close();
  });

  async function open(isolated: boolean, path = ''): Promise<{ outcome: string | null; text: string | null }> {
    const { server, url } = await serve('examples/browser', isolated);
    const page = await browser.newPage();
    try {
      await page.goto(url + path);
      await page.waitForSelector('[data-done]', { timeout: HANG_LIMIT_MS });
      const out = page.locator('#out');
      return { outcome: await out.getAttribute('data-done'), text: await out.textContent() };
    } finally {
      await page.close();
      server.close();
    }
  }

  test('with isolation headers two workers read a Blob larger than memory, and the page itself never blocks', async () => {
    const { outcome, text } = await open(true);
    expect(text).toBe('65536 newlines in 4194304 bytes; on this thread: WouldBlock, and after populate 120');
    expect(outcome).toBe('ok');
  });

  test('a worker that is terminated in the midst of its work leaves its place and its pages to the others', async () => {
    const { outcome, text } = await open(true, 'terminate.html');
    expect(text).toBe('terminated, reaped, and another worker counted on from there');
    expect(outcome).toBe('ok');
  });

  test('without them the error says which headers are missing', async () => {
    const { outcome, text } = await open(false);
    expect(outcome).toBe('error');
    expect(text).toContain('ENOTSUP');
    expect(text).toContain('Cross-Origin-Opener-Policy');
  });
});
