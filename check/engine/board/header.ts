/**
 * The board's first 64 words: one execution's state, and what it was asked to do. (Imported as `B`.)
 *
 * All of them are plain words. The rule that lets you read or write one is the same for all: you have the turn. A
 * turn is handed on with Atomics (`T.PARK`), so everything that was written before is there for the next owner.
 * *Leader* below means that the word is written between executions, by the thread that leads; *owner* means whoever
 * has the turn.
 */
export const WORDS = 64;

/* Where the execution is. */

/** MODE_*: what an access means. Owner: the leader before and after, a thread when it gives the execution up. */
export const MODE = 0;
/** Decisions so far, which is the position of the next one. Owner, at each decision. */
export const STEP = 1;
/** Decisions after which an execution counts as endless. Leader. */
export const LIMIT = 2;
/** Entries of the script that have been used; under a strategy of chance, entries that have been written. Owner. */
export const SCRIPT_AT = 3;
/** Position of the script's next entry, or NEVER. Owner, with SCRIPT_AT. */
export const NEXT = 4;
/** Bit per thread that could run. Owner, with that thread's STATUS. */
export const ENABLED = 5;
/**
 * Bit per thread that spins. It is enabled again when somebody writes a word that it has read. Owner, with its
 * STATUS.
 */
export const PAUSED = 6;
/**
 * Bit per thread whose next access was passed over and has met no conflict since: to run it now would repeat another
 * execution. Owner.
 */
export const ASLEEP = 7;
/** 0, or 1 + the number of records after which the execution repeats another one. Owner, once. */
export const REDUNDANT = 8;
/** FAILURE_*: the first failure. Owner, once. */
export const FAILURE = 9;
/** The thread that noted it. Owner, with FAILURE. */
export const FAILED_THREAD = 10;
/** Rounds in which all threads spun and nobody wrote. Owner: up when nobody is enabled, 0 at each write. */
export const IDLE = 11;
/** The modelled clock, microseconds. Owner: it moves when nobody can go on, or when a wait ends by its time limit. */
export const CLOCK = 12;
/** Locations that have a number: the highest one. It lasts for all executions. Owner. */
export const LOCATIONS = 13;
/** Records in the trace. Owner, one at each decision that can be taken in another way. */
export const TRACE = 14;
/** Serial of the execution: a note of another one is void. Wraps. Leader. */
export const EXECUTION = 15;
/** Chunks in the list of those that must be put back. Owner; the leader empties it. */
export const DIRTY = 16;
/** Waits so far: the next one's place in the order of arrival. Owner. */
export const TICKET = 17;

/* What was asked. All of them are the leader's. */

/** STRATEGY_*. */
export const STRATEGY = 18;
/** State of the random numbers, never 0. The owner moves it on at each decision by chance. */
export const RANDOM = 19;
/** Threads of the model. */
export const THREADS = 20;
/** 1: a wait may end by its time limit. */
export const TIMEOUTS = 21;
/** 1: the schedule may change before plain accesses too. */
export const POINTS = 22;
/** 1: races are looked for. */
export const RACES = 23;
/** 1: accesses are recorded, with stacks. */
export const RECORDING = 24;

/** Accesses that were reported, in all executions: the probe compares two readings. Wraps. Owner. */
export const REPORTED = 25;
/** Length of the failure's text, bytes. Owner, with FAILURE. */
export const TEXT = 26;
/** Chance of a preemption at a choice, in 1/65536. Leader. */
export const CHANCE = 27;
/** PCT: priority changes of this execution. Leader. */
export const CHANGE_COUNT = 28;
/** 1 once a location has been touched by a further thread in this round. Owner; the leader clears it. */
export const GREW = 29;
/** 1: entries of the script that cannot be followed are passed over. Leader. */
export const TOLERANT = 30;
/** 1: equivalent schedules are left out. Leader. */
export const REDUCE = 31;
/** Writes in the history. Owner. */
export const HISTORY = 32;
/** 1: every location has a history. Else those do that a marked read has read. Leader. */
export const REMEMBER = 33;
/** Threads that have run: so many tell what they recorded, if that is asked. Owner, when a thread begins. */
export const RECORDINGS = 34;
/** Bit per thread that has called `join`. Owner. */
export const JOINED = 35;
/** PCT: the positions at which a priority falls, CHANGES_MOST words of which CHANGE_COUNT are used. Leader. */
export const CHANGES = 40;
export const CHANGES_MOST = 8;
