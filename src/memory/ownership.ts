/**
 * The state word of every record (a frame's page record, a slab object): who is responsible for it. This is what makes a
 * thread's death recoverable without a journal: whatever a dead cpu had in its hands names that cpu, and a scan finds it.
 *
 * ```
 * FREE -> CACHED(cpu) -> OWNED(cpu) -> LIVE -> RETIRED(cpu) -> CACHED(cpu') -> FREE
 *          in a cpu's     allocated,    published   waits for a
 *          magazine       not published             grace period
 * ```
 *
 * A frame in state CACHED may be stolen by another cpu; KEPT is CACHED as long as it may not (see frame-cache.ts).
 */
/** Words of every slab record: its state, and the link of the list that it is in. */
export const R_STATE = 0;
export const R_LINK = 1;

export const FREE = 0;
export const CACHED = 1;
export const OWNED = 2;
export const LIVE = 3;
export const RETIRED = 4;
export const KEPT = 5;

/** State `kind`, in the hands of the cpu with lock tag `tag`. */
export function ownedBy(kind: number, tag: number): number {
  return kind | (tag << 8);
}
export function stateKind(state: number): number {
  return state & 0xff;
}
/**
 * What a call that gave up had in hand bears this tag instead of its cpu's (1 to 64) while it is recovered: the cpu may be at work again,
 * on its own recovery.
 */
export function abandonedTag(tag: number): number {
  return tag + 64;
}
export function stateTag(state: number): number {
  return state >> 8;
}
