/**
 * Numbers that must not be mixed up. A `Ref<K>` is the index of a record's first 32-bit word in the control memory; 0 is
 * "none" for every kind. A `Vpn` is an exact integer below 2^35, a `Pfn` an integer below 2^20.
 */
declare const brand: unique symbol;
declare const locked: unique symbol;
export type Branded<T, B extends string> = T & { readonly [brand]: B };

export type Vpn = Branded<number, 'vpn'>;
export type Pfn = Branded<number, 'pfn'>;
export type Ref<K extends string> = Branded<number, `ref:${K}`>;

export type VmaRef = Ref<'vma'>;
export type NodeRef = Ref<'node'>;
export type TableRef = Ref<'table'>;
/** A leaf whose lock this cpu holds: `Tables.lockLeaf` gives it, and nobody else. Not to be kept over the unlocking. */
export type LockedLeaf = TableRef & { readonly [locked]: 'leaf' };
export type PageRef = Ref<'page'>;
export type MappingRef = Ref<'mapping'>;
export type MmRef = Ref<'mm'>;
export type LockRef = Ref<'lock'>;

export const NONE = 0;
