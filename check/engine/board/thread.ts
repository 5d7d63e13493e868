/**
 * One thread's words on the board. (Imported as `T`; `threadAt` says where they begin.) As in the header, who has the
 * turn may read and write them all, but for PARK. *Own* means that the thread writes the word while it has the turn.
 */
export const WORDS = 32;

/**
 * 1: it is your turn. The only word that is touched with Atomics: who hands the turn on stores 1 and notifies, the
 * thread waits for that and stores 0. The store and the load order everything else on the board.
 */
export const PARK = 0;
/** STATUS_*. Own, but for READY: whoever wakes the thread writes that. */
export const STATUS = 1;
/** COMMAND_*: what the thread is to do with its turn. Whoever hands it the turn. */
export const COMMAND = 2;
/**
 * The access before which the thread was preempted: its first byte's address. Own, when it is put to sleep
 * (B.ASLEEP).
 */
export const FROM = 3;
/** The address behind that access's last byte. Own, with FROM. */
export const TO = 4;
/** 1: that access writes. Own, with FROM. */
export const WRITES = 5;
/** Address of the word on which it sleeps. Own; holds while STATUS is WAITING. */
export const WAIT = 6;
/**
 * When its sleep ends on the modelled clock, microseconds; FOREVER without a time limit. Own; holds while STATUS is
 * WAITING.
 */
export const DEADLINE = 7;
/** Its place in the order of arrival. Own; holds while STATUS is WAITING. */
export const TICKET = 8;
/** WOKEN_*: how its sleep ended. Whoever ends it; holds when the thread has its turn again. */
export const OUTCOME = 9;
/** The thread whose end it waits for. Own; holds while STATUS is JOINING. */
export const JOIN = 10;
/** PCT: the highest runs. The leader before the execution, the thread when its priority falls. */
export const PRIORITY = 11;
/** Length of its result, UTF-16 units. The leader sets 0, the thread the length at its end. */
export const RESULT = 12;
/** 1: its `run` has begun and not ended. Own. */
export const STARTED = 13;
/** Address that it read last: what a spinning thread looks at, for reports. Own. */
export const LAST_READ = 14;
/**
 * Rounds of a spin that it goes on for although nobody has written. Whoever lets it go on; it counts down itself, and
 * clears it at a write.
 */
export const STUBBORN = 15;

/** A DEADLINE without a time limit. */
export const FOREVER = -1;
