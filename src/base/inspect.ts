/**
 * What Node's `console.log` and `util.inspect` show of an object of ours: a line or a few instead of everything behind it. Hosts
 * without `util.inspect` never ask.
 */
export const INSPECT: unique symbol = Symbol.for('nodejs.util.inspect.custom') as never;

/** The host's `util.inspect`, with the options that it was called with. */
export type Inspect = (value: unknown, options: object) => string;

/** `facts` with the class's name before them; the name alone where the host shows nothing that lies so deep. */
export function inspected(name: string, facts: object, depth: number, options: object, inspect: Inspect): string {
  return depth < 0 ? `[${name}]` : `${name} ${inspect(facts, options)}`;
}
