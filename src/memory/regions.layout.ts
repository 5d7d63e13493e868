/** Sizes of the records that have a region of their own, in words. Literals and no import: see base/tunables.ts. */
export const SPACE_WORDS = 256;
export const PAGE_RECORD_WORDS = 16;
export const TABLE_HEADER_WORDS = 16;
export const TABLE_WORDS = 512;
/** The arena is cut into chunks of this size; a chunk holds records of one kind. */
export const CHUNK_WORDS = 4096;
