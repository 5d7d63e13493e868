import { describe, expect, test } from 'vitest';
import { bareMachine } from '../../test/kernel.ts';
import { Slab } from '../memory/slab.ts';
import { TEXT_WORDS, TextStore } from './text.ts';

describe('the text store', () => {
  test.each([0, 1, 59, 60, 61, 120, 121, 5000])('keeps %i characters of any kind', (length) => {
    const { kernel } = bareMachine();
    const text = 'aü€\u{1f600}\0"\\\uffff'.repeat(1000).slice(0, length);
    const at = kernel.texts.put(text);
    kernel.texts.publish(at);
    expect(kernel.texts.get(at)).toBe(text);
    expect(kernel.slabs.text.census().live).toBe(Math.max(1, Math.ceil(length / 60)));
    kernel.texts.free(at);
    expect(kernel.slabs.text.census()).toMatchObject({ live: 0, owned: 0 });
  });

  test('keeps lone surrogates, which JSON escapes', () => {
    const { kernel } = bareMachine();
    const at = kernel.texts.put('\ud800x\udc00');
    expect(kernel.texts.get(at)).toBe('\ud800x\udc00');
    kernel.texts.free(at);
  });

  test('gives everything back when the last part finds no room', () => {
    const { kernel, cpu } = bareMachine();
    let carved = 0;
    const slab = new Slab(cpu, 9, 'text', TEXT_WORDS, {
      carve: () => (carved++ === 0 ? { first: kernel.regions.chunks, count: 3 } : undefined),
      forEach: (visit) => {
        for (let i = 0; i < 3; i++) visit(kernel.regions.chunks + i * TEXT_WORDS);
      },
    });
    const texts = new TextStore(cpu, slab);
    expect(() => texts.put('x'.repeat(4 * 60))).toThrow(/ENOMEM/);
    expect(slab.census()).toEqual({ live: 0, owned: 0, retired: 0, free: 3 });
    const at = texts.put('x'.repeat(3 * 60));
    expect(texts.get(at)).toHaveLength(180);
  });

  test('takes a published text back into its cpu’s hands', () => {
    const { kernel } = bareMachine();
    const at = kernel.texts.put('y'.repeat(100));
    kernel.texts.publish(at);
    expect(kernel.slabs.text.census()).toMatchObject({ live: 2, owned: 0 });
    kernel.texts.own(at);
    expect(kernel.slabs.text.census()).toMatchObject({ live: 0, owned: 2 });
    kernel.texts.free(at);
  });
});
