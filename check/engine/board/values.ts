/** What the words of the board may hold: modes, states, commands, strategies, failures, and the actions of a script. */

/** B.MODE: nothing is going on. */
export const MODE_IDLE = 0;
/** Setup, prepare, check: accesses only mark what must be put back. */
export const MODE_TRACK = 1;
export const MODE_RUN = 2;
/** The execution is given up: whoever has the turn unwinds. */
export const MODE_ABORT = 3;

/** T.STATUS: it could run. */
export const STATUS_READY = 0;
/** It sleeps in a wait. */
export const STATUS_WAITING = 1;
/** It spins. */
export const STATUS_PAUSED = 2;
/** It waits for another thread's end. */
export const STATUS_JOINING = 3;
/** It has ended. This state and those behind it are final. */
export const STATUS_DONE = 4;
export const STATUS_DEAD = 5;

/** T.OUTCOME: somebody has notified. */
export const WOKEN_BY_NOTIFY = 0;
export const WOKEN_BY_TIME = 1;

export const COMMAND_PREPARE = 1;
export const COMMAND_RUN = 2;
/** To the leader: all threads have ended. */
export const COMMAND_END = 3;
export const COMMAND_QUIT = 4;

/** B.STRATEGY: what the script says, and the usual where it says nothing. */
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

/** Where B.CLOCK stops, microseconds: times are words of 32 bits. */
export const LAST_TIME = 2_000_000_000;

/** The position of no decision: what B.NEXT holds behind the script's last entry. Also an address behind all memory. */
export const NEVER = 0x7fffffff;
/** A script's action: the running thread dies. Actions from 0 on name the thread that goes on. */
export const KILL = -1;
/** Below it: a marked read returns an old value, `OLDER - 1` the newest of those, `OLDER - 2` the one before. */
export const OLDER = -1;
