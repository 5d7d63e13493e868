/** A thread's own descriptor, when the process's descriptors change hands while it looks for one. */
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { nodeFileBacking, openRegular } from './node-file.ts';

/** What happens just before the next descriptor is opened. */
const before: { opening: (() => void) | undefined } = vi.hoisted(() => ({ opening: undefined }));
vi.mock(import('node:fs'), async (original) => {
  const real = await original();
  const openSync: typeof real.openSync = (path, ...rest) => {
    const { opening } = before;
    if (opening !== undefined && String(path).startsWith('/proc/self/fd/')) {
      before.opening = undefined;
      opening();
    }
    return real.openSync(path, ...rest);
  };
  return { ...real, openSync, default: { ...real, openSync } };
});

const folder = fs.mkdtempSync(join(tmpdir(), 'vmspace-node-file-'));
afterAll(() => fs.rmSync(folder, { recursive: true }));
const [mine, other] = ['mine', 'other'].map((name) => join(folder, name)) as [string, string];
beforeEach(() => {
  fs.writeFileSync(mine, 'mine');
  fs.writeFileSync(other, 'other');
});

function readAll(backing: ReturnType<typeof nodeFileBacking>): string {
  const bytes = new Uint8Array(4);
  expect(backing.read(0, [bytes])).toBe(4);
  return Buffer.from(bytes).toString();
}

describe.runIf(process.platform === 'linux')('a descriptor of another thread', () => {
  test('is opened anew, also when the file has no name any more', () => {
    const { fd, identity } = openRegular(mine);
    fs.unlinkSync(mine);
    const backing = nodeFileBacking({ ...identity, path: mine, descriptor: fd });
    expect(readAll(backing)).toBe('mine');
    backing.close();
    fs.closeSync(fd);
  });

  test('that becomes another file’s between the look at it and the opening is not taken', () => {
    const { fd, identity } = openRegular(mine);
    before.opening = () => {
      fs.closeSync(fd);
      expect(fs.openSync(other, 'r')).toBe(fd); // the lowest free number
    };
    const backing = nodeFileBacking({ ...identity, path: mine, descriptor: fd });
    expect(before.opening).toBeUndefined();
    expect(readAll(backing)).toBe('mine');
    backing.close();
    fs.closeSync(fd);
  });
});
