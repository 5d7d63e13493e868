/**
 * One record of the trace: a decision of this execution, and what else could have been decided. (Imported as `R`;
 * records follow each other from TRACE on, B.TRACE counts them.) The owner of the turn writes a record once; the
 * leader reads them when the execution is over.
 */
export const WORDS = 4;

/** The decision's position in the schedule. */
export const POSITION = 0;
/** The thread in the low bits (WHAT_THREAD), then flags (WHAT_*). */
export const WHAT = 1;
/**
 * Number of the location of the access; 0 for all of them. Of a free choice: the thread that a schedule need not
 * name.
 */
export const LOCATION = 2;
/**
 * Threads that could have gone on instead: in bits 0 to 7 those that are enabled, from bit RELUCTANT_SHIFT on those
 * that would spin on, or end a wait by its time limit. Of a marked read: how many older values it could have
 * returned.
 */
export const OTHERS = 3;

export const RELUCTANT_SHIFT = 8;

export const WHAT_THREAD = 0xf;
/** Nobody was preempted: the thread before could not go on. */
export const WHAT_FREE = 0x10;
export const WHAT_WRITE = 0x20;
/** The schedule may change before this access. */
export const WHAT_POINT = 0x40;
/** Which value a marked read returned. */
export const WHAT_VALUE = 0x80;
/** The access covers several locations, of which the record names one. */
export const WHAT_SEVERAL = 0x100;
