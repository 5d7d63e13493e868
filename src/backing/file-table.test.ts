import { describe, expect, test } from 'vitest';
import { bareMachine } from '../../test/kernel.ts';
import { MAX_CPUS } from '../base/limits.ts';
import type { Kernel } from '../space/kernel.ts';
import { descriptorText } from './descriptor.ts';
import { F_REFS } from './mapping.layout.ts';

function openedByAll() {
  const { kernel, words, another } = bareMachine();
  const backing = { read: () => 0, close: () => undefined };
  const file = kernel.files.create(descriptorText('table', {}), 4096, backing);
  const serial = kernel.files.serial(file);
  const kernels: Kernel[] = [kernel, ...Array.from({ length: MAX_CPUS - 1 }, another)];
  for (const { files } of kernels) files.open(file, serial);
  const openers = () => kernels.filter(({ cpu }) => kernel.files.isOpen(file, cpu.id, serial)).map(({ cpu }) => cpu.id);
  return { kernel, words, file, serial, kernels, openers };
}

describe('a file that every cpu has open', () => {
  test('counts each of them once, however often it opens', () => {
    const { words, file, serial, kernels, openers } = openedByAll();
    expect(words[file + F_REFS]).toBe(MAX_CPUS);
    for (const { files } of kernels) files.open(file, serial);
    expect(words[file + F_REFS]).toBe(MAX_CPUS);
    expect(openers()).toEqual(kernels.map(({ cpu }) => cpu.id));
  });

  test('is closed by each for itself, and goes with the last one, whichever it is', () => {
    for (const last of [0, 31, 32, MAX_CPUS - 1]) {
      const { kernel, words, file, serial, kernels, openers } = openedByAll();
      for (const { files, cpu } of kernels) if (cpu.id !== last) files.close(file, cpu.id);
      expect(openers()).toEqual([last]);
      expect(words[file + F_REFS]).toBe(1);
      kernels[last]?.files.close(file, last, serial);
      expect(kernel.slabs.mapping.census().live).toBe(0);
    }
  });

  test('is counted anew from the bits when a thread has died over its record', () => {
    const { kernel, words, file, openers } = openedByAll();
    kernel.files.close(file, MAX_CPUS - 1);
    words[file + F_REFS] = 0;
    kernel.files.recount(file, 3);
    expect(words[file + F_REFS]).toBe(openers().length + 3);
    expect(openers()).toHaveLength(MAX_CPUS - 1);
  });

  test('leaves no bit to the next file in its record', () => {
    const { kernel, file, kernels } = openedByAll();
    for (const { files, cpu } of kernels.toReversed()) files.close(file, cpu.id); // the first one frees the record, and gets it
    const next = kernel.files.create(descriptorText('table', {}), 4096, { read: () => 0, close: () => undefined });
    expect(next).toBe(file);
    const serial = kernel.files.serial(next);
    expect(kernels.filter(({ cpu }) => kernel.files.isOpen(next, cpu.id, serial))).toEqual([kernel]);
  });
});
