/** What became of one attempt at a fault: done, a reason to sleep, a reason to start again, or an error. */
export const DONE = 0;
/* To sleep for. */
export const NEED_FRAME = 1;
export const NEED_PAGE = 2;
export const PAGE_BUSY = 3;
/** A page table or a reverse-map node: reclaim gives them back with the pages. */
export const NEED_RECORD = 4;
/* To start again for. */
/** The VMA was replaced between look-up and commit. */
export const DETACHED = 5;
/** The VMA is just being replaced by MAP_FIXED: wait for the writer. */
export const WAIT = 6;
/** The leaf was torn down. */
export const UNHOOKED = 7;
/** The PTE is not as it was first seen. */
export const CHANGED = 8;
/** The page has left its file. */
export const TRUNCATED = 9;
/* Errors, from here on. */
export const MAPERR = 10;
export const ACCERR = 11;
export const BUS = 12;
