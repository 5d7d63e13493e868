/** Every public call is one that hostile programs know: a new one must be added to `calls.ts`. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { Accessor } from '../../src/access/accessor.ts';
import * as browser from '../../src/browser.ts';
import * as index from '../../src/index.ts';
import { Machine } from '../../src/machine/machine.ts';
import { MappedFile } from '../../src/machine/mapped-file.ts';
import { Space } from '../../src/machine/space.ts';
import * as node from '../../src/node.ts';
import { CALLS, nameOfCall } from './calls.ts';

/** Their constructors make errors and nothing else. */
const ERRORS = ['BusError', 'Oops', 'SegmentationFault', 'VmError', 'WouldBlock'];

/** What the prototype has, but for what its source calls private or internal. */
function publicNames(prototype: object, file: string): string[] {
  const source = readFileSync(new URL(`../../src/${file}`, import.meta.url), 'utf8');
  return Object.getOwnPropertyNames(prototype).filter((name) => {
    if (name === 'constructor') return false;
    const comment = '(/\\*\\*(?:(?!\\*/)[\\s\\S])*\\*/)?';
    const declared = new RegExp(`${comment}\\n  (?:private |get |async )*${name}[(<]`).exec(source);
    if (declared === null) throw new Error(`${name} is not found in ${file}`);
    return !declared[0].includes('  private ') && !declared[0].includes('@internal');
  });
}

function known(on: string): string[] {
  return CALLS.filter((call) => call.on === on).map(({ method }) => method);
}

describe('hostile programs know', () => {
  test.each([
    ['space', Space.prototype, 'machine/space.ts'],
    ['machine', Machine.prototype, 'machine/machine.ts'],
    ['file', MappedFile.prototype, 'machine/mapped-file.ts'],
    ['accessor', Accessor.prototype, 'access/accessor.ts'],
  ])('every public method of the %s', (on, prototype, file) => {
    expect(known(on).sort()).toEqual(publicNames(prototype, file).sort());
  });

  test('every function of the entries', () => {
    const exported = { ...index, ...node, ...browser } as Record<string, unknown>;
    const functions = Object.keys(exported).filter((name) => typeof exported[name] === 'function');
    expect(known('free').sort()).toEqual(functions.filter((name) => !ERRORS.includes(name)).sort());
  });

  test('each call once', () => {
    const names = CALLS.map(nameOfCall);
    expect(names).toEqual([...new Set(names)]);
  });
});
