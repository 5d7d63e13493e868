/** Sizes fixed by the design. Bytes at the API, pages inside. */

/** @internal */
export const PAGE_SHIFT = 12;
/** Bytes in a page. Mappings begin and end at multiples of it. */
export const PAGE_SIZE = 4096;
/** @internal */
export const PAGE_WORDS = 1024;
/** @internal */
export const PAGE_MASK = 4095;

/** @internal User addresses are below 2^47, as on x86-64; page numbers below 2^35. */
export const ADDRESS_LIMIT = 0x800000000000;
/** @internal */
export const VPN_LIMIT = 0x800000000;
/**
 * Where the search for a gap begins (mmap_base): addresses below 2^30 are small integers to every JavaScript engine, neither boxed
 * nor converted. What does not fit goes above.
 *
 * @internal
 */
export const SMALL_VPN_LIMIT = 0x40000;
/** @internal The lowest page a kernel-chosen or hinted mapping may use (vm.mmap_min_addr is 65536). */
export const MIN_VPN = 16;

/** @internal A pfn is 20 bits: 4 GiB of frames per machine. */
export const MAX_FRAMES = 0x100000;
/** @internal */
export const MIN_FRAMES = 64;

/** @internal */
export const MAX_CPUS = 64;
/** @internal */
export const MAX_SPACES = 64;
/** @internal As vm.max_map_count. */
export const MAX_MAP_COUNT = 65530;
