/**
 * The page record: one per frame, one 64-byte line each.
 *
 * ```
 *  0 state     1 link      2 refs      3 flags
 *  4 lock      5 mapcount  6 mapping   7 index
 *  8 hash next 9 rmapLock 10 rmapSeq  11 slot
 * 12 more     13 pins     14 mm       15 (spare: swap)
 * ```
 */
export const P_STATE = 0;
/** Free list, retire list. */
export const P_LINK = 1;
/** The page cache: 1; a private page's PTE: 1; pins, later. 0 while free. A PTE's hold on a file page is its reverse-map slot. */
export const P_REFS = 2;
export const P_FLAGS = 3;
/** Page lock: owner's tag, WAITED. Sleepable. */
export const P_LOCK = 4;
/** Spare: a count of PTEs, when sharing by fork needs one. */
export const P_MAPCOUNT = 5;
/** The file's mapping, 0 for an anonymous page. Cleared under the page lock when the page leaves the cache. */
export const P_MAPPING = 6;
/** Page index in the file; for an anonymous page, low 31 bits of its vpn. */
export const P_INDEX = 7;
export const P_HASH_NEXT = 8;
export const P_RMAP_LOCK = 9;
export const P_RMAP_SEQ = 10;
/** First reverse-map slot: word index of a PTE, 0 for none. */
export const P_RMAP_SLOT = 11;
/** Further slots: an rmap node. */
export const P_RMAP_MORE = 12;
export const P_PINS = 13;
/** The space of an anonymous page. */
export const P_MM = 14;

/** The bytes are those of the file. */
export const PG_UPTODATE = 1;
/** Used since the clock hand passed. */
export const PG_REFERENCED = 2;
/** Brought in by read-ahead and not used yet: reaching it moves the window on. */
export const PG_READAHEAD = 4;
/** The only mapping of an anonymous page is a PTE that may become writable without a copy. */
export const PG_EXCLUSIVE = 8;
export const PG_ANON = 16;
