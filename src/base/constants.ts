/** Numbers of the public surface, those of Linux on x86-64 (mmap(2), mprotect(2)). */

/** No access: every load and store is a `SegmentationFault`. */
export const PROT_NONE = 0;
/** The pages may be read. */
export const PROT_READ = 1;
/** The pages may be written, and read as well. */
export const PROT_WRITE = 2;
/** Accepted, and means that the pages may be read: nothing is executed here. */
export const PROT_EXEC = 4;

/** Threads that map the same pages of a file see one memory. Anonymous memory belongs to its space either way. */
export const MAP_SHARED = 0x01;
/** What is written goes into pages of the space's own, and never into the file. */
export const MAP_PRIVATE = 0x02;
/** Maps exactly at `addr`. What was mapped there is unmapped. */
export const MAP_FIXED = 0x10;
/** Memory without a file, which reads zero at first. */
export const MAP_ANONYMOUS = 0x20;
/** Accepted without effect: nothing is reserved here anyway. */
export const MAP_NORESERVE = 0x4000;
/** Maps exactly at `addr`, or throws EEXIST when something is mapped there. */
export const MAP_FIXED_NOREPLACE = 0x100000;

/** Bytes in a kibibyte. */
export const KiB = 1024;
/** Bytes in a mebibyte. */
export const MiB: number = 1024 * 1024;
/** Bytes in a gibibyte. */
export const GiB: number = 1024 * 1024 * 1024;
