/** Lock classes in their order, outermost first (docs/locking.md). The index is the class's number in lockdep. */
export const LOCK_CLASSES = [
  'space list',
  'mmap_lock',
  'page lock',
  'tree lock',
  'leaf lock',
  'reverse map',
  'futex bucket',
  'page cache',
  'file',
  'retire list',
  'slab',
  'arena',
  'frame pool',
  'rwsem queue',
] as const;

export const CLASS_SPACES = 0;
export const CLASS_MMAP = 1;
export const CLASS_PAGE = 2;
export const CLASS_TREE = 3;
export const CLASS_LEAF = 4;
export const CLASS_RMAP = 5;
export const CLASS_FUTEX = 6;
export const CLASS_CACHE = 7;
export const CLASS_FILES = 8;
export const CLASS_RETIRE = 9;
export const CLASS_SLAB = 10;
export const CLASS_ARENA = 11;
export const CLASS_FRAMES = 12;
export const CLASS_RWSEM = 13;

/* A lock word: the owner's tag (cpu id + 1), and whether somebody sleeps on it. */
export const OWNER_MASK = 0xff;
export const WAITED = 0x100;
