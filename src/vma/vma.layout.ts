/**
 * The VMA record: one mapped range with one protection and one backing. 32 words, two cache lines: what is written after
 * publication is in the first one, the look-up itself reads neither (the tree's leaves repeat the bounds).
 *
 * ```
 *      0           1           2           3           4           5           6           7
 * +-----------+-----------+-----------+-----------+-----------+-----------+-----------+-----------+
 * |   state   |   link    |   refs    | detached  |   flags   |  mapping  |    mm     | holdsFile |
 * +-----------+-----------+-----------+-----------+-----------+-----------+-----------+-----------+
 * |        start (f64)    |         end (f64)     |       offset (f64)    |        (spare)        |
 * +-----------------------+-----------------------+-----------------------+-----------------------+
 *   8           9           10          11          12          13          14   ..   31
 * ```
 *
 * A VMA never changes once published; a change publishes another record. Only `state`, `link`, `refs` and `detached` are
 * written later. So the plain fields may be read by whoever reached the record through a root loaded with Atomics and is
 * still in that section, or holds a reference.
 *
 * This file has literals only, so that a bundler puts them in their place; the VMA table checks them at load.
 */
export const VMA_WORDS = 32;

/** Who is responsible for the record (see memory/ownership.ts). Written by the slab and by whoever retires it. */
export const V_STATE = 0;
/** Retire list. Written by the cpu that retired it, under its retire lock. */
export const V_LINK = 1;
/** References: 1 for the tree, 1 for each user that sleeps. Atomics only; once 0 it never rises again. */
export const V_REFS = 2;
/**
 * 0, or a `DETACHED_*` reason from the moment on after which no fault may install a page for this VMA. Atomics only: written
 * by the layout operation that replaces or removes it, before it touches a PTE; read again under the leaf lock (I5).
 */
export const V_DETACHED = 3;
/** `VM_*` bits. Written once, before publication. */
export const V_FLAGS = 4;
/** The file's mapping, on which the record holds one reference; 0 for anonymous memory. Written once, before publication. */
export const V_MAPPING = 5;
/** The space. Written once, before publication. */
export const V_MM = 6;
/** 1 while the record has its reference on the mapping, else 0. Under the file's lock. */
export const V_HOLDS_FILE = 7;
/** First page, a vpn. Float64, written once, before publication. */
export const V_START = 8;
/** The page behind the last one, a vpn. Float64, written once, before publication. */
export const V_END = 10;
/** Page index in the file that `start` maps; without meaning for anonymous memory. Float64, written once, before publication. */
export const V_OFFSET = 12;

/* Why a VMA is detached. */
/** A new record says what this one said, or something else, about each page: look up again. */
export const DETACHED_REPLACED = 1;
/** Being unmapped: an access is a SEGV. */
export const DETACHED_UNMAPPED = 2;
/** Being replaced by MAP_FIXED: an access waits for the new mapping. */
export const DETACHED_REMAPPED = 3;
/** Out of the tree, and the tree's reference has fallen after its grace period: only sleepers hold it. */
export const DETACHED_RELEASED = 4;

/* The rights have the numbers of PROT_*. */
export const VM_READ = 1;
export const VM_WRITE = 2;
export const VM_EXEC = 4;
export const VM_PROT = 7;
/** Writes go to the backing and are seen by its other mappers. */
export const VM_SHARED = 8;
/* What mprotect may grant. */
export const VM_MAYREAD = 0x10;
export const VM_MAYWRITE = 0x20;
export const VM_MAYEXEC = 0x40;
/** Grows towards lower addresses when a fault hits below it. */
export const VM_GROWSDOWN = 0x100;
export const VM_NORESERVE = 0x200;
export const VM_LOCKED = 0x400;
/** A fork's child does not get it. */
export const VM_DONTFORK = 0x800;
/** What a stack has, whichever way stacks grow. */
export const VM_STACK = 0x100;
