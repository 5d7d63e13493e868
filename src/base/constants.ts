/** Numbers of the public surface, those of Linux on x86-64 (mmap(2), mprotect(2)). */
export const PROT_NONE = 0;
export const PROT_READ = 1;
export const PROT_WRITE = 2;
export const PROT_EXEC = 4;

export const MAP_SHARED = 0x01;
export const MAP_PRIVATE = 0x02;
/** Exactly at `addr`; what was mapped there goes. */
export const MAP_FIXED = 0x10;
export const MAP_ANONYMOUS = 0x20;
/** Accepted; nothing is reserved here anyway. */
export const MAP_NORESERVE = 0x4000;
/** Exactly at `addr`, or EEXIST. */
export const MAP_FIXED_NOREPLACE = 0x100000;

export const KiB = 1024;
export const MiB: number = 1024 * 1024;
export const GiB: number = 1024 * 1024 * 1024;
