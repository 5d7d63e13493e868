/**
 * The board: what the modelled threads of one crew and their scheduler share. Only the thread whose turn it is reads and writes it,
 * and a turn is handed on with Atomics, so everything here is plain but the parking words.
 *
 * ```
 *      0 +----------------------+
 *        | header               |
 *     64 +----------------------+
 *        | threads, 32 each     |  8
 *    320 +----------------------+
 *        | vector clocks, 8 x 8 |
 *    384 +----------------------+
 *        | words read, 32 each  |
 *    640 +----------------------+
 *        | script               |  (position, action) pairs
 *        +----------------------+
 *        | trace                |  4 words a record
 *        +----------------------+
 * ```
 */
export const MAX_THREADS = 8;

/* Header. */
export const B_MODE = 0;
/** Decisions so far in this execution; the position of the next one. */
export const B_STEP = 1;
/** Most decisions of one execution. */
export const B_LIMIT = 2;
export const B_SCRIPT_AT = 3;
/** Position of the next entry of the script, or NEVER. */
export const B_NEXT = 4;
/** Threads that could run, bit by bit. */
export const B_ENABLED = 5;
/** Threads that spin: enabled again when somebody writes a word that they have read. */
export const B_PAUSED = 6;
/** Threads whose next access was passed over and has met no conflict since: running them now would repeat another execution. */
export const B_ASLEEP = 7;
/** Once this execution has turned out to repeat another one: 1 + the number of records before that. */
export const B_REDUNDANT = 8;
/** FAILURE_*. */
export const B_FAILURE = 9;
export const B_FAILED_THREAD = 10;
/** Rounds in which all threads spun and nobody wrote. */
export const B_IDLE = 11;
/** The modelled clock, microseconds. */
export const B_CLOCK = 12;
/** Locations that have got a number. */
export const B_LOCATIONS = 13;
/** Records in the trace. */
export const B_TRACE = 14;
/** Serial of the execution: stamps the race detector's notes. */
export const B_EXECUTION = 15;
export const B_DIRTY = 16;
/** Order of waiters. */
export const B_TICKET = 17;
/** STRATEGY_*. */
export const B_STRATEGY = 18;
export const B_RANDOM = 19;
export const B_THREADS = 20;
export const B_TIMEOUTS = 21;
export const B_POINTS = 22;
export const B_RACES = 23;
export const B_RECORDING = 24;
/** Accesses that were reported, of all executions; a probe looks at it. Wraps. */
export const B_REPORTED = 25;
/** Length of the failure's text, bytes. */
export const B_TEXT = 26;
/** Chance of a preemption at a choice, in 1/65536, for the random strategy. */
export const B_CHANCE = 27;
/** Positions at which PCT lowers a priority: up to 8. */
export const B_CHANGE_COUNT = 28;
export const B_CHANGES = 40;
/** Set once a location has been touched by a further thread in this round. */
export const B_GREW = 29;
/** 1: entries of the script that cannot be followed are passed over. */
export const B_TOLERANT = 30;
/** 1: equivalent schedules are left out. */
export const B_REDUCE = 31;
/** Writes in the history. */
export const B_HISTORY = 32;
/** 1: every location has a history. Else those do that a marked read has read. */
export const B_REMEMBER = 33;
/** How many threads have run, and tell what they recorded if that is asked. */
export const B_RECORDINGS = 34;
/** Bit per thread that has called `join`. */
export const B_JOINED = 35;

/* Threads. */
export const T_WORDS = 32;
export const THREADS = 64;
/** 1: it is your turn. */
export const T_PARK = 0;
export const T_STATUS = 1;
export const T_COMMAND = 2;
/** The access before which the thread was preempted: first byte, byte behind the last, whether it writes. */
export const T_FROM = 3;
export const T_TO = 4;
export const T_WRITES = 5;
/** What it sleeps on: a byte address; its deadline on the modelled clock (-1: none); its place in the queue; how it ended. */
export const T_WAIT = 6;
export const T_DEADLINE = 7;
export const T_TICKET = 8;
export const T_OUTCOME = 9;
export const T_JOIN = 10;
export const T_PRIORITY = 11;
/** Bytes of its result. */
export const T_RESULT = 12;
export const T_STARTED = 13;
/** Kind and location of the access at which it stands, for reports. */
export const T_KIND = 14;
/** Rounds of a spin that it goes on for although nobody has written. */
export const T_STUBBORN = 15;

export const CLOCKS = 320;
/** Per thread: how many words it has read since it last paused, and their byte addresses; ALL_WORDS when they are too many. */
export const READS = 384;
export const READS_WORDS = 32;
export const ALL_WORDS = 32;
export const SCRIPT: number = READS + MAX_THREADS * READS_WORDS;
export const SCRIPT_ENTRIES = 4096;
export const TRACE: number = SCRIPT + SCRIPT_ENTRIES * 2;
export const TRACE_WORDS = 4;
/**
 * Position, thread and flags, location, threads that could have gone on instead: in bits 0 to 7 those that are enabled, in bits 8 to 15
 * those that would spin on or end a wait by its time limit.
 */
export const R_POSITION = 0;
export const R_WHAT = 1;
export const R_LOCATION = 2;
export const R_OTHERS = 3;

/* R_WHAT: the thread in the low 4 bits, then flags. */
export const WHAT_THREAD = 0xf;
/** Nobody was preempted: the thread before could not go on. */
export const WHAT_FREE = 0x10;
export const WHAT_WRITE = 0x20;
/** The schedule may change before this access. */
export const WHAT_POINT = 0x40;
/** Which value a marked read returned; R_OTHERS counts the older ones it might have. */
export const WHAT_VALUE = 0x80;
/** The access covers several locations, of which the record names one. */
export const WHAT_SEVERAL = 0x100;

export const NEVER = 0x7fffffff;
/** A script's action: the running thread dies. */
export const KILL = -1;
/** Below it: a marked read returns an old value, `OLDER - 1` the newest of those, `OLDER - 2` the one before. */
export const OLDER = -1;

export const MODE_IDLE = 0;
/** Setup, prepare, check: accesses only mark what must be put back. */
export const MODE_TRACK = 1;
export const MODE_RUN = 2;
export const MODE_ABORT = 3;

export const STATUS_READY = 0;
export const STATUS_WAITING = 1;
export const STATUS_PAUSED = 2;
export const STATUS_JOINING = 3;
export const STATUS_DONE = 4;
export const STATUS_DEAD = 5;

export const COMMAND_PREPARE = 1;
export const COMMAND_RUN = 2;
export const COMMAND_END = 3;
export const COMMAND_QUIT = 4;

export const STRATEGY_SCRIPT = 0;
export const STRATEGY_RANDOM = 1;
export const STRATEGY_PCT = 2;

export const FAILURE_NONE = 0;
export const FAILURE_THROWN = 1;
export const FAILURE_DEADLOCK = 2;
export const FAILURE_LIVELOCK = 3;
export const FAILURE_RACE = 4;
export const FAILURE_LOST_WAKEUP = 5;
export const FAILURE_CHECK = 6;
export const FAILURE_OUTCOME = 7;
export const FAILURE_SCRIPT = 8;
/** The model cannot be checked as it is. */
export const FAILURE_MODEL = 9;

export const RESULT_BYTES = 2048;
export const FAILURE_BYTES = 16384;
/** Flag in a location's mask: a marked read reads it. */
export const MARKED = 0x10000;
/** Locations that one model may touch. */
export const MAX_LOCATIONS: number = 1 << 16;
/** The race detector's notes on a location: see clocks.ts. */
export const NOTE_WORDS = 48;
/** A write in the history: see history.ts. */
export const HISTORY_WORDS = 12;
export const CHUNK_SHIFT = 8;

/** Everything that the crew's threads are given. Survives structured cloning. */
export interface BoardMemory {
  readonly board: SharedArrayBuffer;
  readonly text: SharedArrayBuffer;
  /** Per location: its byte address, then bits of the threads that read (0 to 7) and wrote (8 to 15) it, and MARKED. */
  readonly locations: SharedArrayBuffer;
  readonly notes: SharedArrayBuffer;
  readonly history: SharedArrayBuffer;
  /** Numbers of dirty chunks. */
  readonly dirty: SharedArrayBuffer;
}

export function makeBoard(maxSteps: number): BoardMemory {
  return {
    board: new SharedArrayBuffer((TRACE + (maxSteps + 64) * TRACE_WORDS) * 4),
    text: new SharedArrayBuffer(MAX_THREADS * RESULT_BYTES + FAILURE_BYTES),
    locations: new SharedArrayBuffer(MAX_LOCATIONS * 8),
    notes: new SharedArrayBuffer(MAX_LOCATIONS * NOTE_WORDS * 4),
    history: new SharedArrayBuffer((maxSteps + 64) * HISTORY_WORDS * 4),
    dirty: new SharedArrayBuffer(1 << 20),
  };
}

export function threadAt(thread: number): number {
  return THREADS + thread * T_WORDS;
}
