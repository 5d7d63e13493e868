/** What became of one attempt at a fault: done, a reason to sleep, a reason to start again, or an error. */
export const DONE = 0;
/* To sleep for. */
export const NEED_FRAME = 1;
export const NEED_PAGE = 2;
export const PAGE_BUSY = 3;
/* To start again for. */
/** The VMA was replaced between look-up and commit. */
export const DETACHED = 4;
/** The VMA is just being replaced by MAP_FIXED: wait for the writer. */
export const WAIT = 5;
/** The leaf was torn down. */
export const UNHOOKED = 6;
/** The PTE is not as it was first seen. */
export const CHANGED = 7;
/** The page has left its file. */
export const TRUNCATED = 8;
/* Errors, from here on. */
export const MAPERR = 9;
export const ACCERR = 10;
export const BUS = 11;
