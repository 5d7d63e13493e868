/** What a console shows of the objects of the library. */
import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { createMachine, KiB, registerBacking } from '../../src/index.ts';
import { map, PAGE, withMachine } from '../support.ts';

registerBacking('inspected', () => ({ read: () => 0, close: () => undefined }));

describe('util.inspect shows', () => {
  test('a machine in a few lines', () => {
    const machine = createMachine({ memory: 256 * KiB, design: 'retry' });
    const text = "Machine { memory: 262144, design: 'retry', shared: true, cpu: 0, closed: false }";
    const line = { depth: 20, showHidden: true, breakLength: Number.POSITIVE_INFINITY };
    expect(inspect(machine, line)).toBe(text);
    expect(inspect(machine).split('\n').length).toBeLessThan(10);
    machine.close();
    expect(inspect(machine, line)).toBe(text.replace('closed: false', 'closed: true'));
  });

  test('a space in a line, open and closed, in run and out of it', () => {
    withMachine({}, ({ machine }) => {
      const space = machine.createSpace();
      map(space, 3);
      const text = `Space { mappings: 1, mappedBytes: ${3 * PAGE}, closed: false }`;
      expect(inspect(space)).toBe(text);
      expect(space.run(() => inspect(space))).toBe(text);
      expect(inspect({ in: { some: { object: { space } } } }, { depth: 2 })).toContain('{ object: [Object] }');
      expect(inspect({ in: { object: { space } } }, { depth: 2 })).toContain('[Space]');
      space.close();
      expect(inspect(space)).toBe('Space { closed: true }');
    });
  });

  test('a file in a line', () => {
    withMachine({}, ({ machine }) => {
      const file = machine.createFile('inspected', {}, 12_345);
      expect(inspect(file)).toBe(`MappedFile { id: ${file.id}, size: 12345, closed: false }`);
      file.close();
      expect(inspect([file])).toBe(`[ MappedFile { id: ${file.id}, size: 12345, closed: true } ]`);
    });
  });
});
