import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RbTree } from './rbtree.ts';

describe('the red-black tree, with one thread', () => {
  it('stays one whatever is inserted, and finds it', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(200), { maxLength: 40 }), (keys) => {
        const tree = new RbTree(new Int32Array(8 * 64));
        for (const key of keys) tree.insert(key * 10, key * 10 + 5);
        expect(tree.validate()).toEqual(keys.map((key) => key * 10).sort((a, b) => a - b));
        for (const key of keys) {
          expect(tree.lookup(key * 10 + 4)).toBe(key * 10);
          expect(tree.lookup(key * 10 + 7)).toBe(-1);
        }
      }),
    );
  });
});
