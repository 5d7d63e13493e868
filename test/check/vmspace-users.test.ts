/** Models of users over the library itself, as they write them with the installed package: the example of check/README.md. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { checker } from './support.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const readme = readFileSync(join(root, 'check/README.md'), 'utf8');

describe('a futex lock over mapped memory', async () => {
  const { check, replay, renderFailure } = await checker();
  const folder = mkdtempSync(join(tmpdir(), 'vmspace-users-'));
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(root, join(folder, 'node_modules/vmspace'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const example = /```js\n(\/\/ mutex\.model\.mjs\n[\s\S]*?)```/.exec(readme)?.[1] ?? '';
  let modules = 0;
  /** The example with pieces of it replaced. */
  const variant = (transform: boolean, ...edits: readonly (readonly [string, string])[]) => {
    let text = example;
    for (const [find, replace] of edits) {
      expect(text.split(find)).toHaveLength(2);
      text = text.replace(find, replace);
    }
    const file = join(folder, `mutex${modules++}.model.mjs`);
    writeFileSync(file, text);
    return { url: pathToFileURL(file).href, name: 'mutex', transform };
  };

  it.each([false, true])('is exhausted when it is right (rewritten while loading: %s)', async (transform) => {
    const result = await check(variant(transform), { jobs: 1, ...(transform ? { preemptions: 1 } : {}) });
    expect(result.failure?.text).toBe(undefined);
    expect(result.verdict).toBe('exhausted');
    expect(result.executions).toBeGreaterThan(transform ? 100 : 1000);
  });

  it.each([
    [
      'that does not look again after its wait',
      ['while (space.exchange32', 'if (space.exchange32'],
      /a wake-up was lost/,
    ],
    [
      'whose owner notifies before it lets go',
      [
        'if (space.exchange32(at, FREE) === WAITED_FOR) space.notify(at, 1);',
        'if (space.atomicLoad32(at) === WAITED_FOR) space.notify(at, 1); space.atomicStore32(at, FREE);',
      ],
      /a wake-up was lost/,
    ],
    ['that loses its notify', ['space.notify(at, 1)', 'space.notify(at + 8, 1)'], /a wake-up was lost/],
    ['that is let go of before the work is done', ['      unlock(space, at);\n', ''], /a wake-up was lost/],
    ['that is none', ['space.cas32(at, FREE, TAKEN) === FREE', 'true'], /counted [12], not 3/],
  ] as const)('is caught when it is one %s', async (_, edit, says) => {
    const source = variant(false, edit);
    const result = await check(source, { jobs: 1 });
    expect(result.failure?.text).toMatch(says);
    const text = renderFailure(result, await replay(source, result.failure?.script ?? []));
    expect(text).toMatch(/cas cpu|cpu \d+ \.slot/); // words have names
    expect(text).not.toMatch(/buffer \d+ \+\d+/);
  });

  it('wakes nobody by chance: what the example promises is what is printed', async () => {
    const source = variant(false, ['while (space.exchange32', 'if (space.exchange32']);
    const result = await check(source, { jobs: 1 });
    const shown = /with `if` in place of `while` it ends in\n\n```\n([\s\S]*?)```/i.exec(readme)?.[1] ?? 'nothing';
    expect(renderFailure(result, await replay(source, result.failure?.script ?? []))).toContain(shown.trim());
  });
});
